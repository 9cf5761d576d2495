"""Windows, turns and writes over HTTP/2, without a connection."""

from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.server.http.http2_floods import Budget
from s2cli.server.http.http2_flow import DEFAULT_WINDOW, WRITTEN_BYTES, ReceiveWindow, Sender
from s2cli.server.http.http2_frames import (
    DATA,
    END_STREAM,
    MAX_WINDOW,
    PING,
    ConnectionFaultError,
    ErrorCode,
    FrameReader,
    StreamFaultError,
    frame,
)
from s2cli.server.http.memory_budget import Memory


class Loop:
    """What is to be called in the next turn."""

    def __init__(self):
        self.due = []

    def call_soon(self, call):
        self.due.append(call)

    def turn(self):
        due, self.due = self.due, []
        for call in due:
            call()


class Transport:
    def __init__(self):
        self.writes = []

    def write(self, data):
        self.writes.append(bytes(data))

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name):
        assert name == "socket"
        return SimpleNamespace(fileno=lambda: -1)


class Body:
    def __init__(self, number, window=DEFAULT_WINDOW):
        self.number, self.window = number, window
        self.held, self.held_at, self.held_bytes, self.ends_held = deque(), 0, 0, False
        self.told = []

    def sent(self, *, is_end):
        self.told.append(is_end)


class Line:
    """A sender, and what has come out of it."""

    def __init__(self):
        self.loop, self.transport = Loop(), Transport()
        self.sender = Sender(self.loop, Memory(), self.transport, Budget(0, 0, 0))

    def frames(self):
        self.loop.turn()
        reader, frames = FrameReader(), []
        reader.feed(memoryview(b"".join(self.transport.writes)))
        self.transport.writes.clear()
        while (one := reader.next_frame()) is not None:
            frames.append(one)
        return frames

    def bodies(self):
        """The data of each stream, and which have ended."""
        got, ended = {}, set()
        for kind, flags, stream, data in self.frames():
            assert kind == DATA
            got[stream] = got.get(stream, b"") + data
            if flags & END_STREAM:
                ended.add(stream)
        return got, ended


@pytest.fixture
def line():
    return Line()


def test_what_is_sent_in_one_turn_leaves_in_one_write(line):
    for number in range(64):
        line.sender.put(frame(PING, 0, 0, bytes(8)))
        line.sender.send(Body(2 * number + 1), b"answer", is_end=True)
    assert line.transport.writes == []
    line.loop.turn()
    assert len(line.transport.writes) == 1
    assert len(line.frames()) == 128


def test_a_turn_that_sends_much_writes_before_its_end(line):
    line.sender.window = body_window = 10 * WRITTEN_BYTES
    body = Body(1, body_window)
    for _ in range(4):
        line.sender.send(body, bytes(WRITTEN_BYTES), is_end=False)
    assert len(line.transport.writes) >= 4
    assert all(len(data) < 2 * WRITTEN_BYTES for data in line.transport.writes)


def test_what_the_window_of_a_stream_does_not_take_is_held(line):
    body, other = Body(1, 4), Body(3)
    line.sender.send(body, b"abcdef", is_end=False)
    line.sender.send(body, b"gh", is_end=True)
    line.sender.send(other, b"other", is_end=True)
    assert line.bodies() == ({1: b"abcd", 3: b"other"}, {3})
    assert (body.held_bytes, any(body.told)) == (4, False)
    line.sender.enlarge_of(body, 1)
    line.sender.enlarge_of(body, 3)
    assert line.bodies() == ({1: b"efgh"}, {1})
    assert (body.held_bytes, body.told[-1]) == (0, True)


def test_an_end_without_data_needs_no_window(line):
    line.sender.window = 0
    body = Body(1, -5)
    line.sender.send(body, b"", is_end=True)
    assert line.bodies() == ({1: b""}, {1})


def test_streams_that_wait_for_the_window_of_the_connection_go_on_in_turn(line):
    line.sender.window = 0
    bodies = [Body(number, 10**6) for number in (1, 3, 5)]
    for body in bodies:
        line.sender.send(body, b"%d" % body.number * 300_000, is_end=True)
    line.sender.enlarge(300_000)
    got, ended = line.bodies()
    assert set(got) == {1, 3, 5}
    assert not ended
    line.sender.enlarge(600_000)
    assert line.bodies()[1] == {1, 3, 5}


def test_nobody_sends_while_the_transport_is_full(line):
    line.sender.is_full = True
    body = Body(1)
    line.sender.send(body, b"data", is_end=False)
    line.sender.enlarge(1)
    line.sender.enlarge_of(body, 1)
    assert line.frames() == []
    line.sender.is_full = False
    line.sender.go_on()
    assert line.bodies() == ({1: b"data"}, set())


def test_what_is_dropped_is_not_sent(line):
    line.sender.window = 0
    body = Body(1)
    line.sender.send(body, b"data", is_end=True)
    line.sender.drop(body)
    line.sender.enlarge(100)
    assert line.frames() == []
    assert body.held_bytes == 0


