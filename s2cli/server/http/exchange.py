"""One HTTP request and its response, for either HTTP version: the head, the body as it arrives, and the response as it
is written.

Everything happens in the thread of the event loop. Back-pressure is explicit: `write` says whether there is room for
more, `drained` waits for room. What is written without room is kept in memory, so the writer must limit it.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from s2cli.server.http.memory_budget import Share

    Headers = Iterable[tuple[bytes, bytes]]
    # What is left to be done for an answer; None where nothing is, or somebody will answer later and call `returned`.
    Application = Callable[["Exchange"], Coroutine[Any, Any, None] | None]

# Protocol section 14.2. The host does not limit bodies, nor the time that one may stay open: both are ours.
MAX_UNARY_BODY_BYTES = 2 * 1024 * 1024
UNARY_BODY_TIMEOUT_S = 30.0
# A body that is too large is read to its end up to here, and dropped: an answer in the middle of it, after which the
# connection is closed, is one that most clients never see.
MAX_DISCARDED_BYTES = 16 * 1024 * 1024

# Of a body on its way. Each takes some 60 bytes beside its own, and a client may send two at a time.
MAX_PARTS = 1024
# What never has a body.
BODILESS_STATUSES = frozenset((204, 304))

JSON = b"application/json"

# Headers that mean one thing: of two of them, one reader might take the first, another one the last.
_SINGLE = frozenset(
    (
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"last-event-id",
        b"origin",
        b"s2-basin",
        b"s2-encryption-key",
        b"s2-format",
        b"s2-request-token",
        b"s2-stream-config",
    )
)


class DisconnectedError(Exception):
    """The client went away before it had an answer: there is nobody left to answer."""


class Exchange(ABC):
    """A request and its response. Texts of the request are bytes as they came, names of headers in small letters.

    The response is `answer` for one that is there as a whole, else `start`, any number of `write`, and `end`. To a HEAD
    goes the head alone, and then its client counts as gone."""

    __slots__ = (
        "_disconnected",
        "_head",
        "_is_bodiless",
        "_is_over",
        "_is_stopped",
        "_on_disconnect",
        "_parts",
        "_reader",
        "_task",
        "_waited",
        "_writer",
        "added_headers",
        "client_paced",
        "fields",
        "grant",
        "has_come",
        "method",
        "operation",
        "query",
        "raw_path",
        "repeated",
        "share",
        "status",
        "take_at_once",
        "untaken_bytes",
        "written_bytes",
    )

    def __init__(self, method: str, raw_path: bytes, query: bytes, headers: Headers, share: Share) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query = query
        # What it holds of the memory budget.
        self.share = share
        # Values of the headers by name; several of one name are joined, as HTTP has it.
        self.fields: dict[bytes, bytes] = {}
        # The name of a header that means one thing and is there twice.
        self.repeated: bytes | None = None
        # Headers that go with the response, whatever it is.
        self.added_headers: Sequence[tuple[bytes, bytes]] = ()
        # Of the response: 0 before it has begun, and what is written of its body.
        self.status = 0
        self.written_bytes = 0
        self._head = b""  # until the first piece of the body
        self._is_bodiless = method == "HEAD"
        self._is_over = False
        # Whether the whole request is here; of its body, what the application has yet to take.
        self.has_come = False
        self.untaken_bytes = 0
        self._parts: list[bytes] = []
        self._waited = False  # for a part of it
        self._task: Task[None] | None = None
        self._on_disconnect: Callable[[], None] | None = None
        # Who waits for more of the body, and for room; whether nobody is to wait for the body any more.
        self._reader: Future[None] | None = None
        self._writer: Future[None] | None = None
        self._is_stopped = False
        self._disconnected = False
        # While the application waits in `read`, this is shown each piece of the body first, and may take it there and
        # then: that saves waking a task. Returns False for a piece that `read` is to return, as if nothing had been
        # tried.
        self.take_at_once: Callable[[bytes], bool] | None = None
        # What the application finds out of it: what it counts as, and who sent it: None where everybody may do
        # everything, else a Grant.
        self.operation = "other"
        self.grant: Any = None
        # It lasts as long as its client likes: its duration says nothing of the server.
        self.client_paced = False
        fields = self.fields
        for name, value in headers:
            if name not in fields:
                fields[name] = value
            elif name in _SINGLE:
                self.repeated = name
            else:
                fields[name] = b"%b,%b" % (fields[name], value)

    # What the host says.

    def begin(self, loop: AbstractEventLoop, application: Application) -> None:
        # In the next turn of the loop: most bodies are here then.
        loop.call_soon(self._begin, loop, application)

    def _begin(self, loop: AbstractEventLoop, application: Application) -> None:
        rest = application(self)
        if rest is not None:
            self._task = loop.create_task(rest)
            self._task.add_done_callback(self._task_returned)

    def _task_returned(self, task: Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: the application has logged it
        self.returned()

    def take(self, data: bytes) -> None:
        """A part of the body has come."""
        if len(self._parts) >= MAX_PARTS:
            self._parts = [b"".join(self._parts)]
        self._parts.append(data)
        self.untaken_bytes += len(data)

    def complete(self) -> None:
        self.has_come = True
        if self._reader is not None:
            self._wake_reader()

    def deliver(self) -> None:
        """Wakes an application that waits for what has come."""
        if self._reader is not None:
            if self.take_at_once is not None and len(self._parts) == 1 and self.take_at_once(self._parts[0]):
                self._taken()
            if self._parts or self.has_come:
                self._wake_reader()
        elif self._on_disconnect is not None:
            self._taken()

    def disconnect(self) -> None:
        """No more of the request will come."""
        self._disconnected = True
        self._wake_reader()
        callback, self._on_disconnect = self._on_disconnect, None
        if callback is not None:
            callback()

    def returned(self) -> None:
        """The application is done with it."""
        if not self._is_over:
            self._break_off()

    # What it asks of the host.

    @abstractmethod
    def _go_ahead(self) -> None:
        """Asks a client for its body that waits to be asked."""

    @abstractmethod
    def _on_taken(self, size_bytes: int) -> None:
        """The application has taken so much of the body: there is room for more."""

    @abstractmethod
    def _break_off(self) -> None:
        """The response is cut off, or there is none, and the client is to notice."""

    # The request.

    @property
    def is_complete(self) -> bool:
        """Whether the whole body was read."""
        return self.has_come and not self._parts

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has gone, or broken off its request."""
        return self._disconnected and not self._parts and not self.has_come

    def take_whole(self) -> bytes | None:
        """The whole body, where it has come with its head; else None, and nothing is taken."""
        return self._taken() if self.has_come else None

    @property
    def whole(self) -> bytes:
        """What has come of the body and was not taken yet; it stays so."""
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    async def read(self) -> bytes:
        """The next bytes of the body, at least one; b"" at its end, when the client has gone, and when `stop_reading`
        was called. May be cancelled: nothing is lost then."""
        while not (self._parts or self.has_come or self._disconnected or self._is_stopped):
            self._reader = asyncio.get_running_loop().create_future()
            if not self._waited:
                self._waited = True
                if not self.status and self.fields.get(b"expect", b"").lower() == b"100-continue":
                    self._go_ahead()
            await self._reader
        return b"" if self._is_stopped else self._taken()

    def _taken(self) -> bytes:
        parts = self._parts
        if not parts:
            return b""
        size_bytes, self.untaken_bytes = self.untaken_bytes, 0
        self._parts = []
        self._on_taken(size_bytes)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stop_reading(self) -> None:
        """Has `read` return now, and from now on."""
        self._is_stopped = True
        self._wake_reader()

    def go_on_reading(self) -> None:
        """Takes `stop_reading` back."""
        self._is_stopped = False

    def _wake_reader(self, _: object = None) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def discard(self, quiet_s: float, most_s: float) -> None:
        """Throws away what comes until nothing has come for `quiet_s`, at most for `most_s`. After an error this stands
        before the end of the response: then the host closes the connection, and if too much is still on its way, the
        connection resets and the client may never see the error."""
        self.go_on_reading()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + most_s
        data = b"some"
        while data and loop.time() < end_s:
            timer = loop.call_later(quiet_s, self.stop_reading)
            data = await self.read()
            timer.cancel()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Has `callback` called when the client goes; what else it sends is thrown away from now on."""
        if self._disconnected:
            asyncio.get_running_loop().call_soon(callback)
            return
        self._on_disconnect = callback
        self._taken()

    # The response.

    def start(self, status: int, headers: Headers) -> None:
        """The head, which leaves with the first piece of the body. Raises RuntimeError where it has begun."""
        if self.status:
            raise RuntimeError("the response has begun")
        self.status = status
        self._start(status, (*headers, *self.added_headers) if self.added_headers else headers)

    @abstractmethod
    def _start(self, status: int, headers: Headers) -> None: ...

    def write(self, data: bytes) -> bool:
        """Writes a piece of the body, maybe an empty one. Returns False if there is no room for more. Raises
        RuntimeError before `start`; to a client that has gone, and behind the end, it does nothing."""
        self._write(data, is_end=False)
        return not self.is_blocked

    def _write(self, data: bytes, *, is_end: bool) -> None:
        if not self.status:
            raise RuntimeError("a piece of a response that has not begun")
        if self._is_over:
            return
        head, self._head = self._head, b""
        if self._is_bodiless:
            data, is_end = b"", is_end or self.method == "HEAD"
        self.written_bytes += len(data)
        self._send(head, data, is_end=is_end)
        if is_end:
            self._is_over = self._disconnected = True
            if self._reader is not None or self._on_disconnect is not None:
                self.disconnect()
            self._ended()

    def write_parts(self, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        """`write` of a piece in several parts, `size_bytes` in all. They are not copied, but for what has to wait."""
        if self._is_over or self._is_bodiless or not self.status:
            self._write(b"", is_end=False)
            return
        head, self._head = self._head, b""
        self.written_bytes += size_bytes
        self._send_parts(head, parts, size_bytes)

    @abstractmethod
    def _send(self, head: bytes, data: bytes, *, is_end: bool) -> None:
        """A piece on its way to the client, behind the head where there is one."""

    @abstractmethod
    def _send_parts(self, head: bytes, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        """The same, of a piece in parts that is not the last one."""

    @abstractmethod
    def _ended(self) -> None:
        """The response is complete."""

    @property
    @abstractmethod
    def is_blocked(self) -> bool:
        """Whether there is no room."""

    async def drained(self) -> None:
        """Waits until there is room, or `wake` is called. One at a time does."""
        if self.is_blocked:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def wake(self) -> None:
        """Has `drained` return now."""
        writer, self._writer = self._writer, None
        if writer is not None and not writer.done():
            writer.set_result(None)

    def end(self, data: bytes = b"") -> None:
        """The last piece, which may be empty. Only where there is room, as before the first piece; `finish` waits for
        it."""
        self._write(data, is_end=True)

    async def finish(self, data: bytes = b"") -> None:
        """The last piece, once there is room for it."""
        while self.is_blocked:
            await self.drained()
        self.end(data)

    def answer(self, status: int, content_type: bytes | None, payload: bytes, headers: Headers = ()) -> None:
        """A response that is there as a whole. A `content_type` of None goes with an empty one (protocol section
        1.3)."""
        lines = [(b"content-length", b"%d" % len(payload)), *headers]
        if content_type is not None:
            lines.append((b"content-type", content_type))
        self.start(status, lines)
        self.end(payload)

    def answer_json(self, status: int, payload: bytes, headers: Headers = ()) -> None:
        self.answer(status, JSON, payload, headers)


async def read_body(exchange: Exchange, too_large: str, limit: int) -> tuple[bytes, str | None]:
    """The body as it comes, and what it is to be inflated from. Raises an ApiError, beyond the limit with the code
    `too_large`; DisconnectedError if the client left."""
    fields = exchange.fields
    length = encoding = None
    if (said := fields.get(b"content-length")) is not None:
        # Without one the body ends where the host says so.
        if not (said.isdigit() and len(said) < 20):
            raise ApiError("bad_header", "Invalid header `content-length`")
        length = int(said)
        if length > MAX_DISCARDED_BYTES:
            raise _too_large(too_large, limit)
    if (coding := fields.get(b"content-encoding")) is not None:
        encoding = coding.strip().lower().decode("latin-1")
        if encoding not in ("gzip", "zstd", "identity"):
            raise ApiError(
                "bad_header", "Invalid header `content-encoding`: only gzip and zstd are supported", status=415
            )
        if encoding == "identity":
            encoding = None
    # What has come with its head, as most bodies have, needs neither a timer nor a turn of the loop.
    body = exchange.take_whole()
    if body is None:
        try:
            async with asyncio.timeout(UNARY_BODY_TIMEOUT_S):
                return await _collect(exchange, too_large, limit), encoding
        except TimeoutError:
            raise ApiError("request_timeout", "the request body did not arrive in time") from None
    if len(body) > limit:
        raise _too_large(too_large, limit)
    return body, encoding


async def _collect(exchange: Exchange, too_large: str, limit: int) -> bytes:
    share = exchange.share
    parts: list[bytes] = []
    size = 0
    while not exchange.is_complete:
        body = await exchange.read()
        if exchange.is_disconnected:
            raise DisconnectedError
        size += len(body)
        if size <= limit:
            share.collected_bytes = size
            parts.append(body)
            if len(parts) >= MAX_PARTS:
                parts = [b"".join(parts)]
        elif size > MAX_DISCARDED_BYTES:
            break
    if size > limit:
        raise _too_large(too_large, limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(code: str, limit: int) -> ApiError:
    return ApiError(code, f"the body exceeds {limit // (1024 * 1024)} MiB")


def encode_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
