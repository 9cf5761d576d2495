"""HTTP/1.1: requests and answers in their order, and peers that are slow, leave, or break off."""

import asyncio
import contextlib
import socket
import struct
import threading

import pytest
from support.hosting import GET, POST, connect, echo, everything, flood, mirror_after, read_until, refuse
from support.waiting import TIMEOUT_S, until

from s2cli.server.http.host import listen_tcp


def test_a_request_may_come_byte_by_byte(mirrored):
    for byte in b"POST /a?b=c HTTP/1.1\r\nHost: there\r\nContent-Length: 3\r\n\r\nxyz":
        mirrored.sendall(bytes((byte,)))
    assert read_until(mirrored, b"$").endswith(b"\r\n\r\nPOST|/a|b=c|there|xyz$")


def test_requests_that_do_not_wait_are_answered_in_their_order(mirrored):
    requests = [b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n%02d" % (n, n) for n in range(50)]
    mirrored.sendall(b"".join(requests))
    data = b""
    while data.count(b"$") < 50:
        data += mirrored.recv(65536)
    assert [part.rpartition(b"\r\n")[2] for part in data.split(b"$")[:-1]] == [
        b"POST|/%d||x|%02d" % (n, n) for n in range(50)
    ]


def test_of_requests_that_do_not_wait_few_are_kept(serve):
    go_on = threading.Event()
    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(mirror_after(go_on), listener)
    with connect(listener) as connection:
        connection.sendall(b"".join(GET % n for n in range(5000)))
        until(lambda: any(one.waiting for one in thread.hosts[0].connections.open))
        (server,) = thread.hosts[0].connections.open
        assert len(server.waiting) < 100
        go_on.set()
        data = b""
        while data.count(b"$") < 5000:
            data += connection.recv(65536)
        assert [part.rpartition(b"\r\n")[2] for part in data.split(b"$")[:-1]] == [
            b"GET|/%d||x|" % n for n in range(5000)
        ]


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(mirrored):
    mirrored.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-Continue\r\ncontent-length: 4\r\n\r\n")
    assert read_until(mirrored, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    mirrored.sendall(b"body")
    assert read_until(mirrored, b"$").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_sends_no_more_has_its_answer(mirrored):
    mirrored.sendall(GET % 1)
    mirrored.shutdown(socket.SHUT_WR)
    assert everything(mirrored).endswith(b"GET|/1||x|$")


def test_a_client_that_sends_no_more_has_all_of_its_answers(mirrored):
    mirrored.sendall(b"".join(GET % number for number in range(1000)))
    mirrored.shutdown(socket.SHUT_WR)
    assert everything(mirrored).count(b"$") == 1000


def test_a_client_that_sends_no_more_has_all_of_a_long_answer(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(lambda exchange: flood(exchange, 50), listener)
    with connect(listener) as connection:
        connection.sendall(GET % 1)
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
        assert answer.count(b"\0") == 5_000_000
        assert answer.endswith(b"\r\n0\r\n\r\n")


def test_zeros_before_the_length_of_a_body_mean_nothing(mirrored):
    mirrored.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %b3\r\n\r\nabc" % (b"0" * 5000) + GET % 1)
    assert b"POST|/||x|abc$" in read_until(mirrored, b"|/1||x|$")


def test_a_body_that_ends_early_is_told_as_broken(mirrored):
    mirrored.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo")
    mirrored.shutdown(socket.SHUT_WR)
    assert everything(mirrored).endswith(b"|boBROKEN OFF$")


def test_http_1_0_closes_unless_it_is_asked_not_to(mirrored):
    mirrored.sendall(b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert b"\r\nconnection: keep-alive\r\n" in read_until(mirrored, b"$")
    mirrored.sendall(b"GET /b HTTP/1.0\r\n\r\n")
    answer = everything(mirrored)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"GET|/b|||$")


def test_an_answer_without_a_known_end_to_http_1_0_ends_with_the_connection(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(echo, listener)
    with connect(listener) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nabc")
        head, _, body = everything(connection).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert body == b"<abc>END"


def test_a_wish_for_another_protocol_is_passed_over(mirrored):
    """As some clients have it in their first request, with a body and without."""
    wish = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    body = b"content-length: 4\r\n\r\nbody"
    mirrored.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n" + wish + b"\r\n")
    assert read_until(mirrored, b"$").endswith(b"\r\n\r\nGET|/a||x|$")
    mirrored.sendall(b"POST /b HTTP/1.1\r\nhost: x\r\n" + wish + body + GET % 1)
    data = read_until(mirrored, b"|/1||x|$")
    assert b"\r\n\r\nPOST|/b||x|body$" in data
    for byte in b"POST /c HTTP/1.1\r\nhost: x\r\n" + wish + body:
        mirrored.sendall(bytes((byte,)))
    assert read_until(mirrored, b"$").endswith(b"\r\n\r\nPOST|/c||x|body$")


@pytest.mark.parametrize("asked", [b"connection: close", b"connection: upgrade, close\r\nupgrade: h2c"])
def test_after_its_last_answer_a_connection_is_closed(mirrored, asked):
    mirrored.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % asked)
    answer = everything(mirrored)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"GET|/a||x|$")


def test_a_body_in_chunks_of_any_size_has_no_limit_of_its_own(mirrored):
    sizes = [1, 2, 3, 100_000, 1, 70_000, 300_000, 5]
    mirrored.sendall(POST + b"".join(b"%x\r\n%b\r\n" % (size, bytes(size)) for size in sizes) + b"0\r\nb: c\r\n\r\n")
    assert read_until(mirrored, b"$").endswith(bytes(sum(sizes)) + b"$")


def test_an_answer_before_the_end_of_a_request_reaches_its_client(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(refuse, listener)
    with connect(listener) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n")
        connection.sendall(bytes(300_000))
        answer = everything(connection)  # no reset, although the rest of the body was not read by anybody
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nno")


def test_a_head_for_head_has_no_body(serve):
    async def answer(exchange):
        exchange.answer(200, None, b"12345")

    listener = listen_tcp("127.0.0.1", 0)
    serve(answer, listener)
    with connect(listener) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        first, second, body = everything(connection).split(b"\r\n\r\n")
        assert b"content-length: 5" in first
        assert second.startswith(b"HTTP/1.1 200")
        assert body == b"12345"


def test_a_response_without_content_has_no_length(serve):
    async def answer(exchange):
        exchange.answer(204, None, b"")

    listener = listen_tcp("127.0.0.1", 0)
    serve(answer, listener)
    with connect(listener) as connection:
        connection.sendall(GET % 1)
        head = read_until(connection, b"\r\n\r\n")
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head


@pytest.mark.parametrize("fails", [True, False])
def test_a_response_that_is_cut_off_is_seen_to_be(serve, fails):
    async def half(exchange):
        exchange.start(200, [])
        exchange.write(b"half")
        if fails:
            raise ValueError("the rest")

    listener = listen_tcp("127.0.0.1", 0)
    serve(half, listener)
    with connect(listener) as connection:
        connection.sendall(GET % 1)
        with contextlib.suppress(ConnectionResetError):
            assert b"0\r\n\r\n" not in everything(connection)


def test_a_slow_client_holds_up_the_writer_and_not_the_memory(serve):
    written = []
    done = threading.Event()

    async def answer(exchange):
        await flood(exchange, 1000, b"END", written)
        done.set()

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(answer, listener)
    with connect(listener) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(GET % 1)
        connection.recv(10)
        (server,) = thread.hosts[0].connections.open
        until(lambda: server.is_full)
        unsent = server.transport.get_write_buffer_size()
        assert unsent < 512 * 1024
        assert len(written) < 200
        size, last = 0, b""
        while not last.endswith(b"END\r\n0\r\n\r\n"):
            piece = connection.recv(1 << 20)
            size += len(piece)
            last = (last + piece)[-20:]
    assert size > 100_000_000
    assert done.wait(TIMEOUT_S)


def test_a_client_that_takes_no_answers_is_given_no_more(serve):
    """It may send requests for ever without reading, and each answer is larger than its request."""
    answers = []

    async def answer(exchange):
        answers.append(1)
        exchange.answer(200, None, bytes(100_000))

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(answer, listener)
    with connect(listener) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(GET % 1)
        connection.recv(10)
        (server,) = thread.hosts[0].connections.open
        sent = 1
        while not server.is_full:
            connection.sendall(b"".join(GET % number for number in range(20)))
            sent += 20
        connection.sendall(b"".join(GET % number for number in range(200)))
        sent += 200
        assert server.transport.get_write_buffer_size() < 512 * 1024
        assert len(answers) < sent
        size = 0
        while size < sent * 100_000:
            size += connection.recv(1 << 20).count(b"\0")
    until(lambda: len(answers) == sent)


def test_a_client_that_resets_is_no_failure_of_ours(serve, caplog):
    """Its answer is written into nothing."""
    asked, go_on = threading.Semaphore(0), threading.Event()
    outcomes = []

    async def late(exchange):
        asked.release()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        try:
            exchange.start(200, [])
            exchange.write(b"piece")
            await exchange.finish(b"end")
        except BaseException as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    listener = listen_tcp("127.0.0.1", 0)
    thread = serve(late, listener)
    for request in (GET % 1, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"):
        with connect(listener) as connection:
            connection.sendall(request)
            assert asked.acquire(timeout=TIMEOUT_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not thread.hosts[0].connections.open)
    go_on.set()
    until(lambda: len(outcomes) == 2)
    assert outcomes == [None, None]
    assert not caplog.records


def test_a_client_that_sends_faster_than_its_body_is_taken_has_to_wait(serve):
    go_on = threading.Event()

    async def take_late(exchange):
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        size = 0
        while piece := await exchange.read():
            size += len(piece)
        exchange.answer(200, None, b"%d$" % size)

    listener = listen_tcp("127.0.0.1", 0)
    serve(take_late, listener)
    size = 64 * 1024 * 1024
    with connect(listener) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        connection.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < size:
                sent += connection.send(bytes(1024 * 1024))
        assert sent < size  # the buffers of the kernel are full, and nobody else's
        connection.settimeout(TIMEOUT_S)
        go_on.set()
        connection.sendall(bytes(size - sent))
        read_until(connection, b"%d$" % size)


def test_tiny_chunks_leave_others_their_turns(serve):
    """A piece of 256 KiB has 40 000 of them: the application is given some in each turn of the loop."""
    sizes = []

    async def note(exchange):
        while piece := await exchange.read():
            sizes.append(len(piece))
        exchange.answer(200, None, b"$")

    listener = listen_tcp("127.0.0.1", 0)
    serve(note, listener)
    with connect(listener) as connection:
        connection.sendall(POST + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n")
        read_until(connection, b"$")
    assert sum(sizes) == 200_000
    assert len(sizes) > 100
