"""No request is answered with a 5xx or ends the server, whatever stands in its body, its headers and its query; nor
does what it leaves behind, also after a restart.

S2_GENERATED_REQUESTS says how many requests are sent; the 2000 of every run take some seconds.
"""

import contextlib
import http.client
import json
import os
import socket
import time

import pytest
from generated import BASINS, requests
from hypothesis import HealthCheck, Phase, given, settings
from support.waiting import TIMEOUT_S

REQUESTS = int(os.environ.get("S2_GENERATED_REQUESTS", "2000"))
# A read that follows and a session that is left open are watched until then.
PATIENCE_S = 0.02


class Client:
    """One connection after the other, as long as they last."""

    def __init__(self, server):
        self.server = server
        self.connection = None

    def send(self, request):
        """Status and body of the answer; None for what does not end: a session, or a read that waits."""
        target = f"{request.path}?{request.query}" if request.query else request.path
        length = {"content-length": b"%d" % len(request.body)} if request.body or request.method != "GET" else {}
        head = [f"{request.method} {target} HTTP/1.1".encode()]
        head += [
            name.encode() + b": " + value for name, value in {"host": b"test", **request.headers, **length}.items()
        ]
        if self.connection is None:
            self.connection = socket.create_connection((self.server.host, self.server.port), timeout=TIMEOUT_S)
        self.connection.sendall(b"\r\n".join([*head, b"", b""]) + request.body)
        response = http.client.HTTPResponse(self.connection, method=request.method)
        waits = b"s2s/proto" in request.headers.get("content-type", b"") or "wait=" in request.query
        waits = waits or request.headers.get("accept") == b"text/event-stream"
        try:
            if waits:
                self.connection.settimeout(PATIENCE_S)
            response.begin()
            body = response.read()
        except TimeoutError:
            assert waits, f"no answer to {request}"
            self.close()
            return None
        except (ConnectionError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close or waits:
            self.close()
        return response.status, body

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def send_all(server, count):
    """That many requests, and what must hold after each, and after all of them."""
    document = server.request("GET", "/openapi.json").json()
    sent = 0
    statuses = {}

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(document))
    def send(request):
        nonlocal sent
        if sent % 25 == 0:
            prepare(server)  # what was deleted, or makes no streams any more
        sent += 1
        answer = client.send(request)
        if answer is None:
            return
        status, body = answer
        assert status < 500, (request, status, body)
        statuses[status] = statuses.get(status, 0) + 1
        if status >= 400 and body and status not in (412, 416):
            assert json.loads(body)["code"], (request, body)
            json.loads(body)["message"].encode()  # valid Unicode, whatever it repeats

    client = Client(server)
    with contextlib.closing(client):
        send()
    assert_well(server)
    return sent, statuses


def assert_well(server):
    """It reads, and it writes: what is counted, what is stored, and what is listed."""
    assert server.request("GET", "/health").status == 200
    for path in ("/v1/basins", "/v1/access-tokens", "/metrics", "/v1/metrics?set=active-basins&start=0&end=3600"):
        assert server.request("GET", path).status == 200, path
    now_s = int(time.time())
    for basin in BASINS:
        ask = f"/v1/metrics/{basin}?set=append-ops&start={now_s - 86400}&end={now_s}"
        # Asking has everything counted written down first.
        assert server.request("GET", ask).status == 200
        assert server.request("GET", "/v1/streams", basin=basin).status in (200, 404)
    name = server.create_basin()
    server.create_stream(name)
    answer = server.request("POST", "/v1/streams/stream/records", basin=name, json_body={"records": [{"body": "x"}]})
    assert answer.status == 200, answer


def prepare(server):
    flags = {"create_stream_on_append": True, "create_stream_on_read": True}
    for basin in BASINS:
        # 409 while it is being deleted.
        assert server.request("PUT", f"/v1/basins/{basin}", json_body={"config": flags}).status in (200, 201, 409)


@pytest.mark.timeout(60 + REQUESTS // 10)
def test_nothing_that_is_sent_ends_the_server(make_server):
    server = make_server()
    for _ in range(2):
        sent, statuses = send_all(server, REQUESTS // 2)
        assert sent >= REQUESTS // 2
        # Neither is everything refused at the door, nor is nothing.
        assert statuses.get(200, 0) > 0.1 * sent, statuses
        assert statuses.get(400, 0) > 0.1 * sent, statuses
        assert server.stop() == 0
        server.start()
        assert_well(server)
