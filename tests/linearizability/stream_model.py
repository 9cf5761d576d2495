"""The sequential model of a stream for the checker: what each operation does if nothing happens at the same time."""

import contextlib
import math
from collections import Counter
from typing import NamedTuple

from linearizability.checker import UndecidedError, linearize
from linearizability.history import (
    Append,
    Appended,
    CheckTail,
    FencingTokenMismatch,
    Found,
    Operation,
    SeqNumMismatch,
    Tail,
)


class State(NamedTuple):
    log: int  # stands for a sequence of appends: a number that StreamModel gave it
    tail: int
    trim_point: int
    fencing_token: str


class StreamModel:
    """The model for a history with these operations. All that their answers say about places in the stream is used from
    the start, so that a batch without an answer is tried only where it can be."""

    initial = State(0, 0, 0, "")

    def __init__(self, operations):
        self._logs = {}  # (log before, records of its last batch) -> log
        self._last = [None]  # log -> (log before, where its last batch starts, records of that)
        self._places = _Places(operations)
        # Appends without an answer, whose records no read has found.
        self.unseen = {
            operation
            for operation in operations
            if isinstance(operation.request, Append) and operation.answer is None and not self._places.has(operation)
        }

    def step(self, state: State, operation: Operation) -> State | None:
        request = operation.request
        if isinstance(request, Append):
            return self._append(state, operation)
        answer = operation.answer
        if isinstance(request, CheckTail):
            return state if answer.seq_num == state.tail else None
        if isinstance(answer, Tail):
            return state if answer.seq_num == state.tail <= request.seq_num else None
        first = max(request.seq_num, state.trim_point)
        end = min(first + request.count, state.tail)
        whole = request.seq_num < state.tail and answer.records == self._records(state.log, first, end)
        return state if whole else None

    def _append(self, state, operation):
        request, answer = operation.request, operation.answer
        fenced = request.fencing_token not in (None, state.fencing_token)
        if fenced or isinstance(answer, FencingTokenMismatch):
            same = isinstance(answer, FencingTokenMismatch) and answer.token == state.fencing_token
            return state if fenced and same else None
        misplaced = request.match_seq_num not in (None, state.tail)
        if misplaced or isinstance(answer, SeqNumMismatch):
            same = isinstance(answer, SeqNumMismatch) and answer.seq_num == state.tail
            return state if misplaced and same else None
        end = state.tail + len(request.records)
        if isinstance(answer, Appended) and answer != Appended(state.tail, end):
            return None
        if answer is None and not self._places.may_start(operation, state.tail):
            return None
        trim_point, token = state.trim_point, state.fencing_token
        for number, (command, body) in enumerate(request.records):
            if command == "fence":
                token = body.decode()
            elif command == "trim":
                trim_point = max(trim_point, min(int.from_bytes(body, "big"), state.tail + number + 1))
        records = request.records
        if operation in self.unseen:
            records = self._places.as_seen(records, state.tail)
        return State(self._log(state, records), end, trim_point, token)

    def _log(self, state, records):
        key = state.log, records
        if key not in self._logs:
            self._logs[key] = len(self._last)
            self._last.append((state.log, state.tail, records))
        return self._logs[key]

    def _records(self, log, first, end):
        """The records from `first` to `end`, exclusive, in a log."""
        found = []
        while log:
            log, start, records = self._last[log]
            if start < end:
                found += [(start + n, records[n]) for n in reversed(range(len(records))) if first <= start + n < end]
            if start <= first:
                break
        return tuple(reversed(found))


class _Places:
    """What the answers say about places in the stream: which record is there, and of which batch. The record at a place
    never changes, and no batch takes effect twice."""

    def __init__(self, operations):
        appends = [operation for operation in operations if isinstance(operation.request, Append)]
        self._records = {}  # sequence number -> record
        self._starts = {}  # append -> where it starts
        for operation in operations:
            if isinstance(operation.answer, Found):
                self._records.update(operation.answer.records)
        for operation in appends:
            if isinstance(operation.answer, Appended):
                self._starts[operation] = operation.answer.start
                self._records.update(enumerate(operation.request.records, operation.answer.start))
        counts = Counter(record for operation in appends for record in operation.request.records)
        found = {record: seq_num for seq_num, record in self._records.items()}
        for operation in appends:
            for number, record in enumerate(operation.request.records):
                if counts[record] == 1 and record in found:
                    self._starts.setdefault(operation, found[record] - number)
        self._taken = {
            start + number
            for operation, start in self._starts.items()
            for number in range(len(operation.request.records))
        }
        self._end = _end(operations)

    def has(self, operation):
        """Whether the place of an append is known."""
        return operation in self._starts

    def as_seen(self, records, start):
        """The records of an append at `start`, with None for each that no answer shows: these need not be told
        apart."""
        return tuple(record if place in self._records else None for place, record in enumerate(records, start))

    def may_start(self, operation, start):
        """Whether an append without an answer can be at `start`."""
        if operation in self._starts:
            return self._starts[operation] == start
        records = operation.request.records
        return start + len(records) <= self._end and all(
            place not in self._taken and self._records.get(place, record) == record
            for place, record in enumerate(records, start)
        )


def _end(operations):
    """The tail that last_look() found; infinity if the history does not end with one."""
    returned = [operation for operation in operations if operation.returned is not None]
    last = max(returned, key=lambda operation: operation.called, default=None)
    alone = last is not None and all(other.returned <= last.called for other in returned if other is not last)
    return last.answer.seq_num if alone and isinstance(last.answer, Tail) else math.inf


def is_linearizable(operations) -> bool:
    """Whether the operations on one new stream are linearizable. Raises UndecidedError if that takes too long to find
    out."""
    model = StreamModel(operations)
    # If records were trimmed before anybody read them, it is mostly irrelevant which of the unseen batches they were.
    # So the first search does not distinguish these.
    with contextlib.suppress(UndecidedError):
        if linearize(model, operations, forgotten=model.unseen) is not None:
            return True
    return linearize(model, operations) is not None
