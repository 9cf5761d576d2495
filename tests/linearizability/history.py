"""What clients asked of a stream, when, and what they were told."""

import itertools
import threading
from dataclasses import dataclass

# A record as it is compared: the name of its command, "" for none, and its body.
Record = tuple[str, bytes]


@dataclass(frozen=True)
class Append:
    records: tuple[Record, ...]
    match_seq_num: int | None = None
    fencing_token: str | None = None


@dataclass(frozen=True)
class Read:
    """At most `count` records from `seq_num` on, of those that are there."""

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
    """The records of a read, with the sequence number of each."""

    records: tuple[tuple[int, Record], ...]


@dataclass(frozen=True)
class Tail:
    """Of a check of the tail, and of a read at or behind it."""

    seq_num: int


@dataclass(eq=False)
class Operation:
    request: Append | Read | CheckTail
    called: int
    returned: int | None = None  # None: nobody knows whether it took effect, or will
    answer: Appended | SeqNumMismatch | FencingTokenMismatch | Found | Tail | None = None


class History:
    """Operations on one stream by any number of threads."""

    def __init__(self):
        self.operations: list[Operation] = []
        self._moments = itertools.count()
        self._lock = threading.Lock()

    def call(self, request) -> Operation:
        """Write down that this is about to be asked."""
        with self._lock:
            operation = Operation(request, next(self._moments))
            self.operations.append(operation)
        return operation

    def end(self, operation, answer) -> None:
        """Write down what it was told."""
        with self._lock:
            operation.returned, operation.answer = next(self._moments), answer

    def drop(self, operation) -> None:
        """It had no effect, and told nothing."""
        with self._lock:
            self.operations.remove(operation)
