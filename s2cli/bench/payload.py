"""The records that a bench writes, and their comparison with what is read: order, count, and every byte.

All batches of a run have the same number of records, and all records the same size. The first record of a batch begins
with a stamp (run, writer, number of the batch); everything else is noise from a fixed seed. So a reader can compute
each record that it should get, and nothing has to be kept.
"""

from __future__ import annotations

import random
import struct

from s2cli.errors import MismatchError
from s2cli.wire.append_input import Records
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RECORD_OVERHEAD_BYTES, append_parts, encode_append

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from s2cli.wire.read_session import Delivered

MAGIC = b"s2bench "
# MAGIC, the run, the writer, the number of the batch.
_STAMP = struct.Struct(">8s8sIQ")
RUN_BYTES = 8
LEAST_RECORD_BYTES = 64  # metered: there must be room for a stamp
SEED = 5
# How many batches are made beforehand, and sent in turn: enough for neighbours to differ, and quickly made.
POOL_BATCHES = 4
# At a fixed rate a batch has the records of so much time, as a writer with this linger would collect them.
LINGER_S = 0.005


class Payload:
    """The records of a run. `record_bytes` is their metered size (protocol section 4.4); `run` are RUN_BYTES random
    bytes that name the run."""

    def __init__(self, record_bytes: int, batch_records: int, run: bytes) -> None:
        self.record_bytes = record_bytes
        self.batch_records = batch_records
        self._run = run
        noise = random.Random(SEED)  # noqa: S311  # not for secrets
        size = record_bytes - RECORD_OVERHEAD_BYTES
        self._pool: list[list[bytes]] = []
        self._rests: list[bytes] = []  # the encoded records behind the first, of each batch in the pool
        for _ in range(POOL_BATCHES):
            data = noise.randbytes(size * batch_records)
            bodies = [data[at : at + size] for at in range(0, len(data), size)]
            self._pool.append(bodies)
            self._rests.append(encode_append(bodies[1:]))

    def records(self, writer: int, number: int) -> Records:
        """The encoded batch `number` of a writer."""
        first = append_parts([self.first_body(writer, number)])
        rest = self._rests[self._turn(writer, number)]
        size = (self.record_bytes - RECORD_OVERHEAD_BYTES) * self.batch_records
        return Records([*first, rest], sum(map(len, first)) + len(rest), self.batch_records, size)

    def bodies(self, writer: int, number: int) -> list[bytes]:
        """The bodies of the records in the batch `number` of a writer."""
        bodies = self._pool[self._turn(writer, number)].copy()
        bodies[0] = self.first_body(writer, number)
        return bodies

    def first_body(self, writer: int, number: int) -> bytes:
        noise = self._pool[self._turn(writer, number)][0]
        return _STAMP.pack(MAGIC, self._run, writer, number) + noise[_STAMP.size :]

    def read_stamp(self, body: bytes) -> tuple[int, int] | None:
        """The writer and the number of the batch whose first record has this body; None if it does not begin a batch of
        this run."""
        if len(body) < _STAMP.size:
            return None
        magic, run, writer, number = _STAMP.unpack_from(body)
        return (writer, number) if magic == MAGIC and run == self._run else None

    @staticmethod
    def _turn(writer: int, number: int) -> int:
        return (writer + number) % POOL_BATCHES


def largest_batch(record_bytes: int) -> int:
    """How many records of this size (metered) one append may have."""
    return min(MAX_BATCH_RECORDS, MAX_BATCH_BYTES // record_bytes)


def paced_batch(record_bytes: int, records_per_s: float) -> int:
    """How many records a batch has if a writer is to send `records_per_s`."""
    return max(1, min(largest_batch(record_bytes), round(records_per_s * LINGER_S)))


class Checker:
    """Compares what one reader gets from a stream, from `first_seq_num` on, with what the `writers` of the stream
    write. `name` is how its errors call the read."""

    def __init__(self, payload: Payload, writers: Iterable[int], first_seq_num: int, name: str) -> None:
        self._payload = payload
        self._next = dict.fromkeys(writers, 0)  # the next batch of each writer
        self._name = name
        self._expected: list[bytes] = []
        self._at = 0  # in `_expected`
        self._batch = (0, 0)
        self._seq_num = first_seq_num
        self.records = 0  # that are as they should be

    def take(self, delivered: Delivered) -> list[tuple[int, int]]:
        """Checks a delivery. Returns the batches that are complete with it, as writer and number. Raises
        MismatchError."""
        bodies = delivered.bodies
        if bodies is None:
            bodies = self._plain_bodies(delivered)
        if delivered.first_seq_num != self._seq_num:
            raise self._mismatch(self._seq_num, f"is missing: {delivered.first_seq_num} came instead")
        done: list[tuple[int, int]] = []
        at, end = 0, len(bodies)
        while at < end:
            if self._at == len(self._expected):
                self._begin_batch(bodies[at])
            count = min(end - at, len(self._expected) - self._at)
            expected = self._expected[self._at : self._at + count]
            if bodies[at : at + count] != expected:
                raise self._difference(bodies[at : at + count], expected)
            at += count
            self._at += count
            self._seq_num += count
            self.records += count
            if self._at == len(self._expected):
                done.append(self._batch)
        return done

    def _plain_bodies(self, delivered: Delivered) -> list[bytes]:
        for expected, record in enumerate(delivered.records, delivered.first_seq_num):
            if record.seq_num != expected:
                raise self._mismatch(expected, f"is missing: {record.seq_num} came instead")
            if record.headers:
                raise self._mismatch(expected, "has headers, and none were written")
        return [record.body for record in delivered.records]

    def _begin_batch(self, body: bytes) -> None:
        stamp = self._payload.read_stamp(body)
        if stamp is None or stamp[0] not in self._next:
            raise self._mismatch(self._seq_num, "does not begin a batch that this bench wrote to the stream")
        writer, number = stamp
        wanted = self._next[writer]
        if number != wanted:
            raise self._mismatch(
                self._seq_num, f"begins batch {number} of writer {writer}, where batch {wanted} comes next"
            )
        self._next[writer] = number + 1
        self._batch = stamp
        self._expected = self._payload.bodies(writer, number)
        self._at = 0

    def _difference(self, bodies: list[bytes], expected: list[bytes]) -> MismatchError:
        at = next(at for at, body in enumerate(bodies) if body != expected[at])
        body, wanted = bodies[at], expected[at]
        same = next((byte for byte in range(min(len(body), len(wanted))) if body[byte] != wanted[byte]), None)
        if same is None:
            return self._mismatch(self._seq_num + at, f"has {len(body)} bytes, and {len(wanted)} were written")
        return self._mismatch(self._seq_num + at, f"is not what was written, from byte {same} of its body on")

    def _mismatch(self, seq_num: int, what: str) -> MismatchError:
        return MismatchError(f"{self._name}: record {seq_num} {what}")

    def check_count(self, written: int) -> None:
        """To be called at the end. Raises MismatchError unless `written` records came."""
        if self.records != written:
            raise MismatchError(f"{self._name}: {self.records} records came, and {written} were written")
