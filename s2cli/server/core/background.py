"""Background tasks: nobody waits for them, so their errors are logged, and the work is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from s2cli.errors import S2Error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = logging.getLogger("s2cli.server")


class Background:
    """Tasks that run until `stop`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *runs: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(run) for run in runs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def attempt(what: str, work: Callable[[], Awaitable[None]]) -> bool:
    """Do `work`; False if it failed. A failure is logged as "cannot `what`" and not raised: that would end the
    background task, and the work would never be tried again."""
    try:
        await work()
    except S2Error as error:
        log.warning("cannot %s, trying again: %s", what, error.message)
        return False
    except Exception:
        log.exception("cannot %s, trying again", what)
        return False
    return True
