"""Many requests in few bytes over HTTP/1.1: few are kept at a time, none costs more for it, and the log stays short."""

import asyncio
import logging
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hosting import connect, read_until
from support.waiting import until

from s2cli.server.client_log import CLIENT_LOG, MAX_LINES_PER_S, MAX_TRACEBACK_CHARS
from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http1_body import MAX_CHUNKS, SMALL_PIECE_BYTES, ChunkedBody, FixedBody, body_begun_in

CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
FIXED = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n"
BODIES = {
    "fixed": FIXED + b"x" * 5000,
    "chunked": CHUNKED + b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n",
    "extended": CHUNKED + b"1388;a=b\r\n" + b"x" * 5000 + b"\r\n000;c\r\ntrailer: d\r\n\r\n",
}
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
WISH = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"


@pytest.fixture
def held(serve):
    """A server whose answers wait until they may, and a connection to it: `(host, connection, may)`."""
    may = threading.Event()

    async def count(exchange):
        await asyncio.get_running_loop().run_in_executor(None, may.wait)
        while await exchange.read():
            pass
        exchange.answer(204, None, b"")

    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = serve(count, listener)
    with connect(address) as connection:
        yield thread.hosts[0], connection, may
        may.set()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("request_bytes", [GET, WISH], ids=["plain", "upgrade"])
def test_of_many_requests_behind_a_body_few_are_kept(held, body, request_bytes, caplog):
    host, connection, may = held
    connection.sendall(BODIES[body][:3000])
    until(lambda: any(one.incoming for one in host.connections.open))
    (server,) = host.connections.open
    # One read of the server has the end of the body and all of them.
    host.loop.call_soon_threadsafe(server.hold_reading)
    until(lambda: server.holds_reading)
    connection.sendall(BODIES[body][3000:] + request_bytes * 900)
    host.loop.call_soon_threadsafe(server.go_on_reading)
    until(lambda: server.waiting)
    assert len(server.waiting) <= SMALL_PIECE_BYTES // len(request_bytes) + 2
    may.set()
    answers = b""
    while answers.count(b"HTTP/1.1 204 ") < 901:
        answers += read_until(connection, b"\r\n\r\n")
    assert not caplog.records


def test_a_padded_head_before_requests_for_another_protocol_recurses_nowhere(held, caplog):
    _, connection, may = held
    may.set()
    padded = WISH.replace(b"upgrade: x", b"upgrade: x\r\npad: " + b"p" * 14_000)
    connection.sendall(padded + WISH * 900)
    answers = b""
    while answers.count(b"HTTP/1.1 204 ") < 901:
        answers += read_until(connection, b"\r\n\r\n")
    assert not caplog.records


def cut_up(body, wire, message_end, piece_ends):
    """How far behind its end the last piece of the message reaches, if `wire` comes in these pieces."""
    came, parsed = 0, 0
    rest = b""
    for end in [*piece_ends, len(wire)]:
        rest += wire[came:end]
        came = end
        while rest and parsed < message_end:
            size = body.cut(rest)
            assert 0 < size <= len(rest)
            rest = rest[size:]
            parsed += size
        if parsed >= message_end:
            return parsed - message_end
    raise AssertionError("the end did not come")


@st.composite
def chunked_messages(draw):
    sizes = draw(st.lists(st.integers(1, 5000), max_size=20))
    line_end = draw(st.sampled_from([b"\r\n", b";a=b\r\n", b" \r\n", b';a="' + b"q" * 100 + b'"\r\n']))
    zeros = draw(st.sampled_from([b"", b"0", b"000"]))
    data = random.Random(draw(st.integers())).randbytes(5000)
    chunks = [zeros + b"%x" % size + line_end + data[:size] + b"\r\n" for size in sizes]
    trailers = draw(st.sampled_from([b"", b"a: b\r\n", b"a: b\r\n" * 50]))
    return b"".join(chunks) + zeros + b"0" + line_end + trailers + b"\r\n"


@given(chunked_messages(), st.integers(0, 30_000), st.lists(st.integers(1, 60_000), max_size=8))
def test_a_piece_reaches_little_beyond_the_end_of_a_chunked_body(message, more, ends):
    wire = message + GET * (more // len(GET))
    piece_ends = sorted({end for end in ends if end < len(wire)})
    assert cut_up(ChunkedBody(), wire, len(message), piece_ends) <= SMALL_PIECE_BYTES


@given(st.integers(1, 20_000), st.integers(0, 30_000), st.lists(st.integers(1, 60_000), max_size=8))
def test_a_piece_ends_with_a_body_of_known_length(length, more, ends):
    wire = bytes(length) + GET * (more // len(GET))
    piece_ends = sorted({end for end in ends if end < len(wire)})
    assert cut_up(FixedBody(length), wire, length, piece_ends) == 0


def test_chunks_that_are_large_are_given_whole():
    body = body_begun_in(CHUNKED + b"10000\r\nbegin", None, 5)
    rest = bytes(0x10000 - 5) + b"\r\n" + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 6
    assert body.cut(rest) == len(rest)


def test_of_tiny_chunks_some_are_given_at_once():
    assert ChunkedBody().cut(b"1\r\nx\r\n" * 5000) == 6 * MAX_CHUNKS


def test_what_is_logged_of_clients_is_bounded(caplog):
    log = logging.getLogger(CLIENT_LOG)

    def fail(depth):
        if depth:
            fail(depth - 1)
        raise ValueError("x" * 20_000)

    async def flood():
        for number in range(1000):
            try:
                fail(50)
            except ValueError:
                log.exception("request %d failed", number)
        told = asyncio.get_running_loop().create_future()
        caplog.handler.addFilter(lambda record: told.done() or told.set_result(record) or True)
        return await asyncio.wait_for(told, 10)

    last = asyncio.run(flood()).getMessage()
    # The second may turn while it runs.
    logged = len(caplog.records) - 1
    assert MAX_LINES_PER_S <= logged < 100
    assert last == f"{1000 - logged} more lines about clients were left out"
    assert all(len(record.exc_text) <= MAX_TRACEBACK_CHARS for record in caplog.records[:MAX_LINES_PER_S])
