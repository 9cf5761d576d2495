"""Requests over HTTP/2 that a library would not send: their order, their bodies and their ends."""

import asyncio
import threading

import pytest
from support.h2_raw import PSEUDO, RawH2
from support.hosting import connect, echo, mirror, refuse
from support.waiting import until

from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http2_connection import MAX_STREAMS
from s2cli.server.http.http2_flow import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from s2cli.server.http.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_BYTES,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ErrorCode,
    frame,
)

POST = ((":method", "POST"), *PSEUDO[1:])


@pytest.fixture
def client(serve):
    """A client of a host that answers with what it was asked, `$` at its end."""
    with raw_client(serve, mirror) as one:
        yield one


class raw_client:  # a context manager
    def __init__(self, serve, application, values=None):
        listener = listen_tcp("127.0.0.1", 0)
        self.thread = serve(application, listener)
        self._connection, self._values = connect(listener), values

    def __enter__(self):
        client = RawH2(self._connection, self._values)
        client.thread = self.thread
        return client

    def __exit__(self, *_):
        self._connection.close()


def word(number):
    return number.to_bytes(4, "big")


# Requests.


def test_a_request_is_answered_however_it_is_cut_into_frames(client):
    block = client.block(pseudo=POST)
    client.send(HEADERS, PADDED | WITH_PRIORITY, 1, b"\2" + bytes(5) + block[:2] + bytes(2))
    for at in range(2, len(block)):
        client.send(CONTINUATION, END_HEADERS if at == len(block) - 1 else 0, 1, block[at : at + 1])
    client.send(DATA, 0, 1, b"one")
    client.send(DATA, PADDED, 1, b"\4two" + bytes(4))
    client.send(DATA, END_STREAM, 1)
    assert client.answer(1) == (200, b"POST|/||x|onetwo$")
    wire = frame(HEADERS, END_HEADERS, 3, client.block(pseudo=POST)) + frame(DATA, END_STREAM, 3, b"three")
    for at in range(len(wire)):
        client.send_bytes(wire[at : at + 1])
    assert client.answer(3) == (200, b"POST|/||x|three$")


def test_trailers_end_a_request_and_are_of_no_use(client):
    client.ask(1, pseudo=POST, ends=False)
    client.send(DATA, 0, 1, b"one")
    client.ask(1, ("x-a", "b"), ("host", "other"), pseudo=())
    assert client.answer(1) == (200, b"POST|/||x|one$")


@pytest.mark.parametrize("length", [3, 0])
def test_a_body_is_as_long_as_it_says(client, length):
    client.ask(1, ("content-length", str(length)), pseudo=POST, ends=False)
    client.send(DATA, END_STREAM, 1, b"one"[:length])
    assert client.answer(1) == (200, b"POST|/||x|" + b"one"[:length] + b"$")


@pytest.mark.parametrize("body", [b"on", b"ones"])
def test_a_body_that_is_not_as_long_as_it_says_ends_its_stream(client, body):
    client.ask(1, ("content-length", "3"), pseudo=POST, ends=False)
    client.send(DATA, END_STREAM, 1, body)
    assert client.reset_of(1) is ErrorCode.PROTOCOL_ERROR
    client.ask(3, ("content-length", "3"), pseudo=POST)
    assert client.reset_of(3) is ErrorCode.PROTOCOL_ERROR
    client.ask(5, ("content-length", "3"), pseudo=POST, ends=False)
    client.ask(5, pseudo=())
    assert client.reset_of(5) is ErrorCode.PROTOCOL_ERROR
    client.ask(7)
    assert client.answer(7) == (200, b"GET|/||x|$")


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(client):
    client.ask(1, ("expect", "100-continue"), pseudo=POST, ends=False)
    head = client.until(HEADERS, 1)
    assert not head[1] & END_STREAM
    client.send(DATA, END_STREAM, 1, b"asked")
    # The first head said 100.
    assert client._decoder.decode(head[3]) == [(":status", "100")]
    assert client.answer(1) == (200, b"POST|/||x|asked$")


def test_an_early_answer_ends_the_request_and_what_was_under_way_of_it_is_no_error(serve):
    with raw_client(serve, refuse) as client:
        client.ask(1, pseudo=POST, ends=False)
        client.send(DATA, 0, 1, bytes(1000))
        assert client.answer(1) == (413, b"no")
        assert client.reset_of(1) is ErrorCode.NO_ERROR
        client.send(DATA, 0, 1, bytes(1000))
        client.send(DATA, END_STREAM, 1, bytes(1000))
        client.ask(1, pseudo=())
        client.ask(3)
        assert client.answer(3) == (413, b"no")