def test_windows_that_are_made_smaller_may_be_below_0(line):
    body = Body(1)
    line.sender.send(body, bytes(1000), is_end=False)
    line.sender.resize(100, [body])
    assert body.window == 100 - 1000
    line.sender.send(body, b"more", is_end=True)
    line.frames()
    line.sender.enlarge_of(body, 900)
    assert line.frames() == []
    line.sender.enlarge_of(body, 2)
    assert line.bodies() == ({1: b"mo"}, set())
    line.sender.resize(102, [body])
    assert line.bodies() == ({1: b"re"}, {1})


def test_windows_that_are_too_large_end_their_stream_or_the_connection(line):
    body = Body(1)
    with pytest.raises(StreamFaultError) as stream:
        line.sender.enlarge_of(body, MAX_WINDOW)
    assert (stream.value.stream, stream.value.code) == (1, ErrorCode.FLOW_CONTROL_ERROR)
    with pytest.raises(StreamFaultError):
        line.sender.enlarge_of(body, 0)
    for call in (
        lambda: line.sender.enlarge(MAX_WINDOW),
        lambda: line.sender.enlarge(0),
        lambda: line.sender.resize(MAX_WINDOW + 1, []),
        lambda: line.sender.resize(MAX_WINDOW, [Body(3, DEFAULT_WINDOW + 1)]),
    ):
        with pytest.raises(ConnectionFaultError):
            call()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(0, 70_000)),
        st.tuples(st.just("stream"), st.integers(0, 2), st.integers(1, 50_000)),
        st.tuples(st.just("connection"), st.just(0), st.integers(1, 50_000)),
        st.tuples(st.just("resize"), st.just(0), st.integers(0, 100_000)),
        st.tuples(st.just("full"), st.integers(0, 1), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_every_byte_comes_once_in_its_order_and_within_the_windows(steps):
    line = Line()
    sender = line.sender
    bodies = [Body(number) for number in (1, 3, 5)]
    given_bytes, allowed = {1: b"", 3: b"", 5: b""}, DEFAULT_WINDOW
    came = dict.fromkeys(given_bytes, b"")

    def look():
        for stream, data in line.bodies()[0].items():
            came[stream] += data

    for kind, at, size in steps:
        body = bodies[at]
        if kind == "send":
            data = b"%d" % at * size
            given_bytes[body.number] += data
            sender.send(body, data, is_end=False)
        elif kind == "stream":
            sender.enlarge_of(body, size)
        elif kind == "connection":
            allowed += size
            sender.enlarge(size)
        elif kind == "resize":
            sender.resize(size, bodies)
        else:
            sender.is_full = bool(at)
            sender.go_on()
        look()
        assert sum(map(len, came.values())) <= allowed
        assert sum(body.held_bytes for body in bodies) == sum(len(given_bytes[one]) - len(came[one]) for one in came)
        assert all(given_bytes[stream].startswith(data) for stream, data in came.items())
    sender.is_full = False
    sender.enlarge(10**7)
    for body in bodies:
        sender.enlarge_of(body, 10**7)
    look()
    assert came == given_bytes


def test_a_client_may_send_as_much_as_was_taken():
    window = ReceiveWindow(100)
    assert window.receive(60)
    assert window.give(20) == 0
    assert window.give(40) == 60
    assert window.receive(100)
    assert not window.receive(1)


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6),
    st.integers(-5, 100),
    st.integers(0, 100),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_piece_in_parts_is_sent_as_one_that_is_whole(parts, window, window_of_all, most_bytes, is_full):
    """The same data leaves, is held, and goes on when there is room; in frames that are as large as they may be."""
    whole = b"".join(parts)
    seen = []
    for in_parts in (False, True):
        line, body = Line(), Body(1, window)
        sender = line.sender
        sender.window, sender.max_frame_bytes, sender.is_full = window_of_all, most_bytes, is_full
        if in_parts:
            sender.send_parts(body, parts, len(whole))
        else:
            sender.send(body, whole, is_end=False)
        first = line.frames()
        assert all(len(data) <= most_bytes for _, _, _, data in first)
        assert all(len(data) == most_bytes for _, _, _, data in first[:-1])
        held_bytes, windows = body.held_bytes, (body.window, sender.window)
        sender.send(body, b"end", is_end=True)
        sender.is_full = False
        sender.enlarge(1000)
        sender.enlarge_of(body, 1000)
        rest = line.frames()
        assert rest[-1][1] & END_STREAM
        data = [b"".join(data for *_, data in frames) for frames in (first, rest)]
        assert b"".join(data) == whole + b"end"
        seen.append((data, held_bytes, windows))
    assert seen[0] == seen[1]


def test_a_piece_in_parts_waits_behind_what_is_held(line):
    body = Body(1, 4)
    line.sender.send(body, b"abcdef", is_end=False)
    line.sender.send_parts(body, [b"gh", memoryview(b"ij")], 4)
    assert body.held_bytes == 6
    line.sender.enlarge_of(body, 100)
    assert line.bodies() == ({1: b"abcdefghij"}, set())


def test_what_is_held_of_a_piece_in_parts_is_a_copy(line):
    body = Body(1, 4)
    line.sender.send_parts(body, [b"ab", memoryview(bytes(100))], 102)
    assert [type(held) for held in body.held] == [bytes]
    assert body.held_bytes == 98
