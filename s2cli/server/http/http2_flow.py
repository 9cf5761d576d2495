"""The flow of bodies over HTTP/2 (RFC 9113, 5.2): what may be sent now, and whose turn it is, and what a client may
send.

A piece that there is no room for is held as it was given: those of many followers are the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from s2cli.server.http import socket_writes
from s2cli.server.http.http2_floods import SENT_FRAME_GAIN
from s2cli.server.http.http2_frames import (
    END_STREAM,
    LEAST_FRAME_BYTES,
    MAX_WINDOW,
    ConnectionFaultError,
    ErrorCode,
    StreamFaultError,
    data_head,
)

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Iterable, Sequence

    from s2cli.server.http.http2_floods import Budget
    from s2cli.server.http.memory_budget import Memory

# What every client and server begins with.
DEFAULT_WINDOW = 65535
# What a client may send of a stream before the application takes it, and of all streams of a connection before we have
# read it. Were the two equal, a stream that is not taken would hold up the others.
STREAM_WINDOW_BYTES = 4 * 1024 * 1024
CONNECTION_WINDOW_BYTES = 64 * 1024 * 1024
# Of a response, for which there is no room, before its writer has to wait: one piece. While it is sent, the next one is
# made.
MAX_HELD_BYTES = 128 * 1024
# Of a stream at once, where several wait.
TURN_BYTES = 128 * 1024
# A smaller part of a piece, which its window has cut off, is of little use to a client.
MIN_CUT_BYTES = 1024
# Joined into one write, and the largest frame.
WRITTEN_BYTES = 128 * 1024
# Copied into one piece with the head of its frame.
MAX_COPIED_BYTES = 4096


class ReceiveWindow:
    """What the other side may send."""

    __slots__ = ("_given_bytes", "_left_bytes", "_size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = self._left_bytes = size_bytes
        self._given_bytes = 0  # that were taken, and the other side has not been told

    def receive(self, size_bytes: int) -> bool:
        """Whether so much was allowed."""
        self._left_bytes -= size_bytes
        return self._left_bytes >= 0

    def give(self, size_bytes: int) -> int:
        """By how much to enlarge it now that so much was taken; 0 for not yet."""
        self._given_bytes += size_bytes
        given_bytes = self._given_bytes
        if given_bytes < self._size_bytes // 2:
            return 0
        self._given_bytes = 0
        self._left_bytes += given_bytes
        return given_bytes


class Body(Protocol):
    """The response of a stream, as far as it is to be sent. The sender alone changes these."""

    number: int
    window: int  # what the client takes of it; below 0 after it made its windows smaller
    held: deque[bytes]  # there was no room for
    held_at: int  # where what is left of the first of them begins
    held_bytes: int
    ends_held: bool  # whether the response ends behind them

    def sent(self, *, is_end: bool) -> None:
        """Some of what was held has gone, or all of the response."""
        ...


class Sender:
    """What goes out over one connection. What is given in one turn of the loop leaves in one write."""

    def __init__(self, loop: asyncio.AbstractEventLoop, memory: Memory, transport: Any, budget: Budget) -> None:
        """`budget` is that of the idle frames of the client."""
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.max_frame_bytes = LEAST_FRAME_BYTES
        # Whether the client has to take something before there is room for more.
        self.is_full = False
        self.is_closed = False
        self.written_bytes = 0
        self._loop = loop
        self._memory = memory
        self._transport = transport
        self._budget = budget
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._is_due = False
        # Bodies whose turn it is when there is room.
        self._turns: dict[Body, None] = {}

    # Frames.

    def put(self, data: bytes | memoryview) -> None:
        """Sends it soon, whether there is room or not."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= WRITTEN_BYTES:
            self.flush()
        elif not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        out = self._out
        if not out:
            return
        size_bytes, self._out_bytes = self._out_bytes, 0
        self._out = []
        if self.is_closed:  # the transport of uvloop raises then
            return
        self.written_bytes += size_bytes
        self._memory.spend(size_bytes)
        socket_writes.write(self._transport, out, size_bytes)

    def unsent_bytes(self) -> int:
        unsent_bytes: int = self._transport.get_write_buffer_size()
        return self._out_bytes + unsent_bytes

    # Bodies.

    def send(self, body: Body, data: bytes, *, is_end: bool) -> None:
        """Sends a piece of a body as far as there is room, and holds the rest."""
        size = len(data)
        has_room = not self.is_full and size <= body.window and size <= self.window and size <= self.max_frame_bytes
        if not body.held and (has_room or not size):
            self._put_data(body, data, is_end=is_end)
            if is_end:
                body.sent(is_end=True)
            return
        body.held.append(data)
        body.held_bytes += size
        body.ends_held = is_end
        if self.is_full or self.window <= 0:
            self._turns[body] = None
        else:
            self._go_on(body, MAX_WINDOW)

    def send_parts(self, body: Body, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        """`send` of a piece that is not the last one, in several parts, `size_bytes` in all. What there is room for is
        not copied."""
        room_bytes = 0 if body.held or self.is_full else max(0, min(body.window, self.window))
        if room_bytes < size_bytes:
            rest = b"".join(socket_writes.behind(parts, room_bytes))
            body.held.append(rest)
            body.held_bytes += len(rest)
            if self.is_full or body.window > room_bytes:
                self._turns[body] = None
            size_bytes = room_bytes
        if size_bytes:
            self._put_parts(body, parts, size_bytes)

    def _put_parts(self, body: Body, parts: Sequence[bytes | memoryview], left_bytes: int) -> None:
        """The first bytes of the parts, so many, in frames that are as large as they may be."""
        body.window -= left_bytes
        self.window -= left_bytes
        most_bytes = self.max_frame_bytes
        self._budget.earn(SENT_FRAME_GAIN * -(-left_bytes // most_bytes))
        head = data_head(most_bytes, 0, body.number)
        room_bytes = 0  # in the frame that has begun
        for part in parts:
            view = memoryview(part)
            at = 0
            while at < len(view) and left_bytes:
                if not room_bytes:
                    room_bytes = min(left_bytes, most_bytes)
                    self.put(head if room_bytes == most_bytes else data_head(room_bytes, 0, body.number))
                piece = view[at : at + room_bytes]
                self.put(piece)
                at += len(piece)
                room_bytes -= len(piece)
                left_bytes -= len(piece)

    def _put_data(self, body: Body, data: bytes | memoryview, *, is_whole: bool = True, is_end: bool) -> None:
        size = len(data)
        body.window -= size
        self.window -= size
        # Not where a client lets through a few bytes at a time.
        if is_whole or size >= MIN_CUT_BYTES:
            self._budget.earn(SENT_FRAME_GAIN)
        head = data_head(size, END_STREAM if is_end else 0, body.number)
        if size <= MAX_COPIED_BYTES:
            self.put(b"".join((head, data)))
        else:
            self.put(head)
            self.put(data)

    def _go_on(self, body: Body, most_bytes: int) -> None:
        """Sends what is held, as far as there is room, at most so much."""
        held = body.held
        while held:
            data = held[0]
            left_bytes = len(data) - body.held_at
            size = min(left_bytes, self.max_frame_bytes, body.window, self.window, most_bytes)
            if left_bytes and (size <= 0 or self.is_full):
                break
            size = max(size, 0)
            at = body.held_at
            is_whole = size == left_bytes
            if is_whole:
                held.popleft()
                body.held_at = 0
            else:
                body.held_at = at + size
            body.held_bytes -= size
            most_bytes -= size
            is_end = is_whole and not held and body.ends_held
            piece = data if size == len(data) else memoryview(data)[at : at + size]
            self._put_data(body, piece, is_whole=is_whole, is_end=is_end)
        if held and body.window > 0:
            self._turns[body] = None
        body.sent(is_end=body.ends_held and not held)

    def go_on(self) -> None:
        """There is room: bodies go on, each in its turn."""
        turns = self._turns
        while turns and self.window > 0 and not self.is_full:
            body = next(iter(turns))
            del turns[body]
            self._go_on(body, TURN_BYTES)

    def drop(self, body: Body) -> None:
        """Nothing more of it is to be sent."""
        self._turns.pop(body, None)
        body.held.clear()
        body.held_bytes = body.held_at = 0

    def limit_frames(self, size_bytes: int) -> None:
        """The client takes frames of that size, and none that are larger."""
        self.max_frame_bytes = min(size_bytes, WRITTEN_BYTES)

    # The windows of the client.

    def enlarge(self, size_bytes: int) -> None:
        """That of the connection."""
        if not size_bytes:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        self.window += size_bytes
        if self.window > MAX_WINDOW:
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR)
        self.go_on()

    def enlarge_of(self, body: Body, size_bytes: int) -> None:
        """That of a stream."""
        if not size_bytes:
            raise StreamFaultError(body.number, ErrorCode.PROTOCOL_ERROR)
        body.window += size_bytes
        if body.window > MAX_WINDOW:
            raise StreamFaultError(body.number, ErrorCode.FLOW_CONTROL_ERROR)
        self._take_turn(body)
        self.go_on()

    def resize(self, initial_window: int, bodies: Iterable[Body]) -> None:
        """That of each stream, those which are open too (RFC 9113, 6.9.2)."""
        if initial_window > MAX_WINDOW:
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR)
        change, self.initial_window = initial_window - self.initial_window, initial_window
        for body in bodies:
            body.window += change
            if body.window > MAX_WINDOW:
                raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR)
            self._take_turn(body)
        self.go_on()

    def _take_turn(self, body: Body) -> None:
        if body.held and body.window > 0:
            self._turns[body] = None
