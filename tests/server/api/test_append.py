import asyncio
import base64
import contextlib
import http.client
import json
import signal
import socket
import struct
import threading
import time

import pytest
from support.s2s import append_input, open_append, open_read
from support.waiting import TIMEOUT_S, until

from s2cli.server.http.http1_connection import Connection as Http1Connection
from s2cli.server.http.http1_exchange import Http1Exchange
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.frames import encode_frame, encode_terminal
from s2cli.wire.s2_pb2 import AppendAck, ReadBatch

JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}


@pytest.fixture
def stream(shared_server, basin):
    shared_server.create_stream(basin)
    return "/v1/streams/stream/records"


@pytest.fixture
def post(shared_server, basin, stream):
    """Appends JSON."""

    def post(value, headers=None, path=stream, name=basin):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return shared_server.request("POST", path, body=body, headers={**JSON, **(headers or {})}, basin=name)

    return post


@pytest.fixture
def get(shared_server, basin, stream):
    def get(query, headers=None, path=stream):
        return shared_server.request("GET", f"{path}?{query}", headers=headers, basin=basin)

    return get


def test_json_is_appended_and_read_back(post, get):
    records = [
        {"body": "hello"},
        {"timestamp": 5, "headers": [["name", "value"], ["name", ""]], "body": 'wörld\n"\\\x00'},
        {},
        {"headers": [], "body": ""},
    ]
    before_ms = time.time_ns() // 1_000_000
    answer = post({"records": records, "unknown": {"x": [1]}})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    ack = answer.json()
    assert (ack["start"]["seq_num"], ack["end"]["seq_num"], ack["tail"]["seq_num"]) == (0, 4, 4)
    assert before_ms <= ack["start"]["timestamp"] <= ack["end"]["timestamp"] == ack["tail"]["timestamp"]
    answer = get("seq_num=0")
    assert answer.status == 200
    timestamp = ack["start"]["timestamp"]
    assert answer.json() == {
        "records": [
            {"seq_num": 0, "timestamp": timestamp, "body": "hello"},
            # Not before the one before it.
            {"seq_num": 1, "timestamp": timestamp, "headers": records[1]["headers"], "body": records[1]["body"]},
            {"seq_num": 2, "timestamp": timestamp},
            {"seq_num": 3, "timestamp": timestamp},
        ]
    }


def test_base64_carries_any_bytes(post, get):
    def encode(data):
        return base64.b64encode(data).decode()

    record = {"headers": [[encode(b"\xff"), encode(b"\x00\xfe")]], "body": encode(bytes(range(256)))}
    assert post({"records": [record]}, {"s2-format": "base64"}).status == 200
    found = get("seq_num=0", {"s2-format": "json-binsafe"}).json()["records"][0]
    assert (found["headers"], found["body"]) == (record["headers"], record["body"])
    # Raw output replaces what is no UTF-8.
    assert get("seq_num=0", {"s2-format": "raw"}).json()["records"][0]["headers"] == [["\ufffd", "\x00\ufffd"]]


@pytest.mark.parametrize("media_type", ["application/protobuf", "application/x-protobuf", "Application/Protobuf; v=1"])
def test_protobuf_is_appended_and_read_back(shared_server, basin, stream, media_type):
    headers = {"content-type": media_type, "accept": f"{media_type}, application/json"}
    data = append_input(b"a", (7, [(b"n", b"v")], b"b"), match_seq_num=0, fencing_token="")
    answer = shared_server.request("POST", stream, body=data, headers=headers, basin=basin)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/protobuf")
    ack = AppendAck.FromString(answer.body)
    assert (ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num) == (0, 2, 2)
    answer = shared_server.request("GET", f"{stream}?seq_num=0", headers=headers, basin=basin)
    assert answer.headers["content-type"] == "application/protobuf"
    batch = ReadBatch.FromString(answer.body)
    assert [record.body for record in batch.records] == [b"a", b"b"]
    assert not batch.HasField("tail")


