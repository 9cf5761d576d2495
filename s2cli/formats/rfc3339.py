"""Formats timestamps as RFC 3339, in UTC with milliseconds: 2026-01-31T12:00:00.000Z."""

from __future__ import annotations

_LAST_YEAR_MS = 253_402_300_800_000  # the beginning of the year 10000, which RFC 3339 cannot write


class TimeFormatter:
    """Formats timestamps. It remembers the last second, which most records share with the one before."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def format(self, timestamp_ms: int) -> str:
        """`timestamp_ms` (since the epoch) as text. A time after the year 9999 becomes `@` and the milliseconds, which
        `--from` takes, too."""
        second, ms = divmod(timestamp_ms, 1000)
        if second != self._second:
            if timestamp_ms >= _LAST_YEAR_MS:
                return f"@{timestamp_ms}"
            self._text = _text(second)
            self._second = second
        return f"{self._text}.{ms:03d}Z"


def _text(seconds: int) -> str:
    """Seconds since the epoch as text, without the zone. Years are counted from March, so that a leap day is the last
    day of its year."""
    days, clock = divmod(seconds, 86_400)
    days += 719_468  # since 0000-03-01
    era, days = divmod(days, 146_097)  # 400 years
    year = (days - days // 1460 + days // 36_524 - days // 146_096) // 365
    days -= 365 * year + year // 4 - year // 100
    month = (5 * days + 2) // 153
    day = days - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += 400 * era + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}T{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}"
