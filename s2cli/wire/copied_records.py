"""Makes batches to append of records that were read, with their headers and timestamps. The `lines` of such a batch are
the sequence numbers of its records in the source, plus one."""

from __future__ import annotations

from s2cli.wire.append_input import SEPARATE_BYTES, Records, encode_headers, encode_record, encoded_records
from s2cli.wire.messages import read_timed_bodies
from s2cli.wire.protobuf import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    RECORD_OVERHEAD_BYTES,
    append_parts,
    metered_bodies_bytes,
)
from s2cli.wire.ranges import merged
from s2cli.wire.read_session import Delivered, ReadSession
from s2cli.wire.record_rules import metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s2cli.wire.ranges import Range
    from s2cli.wire.s2_pb2 import SequencedRecord

    # Returns the indexes of the records that are copied
    Choose = Callable[[Delivered], Sequence[int]]


class TimedBodies(Delivered):
    """A delivery whose records have bodies and timestamps, but no headers."""

    __slots__ = ("timestamps",)

    def __init__(self, first_seq_num: int, bodies: list[bytes], timestamps: list[int]) -> None:
        super().__init__(first_seq_num, bodies)
        self.timestamps = timestamps


class CopySession(ReadSession):
    """A read session that delivers TimedBodies where no record has headers, if `bodies_only`."""

    __slots__ = ()

    def _take(self, message: bytes) -> Delivered | None:
        cursor = self.cursor if self.bodies_only else None
        timed = None if cursor is None else read_timed_bodies(message, cursor)
        if cursor is None or timed is None:
            return super()._take(message)
        bodies, timestamps = timed
        batch = self._deliver(Delivered(cursor, bodies))  # which may cut it
        assert batch.bodies is not None
        return TimedBodies(cursor, batch.bodies, timestamps[: len(batch)])


class Copier:
    """Makes batches of what a CopySession delivers. Command records are left out and counted, unless `with_commands`;
    so are the records that `choose` leaves out."""

    __slots__ = ("_choose", "_with_commands", "skipped", "skipped_commands")

    def __init__(self, *, with_commands: bool, choose: Choose | None = None) -> None:
        self._with_commands = with_commands
        self._choose = choose
        self.skipped = 0  # records that were not chosen
        self.skipped_commands = 0

    @property
    def chooses(self) -> bool:
        """Whether there is anything that it may leave out but command records."""
        return self._choose is not None

    def batches(self, delivered: list[Delivered]) -> list[Records]:
        found: list[Records] = []
        for batch in delivered:
            chosen: Sequence[int] = range(len(batch))
            if self._choose is not None:
                chosen = self._choose(batch)
                self.skipped += len(batch) - len(chosen)
                if not chosen:
                    continue
            found += self._of(batch, chosen)
        return found

    def _of(self, batch: Delivered, chosen: Sequence[int]) -> list[Records]:
        whole = len(chosen) == len(batch)
        if not isinstance(batch, TimedBodies) or not batch.bodies:
            records = batch.records
            return self._of_records(records if whole else [records[index] for index in chosen])
        first, bodies, timestamps = batch.first_seq_num, batch.bodies, batch.timestamps
        if whole:
            return self._of_bodies(range(first, first + len(bodies)), bodies, timestamps)
        return self._of_bodies(
            [first + index for index in chosen],
            [bodies[index] for index in chosen],
            [timestamps[index] for index in chosen],
        )

    def _of_bodies(self, seq_nums: Sequence[int], bodies: list[bytes], timestamps: list[int]) -> list[Records]:
        count = len(bodies)
        metered = metered_bodies_bytes(bodies)
        if (metered > MAX_BATCH_BYTES or count > MAX_BATCH_RECORDS) and count > 1:
            half = count // 2
            return [
                *self._of_bodies(seq_nums[:half], bodies[:half], timestamps[:half]),
                *self._of_bodies(seq_nums[half:], bodies[half:], timestamps[half:]),
            ]
        parts = append_parts(bodies, timestamps)
        size = metered - RECORD_OVERHEAD_BYTES * count
        if size < SEPARATE_BYTES * count:
            parts = [b"".join(parts)]
        return [Records(parts, sum(map(len, parts)), count, size, _lines(seq_nums))]

    def _of_records(self, records: Sequence[SequencedRecord]) -> list[Records]:
        found: list[Records] = []
        encoded: list[bytes] = []
        seq_nums: list[int] = []
        size = 0
        for record in records:
            headers = [(header.name, header.value) for header in record.headers]
            if len(headers) == 1 and not headers[0][0] and not self._with_commands:
                self.skipped_commands += 1
                continue
            metered = metered_bytes(record.body, headers)
            if encoded and (size + metered > MAX_BATCH_BYTES or len(encoded) == MAX_BATCH_RECORDS):
                found.append(_finished(encoded, seq_nums, size))
                encoded, seq_nums, size = [], [], 0
            encoded.append(encode_record(record.body, encode_headers(headers), record.timestamp))
            seq_nums.append(record.seq_num)
            size += metered
        if encoded:
            found.append(_finished(encoded, seq_nums, size))
        return found


def _finished(encoded: list[bytes], seq_nums: list[int], metered: int) -> Records:
    return encoded_records(encoded, metered - RECORD_OVERHEAD_BYTES * len(encoded), _lines(seq_nums))


def _lines(seq_nums: Sequence[int]) -> list[Range]:
    first, last = seq_nums[0] + 1, seq_nums[-1] + 1
    if last - first + 1 == len(seq_nums):
        return [(first, last)]
    return merged([(seq_num + 1, seq_num + 1) for seq_num in seq_nums])