def test_heads_that_are_refused_are_answered(client):
    client.ask(1, ("x-a", "y" * 17_000))
    assert client.answer(1) == (431, b"")
    client.ask(3, *[("a", "b")] * 101, pseudo=POST, ends=False)
    assert client.answer(3) == (431, b"")
    assert client.reset_of(3) is ErrorCode.NO_ERROR
    client.ask(5, pseudo=((":method", "CONNECT"), (":authority", "x:1")), ends=False)
    assert client.answer(5) == (400, b"")
    client.ask(7)
    assert client.answer(7)[0] == 200


@pytest.mark.parametrize("field", [("Upper", "case"), ("connection", "close"), ("te", "gzip"), (":status", "200")])
def test_a_malformed_head_ends_its_stream_alone(client, field):
    client.ask(1, field)
    assert client.reset_of(1) is ErrorCode.PROTOCOL_ERROR
    client.ask(3)
    assert client.answer(3)[0] == 200


def test_an_application_that_breaks_off_resets_its_stream(serve):
    async def begin(exchange):
        exchange.start(200, [])
        exchange.write(b"begun")

    with raw_client(serve, begin) as client:
        client.ask(1)
        assert client.reset_of(1) is ErrorCode.INTERNAL_ERROR


# Streams.


def test_streams_beyond_the_limit_are_refused_and_one_that_is_reset_counts_until_its_task_has_ended(serve):
    may_end, begun = threading.Event(), []

    async def hold(exchange):
        begun.append(exchange)
        exchange.start(200, [])
        exchange.write(b"")
        await asyncio.get_running_loop().run_in_executor(None, may_end.wait)
        exchange.end(b"end")

    with raw_client(serve, hold) as client:
        assert client.settings()[MAX_CONCURRENT_STREAMS] == MAX_STREAMS
        for number in range(MAX_STREAMS):
            client.ask(1 + 2 * number)
        until(lambda: len(begun) == MAX_STREAMS)
        refused = 1 + 2 * MAX_STREAMS
        client.ask(refused)
        assert client.reset_of(refused) is ErrorCode.REFUSED_STREAM
        client.send(RST_STREAM, 0, 1, word(ErrorCode.CANCEL))
        client.ask(refused + 2)
        assert client.reset_of(refused + 2) is ErrorCode.REFUSED_STREAM
        may_end.set()
        (connection,) = client.thread.hosts[0].connections.open
        until(lambda: connection.idle_since_s < float("inf"))
        client.ask(refused + 4)
        assert client.answer(refused + 4) == (200, b"end")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frame(DATA, 0, 99, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 0, b"\x82"), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 2, b"\x82"), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS | WITH_PRIORITY, 99, b"\x82"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(HEADERS, END_HEADERS, 99, b"\xff\xff\xff\x03"), ErrorCode.COMPRESSION_ERROR),
        (frame(HEADERS, 0, 99, b"\x82") + frame(PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 99, b"\x82") + frame(CONTINUATION, 4, 97, b"\x82"), ErrorCode.PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, 99, b"\x82"), ErrorCode.PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 99, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 99, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\2" + word(2)), ErrorCode.PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\4" + word(2**31)), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\5" + word(16_383)), ErrorCode.PROTOCOL_ERROR),
        (frame(PUSH_PROMISE, 0, 99, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1)), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(WINDOW_UPDATE, 0, 99, word(1)), ErrorCode.PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        ((MAX_FRAME_BYTES + 1).to_bytes(3, "big") + bytes(6), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_what_is_no_http2_ends_the_connection(client, wire, code):
    client.ask(1)
    assert client.answer(1)[0] == 200
    client.send_bytes(wire)
    assert client.failure() is code


def test_a_stream_that_has_ended_is_begun_by_nobody_again(client):
    client.ask(3)
    assert client.answer(3)[0] == 200
    client.send(DATA, 0, 3, b"more")
    assert client.reset_of(3) is ErrorCode.STREAM_CLOSED
    client.ask(1)
    assert client.failure() is ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize(
    ("kind", "contents"), [(PRIORITY, word(1) + b"\0"), (PRIORITY, b"\0"), (WINDOW_UPDATE, word(0))]
)
def test_what_is_wrong_about_a_stream_ends_it_alone(serve, kind, contents):
    with raw_client(serve, echo) as client:
        client.ask(1, pseudo=POST, ends=False)
        client.send(kind, 0, 1, contents)
        assert client.reset_of(1) in (ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR)
        client.ask(3)
        assert client.answer(3) == (200, b"END")


def test_frames_of_kinds_that_nobody_knows_are_no_error(client):
    client.send(0x77, 0xFF, 1, b"what?")
    client.send(PING, 0, 0, b"12345678")
    assert client.until(PING, flags=ACK)[3] == b"12345678"


def test_settings_come_first(serve):
    listener = listen_tcp("127.0.0.1", 0)
    serve(mirror, listener)
    for begin in frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0):
        with connect(listener) as connection:
            client = RawH2(connection, begin=begin)
            assert client.failure() is ErrorCode.PROTOCOL_ERROR


