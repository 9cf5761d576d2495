"""One request over HTTP/1.1 and its response."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from s2cli.server.http.exchange import Exchange

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable

    from s2cli.server.http.connections import Connections
    from s2cli.server.http.exchange import Headers
    from s2cli.server.http.memory_budget import Share

# Of a body that the application has not taken: beyond that the client has to wait.
MAX_UNTAKEN_BYTES = 256 * 1024
# Copied into one piece with the frame of its chunk.
MAX_COPIED_BYTES = 4096

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
# Responses that never have a body.
_BODILESS = frozenset((204, 304))


class ExchangeConnection(Protocol):
    """What an exchange asks of the connection that it came on."""

    shared: Connections
    # Whether the client has to take something before there is room for more.
    is_full: bool
    # Whether nothing is read from the client until `go_on_reading`.
    holds_reading: bool

    def write(self, data: bytes) -> None: ...

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def is_closing_after(self, exchange: Http1Exchange) -> bool:
        """Whether no request follows."""
        ...

    def answered(self, exchange: Http1Exchange) -> None:
        """The response to the current request is complete."""
        ...

    def abort(self) -> None: ...


class Http1Exchange(Exchange):
    """A request on its way in and its response on its way out."""

    __slots__ = (
        "_connection",
        "_head",
        "_is_bodiless",
        "_is_chunked",
        "_is_version_1_0",
        "_on_disconnect",
        "_parts",
        "_task",
        "_waited",
        "has_come",
        "keeps_alive",
        "untaken_bytes",
    )

    def __init__(
        self,
        connection: ExchangeConnection,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Headers,
        share: Share,
        *,
        is_version_1_0: bool,
        keeps_alive: bool,
    ) -> None:
        super().__init__(method, raw_path, query, headers, share)
        # Whether another request may follow on the connection.
        self.keeps_alive = keeps_alive
        # Whether the whole request is here.
        self.has_come = False
        # Of the body, that the application has yet to take.
        self.untaken_bytes = 0
        self._is_version_1_0 = is_version_1_0
        self._connection = connection
        self._task: Task[None] | None = None
        self._parts: list[bytes] = []
        self._on_disconnect: Callable[[], None] | None = None
        self._waited = False  # for a part of the body
        self._head = b""  # until the first piece of the body
        self._is_chunked = False
        self._is_bodiless = method == "HEAD"

    def begin(self) -> None:
        shared = self._connection.shared
        self._task = shared.loop.create_task(shared.application(self))
        self._task.add_done_callback(self._returned)

    def _returned(self, task: Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: the application has logged it
        if not self._is_over:
            # The response is cut off, or there is none, and the client is to notice.
            self._connection.abort()

    # What the connection says.

    def take(self, data: bytes) -> None:
        """A part of the body has come."""
        self._parts.append(data)
        self.untaken_bytes += len(data)

    def complete(self) -> None:
        self.has_come = True
        if self._reader is not None:
            self._wake_reader()

    def deliver(self) -> None:
        """Has an application go on that waits for what has come."""
        if self._reader is not None:
            if self._parts or self.has_come:
                self._wake_reader()
        elif self._on_disconnect is not None:
            self._parts.clear()
            self.untaken_bytes = 0
        elif self.untaken_bytes > MAX_UNTAKEN_BYTES:
            self._connection.hold_reading()

    def disconnect(self) -> None:
        """No more of the request will come."""
        self._disconnected = True
        self._wake_reader()
        callback, self._on_disconnect = self._on_disconnect, None
        if callback is not None:
            callback()

    # The request.

    @property
    def is_complete(self) -> bool:
        return self.has_come and not self._parts

    @property
    def is_disconnected(self) -> bool:
        return self._disconnected and not self._parts and not self.has_come

    def take_whole(self) -> bytes | None:
        return self._taken() if self.has_come else None

    async def read(self) -> bytes:
        while not (self._parts or self.has_come or self._disconnected or self._is_stopped):
            self._reader = self._connection.shared.loop.create_future()
            if not self._waited:
                self._waited = True
                self._go_ahead()
            await self._reader
        return b"" if self._is_stopped else self._taken()

    def _go_ahead(self) -> None:
        """Asks a client for its body that waits to be asked."""
        expects = self.fields.get(b"expect", b"").lower() == b"100-continue"
        if expects and not self.status and not self._is_version_1_0:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _taken(self) -> bytes:
        parts = self._parts
        if not parts:
            return b""
        self._parts = []
        self.untaken_bytes = 0
        if self._connection.holds_reading:
            self._connection.go_on_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        if self._disconnected:
            self._connection.shared.loop.call_soon(callback)
            return
        self._on_disconnect = callback
        self._taken()

    # The response.

    def _start(self, status: int, headers: Headers) -> None:
        lines = [_STATUS_LINES[status]]
        has_length = False
        if status in _BODILESS:
            self._is_bodiless = has_length = True
        for name, value in headers:
            if name == b"content-length":
                if status in _BODILESS:
                    continue
                has_length = True
            lines.append(b"%b: %b\r\n" % (name, value))
        connection = self._connection
        if not (has_length or self._is_bodiless):
            if self._is_version_1_0:
                self.keeps_alive = False
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if connection.is_closing_after(self) or not (self.has_come or self._is_chunked):
            self.keeps_alive = False
            lines.append(b"connection: close\r\n")
        elif self._is_version_1_0:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(connection.shared.date_line())
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def write(self, data: bytes) -> bool:
        self._write(data, is_end=False)
        return not self._connection.is_full

    def end(self, data: bytes = b"") -> None:
        self._write(data, is_end=True)

    def _write(self, data: bytes, *, is_end: bool) -> None:
        if not self.status:
            raise RuntimeError("a piece of a response that has not begun")
        if self._is_over:
            return
        head, self._head = self._head, b""
        write = self._connection.write
        if self._is_bodiless:
            data, is_end = b"", is_end or self.method == "HEAD"
        self.written_bytes += len(data)
        if not self._is_chunked:
            if head or data:
                write(head + data)
        else:
            end = b"0\r\n\r\n" if is_end else b""
            if not data:
                write(head + end)
            elif len(data) <= MAX_COPIED_BYTES:
                write(b"%b%x\r\n%b\r\n%b" % (head, len(data), data, end))
            else:
                # Not `writelines`, which knows no limit in some versions of asyncio.
                write(b"%b%x\r\n" % (head, len(data)))
                write(data)
                write(b"\r\n" + end)
        if is_end:
            self._is_over = self._disconnected = True
            if self._reader is not None or self._on_disconnect is not None:
                self.disconnect()
            self._connection.answered(self)

    @property
    def is_blocked(self) -> bool:
        return self._connection.is_full and not self._is_over
