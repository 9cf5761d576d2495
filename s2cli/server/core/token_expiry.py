"""The removal of access tokens that have expired, behind the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from s2cli.errors import S2Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.store.interface import Store

log = logging.getLogger("s2cli.server")

# Clocks are set: so often the next expiry is looked at again.
EXPIRY_CHECK_S = 3600.0
RETRY_S = 5.0


class TokenExpiry:
    """Removes the rows of expired tokens. That they are worth nothing does not depend on it."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._next_ms: int | None = None
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def expect(self, expires_at_ms: int) -> None:
        """There is a token that expires then."""
        if self._next_ms is None or expires_at_ms < self._next_ms:
            self._next_ms = expires_at_ms
            self._sooner.set()

    async def _run(self) -> None:
        while True:
            wait_s: float | None = RETRY_S
            try:
                self._next_ms = await self._store.expire_tokens(self._clock_ms())
                wait_s = self._until_next_s()
            except S2Error as error:
                log.warning("cannot remove expired access tokens, trying again: %s", error.message)
            except Exception:
                log.exception("cannot remove expired access tokens, trying again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), wait_s)
            self._sooner.clear()

    def _until_next_s(self) -> float | None:
        if self._next_ms is None:
            return None
        return min(max(0.0, (self._next_ms - self._clock_ms()) / 1000), EXPIRY_CHECK_S)
