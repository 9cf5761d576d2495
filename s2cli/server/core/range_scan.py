"""Finds where a read starts, and which part of each chunk is within its limits (protocol sections 5.3 and 5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2cli.errors import RangeNotSatisfiableError
from s2cli.server.core.encryption import not_openable
from s2cli.server.core.turnstile import in_one_go
from s2cli.server.store.interface import Chunk
from s2cli.wire.messages import cut, records_in_runs
from s2cli.wire.protobuf import HEADER_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES

if TYPE_CHECKING:
    from s2cli.server.core.encryption import Seal
    from s2cli.server.core.meters import Meter
    from s2cli.server.core.stream import Stream
    from s2cli.server.core.turnstile import Steps, Turnstile
    from s2cli.server.store.interface import Store

# No record is smaller.
_LEAST_RECORD_BYTES = RECORD_OVERHEAD_BYTES
# Counted in one step: some 2 ms.
HEADERS_IN_A_ROW = 4096


STARTS = ("seq_num", "timestamp", "tail_offset")


@dataclass(slots=True)
class ReadQuery:
    """What a read asks for (protocol section 5.1). `start` is one of STARTS; a limit that was not given is None."""

    start: str
    start_value: int
    clamp: bool
    count: int | None
    size_bytes: int | None
    until: int | None
    wait_s: int | None

    @property
    def wants_nothing(self) -> bool:
        return self.count == 0 or self.size_bytes == 0

    @property
    def may_follow(self) -> bool:
        """Whether the read continues at the tail, as a session (protocol section 5.2)."""
        unbounded = self.count is None and self.size_bytes is None and self.until is None
        return unbounded or bool(self.wait_s)


async def find_start(
    store: Store, stream: Stream, query: ReadQuery, turnstile: Turnstile, seal: Seal | None = None, *, may_follow: bool
) -> int:
    """The sequence number that the read starts at. Raises RangeNotSatisfiableError, and ApiError `decryption_failed`
    where it takes a look into a sealed chunk."""
    try:
        return await _find_start(store, stream, query, turnstile, seal, may_follow=may_follow)
    except RangeNotSatisfiableError:
        await stream.confirm()
        raise


async def _find_start(
    store: Store, stream: Stream, query: ReadQuery, turnstile: Turnstile, seal: Seal | None, *, may_follow: bool
) -> int:
    tail_seq_num, tail_timestamp = stream.tail_seq_num, stream.tail_timestamp
    beyond = RangeNotSatisfiableError(tail_seq_num, tail_timestamp)
    value = query.start_value
    if query.start == "tail_offset":
        start = max(0, tail_seq_num - value)
    elif value > (tail_seq_num if query.start == "seq_num" else tail_timestamp):
        if not query.clamp:
            raise beyond
        start = tail_seq_num
    elif query.start == "seq_num":
        start = value
    else:
        start = await _find_timestamp(store, stream, value, turnstile, seal)
    if start == tail_seq_num and not may_follow:
        raise beyond
    return start


async def _find_timestamp(store: Store, stream: Stream, timestamp: int, turnstile: Turnstile, seal: Seal | None) -> int:
    """The first record that is not before `timestamp`, or the tail."""
    trim_point, tail_seq_num = stream.trim_point, stream.tail_seq_num
    if trim_point >= tail_seq_num:
        return tail_seq_num
    first_seq_num = await store.find_timestamp(stream.id, timestamp, trim_point, tail_seq_num)
    if first_seq_num is None:
        return tail_seq_num
    for chunk in await store.read(stream.id, first_seq_num, tail_seq_num, 1):
        found = await turnstile.pass_by(len(chunk.data), _find_in(chunk, timestamp, trim_point, seal))
        if found is not None:
            return found
    # It has been trimmed in the meantime: then nothing older is left either.
    return max(first_seq_num, min(stream.trim_point, tail_seq_num))


def _find_in(chunk: Chunk, timestamp: int, trim_point: int, seal: Seal | None) -> Steps[int | None]:
    yield
    for _, record in records_in_runs(_opened(chunk, seal).data, HEADERS_IN_A_ROW):
        if record is None:
            yield
        elif record.timestamp >= timestamp and record.seq_num >= trim_point:
            return record.seq_num
    return None


def _opened(chunk: Chunk, seal: Seal | None) -> Chunk:
    if seal is not None:
        return seal.open(chunk)
    if chunk.kind:
        raise not_openable(chunk)
    return chunk


class Limits:
    """What a read may still get, in the clear. `reached` once it gets no more."""

    __slots__ = ("_count", "_meter", "_seal", "_size_bytes", "_until", "reached")

    def __init__(
        self,
        query: ReadQuery,
        meter: Meter,
        seal: Seal | None = None,
        *,
        most_count: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._meter = meter
        self._seal = seal
        counts = [count for count in (query.count, most_count) if count is not None]
        sizes = [size for size in (query.size_bytes, most_bytes) if size is not None]
        self._count = min(counts, default=None)
        self._size_bytes = min(sizes, default=None)
        self._until = query.until
        too_small = self._size_bytes is not None and self._size_bytes < _LEAST_RECORD_BYTES
        self.reached = query.wants_nothing or too_small

    @property
    def unlimited(self) -> bool:
        return self._count is None and self._size_bytes is None and self._until is None

    def count(self, records: int, metered_bytes: int) -> None:
        """Meter records that were read without `take`; only for `unlimited` reads."""
        self._meter.read_records += records
        self._meter.read_bytes += metered_bytes

    def take(self, chunk: Chunk, from_seq_num: int) -> Chunk | None:
        """`steps` in one go."""
        return in_one_go(self.steps(chunk, from_seq_num))

    def steps(self, chunk: Chunk, from_seq_num: int) -> Steps[Chunk | None]:
        """The part of the chunk that starts at `from_seq_num` or later and keeps within the limits; None if nothing.
        Raises ApiError where a sealed chunk cannot be opened."""
        if chunk.kind or self._seal is not None:
            yield
            chunk = _opened(chunk, self._seal)
        if (
            from_seq_num <= chunk.first_seq_num
            and (self._count is None or chunk.count <= self._count)
            and (self._size_bytes is None or chunk.metered_bytes <= self._size_bytes)
            and (self._until is None or chunk.last_timestamp < self._until)
        ):
            self._spend(chunk)
            return chunk
        part = yield from self._cut(chunk, max(0, from_seq_num - chunk.first_seq_num))
        if part is not None:
            self._spend(part)
        return part

    def _cut(self, chunk: Chunk, skip: int) -> Steps[Chunk | None]:
        keep = size_bytes = last_timestamp = headers_count = 0
        record_bytes = RECORD_OVERHEAD_BYTES
        yield
        for headers, record in records_in_runs(chunk.data, HEADERS_IN_A_ROW, skip):
            record_bytes += HEADER_OVERHEAD_BYTES * len(headers)
            for header in headers:
                record_bytes += len(header.name) + len(header.value)
            headers_count += len(headers)
            if headers_count >= HEADERS_IN_A_ROW:
                headers_count = 0
                yield
            if record is None:
                continue
            record_bytes += len(record.body)
            if (
                (self._count is not None and keep == self._count)
                or (self._size_bytes is not None and size_bytes + record_bytes > self._size_bytes)
                or (self._until is not None and record.timestamp >= self._until)
            ):
                self.reached = True
                break
            keep += 1
            size_bytes += record_bytes
            last_timestamp = record.timestamp
            record_bytes = RECORD_OVERHEAD_BYTES
        if keep == 0:
            return None
        return Chunk(chunk.first_seq_num + skip, keep, size_bytes, last_timestamp, cut(chunk.data, skip, keep))

    def _spend(self, chunk: Chunk) -> None:
        self.count(chunk.count, chunk.metered_bytes)
        if self._count is not None:
            self._count -= chunk.count
            self.reached = self.reached or self._count == 0
        if self._size_bytes is not None:
            self._size_bytes -= chunk.metered_bytes
            self.reached = self.reached or self._size_bytes < _LEAST_RECORD_BYTES
