"""Counts usage: requests add to plain numbers, which become stored points once a minute.

Between the minutes nothing is written. A kill -9 loses the last minute; a regular shutdown, or a request for metrics,
writes the current counts.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from s2cli.errors import S2Error
from s2cli.server.core.background import Background, attempt
from s2cli.server.store.interface import Histogram, Point

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.store.interface import Store

log = logging.getLogger("s2cli.server")

# Points that wait while the store takes none: beyond it they are given up, rather than the memory.
MAX_PENDING = 100_000
# What is done in one turn of the loop, and in one of the store, some milliseconds each: others wait meanwhile.
METERS_IN_A_ROW = 500
POINTS_IN_A_ROW = 200

LATENCIES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 60.0)


class CountedStream(Protocol):
    """The stream whose use is counted."""

    key: tuple[str, str]


class Meter:
    """What is counted of one stream."""

    __slots__ = (
        "append_bytes",
        "append_ops",
        "append_records",
        "basin",
        "fences",
        "read_bytes",
        "read_records",
        "read_sessions",
        "reads",
        "storage_class",
        "stream",
        "stream_in_memory",
        "tail_checks",
        "trims",
    )

    def __init__(self, basin: str, stream: str, storage_class: str) -> None:
        self.basin = basin
        self.stream = stream
        # What a database from before holds may have half of a surrogate pair in it, which nothing can write down.
        self.storage_class = storage_class.encode("utf-8", "replace").decode()
        self.stream_in_memory: weakref.ref[CountedStream] | None = None
        self._reset()

    def _reset(self) -> None:
        self.append_ops = self.append_records = self.append_bytes = 0
        self.reads = self.read_sessions = self.read_records = self.read_bytes = 0
        self.tail_checks = self.trims = self.fences = 0

    def take(self) -> dict[str, int]:
        """Series of the basin -> what was added since the last time."""
        taken = {
            f"append_ops:{self.storage_class}": self.append_ops,
            f"append_bytes:{self.storage_class}": self.append_bytes,
            "read_ops:unary": self.reads,
            "read_ops:streaming": self.read_sessions,
            "read_bytes": self.read_bytes,
            "op:check-tail": self.tail_checks,
            "op:trim": self.trims,
            "op:fence": self.fences,
        }
        self._reset()
        return {series: value for series, value in taken.items() if value}


class Totals:
    """Since the start of the process, for Prometheus."""

    def __init__(self) -> None:
        self.append_records = self.append_bytes = self.read_records = self.read_bytes = 0
        # (operation, status) -> requests
        self.requests: dict[tuple[str, int], int] = {}
        # Of what is answered at once: a session takes as long as its client likes.
        self.latencies: dict[str, Histogram] = {}
        self.append_sessions = self.read_sessions = 0  # open now

    def answered(self, operation: str, status: int) -> None:
        key = operation, status
        self.requests[key] = self.requests.get(key, 0) + 1

    def took(self, operation: str, time_s: float) -> None:
        histogram = self.latencies.get(operation)
        if histogram is None:
            histogram = self.latencies[operation] = Histogram(LATENCIES_S)
        histogram.add(time_s)


class Meters:
    """All that is counted."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self.totals = Totals()
        self._store = store
        self._clock_ms = clock_ms
        self._meters: dict[tuple[str, str, str], Meter] = {}
        self._operations: dict[tuple[str, str], int] = {}
        self._pending: dict[tuple[str, str, str, int], int] = {}
        self._minute = self._now_minute()  # of what is counted now
        self._gathering = asyncio.Lock()
        self._flushing = asyncio.Lock()
        # One answer about metrics at a time: each may take much memory while it is made.
        self.answering = asyncio.Lock()
        self._background = Background()

    def start(self) -> None:
        self._background.start(self._run())

    async def stop(self) -> None:
        """Write what there is. Nothing is counted any more."""
        await self._background.stop()
        try:
            await self.flush()
        except S2Error as error:
            log.warning("the metrics of the last minute are lost: %s", error.message)

    def meter(self, stream: CountedStream, storage_class: str) -> Meter:
        """The one of the stream; whoever had it before may still add to it."""
        key = *stream.key, storage_class
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(*key)
        meter.stream_in_memory = weakref.ref(stream)
        return meter

    def operation(self, operation: str, basin: str) -> None:
        """One operation on a basin, or on the account if that is ""."""
        key = basin, operation
        self._operations[key] = self._operations.get(key, 0) + 1

    async def gather(self) -> None:
        """Turn what was counted since the last time into points of the minute in which it was."""
        async with self._gathering:
            for number, (key, meter) in enumerate(list(self._meters.items()), 1):
                if meter.stream_in_memory is None or meter.stream_in_memory() is None:
                    del self._meters[key]
                self._gather(meter)
                if number % METERS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
            self._gather_operations()

    def _gather_operations(self) -> None:
        for (basin, operation), value in self._operations.items():
            self._add(basin, "", f"op:{operation}", value)
        self._operations.clear()
        self._minute = self._now_minute()

    def _gather(self, meter: Meter) -> None:
        totals = self.totals
        totals.append_records += meter.append_records
        totals.append_bytes += meter.append_bytes
        totals.read_records += meter.read_records
        totals.read_bytes += meter.read_bytes
        if meter.append_bytes:
            self._add(meter.basin, meter.stream, "stored", meter.append_bytes)
            self._add(meter.basin, "", "stored", meter.append_bytes)
        for series, value in meter.take().items():
            self._add(meter.basin, "", series, value)

    def _add(self, basin: str, stream: str, series: str, value: int) -> None:
        key = basin, stream, series, self._minute
        self._pending[key] = self._pending.get(key, 0) + value

    async def flush(self) -> None:
        """Have the store keep all that was counted until now. Raises ApiError where it cannot; then it is tried again
        with what comes."""
        async with self._flushing:
            await self.gather()
            while self._pending:
                some = {key: self._pending.pop(key) for key in list(islice(self._pending, POINTS_IN_A_ROW))}
                try:
                    await self._store.add_counts([Point(*key, value) for key, value in some.items()])
                except S2Error:
                    if len(self._pending) >= MAX_PENDING:
                        self._pending.clear()
                        raise
                    for key, value in some.items():
                        self._pending[key] = self._pending.get(key, 0) + value
                    raise

    def _now_minute(self) -> int:
        return self._clock_ms() // 60_000

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(60 - self._clock_ms() % 60_000 / 1000)
            await attempt("write metrics", self.flush)