def test_request_and_response_types_are_independent(shared_server, basin, stream):
    headers = {"content-type": "application/protobuf", "accept": "*/*, application/protobuf"}
    answer = shared_server.request("POST", stream, body=append_input(b"a"), headers=headers, basin=basin)
    assert answer.json()["end"]["seq_num"] == 1


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"[1", 400, "bad_json"),
        (b'"\xff"', 400, "bad_json"),
        (b"[" * 100_000, 400, "bad_json"),
        ([], 400, "bad_json"),
        ({}, 400, "bad_json"),
        ({"records": {}}, 400, "bad_json"),
        ({"records": ["a"]}, 400, "bad_json"),
        ({"records": [{"body": 1}]}, 400, "bad_json"),
        ({"records": [{"body": "\ud800"}]}, 400, "bad_json"),
        ({"records": [{"headers": [["a"]]}]}, 400, "bad_json"),
        ({"records": [{"headers": {"a": "b"}}]}, 400, "bad_json"),
        ({"records": [{"headers": 0}]}, 400, "bad_json"),
        ({"records": [{"timestamp": -1}]}, 400, "bad_json"),
        ({"records": [{"timestamp": True}]}, 400, "bad_json"),
        ({"records": [{"timestamp": 1 << 64}]}, 400, "bad_json"),
        ({"records": [{}], "match_seq_num": "0"}, 400, "bad_json"),
        ({"records": [{}], "fencing_token": "x" * 37}, 400, "bad_json"),
        ({"records": []}, 422, "invalid"),
        ({"records": [{}] * 1001}, 422, "invalid"),
        ({"records": [{"body": "x" * (1 << 20)}]}, 422, "invalid"),
        ({"records": [{"headers": [["", "jump"]]}]}, 422, "invalid"),
    ],
)
def test_bad_json_changes_nothing(post, get, value, status, code):
    answer = post(value)
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert get("seq_num=0").status == 416


def test_bad_base64_is_invalid(post):
    answer = post({"records": [{"body": "a"}]}, {"s2-format": "base64"})
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["message"] == "invalid Base64 encoding"


def test_bad_headers_and_types(shared_server, basin, stream, post):
    answer = post({"records": [{}]}, {"s2-format": "hex"})
    assert (answer.status, answer.json()["code"]) == (400, "bad_header")
    for headers in ({}, {"content-type": "text/plain"}):
        answer = shared_server.request("POST", stream, body=b"{}", headers=headers, basin=basin)
        assert (answer.status, answer.json()["code"]) == (400, "bad_json")
        assert "Content-Type: application/json" in answer.json()["message"]
    for body in (b"\xff", append_input(b"a")[:-1], b"\x1a\x01\xff"):
        answer = shared_server.request("POST", stream, body=body, headers=PROTOBUF, basin=basin)
        assert (answer.status, answer.json()["code"]) == (400, "bad_proto"), body
    answer = shared_server.request(
        "POST", stream, body=append_input(b"a", fencing_token="x" * 37), headers=PROTOBUF, basin=basin
    )
    assert (answer.status, answer.json()["code"]) == (422, "invalid")


def test_a_missing_stream_and_a_missing_basin(shared_server, basin, post):
    answer = post({"records": [{}]}, path="/v1/streams/none/records")
    assert (answer.status, answer.json()["code"]) == (404, "stream_not_found")
    answer = post({"records": [{}]}, name="no-such-basin")
    assert (answer.status, answer.json()["code"]) == (404, "basin_not_found")


def test_an_invalid_append_creates_no_stream(shared_server, post):
    name = shared_server.create_basin(create_stream_on_append=True)
    path = "/v1/streams/new/records"
    assert post({"records": []}, path=path, name=name).status == 422
    assert shared_server.request("GET", "/v1/streams", basin=name).json()["streams"] == []
    answers = []

    def append():
        answers.append(post({"records": [{}]}, path=path, name=name))

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.json()["start"]["seq_num"] for answer in answers) == list(range(8))


def test_conditions(post):
    assert post({"records": [{}], "match_seq_num": 0, "fencing_token": ""}).status == 200
    answer = post({"records": [{}], "match_seq_num": 0})
    assert (answer.status, answer.json()) == (412, {"seq_num_mismatch": 1})
    assert answer.headers["content-type"] == "application/json"
    fence = {"headers": [["", "fence"]], "body": "mine"}
    assert post({"records": [fence], "match_seq_num": 1}).status == 200
    answer = post({"records": [{}], "match_seq_num": 0, "fencing_token": "other"})
    assert (answer.status, answer.json()) == (412, {"fencing_token_mismatch": "mine"})
    assert post({"records": [{}], "fencing_token": "mine"}).status == 200
    # Fencing is cooperative.
    assert post({"records": [{}]}).status == 200
    answer = post({"records": [{**fence, "body": ""}], "fencing_token": ""})
    assert answer.json() == {"fencing_token_mismatch": "mine"}
    assert post({"records": [{**fence, "body": ""}], "fencing_token": "mine"}).status == 200
    assert post({"records": [{}], "fencing_token": ""}).status == 200


