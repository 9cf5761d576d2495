"""One HTTP exchange as ASGI sees it: its headers, its body, its answer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from s2cli.errors import ApiError
from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from s2cli.server.http.asgi import Headers, Message, Receive, Scope, Send

# Protocol section 14.2. The host does not limit bodies, nor the time that one may stay open: both are ours.
MAX_UNARY_BODY_BYTES = 2 * 1024 * 1024
UNARY_BODY_TIMEOUT_S = 30.0
# A body that is too large is read to its end up to here, and dropped: an answer in the middle of it, after which the
# connection is closed, is one that most clients never see.
MAX_DISCARDED_BYTES = 16 * 1024 * 1024

# Of a body on its way. Each takes some 60 bytes beside its own, and a client may send two at a time.
MAX_PARTS = 1024

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


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of the header with that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return value  # type: ignore[no-any-return]  # a scope is a mapping to Any
    return None


def host_and_origin(scope: Scope) -> tuple[bytes | None, bytes | None]:
    """What the request says that it is for, and the web page that it is from. Raises ApiError `bad_header` where a
    header that means one thing is there twice. Two hosts are also a request target that names another one than the
    header; what granian gives us of an `:authority` beside a `host` is nothing."""
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _SINGLE:
            if name in seen:
                text = name.decode()
                raise ApiError("bad_header", f"Invalid header `{text}`: the request has more than one")
            seen[name] = value
    return seen.get(b"host"), seen.get(b"origin")


async def read_body(
    share: Share, scope: Scope, receive: Receive, too_large: str, limit: int
) -> tuple[bytes, str | None]:
    """The body as it comes, and what it is to be inflated from. Raises an ApiError, beyond the limit with the code
    `too_large`; DisconnectedError if the client left."""
    length = encoding = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            # Without one the body ends where the host says so.
            if not (value.isdigit() and len(value) < 20):
                raise ApiError("bad_header", "Invalid header `content-length`")
            length = int(value)
        elif name == b"content-encoding":
            encoding = value.strip().lower().decode("latin-1")
    if encoding not in (None, "gzip", "zstd", "identity"):
        raise ApiError("bad_header", "Invalid header `content-encoding`: only gzip and zstd are supported", status=415)
    if length is not None and length > MAX_DISCARDED_BYTES:
        raise _too_large(too_large, limit)
    first = receive()
    # What has come with its head, as most bodies have, needs neither a timer nor a turn of the loop.
    message = first.result() if isinstance(first, asyncio.Future) and first.done() else None
    body: bytes = b"" if message is None else message.get("body", b"")
    # The host of HTTP/2 says `more_body` although it gave everything; asking again would cost a round trip through its
    # threads.
    if message is None or len(body) != length or length > limit:
        body = await _timely(share, first, receive, too_large, limit, length)
    else:
        share.body_bytes += length
    return body, None if encoding == "identity" else encoding


async def _timely(
    share: Share, first: Awaitable[Message], receive: Receive, too_large: str, limit: int, length: int | None
) -> bytes:
    """The body that begins with the message `first`, if it comes in time."""
    task = asyncio.current_task()
    assert task is not None
    expiry = _Expiry(task)
    timer = task.get_loop().call_later(UNARY_BODY_TIMEOUT_S, expiry.expire)
    try:
        return await _collect(share, await first, receive, too_large, limit, length)
    except asyncio.CancelledError:
        if expiry.over:
            raise ApiError("request_timeout", "the request body did not arrive in time") from None
        raise
    finally:
        timer.cancel()


class _Expiry:
    """Gives up the request whose body does not come."""

    __slots__ = ("_task", "over")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self.over = False

    def expire(self) -> None:
        self.over = True
        # Cancelling a receive() loses what it would have brought: here the request is given up anyway.
        self._task.cancel()


async def _collect(
    share: Share, message: Message, receive: Receive, too_large: str, limit: int, length: int | None
) -> bytes:
    """The body that `message` begins, or is."""
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        body: bytes = message.get("body", b"")
        size += len(body)
        share.body_bytes += len(body)
        if size <= limit:
            share.collected_bytes = size
            parts.append(body)
            if len(parts) >= MAX_PARTS:
                parts = [b"".join(parts)]
        elif size > MAX_DISCARDED_BYTES:
            raise _too_large(too_large, limit)
        if size == length or not message.get("more_body", False):
            break
        message = await receive()
    if size > limit:
        raise _too_large(too_large, limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(code: str, limit: int) -> ApiError:
    return ApiError(code, f"the body exceeds {limit // (1024 * 1024)} MiB")


async def send_bytes(
    send: Send, status: int, content_type: bytes | None, payload: bytes, extra_headers: Headers = ()
) -> None:
    """Answers with one whole body. A `content_type` of None goes with an empty one (protocol section 1.3)."""
    headers = [(b"content-length", b"%d" % len(payload)), *extra_headers]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload, "more_body": False})


async def send_json(send: Send, status: int, payload: bytes, extra_headers: Headers = ()) -> None:
    await send_bytes(send, status, JSON, payload, extra_headers)


def encode_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
