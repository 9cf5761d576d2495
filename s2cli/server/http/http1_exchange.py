"""One request over HTTP/1.1 and its response, as ASGI's `receive` and `send`.

Beyond ASGI they do what streaming.py relies on: `receive` is never late with what has come, and `send` has written its
message when the call returns; what it gives is a `Sent` while there is room for more, and a Future where there is none.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import Future, Task
    from collections.abc import Generator

    from s2cli.server.http.asgi import Message, Scope
    from s2cli.server.http.connections import Connections

# Of a body that the application has not taken: beyond that the client has to wait.
MAX_UNTAKEN_BYTES = 256 * 1024
# Copied into one piece with the frame of its chunk.
MAX_COPIED_BYTES = 4096

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
# Responses that never have a body.
_BODILESS = frozenset((204, 304))


class Sent:
    """Nothing to wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[None]:
        return
        yield


_SENT = Sent()


class ExchangeConnection(Protocol):
    """What an exchange asks of the connection that it came on."""

    shared: Connections
    # None while there is room for more.
    room: Future[None] | None

    def write(self, data: bytes) -> None: ...

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def is_closing_after(self, exchange: Exchange) -> bool:
        """Whether no request follows."""
        ...

    def answered(self, exchange: Exchange) -> None:
        """The response to the current request is complete."""
        ...

    def abort(self) -> None: ...


class Exchange:
    """A request on its way in and its response on its way out."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_disconnected",
        "_ended",
        "_head",
        "_is_bodiless",
        "_over",
        "_parts",
        "_receiver",
        "_scope",
        "_started",
        "_task",
        "_waited",
        "is_complete",
        "keeps_alive",
        "untaken_bytes",
    )

    def __init__(self, connection: ExchangeConnection, scope: Scope, *, keeps_alive: bool) -> None:
        # Whether another request may follow on the connection.
        self.keeps_alive = keeps_alive
        # Whether the whole request has come.
        self.is_complete = False
        self._connection = connection
        self._scope = scope
        self._task: Task[None] | None = None
        self._parts: list[bytes] = []
        # Of the body, that the application has yet to take.
        self.untaken_bytes = 0
        self._receiver: Future[Message] | None = None
        self._ended = False  # the application knows that the body is complete
        self._disconnected = False
        self._waited = False  # for a part of the body
        self._head = b""  # until the first piece of the body
        self._started = False
        self._chunked = False
        self._is_bodiless = scope["method"] == "HEAD"
        self._over = False

    def begin(self) -> None:
        shared = self._connection.shared
        answering: Any = shared.application(self._scope, self.receive, self.send)
        self._task = shared.loop.create_task(answering)
        self._task.add_done_callback(self._returned)

    def _returned(self, task: Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: the application has logged it
        if not self._over:
            # The response is cut off, or there is none, and the client is to notice.
            self._connection.abort()

    # The request.

    def take(self, data: bytes) -> None:
        """A part of the body has come."""
        self._parts.append(data)
        self.untaken_bytes += len(data)

    def complete(self) -> None:
        self.is_complete = True
        self.deliver()

    def deliver(self) -> None:
        """Gives what has come to an application that waits."""
        receiver = self._receiver
        if receiver is None:
            if self.untaken_bytes > MAX_UNTAKEN_BYTES:
                self._connection.hold_reading()
        elif self._parts or (self.is_complete and not self._ended):
            self._receiver = None
            if not receiver.done():
                receiver.set_result(self._taken())

    def disconnect(self) -> None:
        """No more of the request will come."""
        self._disconnected = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None and not receiver.done():
            receiver.set_result({"type": "http.disconnect"})

    def receive(self) -> Future[Message]:
        """The next message, as soon as it is there. One call at a time."""
        future: Future[Message] = self._connection.shared.loop.create_future()
        if self._parts or (self.is_complete and not self._ended):
            future.set_result(self._taken())
        elif self._disconnected:
            future.set_result({"type": "http.disconnect"})
        else:
            self._receiver = future
            if not self._waited:
                self._waited = True
                self._go_ahead()
        return future

    def _go_ahead(self) -> None:
        """Asks a client for its body that waits to be asked."""
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._scope["headers"])
        if expects and not self._started and self._scope["http_version"] == "1.1":
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _taken(self) -> Message:
        parts, self._parts = self._parts, []
        self.untaken_bytes = 0
        self._ended = self.is_complete
        self._connection.go_on_reading()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": not self._ended}

    # The response.

    def send(self, message: Message) -> Any:
        """Writes at once, except that a head waits for the first piece of its body; gives what to await before the
        next. Raises RuntimeError for a message out of order."""
        if message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            return _SENT
        if not self._started or self._over:
            raise RuntimeError("a piece of a response that has not begun, or has ended")
        is_end = not message.get("more_body", False)
        self._write(message.get("body", b""), is_end=is_end)
        # Whoever waited behind the end would keep all of what the connection lets go piece by piece.
        return _SENT if is_end else self._connection.room or _SENT

    def _start(self, status: int, headers: Any) -> None:
        if self._started:
            raise RuntimeError("the response has begun")
        self._started = True
        connection = self._connection
        if status in _BODILESS:
            self._is_bodiless = True
        lines = [_STATUS_LINES[status]]
        has_length = False
        for name, value in headers:
            if name == b"content-length":
                has_length = True
                if status in _BODILESS:
                    continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if not (has_length or self._is_bodiless):
            if self._scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keeps_alive = False
        if connection.is_closing_after(self) or not (self.is_complete or self._chunked):
            self.keeps_alive = False
            lines.append(b"connection: close\r\n")
        elif self._scope["http_version"] == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(connection.shared.date_line())
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _write(self, data: bytes, *, is_end: bool) -> None:
        head, self._head = self._head, b""
        write = self._connection.write
        if self._is_bodiless:
            data = b""
        if not self._chunked:
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
            self._over = True
            self.disconnect()
            self._connection.answered(self)
