import base64
import json

import pytest
from support.s2s import append, append_input, open_append
from support.sse import open_events

from s2cli.server.api import follow


@pytest.fixture
def stream(shared_server, basin):
    """Ten records, 0 to 9, of one byte each: nine metered bytes."""
    shared_server.create_stream(basin)
    append(shared_server, basin, *[b"%d" % number for number in range(10)])


def test_the_head_of_an_event_stream(shared_server, basin, stream):
    accept = {"accept": "text/event-stream;charset=utf-8, application/json", "accept-encoding": "gzip, zstd"}
    with open_events(shared_server, basin, "seq_num=0&count=1", headers=accept) as events:
        assert events.status == 200
        assert events.headers["content-type"] == "text/event-stream"
        assert events.headers["cache-control"] == "no-cache, no-transform"
        assert events.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in events.headers
        assert [len(batch["records"]) for batch in events.batches()] == [1]


def test_an_event_is_written_as_the_protocol_says(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, (7, [(b"k", b"v")], "größer\n\r\u2028".encode()))
    with open_events(shared_server, basin, "seq_num=0&count=1") as events:
        name, position, data = events.event()
        assert (name, position) == ("batch", f"0,1,{8 + 2 + 1 + 1 + 13}")
        assert data == (
            '{"records":[{"seq_num":0,"timestamp":7,"headers":[["k","v"]],"body":"größer\\n\\r\u2028"}]'
            ',"tail":{"seq_num":1,"timestamp":7}}'
        )
        assert events.event() == (None, None, "[DONE]")
        assert events.event() is None


def test_base64(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, bytes(range(256)))
    with open_events(shared_server, basin, "seq_num=0&count=1", headers={"s2-format": "base64"}) as events:
        [batch] = events.batches()
        assert base64.b64decode(batch["records"][0]["body"]) == bytes(range(256))


def test_a_follower_is_pinged_at_the_tail_and_gets_what_comes(shared_server, basin, stream):
    with open_events(shared_server, basin, "seq_num=8") as events:
        assert events.batch() == ((9, 2, 18), [(8, "8"), (9, "9")], 10)
        assert events.ping() == 10
        append(shared_server, basin, b"ten", b"eleven")
        assert events.batch() == ((11, 4, 18 + 11 + 14), [(10, "ten"), (11, "eleven")], 12)


def test_pings_go_on(make_thread_server, monkeypatch):
    monkeypatch.setattr(follow, "HEARTBEAT_S", (0.01, 0.02))
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    with open_events(server, basin, "seq_num=0") as events:
        assert [events.ping() for _ in range(5)] == [0] * 5


@pytest.mark.parametrize(
    ("query", "position", "expected", "last_id"),
    [
        ("seq_num=0&count=5", "3,4,36", [4], "4,5,45"),
        ("seq_num=0&count=5", "4,5,45", [], None),
        ("seq_num=0&count=5", "4,99,0", [], None),
        ("seq_num=0&bytes=60", "3,4,36", [4, 5], "5,6,54"),
        ("seq_num=0&bytes=60", "5,6,54", [], None),
        ("seq_num=0&bytes=60", "5,6,60", [], None),
        ("tail_offset=0&wait=0", "6,1,1", [7, 8, 9], "9,4,28"),
        ("timestamp=99999999999999&count=9", "7,2,18", [8, 9], "9,4,36"),
        ("", "7, 2 ,18", [8, 9], "9,4,36"),
        ("seq_num=0&wait=0", f"7,{2**64 - 2},{2**64 - 1}", [8, 9], f"9,{2**64 - 1},{2**64 - 1}"),
    ],
)
def test_a_client_goes_on_where_it_left_off(shared_server, basin, stream, query, position, expected, last_id):
    """Within a batch, and over connections: limits and counters continue too."""
    with open_events(shared_server, basin, query, headers={"last-event-id": position}) as events:
        assert events.status == 200
        if expected:
            name, got_id, data = events.event()
            assert (name, got_id) == ("batch", last_id)
            assert [record["seq_num"] for record in json.loads(data)["records"]] == expected
        if query:
            assert events.event() == (None, None, "[DONE]")


