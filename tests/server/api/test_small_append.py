"""The short way of small appends answers as the general one does, and leaves nothing behind."""

import json
import os
import re
import socket
import threading
from http.client import HTTPResponse
from urllib.parse import quote

import pytest
from support.h2_raw import RawH2
from support.waiting import TIMEOUT_S, until

from s2cli.server.api.small_append import SmallAppends
from s2cli.server.http.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, ErrorCode, frame

# What is not the usual value, but means the same, makes a request go the general way.
GENERAL = {"s2-format": "raw"}
RECORDS = "/v1/streams/stream/records"
# On a bucket, where others change basins too, what creates a stream goes the general way.
KNOWS_BASINS = os.environ.get("ENGINE_OF_TESTS", "sqlite") == "sqlite"


@pytest.fixture
def short_ways(monkeypatch):
    """Whether each POST went the short way."""
    taken = []
    take = SmallAppends.take

    def spy(self, exchange):
        went = take(self, exchange)
        if exchange.method == "POST":
            taken.append(went)
        return went

    monkeypatch.setattr(SmallAppends, "take", spy)
    return taken


def request_of(basin, path, body, headers=()):
    """The bytes of a request to append `body`."""
    fields = {"host": "x", "s2-basin": basin, "content-type": "application/json", **dict(headers)}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def ask(server, request):
    """Sends it in one piece, so that the body comes with its head. Returns status, body, content type."""
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        with HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status, answer.read(), answer.headers["content-type"]


@pytest.fixture
def post(make_thread_server, short_ways):
    """Appends JSON to a stream that is in memory."""
    server = make_thread_server()
    basin = server.create_basin()

    def post(value, headers=(), name="stream", path=None):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return ask(server, request_of(basin, path or f"/v1/streams/{name}/records", body, headers))

    for name in "stream", "a/b c", "other":
        server.create_stream(basin, name)
        assert post({"records": [{"timestamp": 1}, {}]}, name=quote(name, safe=""))[0] == 200
    short_ways.clear()
    return post


def without_times(answer):
    status, body, content_type = answer
    return status, re.sub(rb'"timestamp":\d+', b"", body), content_type


@pytest.mark.parametrize(
    "value",
    [
        {"records": [{"body": "x"}]},
        {"records": [{"body": "x", "headers": [["a", "b"]], "timestamp": 5}, {}]},
        {"records": [{"body": "x"}], "match_seq_num": 2, "fencing_token": ""},
        {"records": [{"headers": [["", "fence"]], "body": "token"}]},
    ],
    ids=str,
)
def test_what_is_taken_is_answered_as_on_the_general_way(post, short_ways, value):
    general, short = post(value, GENERAL, name="other"), post(value)
    assert short_ways == [False, True]
    assert without_times(general) == without_times(short)
    assert short[0] == 200


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"[]",
        b"\xff",
        {"records": []},
        {"records": [{"body": 1}]},
        {"records": [{"headers": [["", "?"]]}]},
        {"records": [{}], "match_seq_num": 7},
        {"records": [{}], "fencing_token": "other"},
    ],
    ids=str,
)
def test_what_is_refused_goes_the_general_way(post, short_ways, value):
    short, general = post(value), post(value, GENERAL)
    assert short_ways == [False, False]
    assert short == general
    assert short[0] >= 400
    assert b'{"start":{"seq_num":2' in post({"records": [{}]})[1]


def test_what_is_large_goes_the_general_way(post, short_ways):
    assert post({"records": [{"body": "x" * 9000}]})[0] == 200
    assert short_ways == [False]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/streams/records", 405),
        ("/v1/streams//records", 404),
        ("/v1/streams/stream/x/records", 404),
        ("/v1/streams/stream/records/", 404),
        ("/v1/streams/%FF/records", 400),
        ("/v1/streams/none/records", 404),
    ],
)
def test_a_path_of_nothing_goes_the_general_way(post, short_ways, path, status):
    assert post({"records": [{}]}, path=path)[0] == status
    assert short_ways == [False]


def test_a_name_that_is_escaped_is_taken(post, short_ways):
    assert b'{"start":{"seq_num":2' in post({"records": [{}]}, name="a%2Fb%20c")[1]
    assert short_ways == [True]


def counted(server, operation="append"):
    found = re.findall(
        rf's2_requests_total{{operation="{operation}",status="(\d+)"}} (\d+)',
        server.request("GET", "/metrics").body.decode(),
    )
    return {int(status): int(count) for status, count in found}


