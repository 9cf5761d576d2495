"""What a host does for its clients, and what our sockets must be."""

import os
import resource
import socket
import stat
import sys
import threading

import h2.config
import h2.connection
import h2.events
import pytest
from support.h2_client import H2Client
from support.hosting import POST, connect, echo, read_until
from support.waiting import TIMEOUT_S

from s2cli.errors import S2Error
from s2cli.server.http.host import MAX_CONNECTIONS, address_of, connection_limit, listen_tcp, listen_unix

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option TCP_CONGESTION")
def test_within_a_machine_connections_are_not_paced():
    with listen_tcp("localhost", 0) as listener, connect(listener.getsockname()) as connection:
        connection.sendall(b"x")
        listener.settimeout(TIMEOUT_S)
        accepted, _ = listener.accept()
        with accepted:
            chosen = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert chosen.rstrip(b"\0") == b"reno"
