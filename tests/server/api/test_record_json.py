"""What is made of large chunks for readers: the same text as ever, in small steps, one reader after the other."""

import base64
import json
import re
import socket
from pathlib import Path

import httpx
import pytest
from support.s2s import append_input, open_append
from support.sse import open_events
from support.waiting import TIMEOUT_S

from s2cli.server.api.framing import Cursor
from s2cli.server.api.read_query import parse_read_query
from s2cli.server.api.record_json import HEADERS_IN_A_ROW, TEXT_IN_A_ROW, expansion, render_batch
from s2cli.server.core.range_scan import Limits
from s2cli.server.core.turnstile import in_one_go
from s2cli.server.http.memory_budget import MIB
from s2cli.server.store.interface import Chunk
from s2cli.wire.frames import encode_frame
from s2cli.wire.s2_pb2 import Header, ReadBatch

READERS = 20
LIMIT_BYTES = 16 * MIB
# What the budget lets readers have, and what the answer that is being made takes beside it. All of them at once would
# take twice as much.
MAX_GROWTH_BYTES = LIMIT_BYTES + 48 * MIB
READ = "/v1/streams/stream/records"


@pytest.fixture
def small(make_server):
    """A server with little memory, and a stream: `(server, basin)`."""
    server = make_server(data=None, options=("--memory-limit", str(LIMIT_BYTES)))
    basin = server.create_basin()
    server.create_stream(basin)
    return server, basin


def peak_bytes(server):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) * 1024


def send(server, head):
    connection = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
    connection.sendall(head.encode())
    return connection


class Uncounted:
    read_records = read_bytes = 0


def chunk_of(body=b"", headers=0):
    batch = ReadBatch()
    record = batch.records.add(seq_num=7, timestamp=9, body=body)
    for _ in range(headers):
        record.headers.add(name=b"a")
    return Chunk(7, 1, 8 + len(body) + 3 * headers, 9, batch.SerializeToString())


def rendered(chunk, *, as_base64=False):
    return b"".join(in_one_go(render_batch([chunk.data], None, as_base64=as_base64)).pieces)


def count_of(steps):
    return sum(1 for _ in steps)


@pytest.mark.parametrize(
    "body",
    [
        b"\x01" * (3 * TEXT_IN_A_ROW + 1),
        ("x" + "\U0001f600" * TEXT_IN_A_ROW).encode(),
        b'\xff"\\\x00\xf0\x9f' * TEXT_IN_A_ROW,
        b"x" * TEXT_IN_A_ROW,
    ],
)
def test_long_text_is_the_same_in_pieces(body):
    chunk = chunk_of(body)
    payload = rendered(chunk)
    (record,) = json.loads(payload)["records"]
    assert record == {"seq_num": 7, "timestamp": 9, "body": body.decode("utf-8", "replace")}
    assert len(payload) <= len(chunk.data) * expansion(as_base64=False) + 100


def test_many_headers_are_the_same_in_pieces():
    for headers in (HEADERS_IN_A_ROW, HEADERS_IN_A_ROW + 1, 10_001, 100_000):
        for body in (b"", b"x", b"x" * 2 * TEXT_IN_A_ROW):
            (record,) = json.loads(rendered(chunk_of(body, headers)))["records"]
            expected = {"seq_num": 7, "timestamp": 9, "headers": [["a", ""]] * headers, "body": body.decode()}
            assert record == {name: value for name, value in expected.items() if value}


def test_long_bodies_are_the_same_in_base64():
    body = bytes(range(256)) * 2000
    (record,) = json.loads(rendered(chunk_of(body), as_base64=True))["records"]
    assert base64.b64decode(record["body"], validate=True) == body


@pytest.mark.parametrize("size", [0, 100, 1000, 20_000])
def test_many_records_are_the_same_in_steps(size):
    batch = ReadBatch()
    for number in range(500):
        record = batch.records.add(seq_num=number, timestamp=9, body=b"x" * size)
        for _ in range(number % 7):
            record.headers.add(name=b"a", value=b"b")
    data = batch.SerializeToString()
    made = in_one_go(render_batch([data, data], (1000, 9), as_base64=False))
    assert (made.record_count, made.last_seq_num) == (1000, 499)
    got = json.loads(b"".join(made.pieces))
    assert got["tail"] == {"seq_num": 1000, "timestamp": 9}
    texts = [(one["seq_num"], one.get("headers", []), one.get("body", "")) for one in got["records"]]
    assert texts == [(number, [["a", "b"]] * (number % 7), "x" * size) for number in range(500)] * 2


