"""Heads of requests: their targets, what is refused as no request, and their limits."""

import asyncio
import contextlib

import pytest
from support.hosting import GET, POST, connect, everything, read_until
from support.waiting import until

from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http1_body import SMALL_PIECE_BYTES
from s2cli.server.http.http1_connection import MAX_HEAD_BYTES, MAX_HEADERS, State


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://there:81/a%2Fb?c=d", b"GET|/a%2Fb|c=d|there:81|$"),
        (b"http://there", b"GET|/||there|$"),
        (b"http://[::1]:81/", b"GET|/||[::1]:81|$"),
        (b"/a?b#c", b"GET|/a|b|x|$"),
        (b"/a?", b"GET|/a||x|$"),
        (b"//a//b/../c", b"GET|//a//b/../c||x|$"),
    ],
)
def test_targets(mirrored, target, expected):
    mirrored.sendall(b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target, expected.split(b"|")[3]))
    assert read_until(mirrored, b"$").endswith(b"\r\n\r\n" + expected)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\x00y\r\n\r\n",
        b"CONNECT there:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        # Where two readers could see two different ends of the request.
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: ,chunked\r\n\r\n0\r\n\r\n",
        b'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: cow\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
        b"transfer-encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551617\r\n\r\na",
    ],
)
def test_what_is_no_request_is_refused(mirrored, request_bytes):
    mirrored.sendall(request_bytes)
    answer = everything(mirrored)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"$" not in answer


def test_behind_a_bad_request_nothing_is_taken(mirrored):
    mirrored.sendall(GET % 1 + b"nonsense\r\n\r\n" + GET % 2)
    answer = everything(mirrored)
    assert answer.count(b"$") == 1
    assert answer.endswith(b"GET|/1||x|$")


def test_a_head_has_so_many_headers(mirrored):
    mirrored.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\n")
    assert everything(mirrored).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_head_has_a_limit_however_it_comes(mirrored, pieces):
    head = b"GET / HTTP/1.1\r\nhost: x\r\na: %b\r\n\r\n" % (b"b" * (MAX_HEAD_BYTES + 2 * SMALL_PIECE_BYTES))
    at = len(head) // pieces
    mirrored.sendall(head[:at])
    mirrored.sendall(head[at:])
    assert everything(mirrored).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\na: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_has_a_limit(mirrored, begin):
    endless = b"b: c\r\n" * 1000 if begin.endswith(b"\n") else bytes([98]) * 6000
    mirrored.sendall(begin)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(MAX_HEAD_BYTES // 6000 + 60):
            mirrored.sendall(endless)
    with contextlib.suppress(ConnectionResetError):
        assert everything(mirrored).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_a_head_has_a_limit_also_beside_a_running_exchange(serve):
    """What is sent there is only read when its turn comes, but it is kept."""
    taken = []

    async def wait(exchange):
        taken.append(await exchange.read())
        exchange.start(200, [])
        exchange.write(b"")
        gone = asyncio.Event()
        exchange.on_disconnect(gone.set)
        await gone.wait()

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(wait, listener)
    with connect(listener) as connection, contextlib.ExitStack() as stack:
        stack.callback(lambda: thread.call(lambda: server.abort()))
        connection.sendall(GET % 1)
        read_until(connection, b"\r\n\r\n")
        (server,) = thread.hosts[0].connections.open
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b"GET / HTTP/1.1\r\na: " + b"b" * (2 * MAX_HEAD_BYTES))
            connection.sendall(b"b" * 1_000_000)
        until(lambda: server.state is State.LAST)
    assert len(taken) == 1


@pytest.mark.parametrize("endless", [b"b: c\r\n" * 1000, b"b" * 6000], ids=["trailers", "a trailer"])
def test_what_stands_behind_a_body_has_a_limit(mirrored, endless):
    mirrored.sendall(POST + b"1\r\na\r\n0\r\nb: ")
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(1000):
            mirrored.sendall(endless)
    with contextlib.suppress(ConnectionResetError):
        assert everything(mirrored).endswith(b"BROKEN OFF$")
