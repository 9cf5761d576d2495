"""Attacks of many that wait, follow or leave: rows of attacks.py."""

import contextlib
import itertools
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator

from attacked_server import BASIN, RECORDS, Server, head
from content_attacks import ALL, MANY_HEADERS, SSE, append_of, field, put_down

# As many exchanges as the server has, and of a connection of HTTP/2.
EXCHANGES = 4096
OTHERS = 16
STREAMS = 195
FRAMES = "content-type: s2s/proto"
# Heads of 16 KiB with 100 headers, less what others there are.
MANY_FIELDS = [(f"x-{number:03}", "y" * 118) for number in range(92)]

DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def h2_frame(kind: int, flags: int, stream: int, contents: bytes) -> bytes:
    return len(contents).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + contents


def literal(name: str, value: str) -> bytes:
    """A header that goes into no table. Without Huffman's code; both are shorter than 127 bytes."""
    return b"".join((b"\0", bytes((len(name),)), name.encode(), bytes((len(value),)), value.encode()))


def h2_requests(server: Server, path: str, fields: list[tuple[str, str]]) -> Iterator[socket.socket]:
    """Connections with requests, as many as there may be, and windows that are never full."""
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "s2"), (":path", path), ("s2-basin", BASIN)]
    block = b"".join(itertools.starmap(literal, pseudo + fields))
    most = (2**31 - 1).to_bytes(4, "big")
    for _ in range(EXCHANGES // STREAMS):
        connection = server.connect()
        window = h2_frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
        settings = h2_frame(SETTINGS, 0, 0, b"\0\4" + most)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window)
        connection.recv(65536)
        connection.sendall(h2_frame(SETTINGS, ACK, 0, b""))
        for number in range(STREAMS):
            connection.sendall(h2_frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * number, block))
        yield connection


def drain(connections: list[socket.socket]) -> None:
    """Takes what comes, in a thread of its own, until it is no more."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                try:
                    gone = not key.fileobj.recv(1 << 20)
                except OSError:
                    gone = True
                if gone:
                    selector.unregister(key.fileobj)


def drained(connections: list[socket.socket]) -> None:
    threading.Thread(target=drain, args=(connections,), daemon=True).start()


def large_heads(server: Server, until_s: float) -> Iterator[object]:
    """4080 connections that wait for a record with a head of 16 KiB and 100 headers."""
    fields = [f"{name}: {value}" for name, value in MANY_FIELDS]
    for _ in range(EXCHANGES - OTHERS):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("quiet") + "?tail_offset=0&wait=60", *fields))
        yield connection


def large_heads_h2(server: Server, until_s: float) -> Iterator[object]:
    """The same over 21 connections of HTTP/2."""
    yield from h2_requests(server, RECORDS.format("quiet") + "?tail_offset=0&wait=60", MANY_FIELDS)


def put_down_again(server: Server, until_s: float, record: bytes, pause_s: float) -> Iterator[object]:
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            put_down(server, "followed", append_of(record))
        yield None
        time.sleep(pause_s)


def followers_h2(server: Server, until_s: float) -> Iterator[object]:
    """4095 followers over HTTP/2 of a stream that gets 20 records a second."""
    connections = list(
        h2_requests(server, RECORDS.format("followed") + "?tail_offset=0", [("content-type", "s2s/proto")])
    )
    drained(connections)
    yield connections
    yield from put_down_again(server, until_s, field(3, b"x"), 0.05)


def followers(server: Server, until_s: float) -> Iterator[object]:
    """The same over 4080 connections of HTTP/1.1."""
    connections = []
    for _ in range(EXCHANGES - OTHERS):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("followed") + "?tail_offset=0", FRAMES))
        connections.append(connection)
        yield connection
    drained(connections)
    yield from put_down_again(server, until_s, field(3, b"x"), 0.05)


def large_followers(server: Server, until_s: float, *, fast: int, slow: int) -> Iterator[object]:
    """Followers of a stream to which a megabyte is appended again and again: some take it at once, others nothing."""
    connections = []
    for number in range(fast + slow):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("followed") + "?tail_offset=0", FRAMES))
        if number < fast:
            connections.append(connection)
        yield connection
    drained(connections)
    yield from put_down_again(server, until_s, field(3, os.urandom(1_000_000)), 0)


def leaving(server: Server, until_s: float, query: str, *fields: str) -> Iterator[object]:
    """40 clients that ask for a large record and leave at once, again and again: one half resets its connections."""
    put_down(server, "left", append_of(MANY_HEADERS))
    request = head("GET", RECORDS.format("left") + query, *fields)

    def ask_and_leave(*, resets: bool) -> None:
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError), server.connect() as connection:
                connection.sendall(request)
                if resets:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                time.sleep(0.001)

    threads = [
        threading.Thread(target=ask_and_leave, kwargs={"resets": number % 2 == 0}, daemon=True) for number in range(40)
    ]
    for thread in threads:
        thread.start()
    yield threads


ATTACKS = {
    "large-heads": large_heads,
    "large-heads-h2": large_heads_h2,
    "followers": followers,
    "followers-h2": followers_h2,
    "fast-1mib": lambda server, until_s: large_followers(server, until_s, fast=100, slow=0),
    "slow-1mib": lambda server, until_s: large_followers(server, until_s, fast=0, slow=1000),
    "mixed-1mib": lambda server, until_s: large_followers(server, until_s, fast=50, slow=500),
    "left-json": lambda server, until_s: leaving(server, until_s, ALL),
    "left-sse": lambda server, until_s: leaving(server, until_s, "?seq_num=0", SSE),
    "left-s2s": lambda server, until_s: leaving(server, until_s, "?seq_num=0", FRAMES),
}
