"""Writes with an `s2-request-token` (protocol section 16.5): each is executed once, however often it is sent.

The answer to a write is stored in the same transaction, so that a crash leaves both or neither, and a repeated request
gets that answer for some time. Only successes are stored: a failure has changed nothing, and a later attempt may
succeed. Creates of basins and streams have their own rule (protocol section 9.1); sessions have none.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, BadValueError, S2Error
from s2cli.server.store.interface import Reply
from s2cli.wire.names import check_request_token

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable

    from s2cli.server.core.auth import Grant
    from s2cli.server.store.interface import Store


class Draft:
    """The reply to a request that is being executed, as far as it is known."""

    __slots__ = ("_key", "_now_ms", "_request")

    def __init__(self, key: bytes, request: bytes, now_ms: int) -> None:
        self._key = key
        self._request = request
        self._now_ms = now_ms

    def reply(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]], content_type: bytes | None) -> Reply:
        return Reply(self._key, self._request, status, content_type, body, headers, self._now_ms)


class Replies:
    """The replies of a server: those in the store, and those that are on their way."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._running: dict[bytes, tuple[Identity, Future[Reply]]] = {}

    async def once(
        self,
        grant: Grant | None,
        basin: str,
        token: bytes,
        request: Identity,
        execute: Callable[[Draft], Awaitable[Reply]],
    ) -> Reply:
        """The reply to the request with that token and identity (see `identify`), executed unless it was, or is just
        being. It is kept with the `basin` that the request writes to, "" for one that writes to the account. Raises
        `request_token_reused` where the token came with another request. Each bearer has request tokens of his own."""
        key_before = hashlib.sha256(checked_token(token)).digest()
        key = key_before if grant is None else hashlib.sha256(bearer_prefix(grant) + token).digest()
        running = self._running.get(key)
        if running is not None:
            if running[0].digest != request.digest:
                raise _reused()
            return await asyncio.shield(running[1])
        done: Future[Reply] = asyncio.get_running_loop().create_future()
        self._running[key] = request, done
        try:
            reply = await self._found_or_executed(basin, key, key_before, request, execute)
        except BaseException as error:
            done.set_exception(error if isinstance(error, S2Error) else ApiError("other", "internal error"))
            done.exception()  # seen, even if nobody else waits
            raise
        finally:
            del self._running[key]
        done.set_result(reply)
        return reply

    async def _found_or_executed(
        self,
        basin: str,
        key: bytes,
        key_before: bytes,
        request: Identity,
        execute: Callable[[Draft], Awaitable[Reply]],
    ) -> Reply:
        store, now_ms = self._store, self._clock_ms()
        reply = await store.get_reply(basin, key, now_ms)
        if reply is None and key_before != key:
            # Stored when bearers shared their request tokens. That of another one is not the same request.
            found = await store.get_reply(basin, key_before, now_ms)
            reply = found if found is not None and request.is_of(found.request) else None
        if reply is None:
            reply = await execute(Draft(key, request.digest, now_ms))
            if not reply.saved:
                # Nothing was changed that it could have been written with.
                await store.save_reply(basin, reply)
        elif not request.is_of(reply.request):
            raise _reused()
        return reply


def checked_token(value: bytes) -> bytes:
    """The value of an `s2-request-token` header, if it may be one."""
    try:
        check_request_token(value.decode())
    except UnicodeDecodeError as error:
        raise ApiError("bad_header", "Invalid header `s2-request-token`: not valid UTF-8") from error
    except BadValueError as error:
        raise ApiError("bad_header", f"Invalid header `s2-request-token`: {error.message}") from error
    return value


def bearer_prefix(grant: Grant | None) -> bytes:
    """What precedes a request token in a hash, so that those of two bearers never meet. Nothing where everybody
    may do everything. A NUL is in no header, so in no request token."""
    return b"" if grant is None else b"\0%b\0" % grant.id.encode()


class Identity:
    """What tells a request from others: two that differ in it are not the same, whatever their token. Where the request
    brings an encryption key, its digest is keyed with that: what is stored does not tell whether a guess at a body is
    right."""

    __slots__ = ("_parts", "digest")

    def __init__(self, parts: list[bytes], key: bytes | None) -> None:
        self._parts = parts
        self.digest = _digest(parts, None if key is None else hashlib.sha256(key).digest())

    def is_of(self, stored: bytes) -> bool:
        """Whether `stored` is the digest of this request, also one that an older version stored, without the key."""
        return stored in (self.digest, _digest(self._parts, None))


def _digest(parts: list[bytes], key: bytes | None) -> bytes:
    digest = hashlib.sha256() if key is None else hashlib.blake2b(digest_size=32, key=key)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _reused() -> ApiError:
    return ApiError("request_token_reused", "this request token came with another request")