def test_trim(post, get):
    assert post({"records": [{"body": str(n)} for n in range(10)]}).status == 200

    def trim(point):
        body = base64.b64encode(struct.pack(">Q", point)).decode()
        headers = [["", base64.b64encode(b"trim").decode()]]
        return post({"records": [{"headers": headers, "body": body}]}, {"s2-format": "base64"})

    assert trim(4).status == 200
    assert [record["seq_num"] for record in get("seq_num=0").json()["records"]] == [*range(4, 11)]
    # It never moves back, and never beyond itself.
    assert trim(2).status == 200
    assert [record["seq_num"] for record in get("seq_num=0&count=1").json()["records"]] == [4]
    assert trim(1 << 60).json()["tail"]["seq_num"] == 13
    assert get("seq_num=0").json() == {"records": []}
    assert get("seq_num=13").json()["tail"]["seq_num"] == 13
    assert post({"records": [{"body": "after"}]}).json()["start"]["seq_num"] == 13
    assert [record["seq_num"] for record in get("seq_num=0").json()["records"]] == [13]


def test_timestamping_of_a_stream(shared_server, basin, post):
    require = shared_server.create_stream(basin, "require", timestamping={"mode": "client-require", "uncapped": True})
    path = f"/v1/streams/{require}/records"
    answer = post({"records": [{"timestamp": 1}, {}]}, path=path)
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["message"] == "record timestamp was required but was missing"
    largest = (1 << 64) - 1
    ack = post({"records": [{"timestamp": 1}, {"timestamp": largest}]}, path=path).json()
    assert ack["start"] == {"seq_num": 0, "timestamp": 1}
    assert ack["tail"] == {"seq_num": 2, "timestamp": largest}
    arrival = shared_server.create_stream(basin, "arrival", timestamping={"mode": "arrival"})
    ack = post({"records": [{"timestamp": 1}]}, path=f"/v1/streams/{arrival}/records").json()
    assert ack["start"]["timestamp"] > 1


