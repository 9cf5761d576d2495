"""Readers whose client leaves while they wait: nothing is kept, or made, for them any longer."""

import asyncio
import contextlib
import socket
import struct

import h2.config
import h2.connection
import pytest
from support.s2s import append_input
from support.waiting import TIMEOUT_S, until

from s2cli.server.api import follow, read
from s2cli.server.core.turnstile import Turnstile
from s2cli.server.http.memory_budget import Memory

PATH = "/v1/streams/stream/records"
JSON = {"accept": "application/json"}
EVENTS = {"accept": "text/event-stream"}
FRAMES = {"content-type": "s2s/proto"}


@pytest.fixture
def stream(make_thread_server, monkeypatch):
    """A server with a large record, that sends no heartbeats: `(server, basin)`."""
    monkeypatch.setattr(follow, "HEARTBEAT_S", (TIMEOUT_S * 10, TIMEOUT_S * 10))
    monkeypatch.setattr(read, "PATIENCE_S", 0.001)
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    headers = {"content-type": "application/protobuf"}
    body = append_input(b"x" * 1_000_000)
    assert server.request("POST", PATH, basin=basin, body=body, headers=headers).status == 200
    return server, basin


@pytest.fixture
def count_in(monkeypatch):
    """`count_in(kind, name)` gives a function that says how many are in that method. With `goes_on` False nobody gets
    any further."""

    def counted(kind, name, *, goes_on=True):
        count = 0
        method = getattr(kind, name)

        async def counting(self, *arguments):
            nonlocal count
            count += 1
            try:
                return await (method(self, *arguments) if goes_on else asyncio.get_running_loop().create_future())
            finally:
                count -= 1

        monkeypatch.setattr(kind, name, counting)
        return lambda: count

    return counted


def reset(server, fields, connection):
    """A request over HTTP/1.1; and what resets its connection."""
    lines = [f"GET {fields.pop(':path')} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in fields.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def leave():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return leave


def send_no_more(server, fields, connection):
    """One over HTTP/1.1; and what says that no more comes from the client, as its end does."""
    reset(server, fields, connection)
    return lambda: connection.shutdown(socket.SHUT_WR)


def end_http2(server, fields, connection):
    """One over HTTP/2; and what ends the connection."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", fields.pop(":path"))]
    client.send_headers(1, [*pseudo, *fields.items()], end_stream=True)
    connection.sendall(client.data_to_send())
    return connection.close


def end_stream(server, fields, connection):
    """One over HTTP/2; and what ends it alone."""
    end_http2(server, fields, connection)
    cancel = b"\0\0\4\3\0\0\0\0\1\0\0\0\x08"
    return lambda: connection.sendall(cancel)


@pytest.mark.parametrize("begin", [reset, send_no_more, end_http2, end_stream])
@pytest.mark.parametrize(
    ("query", "headers", "kind", "name", "goes_on"),
    [
        ("?seq_num=0", JSON, Turnstile, "walk", False),
        ("?seq_num=0", JSON, Memory, "reserve", False),
        ("?seq_num=0", EVENTS, Turnstile, "walk", False),
        ("?seq_num=0", EVENTS, Memory, "reserve", False),
        ("?seq_num=0", FRAMES, Turnstile, "walk", False),
        ("?seq_num=0", FRAMES, Memory, "reserve", False),
        ("?tail_offset=0&wait=60", JSON, read._FirstBatch, "arrived", True),
        ("?tail_offset=0", EVENTS, follow.ReadSession, "run", True),
        ("?tail_offset=0", FRAMES, follow.ReadSession, "run", True),
    ],
)
def test_who_leaves_waits_no_longer(stream, count_in, begin, query, headers, kind, name, goes_on):
    server, basin = stream
    waiting = count_in(kind, name, goes_on=goes_on)
    connection = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        leave = begin(server, {":path": PATH + query, "s2-basin": basin, **headers}, connection)
        until(waiting)
        leave()
        until(lambda: not waiting())
