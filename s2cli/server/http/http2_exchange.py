"""One request over HTTP/2 and its response: a stream."""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from s2cli.server.http.exchange import BODILESS_STATUSES, Exchange
from s2cli.server.http.http2_flow import MAX_HELD_BYTES, STREAM_WINDOW_BYTES, ReceiveWindow
from s2cli.server.http.http2_frames import END_STREAM, ErrorCode
from s2cli.server.http.http2_head import encode_header, encode_status
from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.server.http.connections import Connections
    from s2cli.server.http.exchange import Headers
    from s2cli.server.http.http2_flow import Sender
    from s2cli.server.http.http2_head import Head

_CONTINUE = encode_status(100)


class StreamState(IntEnum):
    """How far a stream is on its way (RFC 9113, 5.1): a picture is in the map. What of the response is still held it
    says beside it."""

    OPEN = 0  # the request is coming
    RECEIVED = 1  # all of it is here
    CLOSED = 2  # the response has gone, or either side has given the stream up


_OPEN, _RECEIVED, _CLOSED = StreamState


class StreamConnection(Protocol):
    """What an exchange asks of the connection that it came on."""

    shared: Connections
    sender: Sender

    def put_head(self, stream: int, block: bytes, flags: int) -> None: ...

    def give(self, exchange: Http2Exchange, size_bytes: int) -> None:
        """So much of the request was taken."""
        ...

    def blocked(self, exchange: Http2Exchange) -> None:
        """Something of the response is held."""
        ...

    def sent(self, exchange: Http2Exchange) -> None:
        """All of the response has gone."""
        ...

    def give_up(self, exchange: Http2Exchange, code: ErrorCode) -> None: ...

    def returned(self, exchange: Http2Exchange) -> None:
        """The application is done with it."""
        ...


class Http2Exchange(Exchange):
    """A request on its way in and its response on its way out. Also a Holder of the memory budget, and a Body of the
    sender."""

    __slots__ = (
        "_connection",
        "blocked_since_s",
        "ends_held",
        "held",
        "held_at",
        "held_bytes",
        "is_ending",
        "is_running",
        "left_bytes",
        "marked_s",
        "number",
        "receive_window",
        "state",
        "taken_mark",
        "window",
    )

    def __init__(self, connection: StreamConnection, number: int, head: Head, *, has_come: bool) -> None:
        super().__init__(head.method, head.path, head.query, head.headers, Share())
        self.number = number
        self.has_come = has_come
        self.state = _RECEIVED if has_come else _OPEN
        # Whether the application is at it.
        self.is_running = False
        # Of the request, that is to come; None where it was not said.
        self.left_bytes = head.length
        self.receive_window = ReceiveWindow(STREAM_WINDOW_BYTES)
        self._connection = connection
        # What the sender has of it.
        self.window = connection.sender.initial_window
        self.held: deque[bytes] = deque()
        self.held_at = self.held_bytes = 0
        self.ends_held = False
        self.blocked_since_s = math.inf
        # What the budget has of it.
        self.is_ending = False
        self.taken_mark = 0
        self.marked_s = math.inf

    def returned(self) -> None:
        super().returned()
        self._connection.returned(self)

    # What the connection says.

    def complete(self) -> None:
        self.state = _RECEIVED
        super().complete()

    def close(self) -> None:
        """Nothing more of it comes or goes."""
        self.state = _CLOSED
        self._connection.sender.drop(self)
        if not self._is_over:
            self.disconnect()
        self.wake()

    def sent(self, *, is_end: bool) -> None:
        if is_end:
            self._connection.sent(self)
            return
        self.blocked_since_s = self._connection.shared.now() if self.held else math.inf
        if self._writer is not None and not self.is_blocked:
            self.wake()

    # What the exchange asks of its host.

    def _go_ahead(self) -> None:
        self._connection.put_head(self.number, _CONTINUE, 0)

    def _on_taken(self, size_bytes: int) -> None:
        if self.state is _OPEN:
            self._connection.give(self, size_bytes)

    def _break_off(self) -> None:
        self._connection.give_up(self, ErrorCode.INTERNAL_ERROR)

    def _start(self, status: int, headers: Headers) -> None:
        block = [encode_status(status)]
        has_body = status not in BODILESS_STATUSES
        if not has_body:
            self._is_bodiless = True
        for name, value in headers:
            if has_body or name != b"content-length":
                block.append(encode_header(name, value))
        block.append(encode_header(b"date", self._connection.shared.date()))
        self._head = b"".join(block)

    def _send(self, head: bytes, data: bytes, *, is_end: bool) -> None:
        if self.state is _CLOSED:
            return
        connection = self._connection
        if head:
            is_all = is_end and not data
            connection.put_head(self.number, head, END_STREAM if is_all else 0)
            if is_all:
                connection.sent(self)
                return
        if data or is_end:
            connection.sender.send(self, data, is_end=is_end)
            if self.held and self.state is not _CLOSED:
                connection.blocked(self)

    def _send_parts(self, head: bytes, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        if self.state is _CLOSED:
            return
        connection = self._connection
        if head:
            connection.put_head(self.number, head, 0)
        connection.sender.send_parts(self, parts, size_bytes)
        if self.held:
            connection.blocked(self)

    def _ended(self) -> None:
        """Nothing is left to do: the sender says when the last of it has gone."""

    @property
    def is_blocked(self) -> bool:
        if self._is_over or self.state is _CLOSED:
            return False
        return self.held_bytes >= MAX_HELD_BYTES or self._connection.sender.is_full

    # What the budget asks.

    def unsent_bytes(self) -> int:
        return self.held_bytes + self.share.held_bytes

    def unacked_bytes(self) -> int:
        return self.untaken_bytes

    def taken_bytes(self) -> int:
        return self.written_bytes - self.held_bytes

    def end_reader(self) -> None:
        if self.state is not _CLOSED:
            self._connection.give_up(self, ErrorCode.ENHANCE_YOUR_CALM)

    def may_read(self) -> None:
        """Does nothing: reading is held up for the whole connection."""
