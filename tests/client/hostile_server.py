#!/usr/bin/env python3
"""A server that answers with whatever bytes would hurt a client most, and the attacks that it knows.

hostile_server.py [S2…]     every attack against each of these commands: how it ended, how long it took, peak memory
"""

import argparse
import contextlib
import gzip
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from s2cli.wire.frames import encode_terminal, frame_header
from s2cli.wire.protobuf import encode_ack, encode_records, encode_tail

MIB = 1 << 20
TAIL = 1_000_000
MANY = 150
LIMIT_S2S = 100 * MIB
LIMIT_JSON = 300 * MIB
PROMPT_S = 60.0

Pieces = Iterator[bytes]


class HostileServer:
    """Answers questions for the tail as it should, and every other request with the bytes of `attack`, which may have
    no end; then it closes. With `also_tail` those too."""

    def __init__(self, attack: Callable[[], Pieces], also_tail: bool = False) -> None:
        self._attack = attack
        self._also_tail = also_tail
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def env(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.port}"
        return {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "t"}

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # of the close alone the thread hears nothing
        self._listener.close()
        self._thread.join(PROMPT_S)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(PROMPT_S)
        with client, contextlib.suppress(OSError):
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    head += piece
                if b"/tail HTTP" not in head or self._also_tail:
                    break
                client.sendall(answer(json.dumps({"tail": {"seq_num": TAIL, "timestamp": 5}}).encode()))
            for piece in self._attack():
                client.sendall(piece)


# Parts of answers


