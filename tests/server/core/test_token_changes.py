"""Tokens that change while they are used: issued anew, revoked in the middle of a request, and several side by side."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from support.bearers import BASIN, ROOT, ask, assert_refused, issue, made, scope
from support.hosting import read_until

from s2cli.server.core.stream import Stream

TIMEOUT_S = 20


def instant(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def new_stream(server, token=ROOT, prefix="changes", basin=BASIN):
    stream = f"{prefix}-{next(made)}"
    assert ask(server, token, "POST", "/v1/streams", {"stream": stream}, basin).status == 201
    return stream


def tail(server, stream):
    answer = ask(server, ROOT, "GET", f"/v1/streams/{stream}/records/tail", basin=BASIN)
    return answer.json()["tail"]["seq_num"] if answer.status == 200 else None


# Issued anew.


def test_an_id_that_is_issued_anew_after_it_expired_works_at_once(make_thread_server, monkeypatch):
    now_ms = time.time_ns() // 1_000_000
    monkeypatch.setattr("s2cli.server.api.server.wall_clock_ms", lambda: now_ms)
    server = make_thread_server(root_token=ROOT)
    name, old = issue(server, scope=scope("list-basins"), expires_at=instant(now_ms + 60_000))
    assert ask(server, old, "GET", "/v1/basins").status == 200
    now_ms += 61_000
    assert_refused(ask(server, old, "GET", "/v1/basins"), 401, "authn")
    _, new = issue(server, name=name, scope=scope("list-basins", "list-locations"), expires_at=instant(now_ms + 60_000))
    for _ in range(2):
        assert ask(server, new, "GET", "/v1/basins").status == 200
        assert ask(server, new, "GET", "/v1/locations").status == 200
        assert_refused(ask(server, old, "GET", "/v1/basins"), 401, "authn")
    # Whoever revokes the id means the token that has it now.
    assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    assert_refused(ask(server, new, "GET", "/v1/basins"), 401, "authn")


# Revoked in the middle of a request.


@contextlib.contextmanager
def half_sent(server, token, method, path, value, headers=()):
    """A request whose body the server waits for. Gives what sends the rest and reads the answer."""
    body = json.dumps(value).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"s2-basin: {BASIN}", f"authorization: Bearer {token}"]
    lines += ["content-type: application/json", f"content-length: {len(body)}", "expect: 100-continue", *headers]
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        # It asks for the body once the token and what the path says are checked.
        read_until(connection, b"100 Continue\r\n\r\n")

        def finish():
            connection.sendall(body)
            answer = read_until(connection, b'"}')
            return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])

        yield finish


APPEND = {"records": [{"body": "late"}]}


@pytest.mark.parametrize("headers", [(), ("s2-request-token: late",)])
def test_an_append_whose_body_comes_after_its_token_is_revoked_admits_nothing(guarded, headers):
    stream = new_stream(guarded)
    name, token = issue(guarded, scope=scope("append"))
    with half_sent(guarded, token, "POST", f"/v1/streams/{stream}/records", APPEND, headers) as finish:
        assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
        status, error = finish()
    assert (status, error["code"]) == (401, "authn")
    assert tail(guarded, stream) == 0


@pytest.mark.parametrize("headers", [{}, {"s2-request-token": "late"}])
def test_nor_does_one_that_waits_for_room_meanwhile(make_thread_server, monkeypatch, headers):
    waiting, go_on = threading.Event(), threading.Event()

    async def room(stream, batch_bytes):
        waiting.set()
        await asyncio.to_thread(go_on.wait, TIMEOUT_S)

    server = make_thread_server(root_token=ROOT)
    assert ask(server, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    stream = new_stream(server)
    name, token = issue(server, scope=scope("append"))
    monkeypatch.setattr(Stream, "has_room_for", lambda stream, batch_bytes: False)
    monkeypatch.setattr(Stream, "room", room)
    with ThreadPoolExecutor() as threads:
        path = f"/v1/streams/{stream}/records"
        late = threads.submit(ask, server, token, "POST", path, APPEND, BASIN, headers)
        assert waiting.wait(TIMEOUT_S)
        assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
        go_on.set()
        assert_refused(late.result(TIMEOUT_S), 401, "authn")
    assert tail(server, stream) == 0


def test_nor_does_it_make_the_stream(guarded):
    patch = {"create_stream_on_append": True}
    assert ask(guarded, ROOT, "PATCH", f"/v1/basins/{BASIN}", patch).status == 200
    name, token = issue(guarded, scope=scope("append"))
    with half_sent(guarded, token, "POST", "/v1/streams/late-stream/records", APPEND) as finish:
        assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
        assert finish()[0] == 401
    assert ask(guarded, ROOT, "PATCH", f"/v1/basins/{BASIN}", {"create_stream_on_append": False}).status == 200
    assert tail(guarded, "late-stream") is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/basins", {"basin": "late-basin"}),
        ("PUT", "/v1/basins/late-basin", {}),
        ("PATCH", f"/v1/basins/{BASIN}", {"create_stream_on_read": True}),
        ("POST", "/v1/streams", {"stream": "late"}),
        ("PUT", "/v1/streams/late", {}),
        ("PUT", "/v1/streams/changed", {"storage_class": "late"}),
        ("PATCH", "/v1/streams/changed", {"storage_class": "late"}),
        ("POST", "/v1/access-tokens", {"id": "late", "scope": scope("append")}),
    ],
)
@pytest.mark.parametrize("headers", [(), ("s2-request-token: late-change",)])
def test_no_change_is_made_with_a_token_that_was_revoked_before_the_body_came(guarded, method, path, body, headers):
    ask(guarded, ROOT, "POST", "/v1/streams", {"stream": "changed"}, BASIN)
    rights = {"account": {"read": True, "write": True}, "basin": {"write": True}, "stream": {"write": True}}
    name, token = issue(guarded, scope=scope(op_groups=rights))
    with half_sent(guarded, token, method, path, body, headers) as finish:
        assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
        status, error = finish()
    assert (status, error["code"]) == (401, "authn")
    basins = ask(guarded, ROOT, "GET", "/v1/basins?prefix=late").json()["basins"]
    streams = ask(guarded, ROOT, "GET", "/v1/streams?prefix=late", basin=BASIN).json()["streams"]
    tokens = ask(guarded, ROOT, "GET", "/v1/access-tokens?prefix=late").json()["access_tokens"]
    assert (basins, streams, tokens) == ([], [], [])
    assert ask(guarded, ROOT, "GET", "/v1/streams/changed", basin=BASIN).json()["storage_class"] == "express"
    assert not ask(guarded, ROOT, "GET", f"/v1/basins/{BASIN}").json()["create_stream_on_read"]


def test_what_a_revoked_token_has_issued_lives_on(guarded):
    name, token = issue(guarded, scope=scope("issue-access-token", "list-basins"))
    child_name, child = issue(guarded, by=token, scope=scope("list-basins"))
    assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    assert_refused(ask(guarded, token, "GET", "/v1/basins"), 401, "authn")
    assert ask(guarded, child, "GET", "/v1/basins").status == 200
    assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{child_name}").status == 204
    assert_refused(ask(guarded, child, "GET", "/v1/basins"), 401, "authn")


# What is asked for before the body.


@pytest.mark.parametrize("path", ["/v1/basins", "/v1/streams", "/v1/access-tokens", "/v1/basins/others-basin/streams"])
def test_whoever_may_not_do_it_is_told_before_his_body_is_read(guarded, path):
    _, token = issue(guarded, scope=scope("list-locations", basins={"exact": BASIN}))
    lines = [f"POST {path} HTTP/1.1", "host: test", f"authorization: Bearer {token}", "content-type: application/json"]
    if path == "/v1/streams":
        lines.append(f"s2-basin: {BASIN}")
    with socket.create_connection((guarded.host, guarded.port), timeout=TIMEOUT_S) as connection:
        # The body never comes.
        connection.sendall("\r\n".join([*lines, "content-length: 10", "", ""]).encode())
        assert read_until(connection, b'"}').split()[1] == b"403"


def test_a_stream_in_a_basin_that_is_not_covered_is_refused_before_the_body_is_read(guarded):
    _, token = issue(guarded, scope=scope("create-stream", basins={"exact": "others-basin"}))
    head = f"POST /v1/streams HTTP/1.1\r\nhost: test\r\ns2-basin: {BASIN}\r\nauthorization: Bearer {token}\r\n"
    with socket.create_connection((guarded.host, guarded.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"{head}content-type: application/json\r\ncontent-length: 10\r\n\r\n".encode())
        assert read_until(connection, b'"}').split()[1] == b"403"


# Lists.


@pytest.mark.parametrize(
    ("covered", "query", "expected"),
    [
        ({"prefix": "in-"}, "", ["in-a", "in-b", "in-c"]),
        ({"prefix": "in-"}, "prefix=in", ["in-a", "in-b", "in-c"]),
        ({"prefix": "in-"}, "prefix=in-b", ["in-b"]),
        ({"prefix": "in-"}, "prefix=out", []),
        ({"prefix": "in-"}, "start_after=in-a", ["in-b", "in-c"]),
        ({"prefix": "in-"}, "start_after=z", []),
        ({"prefix": ""}, "", ["a-before", "in-a", "in-b", "in-c", "z-behind"]),
        ({"exact": "in-b"}, "", ["in-b"]),
        ({"exact": "in-b"}, "start_after=in-b", []),
        ({"exact": "in-b"}, "prefix=in-a", []),
        ({"exact": "in-"}, "", []),
        ({"exact": ""}, "", []),
        (None, "", []),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_list_of_streams_shows_what_the_token_covers(guarded, covered, query, expected, limit):
    basin = "covered-basin"
    if ask(guarded, ROOT, "POST", "/v1/basins", {"basin": basin}).status == 201:
        for name in ("a-before", "in-a", "in-b", "in-c", "z-behind"):
            assert ask(guarded, ROOT, "POST", "/v1/streams", {"stream": name}, basin).status == 201
    _, token = issue(guarded, scope=scope("list-streams", streams=covered))
    seen, more = [], True
    while more:
        at = f"&start_after={seen[-1]}" if seen else f"&{query}"
        keep = "&".join(part for part in query.split("&") if part.startswith("prefix"))
        page = ask(guarded, token, "GET", f"/v1/streams?limit={limit}{at}&{keep}", basin=basin).json()
        assert len(page["streams"]) <= limit
        seen += [stream["name"] for stream in page["streams"]]
        more = page["has_more"]
        assert more == (len(seen) < len(expected))
    assert seen == expected


# Request tokens.


def test_two_bearers_with_the_same_request_token_do_not_meet(guarded):
    stream = new_stream(guarded)
    bearers = [issue(guarded, scope=scope("append", "create-stream", "reconfigure-stream"))[1] for _ in range(2)]
    headers = {"s2-request-token": "the-same"}

    def append(token):
        path = f"/v1/streams/{stream}/records"
        return ask(guarded, token, "POST", path, {"records": [{"body": "x"}]}, BASIN, headers).json()["start"][
            "seq_num"
        ]

    assert [append(token) for token in (*bearers, *bearers)] == [0, 1, 0, 1]
    # Otherwise one would be told that his own request is another one.
    headers = {"s2-request-token": "the-same-again"}
    for number, token in enumerate(bearers):
        answer = ask(guarded, token, "PATCH", f"/v1/streams/{stream}", {"storage_class": f"c{number}"}, BASIN, headers)
        assert (answer.status, answer.json()["storage_class"]) == (200, f"c{number}")


def test_only_who_made_a_resource_makes_it_again(guarded):
    first, second = (issue(guarded, scope=scope("create-stream", "create-basin"))[1] for _ in range(2))
    headers = {"s2-request-token": "make-it"}
    for path, body in (("/v1/basins", {"basin": "made-once-basin"}), ("/v1/streams", {"stream": "made-once"})):
        answers = [ask(guarded, token, "POST", path, body, BASIN, headers) for token in (first, second, first)]
        assert [answer.status for answer in answers] == [201, 409, 201]
        assert answers[2].headers["s2-provision-result"] == "noop"


def test_a_create_from_before_is_found_again(make_server, root_file):
    """What a server without tokens has stored is what every server stored once."""
    server = make_server()
    headers = {"s2-request-token": "from-before"}
    creates = (("/v1/basins", {"basin": BASIN}), ("/v1/streams", {"stream": "old"}))
    for path, body in creates:
        assert ask(server, None, "POST", path, body, BASIN, headers).status == 201
    server.stop()
    server = make_server(options=("--root-token-file", str(root_file)))
    for path, body in creates:
        answer = ask(server, ROOT, "POST", path, body, BASIN, headers)
        assert (answer.status, answer.headers["s2-provision-result"]) == (201, "noop")
        assert ask(server, ROOT, "POST", path, body, BASIN, {"s2-request-token": "another"}).status == 409
