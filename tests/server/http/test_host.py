"""What a host does for its clients, what it relies on in granian without its makers promising it, and what our sockets
must be."""

import asyncio
import contextlib
import os
import resource
import socket
import stat
import sys
import tempfile
import threading

import h2.config
import h2.connection
import h2.events
import pytest
from support.hosting import POST, connect, echo, flood, read_until
from support.waiting import TIMEOUT_S, until

from s2cli.errors import S2Error
from s2cli.server.http.host import MAX_CONNECTIONS, address_of, connection_limit, listen_tcp, listen_unix
from s2cli.server.http.http2_connection import STALL_S

STREAM_ENDS = (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
GOAWAY = bytes.fromhex("000008 07 00 00000000")


def test_full_duplex_over_http1(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    with connect(listener) as connection:
        connection.sendall(POST)
        # The head comes before the first byte of the body is sent.
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        for piece in b"one", b"two":
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            read_until(connection, b"<%s>" % piece)
        connection.sendall(b"0\r\n\r\n")
        read_until(connection, b"END\r\n0\r\n\r\n")
        # Keep-alive.
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        read_until(connection, b"END")


class H2Client:
    def __init__(self, connection):
        self.connection = connection
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.state.initiate_connection()
        self.flush()

    def flush(self):
        self.connection.sendall(self.state.data_to_send())

    def open(self, path="/", headers=()):
        stream_id = self.state.get_next_available_stream_id()
        head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x"), *headers]
        self.state.send_headers(stream_id, head)
        self.flush()
        return stream_id

    def send(self, stream_id, data, end=False):
        self.state.send_data(stream_id, data, end_stream=end)
        self.flush()

    def until(self, wanted):
        """Events up to the first for which `wanted` holds."""
        events = []
        while not any(wanted(event) for event in events):
            data = self.connection.recv(65536)
            assert data, f"closed after {events}"
            events += self.state.receive_data(data)
            self.flush()
        return events


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


def test_a_stopped_host_lets_running_exchanges_end(serve):
    listener = listen_tcp("127.0.0.1", 0)
    address = address_of(listener)
    thread = serve(echo, listener)
    with connect(address) as one, connect(address) as two, connect(address) as idle:
        one.sendall(POST)
        read_until(one, b"\r\n\r\n")
        client = H2Client(two)
        client.open()
        client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        read_until(idle, b"END\r\n0\r\n\r\n")
        thread.begin_stop()
        # An announcement, before which the library of this client would have to know every answer: process.py therefore
        # has the sessions end before it stops the host.
        read_until(two, GOAWAY)
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        one.sendall(b"3\r\none\r\n0\r\n\r\n")
        assert b"<one>" in read_until(one, b"END\r\n0\r\n\r\n")
    thread.stop()


def test_a_host_that_stops_listening_does_not_touch_what_is_open(serve):
    listener = listen_tcp("127.0.0.1", 0)
    address = address_of(listener)
    thread = serve(echo, listener)
    with connect(address) as connection:
        client = H2Client(connection)
        stream_id = client.open()
        client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        thread.call(thread.hosts[0].stop_listening)
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        with listen_tcp(*address):
            pass  # the next server may have the port
        client.send(stream_id, b"one")
        events = client.until(lambda event: isinstance(event, h2.events.DataReceived) and event.data == b"<one>")
        # And another exchange on the same connection.
        client.open()
        events += client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        assert not any(isinstance(event, h2.events.ConnectionTerminated) for event in events)
        client.send(stream_id, b"", end=True)
        client.until(lambda event: isinstance(event, h2.events.StreamEnded))
    thread.stop()


def test_a_client_that_leaves_is_noticed(serve):
    seen = threading.Event()

    async def wait_for_the_end(exchange):
        while not exchange.is_disconnected:
            await exchange.read()
        seen.set()

    listener = listen_tcp("127.0.0.1", 0)
    serve(wait_for_the_end, listener)
    with connect(listener) as connection:
        connection.sendall(POST)
    assert seen.wait(TIMEOUT_S)


def test_the_path_stays_raw(serve):
    paths = []

    async def note(exchange):
        paths.append(exchange.raw_path)
        exchange.answer(204, None, b"")

    listener = listen_tcp("127.0.0.1", 0)
    serve(note, listener)
    with connect(listener) as connection:
        connection.sendall(b"GET /a%2Fb//%E2%82%AC/../x?q=1 HTTP/1.1\r\nhost: x\r\n\r\n")
        read_until(connection, b"\r\n\r\n")
    assert paths == [b"/a%2Fb//%E2%82%AC/../x"]


def test_a_response_cannot_be_begun_twice(serve):
    """app.py answers an exception with an error response: where a response has begun, the host must refuse that."""
    raised = []

    async def twice(exchange):
        exchange.start(200, [])
        try:
            exchange.start(500, [])
        except RuntimeError as error:
            raised.append(error)
        exchange.end()

    listener = listen_tcp("127.0.0.1", 0)
    serve(twice, listener)
    with connect(listener) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert len(raised) == 1


def test_a_unix_socket_is_for_our_own_user_and_replaces_a_stale_one(serve, tmp_path):
    path = str(tmp_path / "s2.sock")
    listen_unix(path).close()
    listener = listen_unix(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    serve(echo, listener)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        read_until(connection, b"END")


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path):
    path = tmp_path / "s2.sock"
    path.write_text("mine")
    with pytest.raises(S2Error, match="cannot listen on"):
        listen_unix(str(path))
    assert path.read_text() == "mine"


def test_a_taken_port_is_refused():
    with listen_tcp("127.0.0.1", 0) as listener:
        port = address_of(listener)[1]
        with pytest.raises(S2Error, match=f"cannot listen on 127.0.0.1:{port}: the port is in use") as caught:
            listen_tcp("127.0.0.1", port)
    assert caught.value.exit_code == 1
    assert "--port" in caught.value.hint


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(S2Error, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen_tcp("192.0.2.1", 0)


def test_small_answers_do_not_wait():
    with listen_tcp("127.0.0.1", 0) as listener, connect(listener) as connection:
        connection.sendall(b"x")
        listener.settimeout(TIMEOUT_S)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_connections_have_a_limit_below_that_of_the_process():
    assert 128 < connection_limit() <= MAX_CONNECTIONS
    assert connection_limit() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_way_to_granian_leaves_nothing_behind(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(echo, listener)
    with connect(listener) as connection:
        client = H2Client(connection)
        client.open()
        client.until(lambda event: isinstance(event, h2.events.ResponseReceived))
        # On Linux it has no name: not after a kill -9 either.
        assert len(list(tmp_path.iterdir())) == (sys.platform != "linux")
    thread.stop()
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option TCP_CONGESTION")
def test_within_a_machine_connections_are_not_paced():
    with listen_tcp("localhost", 0) as listener, connect(listener.getsockname()) as connection:
        connection.sendall(b"x")
        listener.settimeout(TIMEOUT_S)
        accepted, _ = listener.accept()
        with accepted:
            chosen = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert chosen.rstrip(b"\0") == b"reno"
