"""The clock that decides what has expired: a wall clock that is wrong for a minute must not delete what is to be kept
for a year.

The wall clock is compared with a steady one, which nobody can set. If it jumps ahead by more than a day, the expected
time is used for deletion instead, until the wall clock has kept pace with the steady one for an hour.
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
    """Seconds of a clock that nobody can set. It counts the time that the machine sleeps, if the system has such a
    clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DeletionClock:
    """Tells the time in ms since 1970 when it is called. `last_used_ms`: when the data was last used; if it is None,
    the first time of the wall clock is trusted."""

    def __init__(
        self, clock_ms: Callable[[], int], steady_s: Callable[[], float], last_used_ms: int | None = None
    ) -> None:
        self._clock_ms = clock_ms
        self._steady_s = steady_s
        # The times of both clocks at the last moment at which the wall clock was trusted.
        self._trusted = None if last_used_ms is None else (last_used_ms, steady_s())
        # The times of both clocks at the moment when the wall clock was first seen far ahead.
        self._ahead: tuple[int, float] | None = None

    def __call__(self) -> int:
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
                " is deleted; until then, what had expired without that; `s2 lite trust-clock` says at once that it is"
                " right",
                (now_ms - expected_ms) / MOST_AHEAD_MS,
            )
        elif now_s - self._ahead[1] >= CONFIRMED_S:
            log.warning("the clock has run on for an hour: what has expired by it is deleted from now on")
            self._trust(now_ms, now_s)
            return now_ms
        return expected_ms

    @property
    def ahead_ms(self) -> int | None:
        """How far ahead of the expected time the wall clock is, if it is not trusted; else None."""
        behind_ms = self._clock_ms() - self()
        return behind_ms or None

    def trust(self) -> None:
        """To be called for whoever knows that the wall clock is right: deletion goes by it from now on."""
        if self._ahead is not None:
            log.warning("the clock is trusted from now on: what has expired by it is deleted")
        self._trust(self._clock_ms(), self._steady_s())

    def _trust(self, now_ms: int, now_s: float) -> None:
        self._trusted = now_ms, now_s
        self._ahead = None


def _carried_on(moment: tuple[int, float], now_s: float) -> int:
    then_ms, then_s = moment
    return then_ms + round((now_s - then_s) * 1000)
