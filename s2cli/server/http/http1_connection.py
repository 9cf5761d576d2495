"""HTTP/1.1 connections. Each request is read, answered and written in the thread of the event loop: a server with its
own threads needs wake-ups and contends for the interpreter lock for every message. httptools parses heads and chunks;
the limits of size and time are here."""

from __future__ import annotations

import asyncio
import logging
import math
from enum import IntEnum
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.http import http1_head, socket_writes
from s2cli.server.http.connections import Receiver
from s2cli.server.http.http1_body import MAX_CHUNKS, SMALL_PIECE_BYTES, ChunkedBody, FixedBody, body_begun_in
from s2cli.server.http.http1_exchange import Http1Exchange
from s2cli.server.http.http1_head import BAD_REQUEST, TOO_LARGE, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.server.http.connections import Connections

    Headers = list[tuple[bytes, bytes]]

log = logging.getLogger(CLIENT_LOG)

# What begins a connection of HTTP/2 by prior knowledge.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Of a request line and its headers, together: several times what browsers and proxies send. A request keeps its head
# until it is answered, and each header takes some 150 bytes beside its own.
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
# Of a response, before its writer has to wait.
MAX_UNSENT_BYTES = 256 * 1024
# One write to the transport has at most so much.
WRITTEN_BYTES = 128 * 1024

# From the connection, or the first byte of a head, to the end of the head.
HEAD_TIMEOUT_S = 30.0
# A client that reads nothing of an unfinished response is disconnected then; it can resume where it was.
STALL_S = 3600.0
# Longer than most clients keep an idle connection, so that its end seldom crosses a request.
KEEP_ALIVE_S = 120.0
# After an answer in the middle of a request. Closed over unread data, the connection would reset, and the client might
# never see the answer.
LINGER_S = 2.0
LINGER_BYTES = 1024 * 1024


class State(IntEnum):
    """How far a connection is on its way, which it goes in this order: a picture is in the map. Which request is being
    received, and which one answered, the connection says beside it."""

    PREFACE = 0  # it has yet to show that it speaks HTTP/1.1
    OPEN = 1  # requests are taken
    LAST = 2  # no further request is taken; those that have come are answered
    LINGERING = 3  # nothing more is sent, and what comes is dropped
    CLOSED = 4


# A member of an enum is found by a function of Python's, and every request asks.
_PREFACE, _OPEN, _LAST, _LINGERING, _CLOSED = State


