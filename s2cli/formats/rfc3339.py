"""How a timestamp is written: RFC 3339 in UTC with milliseconds, as in 2026-01-31T12:00:00.000Z."""

from __future__ import annotations

import time

_LAST_YEAR_MS = 253_402_300_800_000  # the beginning of the year 10000, which RFC 3339 cannot write


class TimeFormatter:
    """Remembers the last second: records come in the order of their times, and most share theirs."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def format(self, timestamp_ms: int) -> str:
        """A time that RFC 3339 cannot write is `@` and the milliseconds, which `--from` takes, too."""
        second, ms = divmod(timestamp_ms, 1000)
        if second != self._second:
            if timestamp_ms >= _LAST_YEAR_MS:
                return f"@{timestamp_ms}"
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{ms:03d}Z"
