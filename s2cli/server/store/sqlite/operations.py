"""What the control plane asks to have changed, and how many such changes are made durable together."""

from __future__ import annotations

import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from s2cli.server.store.sqlite.page_copy import PageCopy
from s2cli.server.store.sqlite.reader import resolve

# So many are made in one transaction: it takes some milliseconds.
TOGETHER = 64


class Operation:
    """A change that the control plane asked for: `run` in a transaction, its result into `future`, on the loop.
    What is queued for `stream_id` is written before. `grows`: it adds, and does not get the room that is kept for what
    deletes. `made` is called on the loop once the change is made, even if nobody waits for it any more."""

    __slots__ = ("future", "grows", "made", "run", "stream_id")

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        future: Future[Any],
        stream_id: int | None = None,
        *,
        grows: bool = False,
        made: Callable[[], None] | None = None,
    ) -> None:
        self.run = run
        self.future = future
        self.stream_id = stream_id
        self.grows = grows
        self.made = made

    @property
    def joins(self) -> bool:
        """Whether it may share a transaction with others: what creates does, and it is what many do at once."""
        return self.grows and self.stream_id is None


def take_next(operations: deque[Operation]) -> list[Operation]:
    """Removes and returns the first operation, and those behind it that share its transaction."""
    taken = [operations.popleft()]
    while taken[0].joins and operations and operations[0].joins and len(taken) < TOGETHER:
        taken.append(operations.popleft())
    return taken


def resolve_all(operations: Sequence[Operation], results: Sequence[Any]) -> None:
    """Gives whoever waits the result of what was made. To be called in the loop."""
    for operation, result in zip(operations, results, strict=True):
        resolve(operation.future, result, None)
        if operation.made is not None:
            operation.made()


def refuse(operations: Sequence[Operation | PageCopy], error: BaseException) -> None:
    """Gives whoever waits the error. To be called in the loop."""
    for operation in operations:
        resolve(operation.future, None, error)