class Connection(Receiver):
    """One connection. Its requests are answered one after the other."""

    def __init__(self, shared: Connections) -> None:
        super().__init__(shared)
        # Whether the client has to take something before there is room for more.
        self.is_full = False
        self.state = _PREFACE
        # The client sends no more.
        self.is_half_closed = False
        self._parser = HttpRequestParser(self)
        self._begin = b""  # until it is known what the client speaks
        self._rest = b""  # that is not parsed yet
        self._url = b""
        self._headers: Headers = []
        self._hosts = 0
        self._length: int | None = None  # of the body, as the head says
        self._is_chunked = False  # the body, as the head says
        self._body: FixedBody | ChunkedBody | None = None  # that is being received
        self._chunks = 0  # of bodies, in this turn of the loop
        self._upgrade = b""  # the head of a request that asks for another protocol, without asking
        self._is_in_head = False
        # What came since the piece in which a head began, or that had some of a body: the parser may be keeping it.
        self._kept_bytes = 0
        self._keeps_none = False
        self.incoming: Http1Exchange | None = None  # whose body is being received
        self._current: Http1Exchange | None = None  # that is being answered
        self.waiting: list[Http1Exchange] = []
        self.holds_reading = False
        self._lingering_bytes = LINGER_BYTES
        self._unsent_bytes = 0
        self.written_bytes = 0

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(MAX_UNSENT_BYTES)
        self.deadline_s = self.shared.now() + HEAD_TIMEOUT_S
        self.shared.opened(self)
        self.memory.holders.add(self)
        if self.shared.ending:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = _CLOSED
        self.waiting.clear()
        self.resume_writing()
        if self._current is not None:
            self._current.disconnect()
        self.memory.holders.discard(self)
        self.shared.closed(self)

    def data_received(self, data: bytes) -> None:
        if self.state is _PREFACE:
            self._begin = data = self._begin + data
            if PREFACE.startswith(data[: len(PREFACE)]):
                if len(data) >= len(PREFACE):
                    self.shared.on_preface(self, data)
                return
            self.state, self._begin = _OPEN, b""
        if self.state is _LINGERING:
            self._lingering_bytes -= len(data)
            if self._lingering_bytes < 0:
                self.abort()
            return
        if self.state is not _OPEN and self.incoming is None:
            return
        self._rest = self._rest + data if self._rest else data
        self._take_rest()
        if self.memory.is_full_of_input and self.is_beyond_least():
            self.is_short_of_memory = True
            self.hold_reading()

    def _take_rest(self) -> None:
        """Parses what has come, up to a request that has to wait for its turn."""
        self._chunks = 0
        while self._rest and not self.waiting:
            if self.state is not _OPEN and self.incoming is None:
                self._rest = b""
                return
            receiving = self.incoming
            size = SMALL_PIECE_BYTES if self._body is None else self._body.cut(self._rest)
            piece, self._rest = self._rest[:size], self._rest[size:]
            parsed = self._feed(piece)
            if parsed is None or not self._bound_kept(len(piece)):
                self._rest = b""
                return
            if self.incoming is not receiving:
                begun = self.incoming
                self._body = None if begun is None else body_begun_in(parsed, self._length, begun.untaken_bytes)
            if self._chunks >= MAX_CHUNKS and self._rest:
                self.hold_reading()
                self.shared.loop.call_soon(self._go_on_taking)
                break
        if self.incoming is not None:
            self.incoming.deliver()

    def _go_on_taking(self) -> None:
        if self.state is not _CLOSED:
            self._take_rest()
            self.go_on_reading()

    def _feed(self, piece: bytes) -> bytes | None:
        """What the parser got; None if it was no HTTP."""
        try:
            try:
                self._parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                # Nobody has to agree to another protocol. The parser gives up such a request before its body: a new one
                # takes its head without the wish, and then what comes behind it.
                self._rest = piece[upgrade.args[0] :] + self._rest
                piece, self._upgrade = self._upgrade, b""
                self._parser = HttpRequestParser(self)
                self._parser.feed_data(piece)
        except HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RefusedError):
                self._break_off(cause.status)
            elif cause is None or isinstance(cause, (HttpParserError, HttpParserUpgrade)):
                self._break_off(BAD_REQUEST)
            else:
                log.error("a request could not be taken", exc_info=cause)
                self._break_off(b"500 Internal Server Error")
            return None
        return piece

    def _bound_kept(self, size: int) -> bool:
        """Whether the parser keeps no more than it may."""
        if self._keeps_none:
            self._keeps_none = False
            self._kept_bytes = 0
            if self._is_in_head and self._current is None:
                self.deadline_s = self.shared.now() + HEAD_TIMEOUT_S
            return True
        self._kept_bytes += size
        if self._kept_bytes > MAX_HEAD_BYTES:
            self._break_off(TOO_LARGE)
            return False
        return True

    def eof_received(self) -> bool:
        """Whether the connection stays open: a client may wait for its answer although it sends no more."""
        self.is_half_closed = True
        if self.state is _LINGERING or not (self._current or self.waiting or self._rest):
            return False
        # One that is gone is noticed when it is written to; a session that may not be for long is told at once, as most
        # servers have it.
        ending = self.incoming or (self._current if not (self.waiting or self._rest) else None)
        if ending is not None:
            ending.disconnect()
        return True

    def pause_writing(self) -> None:
        self.is_full = True
        self.deadline_s = min(self.deadline_s, self.shared.now() + STALL_S)

    def resume_writing(self) -> None:
        self.is_full = False
        if self._current is not None:
            self.deadline_s = math.inf
            self._current.wake()
        elif self.state is not _CLOSED and (self.waiting or self.state is _OPEN):
            self._go_on()

    # What the parser says.

    def on_message_begin(self) -> None:
        self._is_in_head = self._keeps_none = True
        self._length, self._is_chunked = None, False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # those behind a body are not asked for
            name = name.lower()
            self._headers.append((name, value))
            if len(self._headers) > MAX_HEADERS:
                raise RefusedError(TOO_LARGE)
            if name == b"host":
                self._hosts += 1
            elif name == b"content-length":
                # The parser has refused anything but one number below 2^64. It may have leading zeros.
                self._length = int(value[-20:])
            elif name == b"transfer-encoding":
                # The parser takes any list that ends with it; somebody before us may have seen another end.
                if self._is_chunked or value.lower() != b"chunked":
                    raise RefusedError(BAD_REQUEST)
                self._is_chunked = True

    def on_headers_complete(self) -> None:
        parser, url, headers, hosts = self._parser, self._url, self._headers, self._hosts
        self._url, self._headers, self._hosts, self._is_in_head = b"", [], 0, False
        self._keeps_none = True
        version, method = parser.get_http_version(), parser.get_method()
        if version != "1.1" or hosts != 1:
            http1_head.check_version(version, hosts, is_chunked=self._is_chunked)
        if parser.should_upgrade():
            if method == b"CONNECT":
                raise RefusedError(BAD_REQUEST)
            self._upgrade = http1_head.without_upgrade(method, url, version, headers)
            return
        if url[:1] != b"/" or b"#" in url:
            url, headers = http1_head.origin_form(url, headers)
        path, _, query = url.partition(b"?")
        self.incoming = exchange = Http1Exchange(
            self,
            method.decode(),
            path,
            query,
            headers,
            self.share,
            is_version_1_0=version == "1.0",
            keeps_alive=parser.should_keep_alive(),
        )
        if self._current is None:
            self._answer(exchange)
        else:
            self.waiting.append(exchange)
            self.hold_reading()

    def on_body(self, body: bytes) -> None:
        assert self.incoming is not None
        self._chunks += 1
        self._keeps_none = True
        self.incoming.take(body)

    def on_message_complete(self) -> None:
        exchange, self.incoming = self.incoming, None
        if exchange is not None:
            exchange.complete()
        else:
            assert self._upgrade

    # What the exchanges and the host say.

    def _answer(self, exchange: Http1Exchange) -> None:
        self._current = exchange
        self.deadline_s = self.idle_since_s = math.inf
        exchange.begin(self.shared.loop, self.shared.application)

    def hold_reading(self) -> None:
        if not self.holds_reading:
            self.holds_reading = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        must_wait = self.waiting or self._rest or self.state is _CLOSED or self.is_short_of_memory
        if self.holds_reading and not must_wait:
            self.holds_reading = False
            self.transport.resume_reading()

    def answered(self, exchange: Http1Exchange) -> None:
        """The response to the current request is complete."""
        share = self.share
        if share.reserved_bytes:
            self.memory.keep(share, 0)
        share.collected_bytes = share.held_bytes = 0
        self._current = None
        self.idle_since_s = self.shared.now()
        self.deadline_s = self.idle_since_s + KEEP_ALIVE_S
        if self.state is _CLOSED:
            return
        if not exchange.has_come:
            self._linger()
        elif self.is_closing_after(exchange):
            self._take_no_more()
            self.transport.close()
        elif not self.is_full:
            if self.waiting or self._rest or self.holds_reading:
                self._go_on()
        else:
            self.hold_reading()  # until the client has taken its answers

    def _go_on(self) -> None:
        """Continues with the next request."""
        if self.waiting:
            self._answer(self.waiting.pop(0))
        if self._rest:
            self._take_rest()
        self.go_on_reading()

    def is_closing_after(self, exchange: Http1Exchange) -> bool:
        """Whether no request follows."""
        if not exchange.keeps_alive:
            return True
        return not self.waiting and (self.state is not _OPEN or (self.is_half_closed and not self._rest))

    def _break_off(self, status: bytes) -> None:
        """What comes is no HTTP: to a request that is not complete the application says so, else we."""
        self._take_no_more()
        self._url, self._headers = b"", []
        if self.incoming is not None:
            self.incoming.disconnect()
        elif self._current is None:
            head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n%b\r\n"
            self.write(head % (status, self.shared.date_line()))
            self._linger()

    def write(self, data: bytes) -> None:
        if self.state is not _CLOSED:  # the transport of uvloop raises then
            self.written_bytes += len(data)
            self.memory.spend(len(data))
            if len(data) <= 2 * WRITTEN_BYTES:
                self.transport.write(data)
                return
            # The transport keeps what it was given until the last byte of it is gone, and counts what is left.
            for at in range(0, len(data), WRITTEN_BYTES):
                self.transport.write(data[at : at + WRITTEN_BYTES])

    def write_parts(self, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        if self.state is not _CLOSED:
            self.written_bytes += size_bytes
            self.memory.spend(size_bytes)
            socket_writes.write(self.transport, parts, size_bytes)

    # What the budget asks.

    def unsent_bytes(self) -> int:
        unsent_bytes: int = self.transport.get_write_buffer_size()
        return unsent_bytes + self.share.held_bytes

    def unacked_bytes(self) -> int:
        size_bytes = len(self._rest) + self._kept_bytes
        for exchange in {self._current, self.incoming}:
            if exchange is not None:
                size_bytes += exchange.untaken_bytes
        return size_bytes

    def input_bytes(self) -> int:
        return self.unacked_bytes() + self.share.collected_bytes

    def taken_bytes(self) -> int:
        unsent_bytes: int = self.transport.get_write_buffer_size()
        return self.written_bytes - unsent_bytes

    def may_read(self) -> None:
        if self.is_short_of_memory:
            self.is_short_of_memory = False
            if not self.is_full or self._current is not None:
                self.go_on_reading()

    def _linger(self) -> None:
        """Says that no more comes from us, and throws away what still comes."""
        self.state = _LINGERING
        self.incoming = None
        self.waiting.clear()
        self._rest = b""
        self.deadline_s = self.shared.now() + LINGER_S
        if self.is_half_closed or self.shared.ending:
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):
            self.abort()  # the client has reset it
        else:
            self.go_on_reading()

    def expire(self) -> None:
        """The time is over, except for a client that is taking its last answer slowly."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if self.state is _LINGERING or unsent_bytes in (0, self._unsent_bytes):
            self.abort()
        self._unsent_bytes = unsent_bytes
        self.deadline_s = self.shared.now() + KEEP_ALIVE_S

    def end_soon(self) -> None:
        self._take_no_more()
        if self._current is None:
            self.transport.close()

    def _take_no_more(self) -> None:
        if self.state < _LAST:
            self.state = _LAST
