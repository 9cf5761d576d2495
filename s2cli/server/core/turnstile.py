"""Lets one large body through at a time, so that expensive work does not delay other clients. After more than a
millisecond of work the event loop runs other tasks; after very long work it also pauses for as long as the work took.

Otherwise forty bodies of two mebibytes that arrive together would be decoded in one iteration of the loop, and a client
that appends one small record would wait for all of them. Small bodies pass at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from s2cli.wire.bodies import ContentError, inflate_content

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Result = TypeVar("Result")
    # Work in pieces: each `yield` may be followed by a turn of the loop.
    Steps = Generator[None, None, Result]

# Smaller bodies are decoded at once: the worst of them takes a millisecond.
LARGE_BYTES = 8 * 1024
# Other tasks get a turn of the loop after so much work.
TURN_S = 0.001
# After so much work there is a pause, too. Batches of a bulk load take less, and would be slower with pauses.
PAUSE_S = 0.01


class Turnstile:
    """Lets one piece of work through at a time."""

    __slots__ = ("_lock", "_took_s")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._took_s = 0.0  # since the last turn for the others

    async def walk(self, steps: Steps[Result]) -> Result:
        """Runs `steps` when it is their turn. Returns what they return, and raises what they raise."""
        await self._lock.acquire()
        try:
            while True:
                began_s = time.monotonic()
                try:
                    next(steps)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                finally:
                    self._took_s += time.monotonic() - began_s
                if self._took_s >= TURN_S:
                    await asyncio.sleep(self._took_s if self._took_s >= PAUSE_S else 0)
                    self._took_s = 0.0
        finally:
            # The pause delays whoever is next, not the caller.
            if self._took_s >= PAUSE_S:
                asyncio.get_running_loop().call_later(self._took_s, self._release)
            elif self._took_s >= TURN_S:
                asyncio.get_running_loop().call_soon(self._release)
            else:
                self._lock.release()

    def _release(self) -> None:
        self._took_s = 0.0
        self._lock.release()

    async def pass_by(self, size_bytes: int, steps: Steps[Result]) -> Result:
        """Like walk(), for work on `size_bytes`. Up to LARGE_BYTES it does not wait for others. The work before the
        first `yield` never does."""
        if size_bytes <= LARGE_BYTES:
            return in_one_go(steps)
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        return await self.walk(steps)

    async def decode(
        self, body: bytes, encoding: str | None, limit_bytes: int, decode: Callable[[bytes], Steps[Result]]
    ) -> tuple[bytes, Result]:
        """Returns `body`, decompressed if it has an `encoding`, and what `decode` makes of it. A large body is
        decompressed only when its turn has come. Raises ContentError, and what `decode` raises."""
        if encoding is not None:
            # A few bytes may become many: only decompressing them up to LARGE_BYTES shows that.
            with contextlib.suppress(ContentError):
                body, encoding = inflate_content(body, encoding, min(LARGE_BYTES, limit_bytes)), None
        if encoding is None and len(body) <= LARGE_BYTES:
            return body, in_one_go(decode(body))
        return await self.walk(_decode(body, encoding, limit_bytes, decode))


def _decode(
    body: bytes, encoding: str | None, limit_bytes: int, decode: Callable[[bytes], Steps[Result]]
) -> Steps[tuple[bytes, Result]]:
    if encoding is not None:
        body = inflate_content(body, encoding, limit_bytes)
        yield
    result = yield from decode(body)
    return body, result


def in_one_go(steps: Steps[Result]) -> Result:
    """Runs `steps` without a turn of the loop. Returns what they return, and raises what they raise."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
