"""HTTP/2 on a host: exchanges, connections that make room, and clients that leave, wait, or do not read."""

import asyncio
import math
import socket
import threading

import h2.config
import h2.connection
import h2.events
import pytest
from support.h2_client import H2Client
from support.h2_raw import RawH2
from support.hosting import connect, echo, flood, read_until
from support.waiting import TIMEOUT_S, until

from s2cli.server.api.framing import PIECE_BYTES
from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http1_connection import HEAD_TIMEOUT_S, KEEP_ALIVE_S, PREFACE, STALL_S
from s2cli.server.http.http2_connection import Http2Connection
from s2cli.server.http.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings,
)

STREAM_ENDS = (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)


def test_full_duplex_over_h2_by_prior_knowledge_on_the_same_port(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    with connect(listener) as connection:
        client = H2Client(connection)
        stream_id = client.open()
        events = client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        settings = next(e for e in events if isinstance(e, h2.events.RemoteSettingsChanged)).changed_settings
        limit = settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS].new_value
        assert limit >= 100, "official clients put a hundred streams on a connection"
        client.send(stream_id, b"one")
        client.until(lambda event: isinstance(event, h2.events.DataReceived) and event.data == b"<one>")
        client.send(stream_id, b"", end=True)
        client.until(lambda event: isinstance(event, h2.events.StreamEnded))


def test_exchanges_over_h2_have_a_bound_and_each_connection_its_part(serve, monkeypatch):
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    status = {}

    def begin(client):
        stream_id = client.open()
        events = client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        head = next(event for event in events if isinstance(event, h2.events.ResponseReceived))
        status[stream_id] = dict(head.headers)[b":status"]
        return stream_id

    with connect(listener) as one, connect(listener) as two:
        first = H2Client(one)
        begin(first)
        monkeypatch.setattr("s2cli.server.http.http2_connection.MAX_EXCHANGES", 4)
        ends = [begin(first) for _ in range(5)]
        assert [status[stream_id] for stream_id in ends] == [b"200"] * 3 + [b"503"] * 2
        second = H2Client(two)
        ends = [begin(second) for _ in range(3)]
        assert [status[stream_id] for stream_id in ends] == [b"200"] * 2 + [b"503"]
        # What has ended counts no more.
        second.send(ends[0], b"", end=True)
        second.until(lambda event: isinstance(event, h2.events.StreamEnded))
        assert status[begin(second)] == b"200"


def test_a_connection_over_h2_is_idle_without_a_stream_and_makes_room(serve, monkeypatch):
    monkeypatch.setattr("s2cli.server.http.host.connection_limit", lambda: 2)
    monkeypatch.setattr("s2cli.server.http.connections.LEAST_IDLE_S", 0)
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    with connect(listener) as one, connect(listener) as two, connect(listener) as three:
        working, idle = H2Client(one), H2Client(two)
        stream_id = working.open()
        working.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        ended = idle.open()
        idle.send(ended, b"", end=True)
        idle.until(lambda event: isinstance(event, h2.events.StreamEnded))
        three.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        read_until(three, b"END")
        with pytest.raises((AssertionError, ConnectionResetError)):
            idle.until(lambda event: False)
        working.send(stream_id, b"", end=True)
        working.until(lambda event: isinstance(event, h2.events.StreamEnded))


