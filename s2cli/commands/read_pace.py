"""`read --speed`: prints records at the pace of their timestamps, or a multiple of it."""

from __future__ import annotations

import select
import time
from bisect import bisect_right

from s2cli.cli import console
from s2cli.wire.read_session import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_SPEED = float("inf")


class Pacer:
    """Lets the first record through at once, and each other one when its time has come. `speed`: how many milliseconds
    of the timestamps pass in one of the clock. Time that was lost to a slow reader of the output is made up for."""

    def __init__(self, speed: float, output_fd: int) -> None:
        self._speed = speed
        self._output_fd = output_fd
        self._first: tuple[float, int] | None = None  # monotonic seconds and timestamp of the first record

    def parts(self, batches: list[Delivered]) -> Iterator[tuple[list[Delivered], int]]:
        """Waits until records are due, and yields those that are due together, with the sequence number after them.
        Raises console.ClosedOutput if the reader of the output goes away meanwhile."""
        for batch in batches:
            records, at = batch.records, 0
            while at < len(records):
                self._sleep_until(self._due(records[at].timestamp))
                end = bisect_right(records, self._now(), at + 1, key=lambda record: record.timestamp)
                yield [Delivered(records[at].seq_num, None, records[at:end])], records[end - 1].seq_num + 1
                at = end

    def _due(self, timestamp: int) -> float:
        if self._first is None:
            self._first = time.monotonic(), timestamp
        started, first = self._first
        return started + (timestamp - first) / (1000 * self._speed)

    def _now(self) -> float:
        """The timestamp whose time has come."""
        assert self._first is not None
        started, first = self._first
        return first + (time.monotonic() - started) * 1000 * self._speed

    def _sleep_until(self, due: float) -> None:
        poll = select.poll()
        if self._output_fd >= 0:
            poll.register(self._output_fd, 0)
        while (left_s := due - time.monotonic()) > 0:
            # Two timestamps may be years apart, and a poll waits for 24 days at most.
            if poll.poll(min(left_s, 3600) * 1000):
                raise console.ClosedOutput
