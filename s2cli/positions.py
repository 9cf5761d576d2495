"""Text to a position in a stream, and to a time; BadValueError says what was expected.

On the start-up path of `read`, so everything is parsed by hand: `re` and `datetime` cost 6 ms each.
"""

from __future__ import annotations

import time

from s2cli.errors import BadValueError
from s2cli.values import parse_duration_ms, parse_u64, shell_word

# `@N` is seconds below this and milliseconds from here on: the year 5138, and March 1973.
_FIRST_MILLISECONDS = 100_000_000_000


class Position:
    """A place in a stream. `kind` is "seq_num", "tail_offset" or "timestamp" (ms since the epoch) with its `value`,
    or "start" or "end" with value 0."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: int) -> None:
        self.kind = kind
        self.value = value

    def __repr__(self) -> str:
        return f"Position({self.kind!r}, {self.value})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and (self.kind, self.value) == (other.kind, other.value)

    def __hash__(self) -> int:
        return hash((self.kind, self.value))


def parse_position(text: str, now_ms: int) -> Position:
    """The vocabulary of `--from` and `--to`: a bare integer is always a sequence number, `-N` is N before the tail,
    `start`, `end`, `now`, `5m` or `5m ago`, RFC 3339, a date, `today` or `yesterday`, with or without a time, a time of
    today (local time where no zone is given), `@N` (epoch)."""
    word = text.strip()
    if word in ("start", "end"):
        return Position(word, 0)
    if word.isascii() and word.isdigit():
        return Position("seq_num", parse_u64(word, "a sequence number"))
    if word[:1] == "-" and word[1:].isascii() and word[1:].isdigit():
        return Position("tail_offset", parse_u64(word[1:], "an offset from the tail"))
    if word[:1] == "@" and word[1:].isascii() and word[1:].isdigit():
        return Position("timestamp", epoch_ms(parse_u64(word[1:], "a time")))
    if word == "now":
        return Position("timestamp", now_ms)
    try:
        word = _with_date(word, now_ms)
        if len(word) > 8 and word[4] == "-" and word[7] == "-":
            return Position("timestamp", parse_time_ms(word))
        duration = word.removesuffix("ago")
        return Position("timestamp", max(0, now_ms - parse_duration_ms(duration)))
    except BadValueError:
        raise BadValueError(
            f'"{text}" is not a position: write a sequence number, -N (N before the tail), start, end, now, '
            "5m (ago), 2026-01-31T12:00:00Z, 2026-01-31, yesterday, 10:00 or @EPOCH",
            hint=_positive(word),
        ) from None


def _positive(word: str) -> str | None:
    """What to write for a duration with a sign before it."""
    duration = word[1:].removesuffix("ago").strip()
    try:
        parse_duration_ms(duration)
    except BadValueError:
        return None
    if word[0] == "-":
        return f"did you mean {shell_word(duration)}? A duration is how long ago"
    return "nothing lies in the future: a duration is how long ago" if word[0] == "+" else None


def _with_date(word: str, now_ms: int) -> str:
    """`10:00`, `today` and `yesterday 10:00` with the date that they mean, in local time."""
    day, _, clock = word.partition(" ")
    if word[2:3] == ":":
        day, clock = "today", word
    if day not in ("today", "yesterday"):
        return word
    now = time.localtime(now_ms // 1000)
    # Noon: a day ago is a day ago, however long a day of a change of clocks is.
    noon_s = time.mktime((now.tm_year, now.tm_mon, now.tm_mday - (day == "yesterday"), 12, 0, 0, -1, -1, -1))
    date = time.strftime("%Y-%m-%d", time.localtime(noon_s))
    return f"{date} {clock}".rstrip()


def epoch_ms(number: float) -> int:
    """`number` in milliseconds since the epoch. A number below 10^11 is taken for seconds, any other for
    milliseconds."""
    return int(number if number >= _FIRST_MILLISECONDS else number * 1000)


def parse_time_ms(text: str) -> int:
    """`2026-01-31`, `2026-01-31T12:00[:00[.123]][Z|+01:00]` as milliseconds since the epoch; a blank may stand for
    the T. Local time where no zone is given."""
    try:
        return _time_ms(text)
    except (ValueError, IndexError, OverflowError):
        raise BadValueError(f'"{text}" is not a time: write 2026-01-31T12:00:00Z or 2026-01-31') from None


def _time_ms(text: str) -> int:
    date, clock = text[:10], text[10:]
    if date[4] != "-" or date[7] != "-":
        raise ValueError
    year, month, day = _digits(date[:4]), _digits(date[5:7]), _digits(date[8:10])
    month_days = 29 if month == 2 and ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0) else _MONTH_DAYS[month]
    if not (month >= 1 and 1 <= day <= month_days):
        raise ValueError
    offset_s: int | None = None
    if clock:
        if clock[0] not in "Tt " or len(clock) < 6:
            raise ValueError
        clock = clock[1:]
        if clock[-1] in "Zz":
            clock, offset_s = clock[:-1], 0
        elif len(clock) > 6 and clock[-6] in "+-" and clock[-3] == ":":
            hours, minutes = _digits(clock[-5:-3]), _digits(clock[-2:])
            if hours > 23 or minutes > 59:
                raise ValueError
            offset_s = (hours * 3600 + minutes * 60) * (-1 if clock[-6] == "-" else 1)
            clock = clock[:-6]
    hour, minute, second, fraction_ms = _clock(clock) if clock else (0, 0, 0, 0)
    if offset_s is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, -1, -1, -1)))
    else:
        seconds = _days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s
    if seconds < 0:
        raise ValueError
    return seconds * 1000 + fraction_ms


_MONTH_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _clock(text: str) -> tuple[int, int, int, int]:
    clock, dot, fraction = text.partition(".")
    parts = clock.split(":")
    if len(parts) not in (2, 3) or any(len(part) != 2 for part in parts) or (dot and len(parts) != 3):
        raise ValueError
    hour, minute, second = _digits(parts[0]), _digits(parts[1]), _digits(parts[2]) if len(parts) == 3 else 0
    # 60 is a leap second, which RFC 3339 allows.
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError
    if dot:
        _digits(fraction)
    return hour, minute, second, int((fraction + "000")[:3]) if dot else 0


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719_468
