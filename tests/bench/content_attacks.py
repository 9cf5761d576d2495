"""Attacks whose cost lies in what is sent or read: rows of attacks.py."""

import contextlib
import gzip
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection

import zstandard
from attacked_server import BASIN, MIB, RECORDS, Server, head, repeatedly
from hpack import Encoder
from http2_attacks import END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, settings

JSON = "content-type: application/json"
PROTOBUF = "content-type: application/protobuf"
GZIP = "content-encoding: gzip"
ALL = "?seq_num=0&count=1000"


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def append_of(record: bytes) -> bytes:
    """An AppendInput with one record, whose bytes these are."""
    return field(1, record)


def post(stream: str, body: bytes, *fields: str) -> bytes:
    return head("POST", RECORDS.format(stream), f"content-length: {len(body)}", *fields) + body


def put_down(server: Server, stream: str, message: bytes) -> None:
    """Appends it, in order that it can be read."""
    with contextlib.closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        headers = {"s2-basin": BASIN, "content-type": "application/protobuf"}
        connection.request("POST", RECORDS.format(stream), message, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200


def half_sent(server: Server, payload: bytes, count: int) -> Iterator[object]:
    """Connections that send what the kernel takes at once, and then nothing."""
    for _ in range(count):
        connection = server.connect()
        connection.setblocking(False)
        data = payload
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[connection.send(data) :]
        yield connection


def inflated_bodies(server: Server, until_s: float) -> Iterator[object]:
    """1000 bodies in gzip that are 2 MiB."""
    body = gzip.compress(b'{"records":[{"body":"x"}]}' + b" " * (2 * MIB - 40))
    yield from half_sent(server, post("beside", body, JSON, GZIP), 1000)


def inflated_frames(server: Server, until_s: float) -> Iterator[object]:
    """400 append sessions with 20 frames in zstd that are a megabyte each."""
    message = zstandard.compress(append_of(field(3, bytes(1_000_000))))
    body = ((len(message) + 1).to_bytes(3, "big") + b"\x20" + message) * 20
    begin = head("POST", RECORDS.format("beside"), "content-type: s2s/proto", "transfer-encoding: chunked")
    yield from half_sent(server, begin + b"%x\r\n%b\r\n" % (len(body), body), 400)


def bodies(server: Server, until_s: float) -> Iterator[object]:
    """2500 bodies of 200 kB in JSON, at once."""
    body = b'{"records":[{"body":"' + b"x" * 200_000 + b'"}]}'
    yield from half_sent(server, post("beside", body, JSON), 2500)


def waiting_reads(server: Server, until_s: float, accept: str) -> Iterator[object]:
    """1000 single reads that wait, and then three megabytes of control characters, six times as long in JSON."""
    for _ in range(1000):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("polled") + "?wait=60&count=1000&tail_offset=0", accept))
        yield connection
    for _ in range(3):
        put_down(server, "polled", append_of(field(3, b"\x01" * 1_000_000)))


def followers(server: Server, until_s: float, *fields: str) -> Iterator[object]:
    """500 followers of a stream to which a megabyte is appended, again and again."""
    for _ in range(500):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("followed") + "?tail_offset=0", *fields))
        yield connection
    while time.monotonic() < until_s:
        put_down(server, "followed", append_of(field(3, os.urandom(500_000).hex().encode())))
        yield None


def reads(server: Server, until_s: float, record: bytes, query: str, *fields: str) -> Iterator[object]:
    """40 connections that read one record, again and again."""
    put_down(server, "read", append_of(record))
    yield from repeatedly(server, [head("GET", RECORDS.format("read") + query, *fields)] * 40, until_s)


def appends(server: Server, until_s: float, record: bytes) -> Iterator[object]:
    """40 connections that append one record in gzip, again and again."""
    body = gzip.compress(append_of(record))
    yield from repeatedly(server, [post("beside", body, PROTOBUF, GZIP)] * 40, until_s)


def heads_h2(server: Server, until_s: float) -> Iterator[object]:
    """60 connections of HTTP/2 with 200 requests each, whose heads are 55 kB by reference to the table of headers."""
    path = RECORDS.format("beside") + "?tail_offset=0&wait=60"
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
    fields += [("s2-basin", BASIN), ("accept", "text/event-stream")] + [("x-a", "y" * 3900)] * 14
    # The same bytes each time: the last of its headers has put all others out of the table.
    block = Encoder().encode(fields, huffman=False)
    heads = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, block) for stream in range(1, 400, 2))
    for _ in range(60):
        connection = server.connect()
        with contextlib.suppress(OSError):
            connection.sendall(PREFACE + settings() + heads)
        yield connection


def small_records(server: Server, until_s: float) -> Iterator[object]:
    """5 append sessions full of records of 10 bytes, a thousand to a frame, whose acks nobody takes."""
    message = append_of(field(3, b"x" * 10)) * 1000
    frame = (len(message) + 1).to_bytes(3, "big") + b"\0" + message
    chunk = b"%x\r\n%b\r\n" % (len(frame), frame)

    def send(number: int) -> None:
        with contextlib.suppress(OSError), server.connect() as connection:
            path = RECORDS.format(f"small-{number}")
            connection.sendall(head("POST", path, "content-type: s2s/proto", "transfer-encoding: chunked"))
            while time.monotonic() < until_s:
                connection.settimeout(max(0.1, until_s - time.monotonic()))
                connection.sendall(chunk)

    threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(5)]
    for thread in threads:
        thread.start()
    yield threads


MANY_HEADERS = field(2, field(1, b"a")) * 349_000
CONTROLS = field(3, b"\x01" * 1_000_000)
SSE = "accept: text/event-stream"

ATTACKS = {
    "inflated-bodies": inflated_bodies,
    "inflated-frames": inflated_frames,
    "bodies": bodies,
    "waits-json": partial(waiting_reads, accept="accept: application/json"),
    "waits-gzip": partial(waiting_reads, accept="accept-encoding: gzip"),
    "waits-proto": partial(waiting_reads, accept="accept: application/protobuf"),
    "sse-followers": lambda server, until_s: followers(server, until_s, SSE),
    "zstd-followers": lambda server, until_s: followers(
        server, until_s, "content-type: s2s/proto", "accept-encoding: zstd"
    ),
    "reads-controls": lambda server, until_s: reads(server, until_s, CONTROLS, ALL),
    "reads-headers": lambda server, until_s: reads(server, until_s, MANY_HEADERS, ALL),
    "reads-sse": lambda server, until_s: reads(server, until_s, MANY_HEADERS, "?seq_num=0&count=2", SSE),
    "reads-cut": lambda server, until_s: reads(server, until_s, MANY_HEADERS, "?seq_num=0&bytes=1000000"),
    "appends-headers": partial(appends, record=MANY_HEADERS),
    "appends-empty": partial(appends, record=field(2, b"") * 1_040_000),
    "heads-h2": heads_h2,
    "small-records": small_records,
}
