"""What a bench measures of one direction (write, live read, catch-up read): records over time, and latencies."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Significant bits of a value in a histogram: it is at most 1 % off.
_BITS = 7
# Intervals last a second, or longer if a run would have more than this many.
MAX_INTERVALS = 600


class Histogram:
    """Counts latencies in buckets whose width grows with the value, in microseconds."""

    __slots__ = ("_buckets", "count", "most_us")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.most_us = 0

    def add(self, seconds: float) -> None:
        value_us = int(seconds * 1_000_000)
        shift = max(0, value_us.bit_length() - _BITS)
        bucket = shift << _BITS | value_us >> shift
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        if value_us > self.most_us:
            self.most_us = value_us

    def merge(self, others: Iterable[Histogram]) -> Histogram:
        """Adds the counts of the others; returns this one."""
        for other in others:
            for bucket, count in other._buckets.items():
                self._buckets[bucket] = self._buckets.get(bucket, 0) + count
            self.count += other.count
            self.most_us = max(self.most_us, other.most_us)
        return self

    def percentile_ms(self, percent: float) -> float | None:
        """The latency that `percent` of all do not exceed; None if nothing was counted."""
        left = self.count * percent / 100
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                shift = bucket >> _BITS
                middle_us = ((bucket & ((1 << _BITS) - 1)) << shift) + (1 << shift) // 2
                return min(middle_us, self.most_us) / 1000
        return None


class Interval:
    """The records of one interval, and the latencies of the batches that were complete in it."""

    __slots__ = ("latency", "records")

    def __init__(self) -> None:
        self.records = 0
        self.latency = Histogram()


class Flow:
    """The records that pass in one direction, from `started` on (monotonic seconds)."""

    def __init__(self, record_bytes: int, started: float, duration_s: float) -> None:
        self.record_bytes = record_bytes
        self.started = started
        self._ended = started
        self.interval_s = max(1.0, duration_s / MAX_INTERVALS)
        self.intervals: list[Interval] = []
        self.records = 0

    def restart(self, now: float) -> None:
        """Measures from `now` on. To be called before the first record."""
        self.started = self._ended = now

    def add(self, records: int, now: float, latencies_s: Iterable[float]) -> None:
        """Counts `records` that passed at `now`, and the latencies of the batches that are complete with them."""
        at = max(0, int((now - self.started) / self.interval_s))
        while len(self.intervals) <= at:
            self.intervals.append(Interval())
        interval = self.intervals[at]
        interval.records += records
        for latency_s in latencies_s:
            interval.latency.add(latency_s)
        self.records += records
        self._ended = now

    def last_until(self, now: float) -> None:
        """The flow ended at `now` at the earliest: at a low rate the last record comes long before the planned end."""
        self._ended = max(self._ended, now)

    @property
    def bytes(self) -> int:
        return self.records * self.record_bytes

    @property
    def seconds(self) -> float:
        """From the start to the last record, or to the end of the plan if that is later."""
        return self._ended - self.started

    @property
    def latency(self) -> Histogram:
        return Histogram().merge(interval.latency for interval in self.intervals)