def answer(body: bytes, headers: str = "content-type: application/json\r\n", status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def endless(headers: str = "", status: int = 200) -> bytes:
    """The head of an answer whose body ends with the connection."""
    return f"HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}\r\n".encode()


SESSION = endless("content-type: s2s/proto\r\n")
EVENTS = endless("content-type: text/event-stream\r\n")


def frame(message: bytes, flag: int = 0) -> bytes:
    return frame_header(len(message), flag) + message


def zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


def bomb(coding: str, size: int) -> bytes:
    """So many bytes of nothing, compressed as far as it goes, without having them all at once."""
    if coding == "zstd":
        compressor = zstandard.ZstdCompressor(level=19).compressobj()
    else:
        compressor = zlib.compressobj(9, wbits=31)
    block = bytes(MIB)
    return b"".join([*(compressor.compress(block) for _ in range(size // MIB)), compressor.flush()])


def for_ever(head: bytes, *pieces: bytes) -> Callable[[], Pieces]:
    return lambda: itertools.chain([head], itertools.cycle(pieces))


def once(*pieces: bytes) -> Callable[[], Pieces]:
    return lambda: iter(pieces)


def compressible_session(flag: int, compress: Callable[[bytes], bytes]) -> Callable[[], Pieces]:
    """What an honest server sends of MANY records of a megabyte that compress well: 50 bytes each, or 1 kB by gzip."""

    def attack() -> Pieces:
        messages = (encode_records([bytes(MIB - 8)], seq_num, 5) for seq_num in range(MANY))
        return iter((SESSION, b"".join(frame(compress(message), flag) for message in messages)))

    return attack


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def record_of_headers(count: int) -> bytes:
    headers = b"\x1a\x00" * count
    return b"\x0a" + varint(len(headers)) + headers


def event(data: bytes, name: bytes = b"batch") -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"


def filled(start: bytes, filling: bytes, end: bytes, size: int = 15 * MIB) -> bytes:
    """JSON of that size: as many values as fit."""
    return start + b",".join([filling] * (size // (len(filling) + 1))) + end


def h2_head(status: int, *flags: str) -> bytes:
    head = HeadersFrame(1, Encoder().encode([(":status", str(status))]), flags=flags)
    return head.serialize()


def h2_continued() -> Pieces:
    """A head in frames as large as the client lets them be, which does not end."""
    yield SettingsFrame(0).serialize()
    yield h2_head(200)
    yield from itertools.repeat(ContinuationFrame(1, bytes(MIB)).serialize())


def h2(*frames: Frame | bytes) -> Callable[[], Pieces]:
    parts = [part if isinstance(part, bytes) else part.serialize() for part in frames]
    return lambda: itertools.chain([SettingsFrame(0).serialize()], itertools.cycle(parts))


DIGITS = b"9" * 5000
WIDE = "é😀".encode() * (2 * MIB)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" * 100
NAMES = b'{"basins":[{"name":"abcdefgh"}],"has_more":true}'
READ = ("read", "s2://some-basin/stream")
FOLLOW = (*READ, "--follow", "--max-outage", "1s")
EVENT_READ = (*READ, "--transport", "sse")
CALL_READ = (*READ, "--transport", "unary")
LIST = ("basins", "list")
ACK = encode_ack(TAIL, 5, TAIL + 1, 5, TAIL + 1, 5)


class Case:
    """One attack: the command that walks into it, and how it must end, which is with `code`, and `said` on stderr."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        attack: Callable[[], Pieces],
        code: int = 1,
        said: str = "",
        *,
        limit: int = LIMIT_JSON,
        also_tail: bool = False,
    ) -> None:
        self.name = name
        self.command = command
        self.attack = attack
        self.code = code
        self.said = said
        self.limit = limit
        self.also_tail = also_tail

    def __repr__(self) -> str:
        return self.name


def session(name: str, attack: Callable[[], Pieces], code: int = 1, said: str = "", *options: str) -> Case:
    return Case("s2s: " + name, (*READ, *options), attack, code, said, limit=LIMIT_S2S)


def append(name: str, transport: str, attack: Callable[[], Pieces], said: str, code: int = 1) -> Case:
    lines = str(Path(__file__).with_name("conftest.py"))
    command = ("append", READ[1], lines, "--transport", transport)
    return Case("append: " + name, command, attack, code, said, limit=LIMIT_S2S)


CASES = [
    # Frames
    session("compressible records, zstd", compressible_session(0x20, zstd), 0, "", "-n", str(MANY)),
    session("compressible records, gzip", compressible_session(0x40, gzip.compress), 0, "", "-n", str(MANY)),
    session("compressible records, as JSON", compressible_session(0x20, zstd), 0, "", "-n", str(MANY), "-o", "json"),
    session("zstd bomb", once(SESSION, frame(bomb("zstd", 64 * MIB), 0x20)), 1, "inflates to more than"),
    session("gzip bomb", once(SESSION, frame(bomb("gzip", 64 * MIB), 0x40)), 1, "inflates to more than"),
    session("no such compression", once(SESSION, frame(b"x", 0x60)), 1, "compressed in a way that does not exist"),
    session("frame of no length", once(SESSION, b"\0\0\0\0"), 1, "a frame says that it has 0 bytes"),
    session("frame of 16 MiB", for_ever(SESSION + b"\xff\xff\xff\0", bytes(MIB)), 1, "16777215 bytes"),
    session("reserved bits", once(SESSION, frame(encode_records([b"a"], 0, 5), 0x0F)), 0, "", "-n", "1"),
    session("heartbeats without end", for_ever(SESSION, frame(encode_tail(TAIL + 9, 5)) * 1000), 1, "heartbeats"),
    session("empty messages without end", for_ever(SESSION, frame(b"") * 1000), 1, "heartbeats"),
    session("a million records in a frame", once(SESSION, frame(b"\x0a\x00" * (MIB - 1))), 1, "1048575 records"),
    session("the same, longer tags", once(SESSION, frame(b"\x8a\x00\x00" * (MIB // 2))), 1, "records"),
    session("a million bodies in a frame", once(SESSION, frame(b"\x0a\x04\x22\x02ab" * 349_000)), 1, "349000 records"),
    session("a million headers in a frame", once(SESSION, frame(record_of_headers(MIB - 9))), 1, "headers"),
    session("refusal of a megabyte", once(SESSION, frame(b"\x01\x90" + b'{"message":"' + b"x" * MIB, 0x80)), 7),
    # HTTP
    session("100 Continue without end", for_ever(b"", CONTINUE), 1, "before the real one"),
    session("a protocol nobody asked for", for_ever(b"", b"HTTP/1.1 101 X\r\n\r\n"), 1, "101"),
    session("a head without end", for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), 1, "does not end"),
    session("a header without end", for_ever(b"HTTP/1.1 200 OK\r\na: ", b"b" * 65536), 1, "does not end"),
    session(
        "trailers without end",
        for_ever(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 1000),
        1,
        "trailers do not end",
    ),
    session(
        "a chunk extension without end",
        for_ever(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;", b"a" * 65536),
        1,
        "does not end",
    ),
    session("a length of 5000 digits", once(answer(b"", f"content-length: {DIGITS.decode()}\r\n")), 1, "length"),
    session("a refusal without end", for_ever(endless(status=400), b"x" * 65536), 1, "longer than"),
    session(
        "a wait of 5000 digits",
        once(answer(b'{"code":"quota_exhausted","message":"m"}', f"retry-after: {DIGITS.decode()}\r\n", 403)),
        4,
    ),
    Case("s2s: follow, heartbeats", FOLLOW, for_ever(SESSION, frame(encode_tail(9, 5)) * 1000), limit=LIMIT_S2S),
    Case("h2: a head without end", (*READ, "--follow", "--http2"), h2_continued, said="head", limit=LIMIT_S2S),
    Case(
        "h2: 100 Continue without end",
        (*READ, "--follow", "--http2"),
        h2(h2_head(100, "END_HEADERS")),
        limit=LIMIT_S2S,
    ),
    Case(
        "h2: questions without end",
        ("check-tail", READ[1], "--http2"),
        h2(PingFrame(0, bytes(8)).serialize() * 1000),
        6,
        limit=LIMIT_S2S,
        also_tail=True,
    ),
    # Single calls
    Case("unary: gzip bomb", CALL_READ, once(answer(bomb("gzip", 512 * MIB), "content-encoding: gzip\r\n"))),
    Case("unary: zstd bomb", CALL_READ, once(answer(bomb("zstd", 2048 * MIB), "content-encoding: zstd\r\n"))),
    Case("unary: an answer without end", CALL_READ, for_ever(endless(), b"x" * 65536), 1, "longer than"),
    Case("unary: a million records", CALL_READ, once(answer(b"\x0a\x00" * (MIB - 1))), 1, "records"),
    # Events
    Case("sse: comments without end", EVENT_READ, for_ever(EVENTS, b": nothing\n" * 5000), 1, "an event of more"),
    Case("sse: a line without end", EVENT_READ, for_ever(EVENTS, b"x" * 65536), 1, "an event of more"),
    Case("sse: an event without end", EVENT_READ, for_ever(EVENTS, b"data: x\n" * 5000), 1, "an event of more"),
    Case("sse: pings without end", EVENT_READ, for_ever(EVENTS, event(b"{}", b"ping") * 1000), 1, "heartbeats"),
    Case("sse: objects", EVENT_READ, once(EVENTS, event(filled(b'{"records":[', b"{}", b"]}"))), 1, "not a batch"),
    Case("sse: lists", EVENT_READ, once(EVENTS, event(filled(b'{"x":[', b"[]", b"]}"))), 1, "not a batch"),
    Case("sse: wide text", EVENT_READ, once(EVENTS, event(b'{"x":"' + WIDE + b'"}')), 1, "not a batch"),
    Case("sse: nesting", EVENT_READ, once(EVENTS, event(b"[" * 1_000_000)), 1, "not a batch"),
    Case("sse: 5000 digits", EVENT_READ, once(EVENTS, event(b'{"records":[' + DIGITS + b"]}")), 1, "not a batch"),
    Case(
        "sse: 5000 records",
        EVENT_READ,
        once(EVENTS, event(filled(b'{"records":[', b'{"seq_num":0,"timestamp":0}', b"]}", 140_000))),
        1,
        "records",
    ),
    # Acknowledgements
    append("an ack for others", "s2s", once(SESSION, frame(ACK)), "acknowledged"),
    append("an ack for others, by itself", "auto", once(SESSION, frame(ACK)), "acknowledged"),
    append("acks without end, by itself", "auto", for_ever(SESSION, frame(b"") * 1000), "acknowledged"),
    append("acks without end", "s2s", for_ever(SESSION, frame(b"") * 1000), "acknowledged"),
    append("a session that ends well", "s2s", once(SESSION, encode_terminal(200, b"")), "ended the session"),
    append("a page", "unary", once(answer(b"<html>" * 99)), "not a valid ack"),
    append("an answer without end", "unary", for_ever(endless(), b"x" * 65536), "longer than"),
    append("a bomb", "unary", once(answer(bomb("gzip", 512 * MIB), "content-encoding: gzip\r\n")), "longer than"),
    append("a place that is no number", "unary", once(answer(b'{"seq_num_mismatch":"x"}', status=412)), "mismatch", 5),
    # Answers in JSON
    Case("json: gzip bomb", LIST, once(answer(bomb("gzip", 1024 * MIB), "content-encoding: gzip\r\n"))),
    Case("json: zstd bomb", LIST, once(answer(bomb("zstd", 4096 * MIB), "content-encoding: zstd\r\n"))),
    Case("json: codings in one another", LIST, once(answer(b"x" * 100, "content-encoding: gzip, gzip, gzip\r\n"))),
    Case("json: an answer without end", LIST, for_ever(endless(), b"x" * 65536), 1, "longer than"),
    Case("json: 100 Continue without end", LIST, for_ever(b"", CONTINUE)),
    Case("json: a head without end", LIST, for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000)),
    Case("json: objects", LIST, once(answer(filled(b'{"basins":[', b"{}", b"]}")))),
    Case("json: lists", LIST, once(answer(filled(b'{"basins":[', b"[]", b"]}")))),
    Case("json: wide text", LIST, once(answer(b'{"x":"' + WIDE + b'"}'))),
    Case("json: a wide name", LIST, once(answer(b'{"basins":[{"name":"' + WIDE + b'"}]}')), 0),
    Case("json: nesting", LIST, once(answer(b"[" * 1_000_000))),
    Case("json: 5000 digits", LIST, once(answer(b'{"basins":[],"has_more":' + DIGITS + b"}"))),
    Case("json: the same page again and again", LIST, once(answer(NAMES)), 1, "does not advance"),
    Case("json: empty pages", LIST, once(answer(b'{"basins":[],"has_more":true}')), 1, "does not advance"),
    Case("json: a refusal without end", LIST, for_ever(endless(status=400), b"x" * 65536), 1, "longer than"),
    Case("json: a refusal of megabytes", LIST, once(answer(b'{"message":"' + b"x" * 8 * MIB + b'"}', status=400)), 7),
    Case("json: a tail of 5000 digits", ("check-tail", READ[1]),
         once(answer(b'{"tail":{"seq_num":' + DIGITS + b',"timestamp":5}}')), 1, "no tail", also_tail=True),
    Case("json: a tail beyond numbers", ("check-tail", READ[1]),
         once(answer(b'{"tail":{"seq_num":1e999,"timestamp":NaN}}')), 1, "no tail", also_tail=True),
]  # fmt: skip


class Ending:
    """How a command ended: its code, None where it had to be killed, what it said, and its peak memory."""

    def __init__(self, code: int | None, said: str, peak: int, seconds: float) -> None:
        self.code = code
        self.said = said
        self.peak = peak
        self.seconds = seconds


# Measures from outside of this process, whose own size the system would count in.
MEASURE = """
import resource, subprocess, sys
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    code = subprocess.run(sys.argv[3:], stdout=subprocess.DEVNULL, timeout=float(sys.argv[2])).returncode
except subprocess.TimeoutExpired:
    code = None
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def walk_into(case: Case, s2: list[str], timeout_s: float = PROMPT_S, memory: int = 0) -> Ending:
    """Runs the command of `case` against its attack. With `memory`, the system gives it no more than that."""
    server = HostileServer(case.attack, case.also_tail)
    command = [sys.executable, "-c", MEASURE, str(memory), str(timeout_s), *s2, *case.command]
    with contextlib.closing(server), tempfile.TemporaryDirectory() as home:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("S2_", "XDG_"))}
        env |= {"HOME": home, **server.env()}
        began = time.monotonic()
        ended = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=env, check=True)
        code, peak = ended.stdout.split()
        seconds = time.monotonic() - began
        return Ending(None if code == b"None" else int(code), ended.stderr.decode(errors="replace"), int(peak), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("s2", nargs="*", default=[str(Path(sys.executable).with_name("s2"))])
    parser.add_argument("--only", default="", help="attacks whose name has this text")
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--memory-gib", type=float, default=6.0)
    given = parser.parse_args()
    for case in CASES:
        if given.only not in case.name:
            continue
        columns = []
        for s2 in given.s2:
            ending = walk_into(case, [s2], given.timeout, int(given.memory_gib * (1 << 30)))
            code = "killed" if ending.code is None else f"exit {ending.code}"
            columns.append(f"{code:>7} {ending.seconds:5.1f} s {ending.peak / MIB:6.0f} MiB")
        print(f"{case.name:<40} {'  |  '.join(columns)}", flush=True)


if __name__ == "__main__":
    main()
