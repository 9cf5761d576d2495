"""HTTP/2 on a host: exchanges, connections that make room, and clients that leave, do not read, or forge."""

import asyncio
import contextlib
import socket
import threading

import h2.config
import h2.connection
import h2.events
import pytest
from support.h2_client import H2Client
from support.hosting import connect, echo, flood, read_until
from support.waiting import TIMEOUT_S, until

from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http2_connection import STALL_S

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
        monkeypatch.setattr("s2cli.server.http.http2_relay.MAX_EXCHANGES", 4)
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
    monkeypatch.setattr("s2cli.server.http.host.connection_limit", lambda: 6)
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


def literal(name, value):
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


def events_for_forged(connection, mark, swallowed_bytes):
    """What comes back for a head that marks itself, and whose last header claims to be so much longer than it is: the
    mark that the server appends is then the end of its value. (Read as Huffman's code its bytes are valid there.)"""
    client = H2Client(connection)
    heads = literal(b":method", b"POST") + literal(b":path", b"/forged") + literal(b":scheme", b"http")
    heads += literal(b":authority", b"x") + literal(b"s2-h2-stream", mark) + b"\0\1x%c" % (0x80 | swallowed_bytes)
    client.state.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
    client.state.clear_outbound_data_buffer()
    connection.sendall(len(heads).to_bytes(3, "big") + b"\1\5\0\0\0\1" + heads)
    with contextlib.suppress(ConnectionResetError, AssertionError):
        return client.until(lambda event: isinstance(event, STREAM_ENDS))
    return []


@pytest.mark.parametrize("swallowed_bytes", [18, 33])
def test_nobody_over_http2_passes_as_the_stream_of_somebody_else(serve, swallowed_bytes):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(echo, listener)
    with connect(listener) as one, connect(listener) as other:
        client = H2Client(one)
        client.open()
        client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        (end,) = thread.hosts[0].connections.open
        (stream,) = end.streams.values()
        before = stream.handed_bytes, stream.share
        events_for_forged(other, b"1.1", swallowed_bytes)
        assert stream.is_running
        assert (stream.handed_bytes, stream.share) == before


def test_a_stream_over_http2_that_has_lost_its_mark_is_refused(serve, monkeypatch):
    answered = []

    async def note(exchange):
        answered.append(exchange)
        await echo(exchange)

    monkeypatch.setattr("secrets.token_hex", lambda _: "2")
    listener = listen_tcp("127.0.0.1", 0)
    serve(note, listener)
    with connect(listener) as connection:
        events = events_for_forged(connection, b"1.1", 18)
    (response,) = (event for event in events if isinstance(event, h2.events.ResponseReceived))
    assert (b":status", b"400") in response.headers
    assert not answered


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
        assert thread.hosts[0].taken() == 3  # descriptors: the client's, and the way to granian
        thread.call(shared.expire)
        assert shared.open
        shared.now = lambda: shared.loop.time() + STALL_S + 1
        thread.call(shared.expire)
        until(lambda: not shared.open)
        assert thread.hosts[0].taken() == 0
