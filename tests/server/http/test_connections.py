"""Connections: when they are given up, and which make room when there are too many."""

import contextlib
import errno
import socket
import threading

import pytest
from support.hosting import GET, POST, connect, echo, everything, flood, mirror, mirror_after, read_until, refuse
from support.waiting import TIMEOUT_S, until

from s2cli.server.http import connections
from s2cli.server.http import host as host_module
from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http1_connection import LINGER_S, STALL_S


def later(thread, seconds):
    """Has the host of `thread` check its connections as if so much time had passed."""

    shared = thread.hosts[0].connections

    def look():
        shared.now = lambda: shared.loop.time() + seconds
        shared.expire()
        shared.now = shared.loop.time

    thread.call(look)


def test_a_reader_that_takes_nothing_is_given_up_in_the_end(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(lambda exchange: flood(exchange, 1000), listener)
    with connect(listener) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(GET % 1)
        connection.recv(10)
        (server,) = thread.hosts[0].connections.open
        until(lambda: server.is_full)
        later(thread, STALL_S - 10)
        assert thread.hosts[0].connections.open
        later(thread, STALL_S + 10)  # it may just be slow
        later(thread, STALL_S + 200)
        until(lambda: not thread.hosts[0].connections.open)


def test_connections_that_say_nothing_are_closed_in_time(serve):
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(echo, listener)
    with contextlib.ExitStack() as stack:
        half_a_preface, half_a_head, idle, running = (stack.enter_context(connect(address)) for _ in range(4))
        running.sendall(POST)
        read_until(running, b"\r\n\r\n")
        idle.sendall(GET % 1)
        read_until(idle, b"END\r\n0\r\n\r\n")
        half_a_preface.sendall(b"PRI * HT")
        half_a_head.sendall(b"GET / HTTP/1.1\r\nhost")
        until(lambda: len(thread.hosts[0].connections.open) == 4)
        later(thread, 29)
        assert len(thread.hosts[0].connections.open) == 4
        later(thread, 31)
        assert everything(half_a_preface) == everything(half_a_head) == b""
        later(thread, 119)
        idle.sendall(GET % 2)
        read_until(idle, b"END\r\n0\r\n\r\n")
        later(thread, 121)
        assert everything(idle) == b""
        running.sendall(b"1\r\na\r\n")
        read_until(running, b"<a>")


def test_a_client_that_never_stops_sending_after_its_answer_is_cut_off(serve):
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(refuse, listener)
    with connect(listener) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500000000\r\n\r\n")
        read_until(connection, b"no")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(bytes(100_000_000))
    with connect(listener) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500000000\r\n\r\n")
        read_until(connection, b"no")
        later(thread, LINGER_S + 1)
        until(lambda: not thread.hosts[0].connections.open)


def test_beyond_the_limit_connections_wait_for_those_with_a_request_under_way(serve, monkeypatch):
    monkeypatch.setattr(host_module, "connection_limit", lambda: 2)
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(echo, listener)
    with connect(address) as one, connect(address) as two, connect(address) as three:
        for connection in one, two:
            connection.sendall(POST)
            read_until(connection, b"\r\n\r\n")
        three.sendall(GET % 3)
        until(lambda: thread.hosts[0].accept_pause is not None)
        one.close()
        read_until(three, b"END")
        two.sendall(b"0\r\n\r\n")
        read_until(two, b"END")


def test_beyond_the_limit_one_that_is_between_two_requests_stays(serve, monkeypatch):
    """Or whoever piles up requests would close the connections of everybody else."""
    monkeypatch.setattr(host_module, "connection_limit", lambda: 2)
    monkeypatch.setattr(connections, "LEAST_IDLE_S", TIMEOUT_S)
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(echo, listener)
    with connect(address) as working, connect(address) as resting, connect(address) as late:
        working.sendall(POST)
        read_until(working, b"\r\n\r\n")
        resting.sendall(GET % 1)
        read_until(resting, b"END\r\n0\r\n\r\n")
        late.sendall(GET % 2)
        until(lambda: thread.hosts[0].accept_pause is not None)
        resting.sendall(GET % 3)
        read_until(resting, b"END\r\n0\r\n\r\n")
        working.sendall(b"0\r\n\r\n")
        read_until(working, b"END\r\n0\r\n\r\n")
        working.close()
        read_until(late, b"END\r\n0\r\n\r\n")


def test_beyond_the_limit_the_one_that_is_idle_for_longest_makes_room(serve, monkeypatch):
    monkeypatch.setattr(host_module, "connection_limit", lambda: 3)
    monkeypatch.setattr(connections, "LEAST_IDLE_S", 0)
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    serve(echo, listener)

    def get(connection):
        connection.sendall(GET % 1)
        read_until(connection, b"END\r\n0\r\n\r\n")

    with connect(address) as working, contextlib.ExitStack() as stack:
        working.sendall(POST)
        read_until(working, b"\r\n\r\n")
        first = stack.enter_context(connect(address))
        get(first)
        second = stack.enter_context(connect(address))
        get(second)
        get(first)
        third = stack.enter_context(connect(address))
        get(third)
        assert everything(second) == b""
        fourth = stack.enter_context(connect(address))
        fourth.sendall(b"GET /half")
        assert everything(first) == b""
        working.sendall(b"0\r\n\r\n")
        read_until(working, b"END\r\n0\r\n\r\n")


def test_a_host_without_descriptors_accepts_again_when_there_are_some(serve, monkeypatch):
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(mirror, listener)
    failed = threading.Event()

    class Poor:
        """The listener in a process that has no descriptor left."""

        def __init__(self, real):
            self._real = real

        def __getattr__(self, name):
            return getattr(self._real, name)

        def accept(self):
            if not failed.is_set():
                failed.set()
                raise OSError(errno.EMFILE, "Too many open files")
            return self._real.accept()

    monkeypatch.setattr(thread.hosts[0], "_listener", Poor(listener))
    with connect(address) as connection:
        connection.sendall(GET % 1)
        assert read_until(connection, b"$").endswith(b"GET|/1||x|$")
    assert failed.is_set()


def test_a_host_that_ends_answers_first_and_closes_then(serve):
    go_on = threading.Event()
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(mirror_after(go_on), listener)
    with connect(address) as busy, connect(address) as silent:
        silent.sendall(b"GE")
        busy.sendall(GET % 1)
        until(lambda: len(thread.hosts[0].connections.open) == 2)
        thread.begin_stop()
        assert everything(silent) == b""
        go_on.set()
        answer = everything(busy)
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"GET|/1||x|$")
    thread.stop()
