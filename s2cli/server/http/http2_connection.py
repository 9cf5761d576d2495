"""HTTP/2 connections, by prior knowledge. As for HTTP/1.1, everything happens in the thread of the event loop, and the
limits of size and time are the same ones. What the frames of the client mean is in http2_incoming.py, what goes out in
http2_flow.py; here is how a connection and its streams begin and end."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from s2cli.server.http.connections import Receiver
from s2cli.server.http.exchange import encode_json
from s2cli.server.http.http1_connection import (
    HEAD_TIMEOUT_S,
    KEEP_ALIVE_S,
    LINGER_BYTES,
    LINGER_S,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_UNSENT_BYTES,
    PREFACE,
    STALL_S,
)
from s2cli.server.http.http2_exchange import Http2Exchange, StreamState
from s2cli.server.http.http2_floods import IDLE_FRAMES_PER_S, MAX_IDLE_FRAMES, Budget
from s2cli.server.http.http2_flow import CONNECTION_WINDOW_BYTES, DEFAULT_WINDOW, STREAM_WINDOW_BYTES, Sender
from s2cli.server.http.http2_frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_BYTES,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    ConnectionFaultError,
    ErrorCode,
    frame,
    goaway,
    reset,
    settings,
    window_update,
)
from s2cli.server.http.http2_head import NO_TABLE, HeadDecoder, encode_status
from s2cli.server.http.http2_incoming import Incoming

if TYPE_CHECKING:
    from s2cli.server.http.connections import Connections
    from s2cli.server.http.http2_head import Head

# Streams of a connection that are open, or whose application has not returned.
MAX_STREAMS = 200
# Exchanges of all connections, as many as there may be over HTTP/1.1. Beyond it none gets more than its part.
MAX_EXCHANGES = 4096

_BUSY = encode_json(
    {"code": "unavailable", "message": "too many requests are under way over HTTP/2", "error": "unavailable"}
)
_SETTINGS = {
    MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    MAX_FRAME_SIZE: MAX_FRAME_BYTES,
    MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
}


class State(IntEnum):
    """How far a connection is on its way, which it goes in this order: a picture is in the map."""

    OPEN = 0  # requests are taken, once the settings of the client have come
    LAST = 1  # no further request is taken; those that have come are answered
    LINGERING = 2  # nothing more is sent, and what comes is dropped
    CLOSED = 3


_OPEN, _LAST, _LINGERING, _CLOSED = State


class Http2Connection(Receiver):
    """One connection, and its streams."""

    def __init__(self, shared: Connections, transport: Any) -> None:
        super().__init__(shared)
        now_s = shared.now()
        self.transport = transport
        self.state = _OPEN
        self.streams: dict[int, Http2Exchange] = {}
        self._busy = 0  # streams that count
        self._new: list[Http2Exchange] = []  # that came with what is being taken
        idle_frames = Budget(MAX_IDLE_FRAMES, IDLE_FRAMES_PER_S, now_s)
        self.sender = Sender(shared.loop, self.memory, transport, idle_frames)
        self._incoming = Incoming(self, shared.now, HeadDecoder(MAX_HEAD_BYTES, MAX_HEADERS), idle_frames)
        self._has_sent_head = False
        # Why it is not read, beside a lack of memory: frames are left for the next turn of the loop; it asks, and takes
        # no answer.
        self._has_rest = self._is_overfull = False
        self.holds_reading = False
        self._lingering_bytes = LINGER_BYTES
        self._unsent_bytes = 0
        self._heads = 0  # that have come
        # When it ends: for a head that is not whole, without requests, for a client that takes nothing.
        self._head_deadline_s = now_s + HEAD_TIMEOUT_S
        self._idle_deadline_s = now_s + KEEP_ALIVE_S
        self._stall_deadline_s = math.inf
        self._full_since_s = math.inf
        self._set_deadline()

    def begin(self, begin: bytes) -> None:
        """`begin` is what has come, from the preface on."""
        self.sender.put(settings(_SETTINGS) + window_update(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW))
        if self.shared.ending:
            self.end_soon()
        self._receive(memoryview(begin)[len(PREFACE) :])

    # What the transport says.

    def buffer_updated(self, nbytes: int) -> None:
        self.memory.spend_input(nbytes)
        self._receive(self.shared.buffer[:nbytes])

    def data_received(self, data: bytes) -> None:
        self._receive(memoryview(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = _CLOSED
        self.sender.is_closed = True
        self._close_all()
        self.memory.holders.discard(self)
        self.shared.left_http2(self)

    def eof_received(self) -> bool:
        # A client of HTTP/2 that sends no more has gone, also if it has yet to take what was sent to it.
        self.sender.flush()
        self._linger_until(LINGER_S)
        self._close_all()
        return False

    def pause_writing(self) -> None:
        self.sender.is_full = True
        self._full_since_s = self.shared.now()
        self._stall_at(self._full_since_s)

    def resume_writing(self) -> None:
        self.sender.is_full = self._is_overfull = False
        self._full_since_s = math.inf
        self.sender.go_on()
        for exchange in list(self.streams.values()):
            if not exchange.is_blocked:
                exchange.wake()
        self._go_on_reading()

    # What comes.

    def _receive(self, data: memoryview) -> None:
        if self.state >= _LINGERING:
            self._lingering_bytes -= len(data)
            if self._lingering_bytes < 0:
                self.abort()
            return
        try:
            self._has_rest = self._incoming.take(data)
        except ConnectionFaultError as fault:
            self._fail(fault.code)
            return
        if self._has_rest:
            self.shared.loop.call_soon(self._go_on_taking)
        if self._new:
            self._begin_new()
        if self.state < _LINGERING:
            self._time_head()
        if self.sender.is_full and self.sender.unsent_bytes() > 2 * MAX_UNSENT_BYTES:
            self._is_overfull = True
        if self.memory.is_full_of_input and self.is_beyond_least():
            self.is_short_of_memory = True
        if (self._has_rest or self._is_overfull or self.is_short_of_memory) and not self.holds_reading:
            self.holds_reading = True
            self.transport.pause_reading()

    def _time_head(self) -> None:
        """Sets when the head must be here that has begun."""
        incoming = self._incoming
        if incoming.is_in_head:
            if self._head_deadline_s == math.inf or incoming.heads != self._heads:
                self._heads = incoming.heads
                self._head_deadline_s = self.shared.now() + HEAD_TIMEOUT_S
                self._set_deadline()
        elif self._head_deadline_s < math.inf:
            self._head_deadline_s = math.inf
            self._set_deadline()

    def _go_on_taking(self) -> None:
        if self.state < _LINGERING:
            self._receive(memoryview(b""))
            self._go_on_reading()

    def _go_on_reading(self) -> None:
        must_wait = self._has_rest or self._is_overfull or self.is_short_of_memory or self.state is _CLOSED
        if self.holds_reading and not must_wait:
            self.holds_reading = False
            self.transport.resume_reading()

    def _begin_new(self) -> None:
        new, self._new = self._new, []
        for exchange in new:
            # What is reset at once costs no more than that.
            if exchange.state is StreamState.CLOSED:
                self._forget(exchange)
                continue
            exchange.is_running = True
            exchange.begin(self.shared.loop, self.shared.application)

    # Streams.

    @property
    def takes_requests(self) -> bool:
        return self.state is _OPEN and self._busy < MAX_STREAMS

    @property
    def has_failed(self) -> bool:
        return self.state >= _LINGERING

    def open(self, number: int, head: Head, *, has_come: bool) -> None:
        exchange = Http2Exchange(self, number, head, has_come=has_come)
        self.streams[number] = exchange
        shared = self.shared
        shared.http2_exchanges += 1
        self._busy += 1
        if self._busy == 1:
            self.idle_since_s = self._idle_deadline_s = math.inf
            self._set_deadline()
        if shared.http2_exchanges > MAX_EXCHANGES and self._busy > MAX_EXCHANGES // shared.http2_connections:
            exchange.answer_json(503, _BUSY)
            return
        self.memory.holders.add(exchange)
        self._new.append(exchange)

    def refuse(self, number: int, status: int) -> None:
        self.put_head(number, encode_status(status), END_STREAM)

    def put_head(self, stream: int, block: bytes, flags: int) -> None:
        if not self._has_sent_head:
            self._has_sent_head = True
            block = NO_TABLE + block
        self.sender.put(frame(HEADERS, flags | END_HEADERS, stream, block))

    def give(self, exchange: Http2Exchange, size_bytes: int) -> None:
        self._incoming.give(exchange, size_bytes)

    def blocked(self, exchange: Http2Exchange) -> None:
        exchange.blocked_since_s = self.shared.now()
        self._stall_at(exchange.blocked_since_s)

    def sent(self, exchange: Http2Exchange) -> None:
        self._incoming.answered()
        if exchange.state is StreamState.OPEN:
            # Its client need not go on with its request.
            self._incoming.gave_up(exchange.number)
            self.sender.put(reset(exchange.number, ErrorCode.NO_ERROR))
        self.close(exchange)

    def give_up(self, exchange: Http2Exchange, code: ErrorCode) -> None:
        """Resets a stream."""
        if exchange.state is StreamState.CLOSED:
            return
        if exchange.state is StreamState.OPEN:
            self._incoming.gave_up(exchange.number)
        self.close(exchange)
        self.sender.put(reset(exchange.number, code))

    def close(self, exchange: Http2Exchange) -> None:
        """Nothing more of it comes or goes."""
        del self.streams[exchange.number]
        exchange.close()
        if not exchange.is_running and exchange not in self._new:
            self._forget(exchange)
        elif self.state is _LAST and not self.streams:
            self._end()

    def returned(self, exchange: Http2Exchange) -> None:
        exchange.is_running = False
        share = exchange.share
        if share.reserved_bytes:
            self.memory.keep(share, 0)
        share.clear()
        if exchange.state is StreamState.CLOSED:
            self._forget(exchange)

    def _forget(self, exchange: Http2Exchange) -> None:
        """It counts no more."""
        self.memory.holders.discard(exchange)
        self._busy -= 1
        self.shared.http2_exchanges -= 1
        if not self._busy and self.state is _OPEN:
            self.idle_since_s = self.shared.now()
            self._idle_deadline_s = self.idle_since_s + KEEP_ALIVE_S
            self._set_deadline()
        elif self.state is _LAST and not self.streams:
            self._end()

    def _close_all(self) -> None:
        for exchange in list(self.streams.values()):
            self.close(exchange)
        if self._new:
            self._begin_new()

    # Its end.

    def end_soon(self) -> None:
        if self.state is not _OPEN:
            return
        self.state = _LAST
        self.sender.put(goaway(self._incoming.last_stream, ErrorCode.NO_ERROR))
        if not self.streams:
            self._end()

    def _end(self) -> None:
        """All that was asked is answered."""
        self._linger()

    def _fail(self, code: ErrorCode) -> None:
        """What comes is no HTTP/2, or too much."""
        self.sender.put(goaway(self._incoming.last_stream, code))
        self._linger()
        self._close_all()

    def _linger(self) -> None:
        """Says that no more comes from us, and throws away what still comes: closed over unread data, the connection
        would reset, and the client might never see what we said last."""
        if self.state >= _LINGERING:
            return
        self.sender.flush()
        self._linger_until(LINGER_S)
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):
            self.abort()  # the client has reset it
            return
        self._has_rest = self._is_overfull = self.is_short_of_memory = False
        self._go_on_reading()

    def _linger_until(self, most_s: float) -> None:
        if self.state < _LINGERING:
            self.state = _LINGERING
        self.sender.is_closed = True
        self.idle_since_s = self._head_deadline_s = self._stall_deadline_s = math.inf
        self._idle_deadline_s = self.shared.now() + most_s
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline_s = min(self._head_deadline_s, self._idle_deadline_s, self._stall_deadline_s)

    def _stall_at(self, since_s: float) -> None:
        self._stall_deadline_s = min(self._stall_deadline_s, since_s + STALL_S)
        self._set_deadline()

    def expire(self) -> None:
        now_s = self.shared.now()
        if self.state is _LINGERING:
            # Except for a client that is taking its last answer slowly.
            unsent_bytes = self.transport.get_write_buffer_size()
            if unsent_bytes in (0, self._unsent_bytes):
                self.abort()
            self._unsent_bytes = unsent_bytes
            self._linger_until(KEEP_ALIVE_S)
        elif self._head_deadline_s < now_s or self._full_since_s + STALL_S < now_s:
            self.abort()
        elif self._idle_deadline_s < now_s:
            self.end_soon()
        else:
            self._end_stalled(now_s)

    def _end_stalled(self, now_s: float) -> None:
        """Resets the streams of which the client has taken nothing for too long."""
        self._stall_deadline_s = self._full_since_s + STALL_S
        for exchange in list(self.streams.values()):
            end_s = exchange.blocked_since_s + STALL_S
            if end_s < now_s:
                self.give_up(exchange, ErrorCode.CANCEL)
            else:
                self._stall_deadline_s = min(self._stall_deadline_s, end_s)
        self._set_deadline()

    # What the budget asks.

    def unsent_bytes(self) -> int:
        return self.sender.unsent_bytes()

    def unacked_bytes(self) -> int:
        return self._incoming.kept_bytes()

    def input_bytes(self) -> int:
        size_bytes = self.unacked_bytes()
        for exchange in self.streams.values():
            size_bytes += exchange.untaken_bytes + exchange.share.collected_bytes
        return size_bytes

    def taken_bytes(self) -> int:
        return self.sender.written_bytes - self.sender.unsent_bytes()

    def may_read(self) -> None:
        if self.is_short_of_memory:
            self.is_short_of_memory = False
            self._go_on_reading()
