"""Every error code that can be provoked: status, body and headers."""

import base64
import http.client
import json

import pytest
from support.s2s import open_append, open_read
from support.waiting import TIMEOUT_S

from s2cli.errors import STATUS_BY_CODE, ApiError
from s2cli.server.store.sqlite.engine import SqliteStore

# What this server never answers.
NEVER = {
    "transaction_conflict": "changes of one row take turns",
    "not_implemented": "everything in the table of operations is served",
    "rate_limited": "whoever is too fast is slowed down",
    "client_hangup": "nobody is left to be told",
    "hot_server": "there is one server",
    "upstream_timeout": "nothing stands behind it",
}

VALIDATION = ("bad_path", "bad_query", "bad_json", "bad_header", "bad_proto", "invalid")
RECORDS = "/v1/streams/stream/records"
ONE = {"records": [{"body": "x"}]}


class FailingStore:
    """The real store; with `failing` it takes no appends, and with `broken` it is a programming error."""

    def __init__(self, store):
        self._store = store
        self.failing = self.broken = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    @property
    def on_written(self):
        return self._store.on_written

    @on_written.setter
    def on_written(self, on_written):
        self._store.on_written = on_written

    def append(self, append):
        if self.failing:
            append.lane.broken = ApiError("storage", "broken")
            self._store._loop.call_soon(self.on_written, [append], ApiError("storage", "no room"))
        else:
            self._store.append(append)

    async def get_basin(self, name):
        if self.broken:
            raise RuntimeError("broken on purpose")
        return await self._store.get_basin(name)


@pytest.fixture
def failing(make_thread_server):
    """A server with a FailingStore, and that."""
    stores = []

    async def open_store(path):
        stores.append(FailingStore(await SqliteStore.open(path)))
        return stores[0]

    server = make_thread_server(open_store=open_store)
    return server, stores[0]