# Flow.


def test_an_answer_waits_for_windows_also_for_those_that_are_made_smaller(serve):
    async def answer(exchange):
        exchange.answer(200, None, bytes(50_000))

    with raw_client(serve, answer, {INITIAL_WINDOW_SIZE: 10_000}) as client:
        client.ask(1)
        size = 0
        while size < 10_000:
            size += len(client.until(DATA, 1)[3])
        client.send(SETTINGS, 0, 0, b"\0\4" + word(0))
        client.send(WINDOW_UPDATE, 0, 1, word(10_000))
        client.send(PING, 0, 0, bytes(8))
        # The window is 0 again: nothing has come before the answer to the ping.
        one = client.next_frame()
        while one[0] != PING:
            assert one[0] == SETTINGS
            one = client.next_frame()
        client.send(WINDOW_UPDATE, 0, 1, word(40_000))
        while size < 50_000:
            size += len(client.until(DATA, 1)[3])


def test_frames_of_an_answer_are_as_large_as_the_client_lets_them(serve):
    async def answer(exchange):
        exchange.answer(200, None, bytes(60_000))

    for most, values in ((16_384, {}), (60_000, {MAX_FRAME_SIZE: 2**24 - 1})):
        with raw_client(serve, answer, values) as client:
            client.ask(1)
            assert len(client.until(DATA, 1)[3]) == most


def test_a_client_that_sends_more_than_the_window_of_a_stream_loses_the_stream(serve):
    async def wait(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        gone = asyncio.Event()
        while not exchange.is_disconnected and exchange.untaken_bytes <= STREAM_WINDOW_BYTES:
            await asyncio.sleep(0.01)
        gone.set()

    with raw_client(serve, wait) as client:
        client.ask(1, pseudo=POST, ends=False)
        for _ in range(STREAM_WINDOW_BYTES // MAX_FRAME_BYTES + 1):
            client.send(DATA, 0, 1, bytes(MAX_FRAME_BYTES))
        assert client.reset_of(1) is ErrorCode.FLOW_CONTROL_ERROR


def test_windows_are_enlarged_as_bodies_are_taken(serve):
    async def count(exchange):
        size = 0
        while piece := await exchange.read():
            size += len(piece)
        exchange.answer(200, None, b"%d" % size)

    with raw_client(serve, count) as client:
        client.ask(1, pseudo=POST, ends=False)
        windows, sent = {0: CONNECTION_WINDOW_BYTES, 1: STREAM_WINDOW_BYTES}, 0
        while sent < 2 * CONNECTION_WINDOW_BYTES:
            while min(windows.values()) < MAX_FRAME_BYTES:
                _, _, stream, contents = client.until(WINDOW_UPDATE)
                windows[stream] += int.from_bytes(contents, "big")
            client.send(DATA, 0, 1, bytes(MAX_FRAME_BYTES))
            sent += MAX_FRAME_BYTES
            for stream in windows:
                windows[stream] -= MAX_FRAME_BYTES
        client.send(DATA, END_STREAM, 1)
        assert client.answer(1) == (200, b"%d" % sent)


# Ends.


def test_a_host_that_ends_lets_streams_end_and_refuses_new_ones(serve):
    with raw_client(serve, echo) as client:
        client.ask(1, pseudo=POST, ends=False)
        client.until(HEADERS, 1)
        client.thread.begin_stop()
        last = client.until(GOAWAY)[3]
        assert (last[:4], last[4:8]) == (word(1), word(ErrorCode.NO_ERROR))
        client.ask(3)
        assert client.reset_of(3) is ErrorCode.REFUSED_STREAM
        client.send(DATA, END_STREAM, 1, b"last")
        data = b""
        while not data.endswith(b"END"):
            data += client.until(DATA, 1)[3]
        assert data == b"<last>END"
        assert client.next_frame() is None
    client.thread.stop()


def test_a_client_that_says_that_it_ends_gets_its_answers(serve):
    with raw_client(serve, echo) as client:
        client.ask(1, pseudo=POST, ends=False)
        client.send(GOAWAY, 0, 0, word(0) + word(0))
        client.send(DATA, END_STREAM, 1, b"last")
        assert client.answer(1) == (200, b"<last>END")
        assert client.failure() is None
