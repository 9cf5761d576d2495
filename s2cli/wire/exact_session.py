"""The append session of `--exactly-once`: every batch has its place, and there is no shared mode.

After a lost connection, and when a run resumes an earlier one, the stream may have records after the last acknowledged
one. They are compared with the next records of the input, one by one. Those that are equal are ours; one that differs
is another writer's, which ends the append. So it does not matter how an earlier run cut the same records into batches,
nor when a late copy of them arrives.
"""

from __future__ import annotations

from s2cli.errors import FencingTokenMismatchError, PreconditionError, S2Error, SeqNumMismatchError, UndecidedError
from s2cli.wire.append_input import (
    DOUBTFUL,
    WAITING,
    PendingBatch,
    encode_headers,
    encode_record,
    encoded_records,
    keys_of,
    record_key,
)
from s2cli.wire.append_session import BATCH_OVERHEAD_BYTES, AppendSession
from s2cli.wire.ranges import format_lines, merged
from s2cli.wire.record_rules import metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.wire.append_input import Records
    from s2cli.wire.ranges import Range
    from s2cli.wire.s2_pb2 import AppendRecord


class ExactSession(AppendSession):
    """An append session that begins with begin() or resume(). While needs_resolution(), the caller asks for the tail
    and calls begin_comparison(). Until `is_compared` it then reads the `wanted` records and passes them to compare();
    if no batch is in flight, it first adds the next one of the input."""

    __slots__ = ("_is_compared", "_keys", "_least", "_matched", "_may_come_late", "_tail_seq_num")

    def __init__(
        self,
        *,
        fencing_token: bytes | None = None,
        demanded: int | None = None,
        compression: str | None = None,
        describe_lines: Callable[[list[Range]], str] = format_lines,
    ) -> None:
        self._least = 0  # where the stream is known to have ended: it cannot end before that now
        self._is_compared = True
        self._may_come_late = False
        self._matched = 0  # records of the first batch in flight that are in the stream
        self._keys: list[bytes] = []  # of that batch
        self._tail_seq_num = 0
        super().__init__(
            fencing_token=fencing_token, demanded=demanded, compression=compression, describe_lines=describe_lines
        )

    @property
    def floor(self) -> int:
        """The sequence number up to which the stream is known to have our records: `next_line` belongs there."""
        return self._floor or 0

    def resume(self, line: int, seq_num: int, *, clean: bool) -> None:
        """Resumes an earlier run at this line of the input, from 1 on. If that run ended `clean`, with nothing in
        flight, the line goes to the end of the stream, which must not be before `seq_num`. Else it belongs at
        `seq_num`, and the records from there on are to be compared first."""
        self.lines = line - 1
        if clean:
            self._least = seq_num
        else:
            self.begin(seq_num)
            self._is_compared = False
            self._may_come_late = True

    def ends_clean(self, *, whole: bool) -> bool:
        """Whether nothing that this run or an earlier one has sent can still come into the stream; `whole`: all of the
        input is durable. What a killed run has sent may come late, until a batch of this run is acknowledged: that
        takes the place which the next of it demands, and a connection ends with its first batch that is refused."""
        return not self.in_flight and not self.needs_resolution() and (whole or not self._may_come_late)

    def begin(self, tail_seq_num: int) -> None:
        if tail_seq_num < self._least:
            raise self._recreated(tail_seq_num)
        super().begin(tail_seq_num)

    def _on_ack(self, message: bytes) -> None:
        super()._on_ack(message)
        self._may_come_late = False

    def refused(self, error: S2Error) -> bool:
        if not isinstance(error, SeqNumMismatchError):
            return super().refused(error)
        if error.expected < self.floor:
            raise self._recreated(error.expected) from error
        # It is not known yet whose records are there: it may be a late copy of ours that came between.
        for batch in self._in_flight[self._head : self._head + max(1, self._sent)]:
            batch.state = DOUBTFUL
        self._sent = 0
        return True

    def needs_resolution(self) -> bool:
        return self.doubtful or not self._is_compared

    # Comparing

    def begin_comparison(self, tail_seq_num: int) -> None:
        """Begins to compare the records from `floor` to the tail. Raises PreconditionError if the tail is before
        that."""
        if tail_seq_num < self.floor:
            raise self._recreated(tail_seq_num)
        self._tail_seq_num = tail_seq_num
        self._matched = 0
        self._sent = 0
        if tail_seq_num == self.floor:
            self._end_comparison()

    @property
    def is_compared(self) -> bool:
        """Whether all records up to the tail were compared."""
        return self._tail_seq_num <= self.floor

    @property
    def wanted(self) -> tuple[int, int]:
        """The range of sequence numbers to read next, the end exclusive: the first batch in flight is compared with
        it."""
        batch = self._in_flight[self._head]
        return self.floor + self._matched, min(self._tail_seq_num, self.floor + batch.count)

    def compare(self, data: bytes) -> None:
        """Takes a ReadBatch that begins where `wanted` does, and may end earlier. Raises PreconditionError if a record
        is another writer's, UndecidedError if one is gone."""
        from s2cli.wire.messages import decode_received

        batch = self._in_flight[self._head]
        if not self._matched:
            self._keys = keys_of(batch.records)
        records = decode_received(data).records
        if not records:
            raise self.unreadable(f"the record at sequence number {self.floor + self._matched} is gone")
        for record in records:
            seq_num = self.floor + self._matched
            if self._matched == batch.count or seq_num == self._tail_seq_num:
                break
            if record.seq_num != seq_num:
                raise self.unreadable(f"the record at sequence number {seq_num} is gone, trimmed or expired")
            key = record_key(record.body, [(header.name, header.value) for header in record.headers])
            if key != self._keys[self._matched]:
                raise self.foreign(seq_num)
            self._matched += 1
        if self._matched == batch.count:
            self._recognize()
        elif self.floor + self._matched == self._tail_seq_num:
            self._split(batch)
            self._recognize()
        if self.is_compared:
            self._end_comparison()

    def foreign(self, seq_num: int) -> PreconditionError:
        """The error if the record at `seq_num` is not ours."""
        return PreconditionError(
            f"another writer appends to this stream: the record at sequence number {seq_num} is not the one that this "
            "input has for that place (--exactly-once)"
        )

    def unreadable(self, why: str) -> UndecidedError:
        """The error if the records of the stream cannot be read."""
        return UndecidedError(f"line {self.next_line} and those behind it are durable", why)

    def _end_comparison(self) -> None:
        self._is_compared = True
        if self._fenced is not None and self.in_flight:
            raise self._fenced
        self._fenced: FencingTokenMismatchError | None = None

    def _recognize(self) -> None:
        """The first batch in flight is in the stream, all of it."""
        batch = self._in_flight[self._head]
        self._head += 1
        self._matched = 0
        if batch.state == WAITING:
            self.sent += batch.count  # by an earlier run
        self._mark_durable(batch, self.floor)
        self._floor = self.floor + batch.count
        self.recognized = merged([*self.recognized, *batch.lines])

    def _split(self, batch: PendingBatch) -> None:
        """Makes two batches of the first in flight: the records that are in the stream, and the rest."""
        first, rest = split(batch.records, self._matched)
        lines_first, lines_rest = split_lines(list(batch.lines), self._matched)
        place = self.floor
        pieces = [
            PendingBatch(first, lines_first, place),
            PendingBatch(rest, lines_rest, place + first.count),
        ]
        for piece in pieces:
            piece.state = batch.state
        self._in_flight[self._head : self._head + 1] = pieces
        self._bytes += first.encoded_bytes + rest.encoded_bytes + BATCH_OVERHEAD_BYTES - batch.records.encoded_bytes


def split(records: Records, count: int) -> tuple[Records, Records]:
    """The first `count` records, and the others."""
    from s2cli.wire.messages import decode_append

    decoded = decode_append(b"".join(records.parts)).records
    return _encode(decoded[:count]), _encode(decoded[count:])


def _encode(records: list[AppendRecord]) -> Records:
    encoded, size = [], 0
    for record in records:
        headers = [(header.name, header.value) for header in record.headers]
        timestamp = record.timestamp if record.HasField("timestamp") else None
        encoded.append(encode_record(record.body, encode_headers(headers), timestamp))
        size += metered_bytes(record.body, headers) - metered_bytes(b"")
    return encoded_records(encoded, size)


def split_lines(ranges: list[Range], count: int) -> tuple[list[Range], list[Range]]:
    """The first `count` lines, and the others."""
    first: list[Range] = []
    for at, (begin, end) in enumerate(ranges):
        size = end - begin + 1
        if count < size:
            if count:
                first.append((begin, begin + count - 1))
            return first, [(begin + count, end), *ranges[at + 1 :]]
        first.append((begin, end))
        count -= size
    return first, []