def test_a_session_acks_in_order_and_ends_cleanly(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        assert session.status == 200
        assert session.headers["content-type"] == "s2s/proto"
        assert session.headers["cache-control"] == "no-cache, no-transform"
        session.append(b"one")
        assert session.ack() == (0, 1, 1)
        session.send(*[append_input(b"x" * n, b"y") for n in range(50)])
        ends = [session.ack() for _ in range(50)]
        assert [(start, end) for start, end, _ in ends] == [(1 + 2 * n, 3 + 2 * n) for n in range(50)]
        assert all(tail >= end for _, end, tail in ends)
        session.send(append_input(b"z"), append_input(b"z"))
        session.half_close()
        assert [session.ack()[1] for _ in range(2)] == [102, 103]
        assert session.frame() is None


def test_a_session_without_inputs_ends_without_frames(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.half_close()
        assert session.frame() is None


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_inputs_may_be_compressed(shared_server, basin, stream, compression, get):
    with open_append(shared_server, basin) as session:
        session.send(append_input(b"a" * 5000), append_input(b"b"), compression=compression)
        assert session.ack()[1] == 1
        assert session.ack()[1] == 2
    assert get("seq_num=0").json()["records"][0]["body"] == "a" * 5000


@pytest.mark.parametrize(
    ("bad", "status", "answer"),
    [
        (encode_frame(append_input(b"x", match_seq_num=7)), 412, {"seq_num_mismatch": 2}),
        (encode_frame(append_input(b"x", fencing_token="t")), 412, {"fencing_token_mismatch": ""}),
        (encode_frame(append_input()), 422, "invalid"),
        (encode_frame(append_input(b"x", fencing_token="t" * 37)), 422, "invalid"),
        (encode_frame(b"\xff\xff"), 400, "bad_frame"),
        (b"\x00\x00\x00\x00", 400, "bad_frame"),
        (b"\xff\xff\xff\x00", 400, "bad_frame"),
        (b"\x00\x00\x05\x60abcd", 400, "bad_frame"),
        (encode_terminal(500, b"{}"), 400, "bad_frame"),
    ],
)
def test_the_first_error_comes_after_all_acks_and_ends_the_session(
    shared_server, basin, stream, get, bad, status, answer
):
    with open_append(shared_server, basin) as session:
        session.append(b"a")
        assert session.ack() == (0, 1, 1)
        session.append(b"b")
        session.send_bytes(bad + encode_frame(append_input(b"poisoned")))
        assert session.ack() == (1, 2, 2)
        found_status, found = session.terminal()
        assert found_status == status
        assert (found if isinstance(answer, dict) else found["code"]) == answer
    assert [record["body"] for record in get("seq_num=0").json()["records"]] == ["a", "b"]


def test_a_body_that_ends_within_a_frame(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.send_bytes(encode_frame(append_input(b"a"))[:-1])
        session.half_close()
        assert session.terminal()[0] == 400


def test_what_was_accepted_before_a_disconnect_is_kept(shared_server, basin, stream, get):
    with open_append(shared_server, basin) as session:
        session.send(*[append_input(b"%d" % n) for n in range(100)])
        session.ack()
    until(lambda: get("tail_offset=0").json()["tail"]["seq_num"] == 100)


def test_an_open_that_fails_is_an_ordinary_response(shared_server, basin):
    with open_append(shared_server, basin, "none") as session:
        assert (session.status, session.body["code"]) == (404, "stream_not_found")


def test_a_session_of_a_deleted_stream_ends(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.append(b"a")
        session.ack()
        assert shared_server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
        session.append(b"b")
        status, body = session.terminal()
        assert (status, body["code"]) == (409, "stream_deletion_pending")


def test_a_client_that_keeps_sending_gets_the_terminal_frame(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.append(b"x", match_seq_num=9)
        stop = threading.Event()

        def send():
            frame = append_input(bytes(100_000))
            while not stop.is_set():
                try:
                    session.send(frame)
                except OSError:
                    return

        thread = threading.Thread(target=send)
        thread.start()
        try:
            assert session.terminal()[0] == 412
        finally:
            stop.set()
            thread.join()


def test_a_draining_server_acks_what_it_accepted_and_says_so(server):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as append, open_read(server, basin, "seq_num=0") as read:
        append.append(b"a")
        assert append.ack() == (0, 1, 1)
        assert read.batch()[1] is not None
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        for session in (append, read):
            advised = False
            while (frame := session.frame()).status is None:
                advised = frame.reconnect_advised
            assert frame.status == 503
            assert json.loads(frame.message)["code"] == "server_draining"
            assert advised or session is append  # whose last ack went before
        stopping.join()


def test_acks_of_a_draining_server_advise_to_reconnect(server):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        stopping = threading.Timer(0.05, server.stop)
        stopping.start()
        # So much that some of it is accepted and not acked when the drain begins.
        sent = 0
        with contextlib.suppress(OSError):
            while stopping.is_alive() and sent < 4000:
                session.append(b"x" * 10_000)
                sent += 1
        advised = acked = 0
        while (frame := session.frame()).status is None:
            acked += 1
            advised += frame.reconnect_advised
        assert json.loads(frame.message)["code"] == "server_draining"
        assert 0 < acked <= sent
        stopping.join()
    server.start()
    answer = server.request("GET", "/v1/streams/stream/records/tail", basin=basin)
    assert answer.json()["tail"]["seq_num"] == acked  # all that was accepted, and nothing else


def test_a_client_that_heeds_the_advice_of_a_draining_server_ends_its_session_itself(server):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        session.append(b"0")
        assert session.ack() == (0, 1, 1)
        server.process.send_signal(signal.SIGTERM)
        sent, advised = 1, False
        while not advised:
            session.append(b"%d" % sent)
            sent += 1
            frame = session.frame()
            assert frame.status is None
            advised = frame.reconnect_advised
        # All that comes after the advice is still taken, until the client is done; and nobody says 503.
        session.send(*[append_input(b"late")] * 100)
        session.half_close()
        for _ in range(100):
            frame = session.frame()
            assert (frame.status, frame.reconnect_advised) == (None, True)
        assert session.frame() is None
    assert server.process.wait(TIMEOUT_S) == 0
    server.start()
    answer = server.request("GET", "/v1/streams/stream/records/tail", basin=basin)
    assert answer.json()["tail"]["seq_num"] == sent + 100


def test_of_many_conditional_appends_one_wins(shared_server, basin):
    shared_server.create_stream(basin)
    rounds, writers, connections = 4, 1000, 20

    def race(place):
        """The positions that `writers` appends to one place got, or were told to be the next."""
        won, told = [], []

        def write():
            connection = http.client.HTTPConnection(shared_server.host, shared_server.port, timeout=TIMEOUT_S)
            body = json.dumps({"records": [{"body": "x"}, {"body": "y"}], "match_seq_num": place})
            for _ in range(writers // connections):
                headers = {"content-type": "application/json", "s2-basin": basin}
                connection.request("POST", "/v1/streams/stream/records", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status == 200:
                    won.append(answer["start"]["seq_num"])
                else:
                    assert response.status == 412
                    told.append(answer["seq_num_mismatch"])
            connection.close()

        threads = [threading.Thread(target=write) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return won, told

    for place in range(0, 2 * rounds, 2):
        won, told = race(place)
        assert won == [place]
        assert told == [place + 2] * (writers - 1)


def test_commands_mean_the_same_in_every_form(shared_server, basin):
    for form in ("json", "base64", "protobuf", "session"):
        shared_server.create_stream(basin, form)
        path = f"/v1/streams/{form}/records"
        fence, trim = (b"fence", b"token"), (b"trim", (1).to_bytes(8, "big"))
        for command, body in (fence, trim):
            if form == "session":
                with open_append(shared_server, basin, form) as session:
                    session.append((None, [(b"", command)], body))
                    session.ack()
                continue
            if form == "protobuf":
                sent = append_input((None, [(b"", command)], body))
                headers = {"content-type": "application/protobuf"}
            else:
                encode = bytes.decode if form == "json" else lambda data: base64.b64encode(data).decode()
                record = {"headers": [["", encode(command)]], "body": encode(body)}
                sent = json.dumps({"records": [record]}).encode()
                headers = {"content-type": "application/json", "s2-format": "raw" if form == "json" else form}
            answer = shared_server.request("POST", path, basin=basin, body=sent, headers=headers)
            assert answer.status == 200, answer
        refused = {"records": [{"body": "x"}], "fencing_token": "other"}
        answer = shared_server.request("POST", path, basin=basin, json_body=refused)
        assert (answer.status, answer.json()) == (412, {"fencing_token_mismatch": "token"})
        first = shared_server.request("GET", f"{path}?seq_num=0", basin=basin).json()["records"][0]
        assert first["seq_num"] == 1


def test_bulk_through_many_streams_at_once_is_exact(shared_server, basin):
    def load(name):
        shared_server.create_stream(basin, name)
        with open_append(shared_server, basin, name) as session:
            for number in range(60):
                session.append(*[b"%s %d %d" % (name.encode(), number, at) + bytes(900) for at in range(100)])
            for number in range(60):
                assert session.ack()[:2] == (number * 100, number * 100 + 100)
        with open_read(shared_server, basin, "seq_num=0&count=1000000", name) as session:
            records = session.records()
        assert [seq_num for seq_num, _ in records] == list(range(6000))
        expected = [b"%s %d %d" % (name.encode(), at // 100, at % 100) + bytes(900) for at in range(6000)]
        assert [body for _, body in records] == expected
        done.append(name)

    done = []
    threads = [threading.Thread(target=load, args=(f"bulk-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4


def test_a_body_that_never_comes_does_not_hold_the_others(shared_server, basin, stream, post):
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as silent:
        silent.sendall(
            f"POST {stream} HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode()
        )
        assert post({"records": [{}]}).status == 200


class HeldStore:
    """An engine that gets appends only when it is told to."""

    def __init__(self, store):
        self.__dict__.update(store=store, held=[], holding=threading.Event())

    def __getattr__(self, name):
        return getattr(self.store, name)

    def __setattr__(self, name, value):
        setattr(self.store, name, value)

    def append(self, append):
        if self.holding.is_set():
            self.held.append(append)
        else:
            self.store.append(append)

    def release(self):
        self.holding.clear()
        for append in self.held:
            self.store.append(append)


@pytest.fixture
def held(make_thread_server):
    """A server with a basin and a stream, and its store, which has begun to hold."""
    stores = []

    async def open_store(path):
        stores.append(HeldStore(await SqliteStore.open(path)))
        return stores[0]

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)
    stores[0].holding.set()
    yield server, basin, stores[0]
    server.loop.call_soon_threadsafe(stores[0].release)


def test_a_refusal_waits_for_what_it_observed(held):
    server, basin, store = held
    answers = []

    def post(value):
        answer = server.request("POST", "/v1/streams/stream/records", json_body=value, basin=basin)
        answers.append(answer.json())

    waiting = [threading.Thread(target=post, args=({"records": [{}, {}]},))]
    waiting[0].start()
    until(lambda: store.held)
    waiting.append(threading.Thread(target=post, args=({"records": [{}], "match_seq_num": 0},)))
    waiting[1].start()
    with open_append(server, basin) as session:
        session.append(b"x", fencing_token="t")
        # Neither the tail nor a reader knows of what is not durable.
        tail = server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()
        assert tail == {"tail": {"seq_num": 0, "timestamp": 0}}
        assert answers == []
        server.loop.call_soon_threadsafe(store.release)
        assert session.terminal() == (412, {"fencing_token_mismatch": ""})
    for thread in waiting:
        thread.join()
    assert {"seq_num_mismatch": 2} in answers
    assert [answer["end"]["seq_num"] for answer in answers if "end" in answer] == [2]


def test_a_session_is_not_read_beyond_what_may_be_pending(held, monkeypatch):
    server, basin, store = held
    hold_reading = Http1Connection.hold_reading
    holding = []

    def noted(connection):
        hold_reading(connection)
        holding.append(connection)

    monkeypatch.setattr(Http1Connection, "hold_reading", noted)
    done = threading.Event()
    with open_append(server, basin) as session:

        def send():
            for _ in range(40):
                session.append(bytes(1_000_000))
            done.set()

        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: sum(len(append.chunk.data) for append in store.held) >= 2 << 20)
        # Then nothing is read of what the client would send.
        until(lambda: any(connection.holds_reading for connection in holding))
        assert not done.is_set()
        assert len(store.held) <= 3
        # Others go on: the bound is the stream's.
        server.create_stream(basin, "other")
        server.loop.call_soon_threadsafe(store.release)
        assert [session.ack()[1] for _ in range(40)] == list(range(1, 41))
        sending.join()


def test_a_full_disk_is_said_and_survived(make_thread_server, tmp_path):
    stores = []

    async def open_store(path):
        stores.append(await SqliteStore.open(path))
        return stores[0]

    server = make_thread_server(data=tmp_path / "data", open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)

    def limit_pages(spare):
        def run(connection):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + spare}").fetchall()

        asyncio.run_coroutine_threadsafe(stores[0].change(run), server.loop).result(TIMEOUT_S)

    with open_append(server, basin) as session, open_read(server, basin, "seq_num=0") as follower:
        found = []
        for number in range(1, 6):
            session.append(bytes(1_000_000))
            session.ack()
            while len(found) < number:
                found += ReadBatch.FromString(follower.frame().message).records
        limit_pages(10)
        session.append(bytes(1_000_000))
        session.append(b"behind it")
        status, body = session.terminal()
        assert (status, body["code"]) == (500, "storage")
        assert "disk is full" in body["message"]
        while (frame := follower.frame()).status is None:
            found += ReadBatch.FromString(frame.message).records
        assert len(found) == 5
        assert (frame.status, json.loads(frame.message)["code"]) == (503, "unavailable")
    assert server.request("GET", "/health").status == 503
    path = "/v1/streams/stream/records"
    answer = server.request("POST", path, json_body={"records": [{"body": "small"}]}, basin=basin)
    assert answer.json()["start"]["seq_num"] == 5
    assert server.request("GET", "/health").status == 200
    trim = (None, [(b"", b"trim")], (5).to_bytes(8, "big"))
    assert server.request("POST", path, body=append_input(trim), headers=PROTOBUF, basin=basin).status == 200
    with open_append(server, basin) as session:
        for number in range(3):
            session.append(bytes(1_000_000))
            assert session.ack()[:2] == (7 + number, 8 + number)


def test_a_session_whose_client_takes_no_acks_ends_when_it_is_told_to(make_thread_server, caplog):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    full = threading.Event()
    is_blocked = Http1Exchange.is_blocked

    def noted(exchange):
        blocked = is_blocked.fget(exchange)
        if blocked:
            full.set()
        return blocked

    inputs = [append_input(b"")] * 1000

    def flood(session):
        with contextlib.suppress(OSError):
            while True:
                session.send(*inputs)

    with pytest.MonkeyPatch.context() as patch, open_append(server, basin) as session:
        patch.setattr(Http1Exchange, "is_blocked", property(noted))
        flooding = threading.Thread(target=flood, args=(session,), daemon=True)
        flooding.start()
        assert full.wait(TIMEOUT_S)
        server.stop()
    flooding.join(TIMEOUT_S)
    assert "did not end in time" not in caplog.text
