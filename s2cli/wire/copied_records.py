"""Makes batches to append of records that were read, with their headers and timestamps. The `lines` of such a batch are
the sequence numbers of its records in the source, plus one."""

from __future__ import annotations

from s2cli.wire.append_input import SEPARATE_BYTES, Records, encode_headers, encode_record, encoded_records
from s2cli.wire.messages import read_timed_bodies
from s2cli.wire.protobuf import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    RECORD_OVERHEAD_BYTES,
    encode_varint,
    metered_bodies_bytes,
)
from s2cli.wire.ranges import merged
from s2cli.wire.read_session import Delivered, ReadSession
from s2cli.wire.record_rules import metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.wire.s2_pb2 import SequencedRecord

# Prefixes are kept for bodies up to this size, as in wire/protobuf.py.
_REMEMBERED_BYTES = 4096


class TimedBodies(Delivered):
    """A delivery whose records have bodies and timestamps, but no headers."""

    __slots__ = ("timestamps",)

    def __init__(self, first_seq_num: int, bodies: list[bytes], timestamps: list[int]) -> None:
        super().__init__(first_seq_num, bodies)
        self.timestamps = timestamps


class CopySession(ReadSession):
    """A read session that delivers TimedBodies where no record has headers."""

    __slots__ = ()

    def _take(self, message: bytes) -> Delivered | None:
        cursor = self.cursor
        timed = None if cursor is None else read_timed_bodies(message, cursor)
        if cursor is None or timed is None:
            return super()._take(message)
        bodies, timestamps = timed
        batch = self._deliver(Delivered(cursor, bodies))  # which may cut it
        assert batch.bodies is not None
        return TimedBodies(cursor, batch.bodies, timestamps[: len(batch)])


class Copier:
    """Makes batches of what a CopySession delivers. Command records are left out and counted, unless
    `with_commands`."""

    __slots__ = ("_prefixes", "_with_commands", "skipped_commands")

    def __init__(self, *, with_commands: bool) -> None:
        self._with_commands = with_commands
        self._prefixes = _TimedPrefixes(0)
        self.skipped_commands = 0

    def batches(self, delivered: list[Delivered]) -> list[Records]:
        found: list[Records] = []
        for batch in delivered:
            if isinstance(batch, TimedBodies) and batch.bodies:
                found += self._of_bodies(batch.first_seq_num, batch.bodies, batch.timestamps)
            else:
                found += self._of_records(batch.records)
        return found

    def _of_bodies(self, first_seq_num: int, bodies: list[bytes], timestamps: list[int]) -> list[Records]:
        count = len(bodies)
        metered = metered_bodies_bytes(bodies)
        if (metered > MAX_BATCH_BYTES or count > MAX_BATCH_RECORDS) and count > 1:
            half = count // 2
            return [
                *self._of_bodies(first_seq_num, bodies[:half], timestamps[:half]),
                *self._of_bodies(first_seq_num + half, bodies[half:], timestamps[half:]),
            ]
        parts: list[bytes] = []
        at = 0
        while at < count:
            timestamp = timestamps[at]
            end = at + 1
            if timestamps[-1] == timestamp:  # timestamps never decrease: all between are the same
                end = count
            while end < count and timestamps[end] == timestamp:
                end += 1
            parts += self._parts(bodies[at:end], timestamp)
            at = end
        size = metered - RECORD_OVERHEAD_BYTES * count
        lines = [(first_seq_num + 1, first_seq_num + count)]
        if size < SEPARATE_BYTES * count:
            parts = [b"".join(parts)]
        return [Records(parts, sum(map(len, parts)), count, size, lines)]

    def _parts(self, bodies: list[bytes], timestamp: int) -> list[bytes]:
        if self._prefixes.timestamp != timestamp:
            self._prefixes = _TimedPrefixes(timestamp)
        parts = bodies * 2
        parts[1::2] = bodies
        parts[::2] = map(self._prefixes.__getitem__, map(len, bodies))
        return parts

    def _of_records(self, records: Sequence[SequencedRecord]) -> list[Records]:
        found: list[Records] = []
        encoded: list[bytes] = []
        lines: list[int] = []
        size = 0
        for record in records:
            headers = [(header.name, header.value) for header in record.headers]
            if len(headers) == 1 and not headers[0][0] and not self._with_commands:
                self.skipped_commands += 1
                continue
            metered = metered_bytes(record.body, headers)
            if encoded and (size + metered > MAX_BATCH_BYTES or len(encoded) == MAX_BATCH_RECORDS):
                found.append(_finished(encoded, lines, size))
                encoded, lines, size = [], [], 0
            encoded.append(encode_record(record.body, encode_headers(headers), record.timestamp))
            lines.append(record.seq_num + 1)
            size += metered
        if encoded:
            found.append(_finished(encoded, lines, size))
        return found


def _finished(encoded: list[bytes], lines: list[int], metered: int) -> Records:
    ranges = [(lines[0], lines[-1])]
    if lines[-1] - lines[0] + 1 != len(lines):
        ranges = merged([(line, line) for line in lines])
    return encoded_records(encoded, metered - RECORD_OVERHEAD_BYTES * len(encoded), ranges)


class _TimedPrefixes(dict[int, bytes]):
    """Body size -> what stands before that body in an AppendInput whose records have this timestamp."""

    def __init__(self, timestamp: int) -> None:
        super().__init__()
        self.timestamp = timestamp
        self._stamp = b"\x08" + encode_varint(timestamp)  # timestamp = 1, varint

    def __missing__(self, size: int) -> bytes:
        # records = 1 and body = 3, both length-delimited; an empty body is left out.
        field = b"\x1a" + encode_varint(size) if size else b""
        prefix = b"\x0a" + encode_varint(len(self._stamp) + len(field) + size) + self._stamp + field
        if size <= _REMEMBERED_BYTES:
            self[size] = prefix
        return prefix