def test_of_http2_too_a_client_that_leaves_is_noticed(serve):
    seen = threading.Event()

    async def wait_for_the_end(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        exchange.on_disconnect(seen.set)
        await asyncio.get_running_loop().run_in_executor(None, seen.wait)

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(wait_for_the_end, listener)
    with connect(listener) as connection:
        client = H2Client(connection)
        client.open()
        client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
    assert seen.wait(TIMEOUT_S)
    until(lambda: not thread.hosts[0].connections.open)


def open_without_windows(connection):
    """A client whose windows take as much as anybody wants to send: only the sockets are full. And what came with the
    head of its response."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client = H2Client(connection)
    client.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    client.state.increment_flow_control_window(2**31 - 1 - 65535)
    client.open()
    return client, client.until(lambda event: isinstance(event, h2.events.ResponseReceived))


def test_of_http2_too_a_slow_client_holds_up_the_writer(serve):
    written = []

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: flood(exchange, 600, written=written), listener)
    with connect(listener) as connection:
        client, events = open_without_windows(connection)
        (end,) = thread.hosts[0].connections.open
        until(lambda: end.transport.get_write_buffer_size() > 256 * 1024)
        assert end.transport.get_write_buffer_size() < 1024 * 1024
        assert len(written) < 300
        size = 0
        while size < 60_000_000:
            size += sum(len(event.data) for event in events if isinstance(event, h2.events.DataReceived))
            events = client.until(bool) if size < 60_000_000 else []
    until(lambda: len(written) == 600)


def test_a_head_over_http2_that_a_table_of_headers_makes_long_is_refused(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    with connect(listener) as connection:
        client = H2Client(connection)
        for count, status in ((3, b"200"), (5, b"431")):
            client.open(headers=[("x-a", "y" * 3900)] * count)
            events = client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
            (answer,) = (event for event in events if isinstance(event, h2.events.ResponseReceived))
            assert (b":status", status) in answer.headers


def test_of_http2_too_a_client_that_leaves_without_reading_is_noticed(serve):
    seen = threading.Event()

    async def watched(exchange):
        exchange.on_disconnect(seen.set)
        await flood(exchange, 100)

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(watched, listener)
    with connect(listener) as connection:
        open_without_windows(connection)
        (end,) = thread.hosts[0].connections.open
        until(lambda: end.transport.get_write_buffer_size() > 256 * 1024)
        connection.shutdown(socket.SHUT_WR)
        assert seen.wait(TIMEOUT_S)


def test_of_http2_too_a_client_that_never_reads_is_given_up(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: flood(exchange, 100), listener)
    shared = thread.hosts[0].connections
    with connect(listener) as connection:
        open_without_windows(connection)
        (end,) = shared.open
        until(lambda: end.transport.get_write_buffer_size() > 256 * 1024)
        thread.call(shared.expire)
        assert shared.open
        shared.now = lambda: shared.loop.time() + STALL_S + 1
        thread.call(shared.expire)
        until(lambda: not shared.open)


def expire_after(thread, seconds):
    """Looks at all deadlines as if so much time had passed."""
    shared = thread.hosts[0].connections
    shared.now = lambda: shared.loop.time() + seconds
    thread.call(shared.expire)


def test_a_stream_whose_client_takes_nothing_is_given_up_and_others_of_its_connection_go_on(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: flood(exchange, 3), listener)
    with connect(listener) as connection:
        client = RawH2(connection)
        client.ask(1)
        size = 0
        while size < 65535:
            size += len(client.until(DATA, 1)[3])
        expire_after(thread, STALL_S - 10)
        client.send(PING, 0, 0, bytes(8))
        client.until(PING)
        expire_after(thread, STALL_S + 1)
        assert client.reset_of(1) is ErrorCode.CANCEL
        client.send(WINDOW_UPDATE, 0, 0, (10**6).to_bytes(4, "big"))
        client.ask(3)
        client.until(DATA, 3)


def test_a_connection_without_a_request_is_ended_and_told_so(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(echo, listener)
    with connect(listener) as working, connect(listener) as idle:
        busy, resting = RawH2(working), RawH2(idle)
        busy.ask(1, ends=False)
        busy.until(HEADERS)
        resting.ask(1)
        assert resting.answer(1) == (200, b"END")
        expire_after(thread, KEEP_ALIVE_S - 10)
        resting.ask(3)
        assert resting.answer(3) == (200, b"END")
        # A turn later its task has ended, too.
        until(lambda: sum(one.idle_since_s < math.inf for one in thread.hosts[0].connections.open) == 1)
        expire_after(thread, 2 * KEEP_ALIVE_S)
        assert resting.failure() is ErrorCode.NO_ERROR
        busy.send(DATA, END_STREAM, 1, b"still")
        data = b""
        while not data.endswith(b"END"):
            data += busy.until(DATA, 1)[3]


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        frame(SETTINGS, 0, 0, bytes(6))[:10],
        settings({}) + frame(HEADERS, END_HEADERS, 1, b"\x82\x86")[:10],
        settings({}) + frame(HEADERS, 0, 1, b"\x82\x86"),
        settings({}) + frame(HEADERS, 0, 1, b"\x82\x86") + frame(CONTINUATION, 0, 1, b"\x84")[:9],
    ],
)
def test_a_head_that_does_not_come_ends_its_connection(serve, begin):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(echo, listener)
    with connect(listener) as connection:
        connection.sendall(PREFACE + begin)
        until(lambda: any(isinstance(one, Http2Connection) for one in thread.hosts[0].connections.open))
        expire_after(thread, HEAD_TIMEOUT_S - 1)
        assert thread.hosts[0].connections.open
        expire_after(thread, HEAD_TIMEOUT_S + 1)
        until(lambda: not thread.hosts[0].connections.open)


def test_a_body_that_does_not_come_is_not_a_head(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(echo, listener)
    with connect(listener) as connection:
        client = RawH2(connection)
        client.ask(1, ends=False)
        client.until(HEADERS)
        client.send_bytes(frame(DATA, END_STREAM, 1, b"late")[:10])
        client.send_bytes(b"")
        expire_after(thread, HEAD_TIMEOUT_S + 1)
        client.send_bytes(b"ate")
        data = b""
        while not data.endswith(b"END"):
            data += client.until(DATA, 1)[3]
        assert data == b"<late>END"


async def pieces(exchange, count, written):
    """As readers of records get them: large ones."""
    exchange.start(200, [])
    for _ in range(count):
        if not exchange.write(bytes(PIECE_BYTES)):
            await exchange.drained()
        written.append(1)
    await exchange.finish()


def test_of_clients_with_windows_of_0_one_piece_is_held_each(serve):
    written = []
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: pieces(exchange, 5, written), listener)
    with connect(listener) as connection:
        client = RawH2(connection, {INITIAL_WINDOW_SIZE: 0})
        for number in range(200):
            client.ask(1 + 2 * number)
        for _ in range(200):
            client.until(HEADERS)
        (end,) = thread.hosts[0].connections.open
        assert {exchange.unsent_bytes() for exchange in end.streams.values()} == {PIECE_BYTES}
        assert len(written) == 0
        # They go on when they are taken.
        client.send(WINDOW_UPDATE, 0, 0, (10**6).to_bytes(4, "big"))
        client.send(WINDOW_UPDATE, 0, 7, (10**6).to_bytes(4, "big"))
        client.until(DATA, 7, END_STREAM)
        assert len(written) == 5


def test_memory_is_let_go_of_with_a_stream_that_is_reset(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: flood(exchange, 5), listener)
    memory = thread.hosts[0].connections.memory
    with connect(listener) as connection:
        client = RawH2(connection, {INITIAL_WINDOW_SIZE: 0})
        for number in range(50):
            client.ask(1 + 2 * number)
        until(lambda: len(memory.holders) == 51)
        for number in range(50):
            client.send(RST_STREAM, 0, 1 + 2 * number, bytes(4))
        until(lambda: len(memory.holders) == 1)
    until(lambda: not memory.holders)
