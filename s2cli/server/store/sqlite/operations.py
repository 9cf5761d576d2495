"""What the control plane asks to have changed, and how many such changes are made durable together."""

from __future__ import annotations

import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from s2cli.server.store.futures import resolve
from s2cli.server.store.sqlite.page_copy import PageCopy

# So many are made in one transaction: it takes some milliseconds.
TOGETHER = 64


class Together(NamedTuple):
    """`run_all` makes several changes with few statements: of each it gets its `subject`, and returns its result."""

    run_all: Callable[[sqlite3.Connection, list[Any]], list[Any]]
    subject: Any


class Operation:
    """A change that the control plane asked for: `run` in a transaction, its result into `future`, on the loop.
    What is queued for `stream_id` is written before. `grows`: it adds, and does not get the room that is kept for what
    deletes. `made` is called on the loop once the change is made, even if nobody waits for it any more. `together` is
    how it is run with others of its kind."""

    __slots__ = ("future", "grows", "made", "run", "stream_id", "together")

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        future: Future[Any],
        stream_id: int | None = None,
        *,
        grows: bool = False,
        made: Callable[[], None] | None = None,
        together: Together | None = None,
    ) -> None:
        self.run = run
        self.together = together
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


def run_together(connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[Any]:
    """The result of each, in one transaction. A statement of its own for each would give the interpreter's lock away as
    often, and a busy loop takes half a millisecond to give it back."""
    results: list[Any] = []
    for run_all, some in groupby(operations, lambda operation: operation.together and operation.together.run_all):
        if run_all is None:
            results += [operation.run(connection) for operation in some]
        else:
            results += run_all(connection, [operation.together.subject for operation in some if operation.together])
    return results


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
