"""One request over HTTP/1.1 and its response."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from s2cli.server.http.exchange import BODILESS_STATUSES, Exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.server.http.connections import Connections
    from s2cli.server.http.exchange import Headers
    from s2cli.server.http.memory_budget import Share

# Of a body that the application has not taken: beyond that the client has to wait.
MAX_UNTAKEN_BYTES = 256 * 1024
# Copied into one piece with the frame of its chunk.
MAX_COPIED_BYTES = 4096

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"


class ExchangeConnection(Protocol):
    """What an exchange asks of the connection that it came on."""

    shared: Connections
    # Whether the client has to take something before there is room for more.
    is_full: bool
    # Whether nothing is read from the client until `go_on_reading`.
    holds_reading: bool

    def write(self, data: bytes) -> None: ...

    def write_parts(self, parts: Sequence[bytes | memoryview], size_bytes: int) -> None: ...

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
        "_is_chunked",
        "_is_version_1_0",
        "keeps_alive",
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
        self._is_version_1_0 = is_version_1_0
        self._connection = connection
        self._is_chunked = False

    def deliver(self) -> None:
        is_awaited = self._reader is not None
        super().deliver()
        if self.untaken_bytes > MAX_UNTAKEN_BYTES and not is_awaited:
            self._connection.hold_reading()

    def _go_ahead(self) -> None:
        if not self._is_version_1_0:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _on_taken(self, size_bytes: int) -> None:
        if self._connection.holds_reading:
            self._connection.go_on_reading()

    def _break_off(self) -> None:
        self._connection.abort()

    # The response.

    def _start(self, status: int, headers: Headers) -> None:
        lines = [_STATUS_LINES[status]]
        has_length = False
        if status in BODILESS_STATUSES:
            self._is_bodiless = has_length = True
        for name, value in headers:
            if name == b"content-length":
                if status in BODILESS_STATUSES:
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

    def _send(self, head: bytes, data: bytes, *, is_end: bool) -> None:
        write = self._connection.write
        if not self._is_chunked:
            if head or data:
                write(head + data)
            return
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

    def _send_parts(self, head: bytes, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        if self._is_chunked:
            begin, end = b"%b%x\r\n" % (head, size_bytes), b"\r\n"
        else:
            begin, end = head, b""
        self._connection.write_parts([begin, *parts, end], len(begin) + size_bytes + len(end))

    def _ended(self) -> None:
        self._connection.answered(self)

    @property
    def is_blocked(self) -> bool:
        return self._connection.is_full and not self._is_over
