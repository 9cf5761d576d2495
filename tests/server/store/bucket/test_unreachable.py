"""A bucket that does not answer, or refuses us for a while: every request is told so, and all goes on afterwards."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.bearers import ROOT, ask, issue, scope
from support.s3_faults import EXPIRED, SILENT, SLOW_DOWN, UNREACHABLE, Rule
from support.s3_proxy import S3Proxy
from support.s3_server import environment
from support.stores import S3Stores
from support.waiting import TIMEOUT_S, until

from s2cli.server.store.bucket import bucket_store, database, objects, open_basin

BASIN = "unreachable-basin"
RECORDS = "/v1/streams/stream/records"
APPEND = {"records": [{"body": "x"}]}


@pytest.fixture
def served(s3_server, make_thread_server, monkeypatch):
    """A server with a basin and a stream, and the proxy before its bucket."""
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        stores = S3Stores(proxy.url)

        async def open_store(_directory):
            return await stores.open()

        server = make_thread_server(open_store=open_store, root_token=ROOT)
        assert ask(server, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
        assert ask(server, ROOT, "POST", "/v1/basins", {"basin": f"{BASIN}-closed"}).status == 201
        assert ask(server, ROOT, "POST", "/v1/streams", {"stream": "stream"}, BASIN).status == 201
        assert ask(server, ROOT, "POST", RECORDS, APPEND, BASIN).status == 200
        yield server, proxy


ASKED = {
    "list basins": ("GET", "/v1/basins", None, None),
    "unknown basin": ("GET", f"/v1/basins/{BASIN}-unknown", None, None),
    "create basin": ("POST", "/v1/basins", {"basin": f"{BASIN}-new"}, None),
    "ensure basin": ("PUT", f"/v1/basins/{BASIN}-ensured", None, None),
    "reconfigure basin": ("PATCH", f"/v1/basins/{BASIN}", {"create_stream_on_read": True}, None),
    "issue token": ("POST", "/v1/access-tokens", {"id": "new", "scope": scope("read")}, None),
    "list tokens": ("GET", "/v1/access-tokens", None, None),
    "revoke token": ("DELETE", "/v1/access-tokens/old", None, None),
    "list streams": ("GET", "/v1/streams", None, BASIN),
    "create stream": ("POST", "/v1/streams", {"stream": "new"}, BASIN),
    "stream config": ("GET", "/v1/streams/stream", None, BASIN),
    "missing stream": ("GET", "/v1/streams/none", None, BASIN),
    "append": ("POST", RECORDS, APPEND, BASIN),
    "wrong number": ("POST", RECORDS, {**APPEND, "match_seq_num": 7}, BASIN),
    "tail": ("GET", f"{RECORDS}/tail", None, BASIN),
    "read": ("GET", f"{RECORDS}?seq_num=0", None, BASIN),
    "basin that is not open": ("GET", "/v1/streams", None, f"{BASIN}-closed"),
}


@pytest.mark.parametrize("fault", [SILENT, UNREACHABLE, EXPIRED, SLOW_DOWN])
def test_every_request_is_told_and_all_goes_on_when_it_is_back(served, monkeypatch, fault):
    server, proxy = served
    issue(server, name="old", scope=scope("read"))
    for module in (bucket_store, database, objects, open_basin):
        monkeypatch.setattr(module, "UNREACHABLE_S", 1.0)
    proxy.fail(Rule(fault))
    with ThreadPoolExecutor(len(ASKED) + 1) as threads:
        waiting = threads.submit(ask, server, ROOT, "POST", RECORDS, APPEND, BASIN)
        until(lambda: server.request("GET", "/health").status == 503)
        answers = {
            what: threads.submit(ask, server, ROOT, method, path, body, basin)
            for what, (method, path, body, basin) in ASKED.items()
        }
        told = {
            what: (answer.result(TIMEOUT_S).status, answer.result().json()["code"]) for what, answer in answers.items()
        }
        assert told == dict.fromkeys(ASKED, (503, "unavailable"))
        assert not waiting.done()
        proxy.fail()
        assert waiting.result(TIMEOUT_S).status == 200
    monkeypatch.undo()
    for method, path, body, basin in ASKED.values():
        until(lambda: ask(server, ROOT, method, path, body, basin).status < 500)  # noqa: B023 - it is called at once