@pytest.mark.parametrize(
    ("query", "position", "status"),
    [
        ("seq_num=0", "9,10,90", 200),  # a follower, at the tail
        ("seq_num=0&count=20", "9,10,90", 416),
        ("seq_num=0&wait=1&count=20", "20,1,90", 416),
        ("seq_num=0&wait=1&count=20&clamp=true", "20,19,90", 200),
        ("seq_num=0", f"{2**64 - 1},0,0", 416),
        ("timestamp=7&until=7", "1,2,18", 422),
    ],
)
def test_going_on_at_the_tail_and_beyond(shared_server, basin, stream, query, position, status):
    with open_events(shared_server, basin, query, headers={"last-event-id": position}) as events:
        assert events.status == status
        if status == 416:
            assert events.body["tail"]["seq_num"] == 10


@pytest.mark.parametrize(
    "position", ["1", "1,2", "1,2,3,4", "a,b,c", "-1,0,0", "1_0,0,0", f"{2**64},0,0", ",,", "1,2,"]
)
def test_a_malformed_last_event_id(shared_server, basin, stream, position):
    with open_events(shared_server, basin, "seq_num=0", headers={"last-event-id": position}) as events:
        assert (events.status, events.body["code"]) == (400, "bad_header")


def test_errors_before_the_first_event_are_ordinary_answers(shared_server, basin, stream):
    for query, status in (("seq_num=10&count=1", 416), ("seq_num=a", 400), ("seq_num=0&timestamp=0", 422)):
        with open_events(shared_server, basin, query) as events:
            assert events.status == status
            assert events.headers["content-type"] == "application/json"
    with open_events(shared_server, basin, stream="unknown") as events:
        assert (events.status, events.body["code"]) == (404, "stream_not_found")


def test_a_session_that_is_no_event_stream_stays_one(shared_server, basin, stream):
    headers = {"content-type": "s2s/proto", "accept": "text/event-stream"}
    answer = shared_server.request("GET", "/v1/streams/stream/records?seq_num=0&count=1", headers=headers, basin=basin)
    assert answer.headers["content-type"] == "s2s/proto"


def test_a_head_request_of_an_event_stream(shared_server, basin, stream):
    path = "/v1/streams/stream/records?seq_num=0"
    answer = shared_server.request("HEAD", path, headers={"accept": "text/event-stream"}, basin=basin)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/event-stream", b"")


def test_a_wait_ends_with_done(shared_server, basin, stream):
    with open_events(shared_server, basin, "seq_num=9&wait=1") as events:
        assert events.batch()[1] == [(9, "9")]
        assert events.ping() == 10
        assert events.event() == (None, None, "[DONE]")


def test_limits_end_a_follower(shared_server, basin, stream):
    with open_events(shared_server, basin, "seq_num=9&wait=20&count=3") as events:
        assert events.batch()[0] == (9, 1, 9)
        assert events.ping() == 10
        append(shared_server, basin, b"a", b"b", b"c")
        assert events.batch() == ((11, 3, 27), [(10, "a"), (11, "b")], 13)
        assert events.event() == (None, None, "[DONE]")


def test_an_error_ends_the_stream_without_done(shared_server, basin, stream):
    with open_events(shared_server, basin, "seq_num=9") as events:
        assert events.batch()[1] == [(9, "9")]
        assert events.ping() == 10
        shared_server.request("DELETE", "/v1/streams/stream", basin=basin)
        name, position, data = events.event()
        assert (name, position) == ("error", None)
        assert json.loads(data)["code"] in ("stream_deletion_pending", "stream_not_found")
        assert events.event() is None


def test_a_server_that_stops_says_so(make_server):
    server = make_server(data=None)
    basin = server.create_basin()
    server.create_stream(basin)
    with open_events(server, basin) as events:
        assert events.ping() == 0
        server.process.terminate()
        name, _, data = events.event()
        assert (name, json.loads(data)["code"]) == ("error", "server_draining")
        assert events.event() is None