def test_a_client_that_leaves_while_its_append_is_written_leaves_nothing_behind(held, short_ways):
    server, basin, store = held
    store.holding.clear()
    server.request("POST", RECORDS, json_body={"records": [{}]}, basin=basin)
    store.holding.set()
    body = b'{"records":[{"body":"of one who left"}]}'
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request_of(basin, RECORDS, body))
        until(lambda: store.held)
    assert short_ways[-1]
    server.loop.call_soon_threadsafe(store.release)
    until(lambda: counted(server) == {200: 2})
    assert b"of one who left" in server.request("GET", "/v1/streams/stream/records?seq_num=1", basin=basin).body


def test_a_stream_of_http2_that_is_reset_meanwhile_makes_room_for_others(held, short_ways):
    server, basin, store = held
    store.holding.clear()
    server.request("POST", RECORDS, json_body={"records": [{}]}, basin=basin)
    store.holding.set()
    fields = ("s2-basin", basin), ("content-type", "application/json")
    pseudo = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", RECORDS))

    def begin(client, number):
        # In one piece: the body comes with its head.
        head = frame(HEADERS, END_HEADERS, number, client.block(*fields, pseudo=pseudo))
        client.send_bytes(head + frame(DATA, END_STREAM, number, b'{"records":[{}]}'))

    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        client = RawH2(connection)
        # More than may be open at once, were those that are reset kept.
        for number in range(150):
            begin(client, 1 + 2 * number)
            until(lambda: store.held)
            client.send(RST_STREAM, 0, 1 + 2 * number, int(ErrorCode.CANCEL).to_bytes(4, "big"))
            server.loop.call_soon_threadsafe(store.hand_over)
            until(lambda number=number: counted(server).get(200) == number + 2)
        assert short_ways == [False, *[True] * 150]
        store.holding.clear()
        begin(client, 1001)
        while (answer := client.next_frame()) is not None and answer[2] != 1001:
            pass
        assert answer is not None


def test_a_failure_is_told(held, short_ways):
    server, basin, store = held
    store.holding.clear()
    server.request("POST", RECORDS, json_body={"records": [{}]}, basin=basin)
    store.holding.set()
    answers = []
    request = request_of(basin, RECORDS, b'{"records":[{}]}')
    waiting = threading.Thread(target=lambda: answers.append(ask(server, request)))
    waiting.start()
    until(lambda: store.held)
    assert short_ways[-1]
    server.loop.call_soon_threadsafe(store.refuse)
    waiting.join(TIMEOUT_S)
    status, body, _ = answers[0]
    assert (status, json.loads(body)["code"]) == (500, "storage")
    assert counted(server) == {200: 1, 500: 1}


@pytest.fixture
def creating(make_thread_server, short_ways):
    """Appends to streams of a basin that creates them, where one was created before: `append(name, value, headers)`."""
    server = make_thread_server()
    config = {
        "create_stream_on_append": True,
        "default_stream_config": {"storage_class": "standard", "retention_policy": {"age": 1000}},
    }
    basin = server.create_basin(**config)

    def append(name, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return ask(server, request_of(basin, f"/v1/streams/{name}/records", body, headers))

    def config_of(name):
        return server.request("GET", f"/v1/streams/{name}", basin=basin).json()

    def read(name):
        answer = server.request("GET", f"/v1/streams/{name}/records?seq_num=0", basin=basin).json()
        return [record.get("body") for record in answer["records"]]

    append.server, append.basin, append.config_of, append.read = server, basin, config_of, read
    assert append("first", {"records": [{}]})[0] == 200
    short_ways.clear()
    return append


def test_what_creates_its_stream_is_answered_as_on_the_general_way(creating, short_ways):
    value = {"records": [{"body": "x"}], "match_seq_num": 0, "fencing_token": ""}
    short, general = creating("short", value), creating("general", value, GENERAL)
    assert short_ways == [KNOWS_BASINS, False]
    assert short[0] == 200
    assert without_times(short) == without_times(general)
    assert creating.config_of("short") == creating.config_of("general") == creating.config_of("first")
    assert creating.config_of("short")["storage_class"] == "standard"
    for name in "short", "general":
        assert creating(name, {"records": [{"body": "y"}]})[0] == 200
        assert creating.read(name) == ["x", "y"]
    assert counted(creating.server) == {200: 5}


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        {"records": []},
        {"records": [{}], "match_seq_num": 7},
        {"records": [{}], "fencing_token": "other"},
    ],
    ids=str,
)
def test_what_is_refused_of_a_new_stream_is_refused_as_on_the_general_way(creating, short_ways, value):
    short, general = creating("short", value), creating("general", value, GENERAL)
    assert short_ways == [False, False]
    assert short == general
    assert short[0] >= 400


