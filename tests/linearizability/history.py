"""A history: what clients requested of a stream, when, and what they were answered."""

import itertools
import threading
from dataclasses import dataclass

# What is compared of a record: the name of its command, or "", and its body.
Record = tuple[str, bytes]


@dataclass(frozen=True)
class Append:
    records: tuple[Record, ...]
    match_seq_num: int | None = None
    fencing_token: str | None = None


@dataclass(frozen=True)
class Read:
    """A read of at most `count` records from `seq_num` on."""

    seq_num: int
    count: int


@dataclass(frozen=True)
class CheckTail:
    pass


@dataclass(frozen=True)
class Appended:
    start: int
    end: int


@dataclass(frozen=True)
class SeqNumMismatch:
    seq_num: int


@dataclass(frozen=True)
class FencingTokenMismatch:
    token: str


@dataclass(frozen=True)
class Found:
    """The answer to a read: records with their sequence numbers."""

    records: tuple[tuple[int, Record], ...]


@dataclass(frozen=True)
class Tail:
    """The answer to a check-tail, and to a read at or after the tail."""

    seq_num: int


@dataclass(eq=False)
class Operation:
    request: Append | Read | CheckTail
    called: int
    returned: int | None = None  # None: no answer came; it may have taken effect, or still will
    answer: Appended | SeqNumMismatch | FencingTokenMismatch | Found | Tail | None = None


class History:
    """Records operations on one stream, from any number of threads."""

    def __init__(self):
        self.operations: list[Operation] = []
        self._moments = itertools.count()
        self._lock = threading.Lock()

    def call(self, request) -> Operation:
        """Record that a request is about to be sent."""
        with self._lock:
            operation = Operation(request, next(self._moments))
            self.operations.append(operation)
        return operation

    def end(self, operation, answer) -> None:
        """Record the answer of an operation."""
        with self._lock:
            operation.returned, operation.answer = next(self._moments), answer

    def drop(self, operation) -> None:
        """Remove an operation that had no effect, and whose answer says nothing."""
        with self._lock:
            self.operations.remove(operation)