def assert_error(answer, code, status=None):
    assert answer.status == (status or STATUS_BY_CODE[code]), answer
    said = answer.json()
    assert said["code"] == code
    assert said["error"] == ("validation_error" if code in VALIDATION else code)
    assert said["message"]
    assert set(said) == {"code", "message", "error"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    return said["message"]


def assert_terminal(session, code):
    status, said = session.terminal()
    assert (status, said["code"], said["error"]) == (STATUS_BY_CODE[code], code, code)


@pytest.fixture
def stream(shared_server, basin):
    shared_server.create_stream(basin)
    return basin


@pytest.mark.parametrize(
    ("code", "method", "path", "options"),
    [
        ("bad_header", "GET", "/v1/streams", {"basin": "Bad_Name"}),
        ("bad_header", "POST", RECORDS, {"json_body": ONE, "headers": {"s2-format": "hex"}}),
        ("bad_path", "GET", "/v1/streams/%FF", {}),
        ("bad_query", "GET", "/v1/streams?limit=x", {}),
        ("bad_query", "GET", f"{RECORDS}?count=-1", {}),
        ("bad_json", "POST", "/v1/streams", {"json_body": []}),
        ("bad_json", "POST", RECORDS, {"body": b"{"}),
        ("bad_proto", "POST", RECORDS, {"body": b"\xff", "headers": {"content-type": "application/protobuf"}}),
        ("invalid", "PUT", "/v1/streams/stream", {"json_body": {"retention_policy": {"age": 0}}}),
        ("invalid", "POST", RECORDS, {"json_body": {"records": []}}),
        ("basin_not_found", "POST", "/v1/streams", {"json_body": {"stream": "s"}, "basin": "no-such-basin"}),
        ("basin_not_found", "GET", RECORDS, {"basin": "no-such-basin"}),
        ("stream_not_found", "GET", "/v1/streams/none", {}),
        ("stream_not_found", "GET", "/v1/streams/none/records", {"headers": {"accept": "text/event-stream"}}),
        ("stream_not_found", "GET", "/v1/streams/none/records", {"headers": {"accept": "application/protobuf"}}),
        ("access_token_not_found", "DELETE", "/v1/access-tokens/none", {}),
        ("resource_already_exists", "POST", "/v1/streams", {"json_body": {"stream": "stream"}}),
    ],
)
def test_what_a_request_provokes(shared_server, stream, code, method, path, options):
    assert_error(shared_server.request(method, path, **{"basin": stream, **options}), code)


def test_conditions_and_ranges_have_bodies_of_their_own(shared_server, stream):
    def append(**members):
        return shared_server.request("POST", RECORDS, basin=stream, json_body={**ONE, **members})

    for answer, status, said in (
        (append(match_seq_num=1), 412, {"seq_num_mismatch": 0}),
        (append(fencing_token="other"), 412, {"fencing_token_mismatch": ""}),
        (append(fencing_token="other", match_seq_num=1), 412, {"fencing_token_mismatch": ""}),
        (shared_server.request("GET", RECORDS, basin=stream), 416, {"tail": {"seq_num": 0, "timestamp": 0}}),
    ):
        assert (answer.status, answer.json()) == (status, said)
        assert answer.headers["content-type"] == "application/json"


def test_bad_frame(shared_server, stream):
    with open_append(shared_server, stream) as session:
        session.send_bytes(b"\x00\x00\x02\x80\xff")
        assert_terminal(session, "bad_frame")


def test_decryption_failed(shared_server, unique_basin):
    basin = shared_server.create_basin(unique_basin(), stream_cipher="aegis-256")
    shared_server.create_stream(basin)
    keys = [{"s2-encryption-key": base64.b64encode(bytes([number]) * 32).decode()} for number in (1, 2)]
    assert shared_server.request("POST", RECORDS, basin=basin, json_body=ONE, headers=keys[0]).status == 200
    path = f"{RECORDS}?seq_num=0"
    assert shared_server.request("GET", path, basin=basin, headers=keys[0]).status == 200
    assert_error(shared_server.request("GET", path, basin=basin, headers=keys[1]), "decryption_failed")


def test_authn_and_permission_denied(make_server, tmp_path):
    path = tmp_path / "root.token"
    path.touch(0o600)
    path.write_text("root-secret")
    server = make_server(options=("--root-token-file", str(path)))
    root = {"authorization": "Bearer root-secret"}
    for headers in {}, {"authorization": "Bearer other"}, {"authorization": "Basic x"}:
        assert_error(server.request("GET", "/v1/basins", headers=headers), "authn")
    body = {"id": "lister", "scope": {"basins": {"prefix": ""}, "ops": ["list-basins"]}}
    answer = server.request("POST", "/v1/access-tokens", json_body=body, headers=root)
    assert answer.status == 201, answer
    lister = {"authorization": f"Bearer {answer.json()['access_token']}"}
    assert server.request("GET", "/v1/basins", headers=lister).status == 200
    assert_error(server.request("DELETE", "/v1/basins/some-basin", headers=lister), "permission_denied")


def test_quota_exhausted(make_thread_server, monkeypatch):
    server = make_thread_server()
    basin = server.create_basin()
    monkeypatch.setattr("s2cli.server.store.sqlite.resource_rows.MAX_STREAMS", 1)
    monkeypatch.setattr("s2cli.server.store.bucket.stream_table.MAX_ID", 0)
    answer = server.request("POST", "/v1/streams", basin=basin, json_body={"stream": "s"})
    assert_error(answer, "quota_exhausted")


def test_request_timeout(make_thread_server, monkeypatch):
    monkeypatch.setattr("s2cli.server.http.exchange.UNARY_BODY_TIMEOUT_S", 0.1)
    server = make_thread_server()
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    connection.putrequest("POST", "/v1/basins")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", "99")
    connection.endheaders(b"{")
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (408, "request_timeout")
    connection.close()


def test_deletion_pending(make_thread_server, monkeypatch):
    for name in "stream_marked", "basin_marked":
        monkeypatch.setattr(f"s2cli.server.core.cleanup.Cleanup.{name}", lambda self, row: None)
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    assert server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
    assert server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
    create = {"json_body": {"stream": "stream"}}
    for method, path, options in (
        ("GET", "/v1/streams/stream", {}),
        ("PUT", "/v1/streams/stream", {}),
        ("PATCH", "/v1/streams/stream", {"json_body": {}}),
        ("POST", "/v1/streams", create),
        ("POST", RECORDS, {"json_body": ONE}),
        ("GET", RECORDS, {}),
        ("GET", f"{RECORDS}/tail", {}),
    ):
        answer = server.request(method, path, basin=basin, **options)
        assert assert_error(answer, "stream_deletion_pending") == "stream deletion pending"
    with open_read(server, basin) as session:
        assert (session.status, session.body["code"]) == (409, "stream_deletion_pending")
    listed = server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert [info["deleted_at"] is None for info in listed] == [False]
    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    for method, path, options in (
        ("POST", "/v1/basins", {"json_body": {"basin": basin}}),
        ("PUT", f"/v1/basins/{basin}", {}),
        ("PATCH", f"/v1/basins/{basin}", {"json_body": {}}),
        ("POST", "/v1/streams", {"json_body": {"stream": "other"}}),
        ("PUT", "/v1/streams/other", {}),
    ):
        answer = server.request(method, path, basin=basin, **options)
        assert assert_error(answer, "basin_deletion_pending") == f"basin `{basin}` is being deleted"
    listed = server.request("GET", "/v1/basins").json()["basins"]
    assert [(info["name"], info["state"], info["deleted_at"] is None) for info in listed] == [
        (basin, "deleting", False)
    ]
    assert server.request("GET", "/v1/streams", basin=basin).status == 200


def test_storage_and_unavailable(failing):
    server, store = failing
    basin = server.create_basin()
    server.create_stream(basin)
    with open_read(server, basin) as reader:
        assert reader.batch()[1] == 0
        store.failing = True
        assert_error(server.request("POST", RECORDS, basin=basin, json_body=ONE), "storage")
        assert_terminal(reader, "unavailable")
    store.failing = False
    assert server.request("POST", RECORDS, basin=basin, json_body=ONE).json()["end"]["seq_num"] == 1


def test_other(failing):
    server, store = failing
    store.broken = True
    assert assert_error(server.request("GET", "/v1/basins/some-basin"), "other") == "internal error"
    store.broken = False
    assert_error(server.request("GET", "/v1/basins/some-basin"), "basin_not_found")


def test_server_draining(make_server):
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        session.append(b"x")
        session.ack()
        server.process.terminate()
        assert_terminal(session, "server_draining")
    assert server.process.wait(TIMEOUT_S) == 0


def test_request_token_reused(shared_server, stream):
    headers = {"s2-request-token": f"errors-{stream}"[:36]}
    assert shared_server.request("POST", RECORDS, basin=stream, json_body=ONE, headers=headers).status == 200
    other = {"records": [{"body": "other"}]}
    answer = shared_server.request("POST", RECORDS, basin=stream, json_body=other, headers=headers)
    assert_error(answer, "request_token_reused")


def test_no_code_is_forgotten():
    """Each code of the table is provoked above, or is one that this server never answers."""
    import inspect
    import sys

    text = inspect.getsource(sys.modules[__name__]).partition("VALIDATION = ")[2]
    for code in STATUS_BY_CODE:
        assert (f'"{code}"' in text) != (code in NEVER), code


def test_a_response_that_breaks_off_counts_as_a_failure(make_thread_server, monkeypatch):
    """Its head had already said 200."""
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)

    async def fail(session):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("s2cli.server.api.follow.ReadSession._scan", fail)
    with pytest.raises((http.client.HTTPException, OSError)):
        server.request("GET", RECORDS, basin=basin, headers={"accept": "text/event-stream"})
    metrics = server.request("GET", "/metrics").body
    assert b's2_requests_total{operation="read",status="500"} 1.0' in metrics