def test_what_takes_long_is_made_in_steps():
    many, control = chunk_of(headers=300_000), chunk_of(b"\x01" * 1_000_000)
    assert count_of(render_batch([many.data], None, as_base64=False)) > 100
    assert count_of(render_batch([control.data], None, as_base64=False)) > 7
    few_each = ReadBatch()
    for number in range(1000):
        few_each.records.add(seq_num=7 + number, timestamp=9).headers.extend([Header(name=b"a")] * 300)
    several = Chunk(7, 1000, 908_000, 9, few_each.SerializeToString())
    assert count_of(render_batch([several.data], None, as_base64=False)) > 100
    query = parse_read_query(b"seq_num=0&bytes=100000")
    assert count_of(Limits(query, Uncounted()).steps(many, 0)) > 50
    query = parse_read_query(b"seq_num=0&bytes=900000")
    assert count_of(Limits(query, Uncounted()).steps(several, 0)) > 50
    assert count_of(Cursor([many], 0, Limits(query, Uncounted())).message()) > 50


@pytest.mark.parametrize("http1", [True, False])
def test_a_large_answer_is_whole_however_slowly_it_is_taken(shared_server, basin, http1):
    shared_server.create_stream(basin)
    append_control_characters(shared_server, basin, 1)
    url = f"{shared_server.url}{READ}?seq_num=0&count=1"
    headers = {"s2-basin": basin, "accept-encoding": "identity"}
    with (
        httpx.Client(http1=http1, http2=not http1, trust_env=False, timeout=TIMEOUT_S) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.http_version == ("HTTP/1.1" if http1 else "HTTP/2")
        pieces = list(answer.iter_raw(4096))
        assert sum(map(len, pieces)) == int(answer.headers["content-length"]) > 6_000_000
        assert json.loads(b"".join(pieces))["records"][0]["body"] == "\x01" * 1_000_000
        head = client.head(url, headers=headers)
        assert (head.headers["content-length"], head.content) == (answer.headers["content-length"], b"")
        packed = client.get(url, headers=headers | {"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == b"".join(pieces)


def test_the_last_event_of_a_bounded_read_is_whole_where_its_client_takes_it_slowly(shared_server, basin):
    """Its beginning has filled what there is room for, and its end has to wait."""
    shared_server.create_stream(basin)
    bodies = [b"%d" % number * 65_536 for number in range(10)]
    with open_append(shared_server, basin) as session:
        for _ in range(20):
            session.append(*bodies)
            session.ack()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT_S)
        connection.connect((shared_server.host, shared_server.port))
        connection.sendall(
            f"GET {READ}?seq_num=0&count=200 HTTP/1.0\r\nhost: x\r\ns2-basin: {basin}\r\n"
            "accept: text/event-stream\r\ns2-format: base64\r\n\r\n".encode()
        )
        data = b""
        while piece := connection.recv(4096):
            data += piece
    events = data.partition(b"\r\n\r\n")[2].split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    batches = [json.loads(event.partition(b"data: ")[2]) for event in events if event.startswith(b"event: batch")]
    found = [base64.b64decode(record["body"]) for batch in batches for record in batch["records"]]
    assert found == bodies * 20


def append_control_characters(server, basin, times):
    with open_append(server, basin) as session:
        for _ in range(times):
            session.send_bytes(encode_frame(append_input(b"\x01" * 1_000_000)))
            session.ack()


def test_all_who_wait_for_a_batch_do_not_get_it_at_once(small):
    server, basin = small
    began_bytes = peak_bytes(server)
    head = f"GET {READ}?seq_num=0&wait=60 HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\nconnection: close\r\n\r\n"
    waiting = [send(server, head) for _ in range(READERS)]
    try:
        assert server.request("GET", "/health").status == 200  # behind them
        append_control_characters(server, basin, 1)
        with waiting[0].makefile("rb") as answer:
            whole = answer.read()
        assert json.loads(whole.partition(b"\r\n\r\n")[2])["records"][0]["body"] == "\x01" * 1_000_000
        assert server.request("GET", f"{READ}?seq_num=0", basin=basin).status == 200
    finally:
        for connection in waiting:
            connection.close()
    assert peak_bytes(server) - began_bytes < MAX_GROWTH_BYTES


def test_followers_of_large_batches_get_them_one_after_the_other(small):
    server, basin = small
    began_bytes = peak_bytes(server)
    head = f"GET {READ}?tail_offset=0 HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\naccept: text/event-stream\r\n\r\n"
    following = [send(server, head) for _ in range(READERS)]
    try:
        for connection in following:
            assert connection.recv(12) == b"HTTP/1.1 200"
        with open_events(server, basin, "seq_num=0") as events:
            append_control_characters(server, basin, 3)
            got = 0
            while got < 3:
                name, _, data = events.event()
                if name == "batch":
                    got += len(json.loads(data)["records"])
    finally:
        for connection in following:
            connection.close()
    assert peak_bytes(server) - began_bytes < MAX_GROWTH_BYTES