def test_many_records_come_in_order_through_many_events(shared_server, basin):
    shared_server.create_stream(basin)
    with open_append(shared_server, basin) as session:
        for batch in range(40):
            session.send(append_input(*[b"%d" % (batch * 250 + number) for number in range(250)]))
            session.ack()
    with open_events(shared_server, basin, "seq_num=0&wait=0") as events:
        batches = events.batches()
    records = [record for batch in batches for record in batch["records"]]
    assert [(record["seq_num"], record["body"]) for record in records] == [(at, str(at)) for at in range(10_000)]
    assert max(len(batch["records"]) for batch in batches) == 1000


# Cross-origin requests

PREFLIGHT = {"access-control-request-method": "GET", "access-control-request-headers": "s2-basin, last-event-id"}


def ask(server, basin, origin, method="GET", **headers):
    path = "/v1/streams/stream/records/tail"
    return server.request(method, path, headers={"origin": origin, **headers}, basin=basin)


LOOPBACK = [
    "http://localhost", "http://localhost:5173", "https://app.localhost:8443", "http://127.0.0.1:80",
    "http://127.9.9.9", "http://[::1]:3000", "https://[::1]",
]  # fmt: skip
ELSEWHERE = [
    "https://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://127.evil",
    "http://xlocalhost", "null", "file://localhost", "http://[::11]", "http://128.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("origin", LOOPBACK)
def test_pages_of_this_machine_are_let_in(shared_server, basin, stream, origin):
    answer = ask(shared_server, basin, origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "origin"
    assert "s2-provision-result" in answer.headers["access-control-expose-headers"]
    answer = ask(shared_server, basin, origin, "OPTIONS", **PREFLIGHT)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"s2-basin", "last-event-id", "authorization", "content-type", "s2-encryption-key"} <= set(allowed)
    assert "PATCH" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_pages_from_elsewhere_are_not(shared_server, basin, stream, origin):
    answer = ask(shared_server, basin, origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    answer = ask(shared_server, basin, origin, "OPTIONS", **PREFLIGHT)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_errors_and_event_streams_can_be_read_by_a_page(shared_server, basin, stream):
    origin = {"origin": "http://localhost:5173"}
    with open_events(shared_server, basin, "seq_num=0", headers=origin) as events:
        assert events.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert len(events.batch()[1]) == 10
        append(shared_server, basin, b"ten")
        assert events.ping() == 10
        assert events.batch()[1] == [(10, "ten")]
    with open_events(shared_server, basin, "seq_num=99", headers=origin) as events:
        assert (events.status, events.headers["access-control-allow-origin"]) == (416, "http://localhost:5173")


def test_origins_that_are_named_are_let_in(make_server):
    server = make_server(data=None, options=("--cors", "https://app.example.com,https://b.example.com:8443"))
    basin = server.create_basin()
    server.create_stream(basin)
    for origin in ("https://app.example.com", "https://b.example.com:8443", "http://localhost:1"):
        assert ask(server, basin, origin).headers["access-control-allow-origin"] == origin
    for origin in ("https://example.com", "http://app.example.com", "https://app.example.com:8443"):
        assert "access-control-allow-origin" not in ask(server, basin, origin).headers
    private = {**PREFLIGHT, "access-control-request-private-network": "true"}
    answer = ask(server, basin, "https://app.example.com", "OPTIONS", **private)
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_all_origins_may_be_let_in_or_none(make_server):
    server = make_server(data=None, options=("--cors", "*"))
    basin = server.create_basin()
    server.create_stream(basin)
    assert ask(server, basin, "https://example.com").headers["access-control-allow-origin"] == "https://example.com"
    server = make_server(data=None, options=("--no-cors",))
    basin = server.create_basin()
    server.create_stream(basin)
    assert "access-control-allow-origin" not in ask(server, basin, "http://localhost").headers
    assert ask(server, basin, "http://localhost", "OPTIONS", **PREFLIGHT).status == 403


@pytest.mark.parametrize(
    "options",
    [
        ("--cors", "app.example.com"),
        ("--cors", "https://app.example.com/"),
        ("--cors", "https://a.example,https://b.example"),
        ("--cors", "*", "--no-cors"),
    ],
)
def test_what_is_no_origin_is_refused(run_s2, options):
    result = run_s2("lite", "--memory", "--port", 0, *options)
    assert result.returncode == 2
    assert b"--cors" in result.stderr