def test_commands_of_a_new_stream_count(creating):
    fence = {"records": [{"headers": [["", "fence"]], "body": "token"}]}
    assert creating("fenced", fence)[0] == 200
    assert creating("fenced", {"records": [{}], "fencing_token": "other"})[0] == 412


def test_a_stream_that_is_not_in_memory_is_found_after_all(creating, short_ways):
    """It is taken for a new one; from then on it is looked for first."""
    server = creating.server
    server.create_stream(creating.basin, "present")
    short_ways.clear()
    assert creating("present", {"records": [{"body": "a"}]})[0] == 200
    assert creating("present", {"records": [{"body": "b"}]})[0] == 200
    assert creating("other", {"records": [{"body": "c"}]})[0] == 200
    assert short_ways == [KNOWS_BASINS, True, False]
    assert creating.read("present") == ["a", "b"]
    assert counted(server) == {200: 4}
    assert server.request("GET", "/health").body == b"OK"


def test_a_basin_that_does_not_create_streams_answers_so(creating, short_ways):
    config = {"create_stream_on_append": False}
    creating.server.request("PATCH", f"/v1/basins/{creating.basin}", json_body=config)
    assert creating("new", {"records": [{}]})[0] == 404
    creating.server.request("PATCH", f"/v1/basins/{creating.basin}", json_body={"create_stream_on_append": True})
    assert creating("new", {"records": [{}]})[0] == 200
    assert creating("newer", {"records": [{}]})[0] == 200
    assert short_ways == [False, False, KNOWS_BASINS]


@pytest.mark.parametrize("headers", [(), tuple(GENERAL.items())], ids=["short", "general"])
def test_many_who_create_one_stream_at_once_append_one_after_the_other(creating, headers):
    start = threading.Barrier(16)
    answers = []

    def append(number):
        start.wait()
        answers.append(creating("busy", {"records": [{"body": str(number)}]}, headers))

    threads = [threading.Thread(target=append, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert [status for status, _, _ in answers] == [200] * 16
    assert sorted(json.loads(body)["start"]["seq_num"] for _, body, _ in answers) == list(range(16))
    assert sorted(map(int, creating.read("busy"))) == list(range(16))


def test_a_failure_of_a_creation_is_told(held, short_ways):
    server, basin, store = held
    store.holding.clear()
    server.request("PATCH", f"/v1/basins/{basin}", json_body={"create_stream_on_append": True})
    assert ask(server, request_of(basin, "/v1/streams/one/records", b'{"records":[{}]}'))[0] == 200
    store.holding.set()
    answers = []
    request = request_of(basin, "/v1/streams/two/records", b'{"records":[{}]}')
    waiting = threading.Thread(target=lambda: answers.append(ask(server, request)))
    waiting.start()
    until(lambda: store.held)
    assert short_ways[-1]
    server.loop.call_soon_threadsafe(store.refuse)
    waiting.join(TIMEOUT_S)
    status, body, _ = answers[0]
    assert (status, json.loads(body)["code"]) == (500, "storage")
    store.holding.clear()
    assert ask(server, request)[0] == 200
    assert counted(server) == {200: 2, 500: 1}


def test_a_client_that_leaves_while_its_stream_is_created_leaves_nothing_behind(held, short_ways):
    server, basin, store = held
    store.holding.clear()
    server.request("PATCH", f"/v1/basins/{basin}", json_body={"create_stream_on_append": True})
    assert ask(server, request_of(basin, "/v1/streams/one/records", b'{"records":[{}]}'))[0] == 200
    store.holding.set()
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request_of(basin, "/v1/streams/two/records", b'{"records":[{"body":"of one who left"}]}'))
        until(lambda: store.held)
    assert short_ways[-1]
    server.loop.call_soon_threadsafe(store.release)
    until(lambda: counted(server) == {200: 2})
    assert b"of one who left" in server.request("GET", "/v1/streams/two/records?seq_num=0", basin=basin).body
