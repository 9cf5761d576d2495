"""The time by which what has expired is deleted: a clock that is wrong for a minute must not cost what is kept for a
year.

The wall clock is compared with one that nobody sets. Where it has gone ahead by more than a day, deletion goes on by
the time that was expected, until the wall clock has run along with the other one for an hour from there.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("s2cli.server")

MOST_AHEAD_MS = 24 * 3600 * 1000
CONFIRMED_S = 3600.0


def steady_clock_s() -> float:
    """Seconds that nobody sets. Where the system has such a clock, the time that a machine sleeps counts."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DeletionClock:
    """`last_used_ms`: when the data was last used, as far as that is known; else what the wall clock says at first is
    trusted."""

    def __init__(
        self, clock_ms: Callable[[], int], steady_s: Callable[[], float], last_used_ms: int | None = None
    ) -> None:
        self._clock_ms = clock_ms
        self._steady_s = steady_s
        # Two times of one moment: the wall clock as it is trusted, and the steady one.
        self._trusted = None if last_used_ms is None else (last_used_ms, steady_s())
        # The same of the moment when the wall clock was seen to be far ahead.
        self._ahead: tuple[int, float] | None = None

    def __call__(self) -> int:
        """In ms since 1970."""
        now_ms, now_s = self._clock_ms(), self._steady_s()
        expected_ms = now_ms if self._trusted is None else _carried_on(self._trusted, now_s)
        if now_ms - expected_ms <= MOST_AHEAD_MS:
            if self._ahead is not None:
                log.warning("the clock is back where it was expected: what has expired is deleted by it")
            self._trust(now_ms, now_s)
            return now_ms
        if self._ahead is None or abs(now_ms - _carried_on(self._ahead, now_s)) > MOST_AHEAD_MS:
            self._ahead = now_ms, now_s
            log.warning(
                "the clock is %.1f days ahead of what was expected: if it runs on for an hour, what has expired by it"
                " is deleted; until then, what had expired without that",
                (now_ms - expected_ms) / MOST_AHEAD_MS,
            )
        elif now_s - self._ahead[1] >= CONFIRMED_S:
            log.warning("the clock has run on for an hour: what has expired by it is deleted from now on")
            self._trust(now_ms, now_s)
            return now_ms
        return expected_ms

    def _trust(self, now_ms: int, now_s: float) -> None:
        self._trusted = now_ms, now_s
        self._ahead = None


def _carried_on(moment: tuple[int, float], now_s: float) -> int:
    then_ms, then_s = moment
    return then_ms + round((now_s - then_s) * 1000)
