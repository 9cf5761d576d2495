"""Cancels the work on a request when its client disconnects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s2cli.server.http.exchange import DisconnectedError

if TYPE_CHECKING:
    from asyncio import Task, TimerHandle

    from s2cli.server.http.exchange import Exchange


class ClientWatch:
    """Work that nobody needs once the client has gone: `with` it, the task is cancelled then, and DisconnectedError is
    raised. What the client sends is thrown away. Asking the host costs something, so what takes less than `patience_s`
    does not ask."""

    __slots__ = ("_exchange", "_is_left", "_is_watching", "_patience_s", "_task", "_timer")

    def __init__(self, exchange: Exchange, patience_s: float = 0.0) -> None:
        self._exchange = exchange
        self._patience_s = patience_s
        self._is_watching = False  # from then on, between two `with`, too
        self._is_left = False
        self._task: Task[Any] | None = None
        self._timer: TimerHandle | None = None

    def __enter__(self) -> None:
        if self._is_left:
            raise DisconnectedError
        self._task = asyncio.current_task()
        if not self._patience_s:
            self._watch()
        elif not self._is_watching:
            self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._watch)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if self._is_left and task is not None:
            task.uncancel()
            if error is None or isinstance(error, asyncio.CancelledError):
                raise DisconnectedError from None

    def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._exchange.on_disconnect(self._leave)

    def _leave(self) -> None:
        self._is_left = True
        if self._task is not None:
            self._task.cancel()
