"""Text to value: URIs, durations, sizes, times and positions; BadValueError says what was expected.

On the start-up path of the record commands, so everything is parsed by hand: `re` and `datetime` cost 6 ms each.
"""

from __future__ import annotations

import os
import time

from s2cli.errors import BadValueError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Value = TypeVar("Value")

URI_PREFIX = "s2://"
U64_MAX = (1 << 64) - 1

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")

# The grammar of the official tool's durations: 30s, 5m, 2h 30m, 14days, 1month (30.44 days), 1y (365.25 days).
_NANOSECONDS = {
    unit: nanoseconds
    for units, nanoseconds in (
        ("nanos nsec ns", 1),
        ("usec us µs", 1_000),
        ("millis msec ms", 1_000_000),
        ("seconds second secs sec s", 1_000_000_000),
        ("minutes minute mins min m", 60_000_000_000),
        ("hours hour hrs hr h", 3_600_000_000_000),
        ("days day d", 86_400_000_000_000),
        ("weeks week wks wk w", 604_800_000_000_000),
        ("months month M", 2_630_016_000_000_000),
        ("years year yrs yr y", 31_557_600_000_000_000),
    )
    for unit in units.split()
}

_SIZES = {
    "": 1, "b": 1,
    "k": 1 << 10, "kib": 1 << 10, "kb": 1_000,
    "m": 1 << 20, "mib": 1 << 20, "mb": 1_000_000,
    "g": 1 << 30, "gib": 1 << 30, "gb": 1_000_000_000,
}  # fmt: skip

_RECORD_FORMATS = {
    "text": "text", "": "text",
    "json": "json", "jsonl": "json", "raw": "json",
    "json-base64": "json-base64", "base64": "json-base64", "json-binsafe": "json-base64",
}  # fmt: skip

# `@N` is seconds below this and milliseconds from here on: the year 5138, and March 1973.
_FIRST_MILLISECONDS = 100_000_000_000


class S2Uri:
    """`s2://BASIN/STREAM`; `stream` is None where the URI names the basin alone."""

    __slots__ = ("basin", "stream")

    def __init__(self, basin: str, stream: str | None) -> None:
        self.basin = basin
        self.stream = stream

    def __str__(self) -> str:
        return URI_PREFIX + self.basin + ("" if self.stream is None else "/" + self.stream)


class StreamUri(S2Uri):
    """A URI that is known to name a stream."""

    __slots__ = ()

    stream: str


def parse_uri(text: str) -> StreamUri:
    """`s2://BASIN/STREAM`; everything after the first slash is the stream's name. Names are not checked here."""
    if not text.startswith(URI_PREFIX):
        raise _not_a_uri(text, "stream")
    basin, slash, stream = text[len(URI_PREFIX) :].partition("/")
    if not basin:
        raise BadValueError(f'"{text}" has no basin: write s2://BASIN/STREAM')
    if not slash or not stream:
        raise BadValueError(f'"{text}" has no stream: write s2://BASIN/STREAM')
    return StreamUri(basin, stream)


def parse_basin(text: str) -> str:
    """`BASIN`, `s2://BASIN` or `s2://BASIN/`."""
    uri = parse_resource(text)
    if uri.stream is not None:
        raise BadValueError(f'"{text}" is a stream, but a basin is needed: write BASIN or s2://BASIN')
    return uri.basin


def parse_resource(text: str) -> S2Uri:
    """A basin (`BASIN`, `s2://BASIN`) or a stream (`s2://BASIN/STREAM`)."""
    if text.startswith(URI_PREFIX):
        basin, _, stream = text[len(URI_PREFIX) :].partition("/")
        if not basin:
            raise BadValueError(f'"{text}" has no basin: write BASIN or s2://BASIN')
        return S2Uri(basin, stream or None)
    if "://" in text or "/" in text:
        raise _not_a_uri(text, "basin or stream")
    if not text:
        raise BadValueError("the name of a basin must not be empty")
    return S2Uri(text, None)


def _not_a_uri(text: str, what: str) -> BadValueError:
    """The error for a stream's name without `s2://`, with a hint where the rest of it is as it should be."""
    scheme, colon, rest = text.partition(":")
    names = rest.lstrip("/") if colon and scheme.lower() == "s2" else text
    basin, _, stream = names.partition("/")
    hint = None
    if basin and stream and ":" not in names:
        import shlex

        hint = f"did you mean {shlex.quote(URI_PREFIX + names)}?"
    return BadValueError(
        f'"{text}" is not a {what}: a stream begins with {URI_PREFIX}, as in s2://BASIN/STREAM', hint=hint
    )


def parse_option(option: str, parse: Callable[[str], Value], text: str) -> Value:
    """`parse(text)`, the value of `option`. A UsageError of `parse` gets the name of the option before its message."""
    try:
        return parse(text)
    except UsageError as error:
        raise error.reworded(f"{option}: {error.message}") from None


def parse_u64(text: str, what: str) -> int:
    """A whole number in decimal digits, at most 2^64 - 1 as in the API. `what` names it in the BadValueError."""
    if not (text.isascii() and text.isdigit()):
        raise BadValueError(f'{what} must be a whole number, not "{text}"')
    number = int(text) if len(text) <= 20 else U64_MAX + 1
    if number > U64_MAX:
        raise BadValueError(f"{what} must be at most {U64_MAX}")
    return number


def parse_duration_ms(text: str) -> int:
    """`30s`, `5m`, `2h 30m`, `14days`, `500ms`, or 0; a fraction of a millisecond counts as one."""
    if text.strip() == "0":
        return 0
    total = 0
    at = 0
    end = len(text)
    parts = 0
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        start = at
        while at < end and "0" <= text[at] <= "9":
            at += 1
        digits = text[start:at]
        while at < end and text[at].isspace():
            at += 1
        start = at
        while at < end and text[at].isalpha():
            at += 1
        unit = _NANOSECONDS.get(text[start:at])
        if not digits or len(digits) > 18 or unit is None:
            raise _bad_duration(text)
        total += int(digits) * unit
        parts += 1
    if not parts:
        raise _bad_duration(text)
    return -(-total // 1_000_000)


def parse_seconds(text: str) -> float:
    """A duration in seconds."""
    return parse_duration_ms(text) / 1000


def _bad_duration(text: str) -> BadValueError:
    return BadValueError(f'"{text}" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d')


def parse_size_bytes(text: str) -> int:
    """`65536`, `512KiB`, `4MiB`, `1GB`; K, M and G alone are powers of 1024."""
    stripped = text.strip()
    digits = len(stripped)
    while digits and not stripped[digits - 1].isdigit():
        digits -= 1
    number, unit = stripped[:digits], _SIZES.get(stripped[digits:].strip().lower())
    if unit is None or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise BadValueError(f'"{text}" is not a size: write 65536, 512KiB or 4MiB')
    return int(number) * unit


class Rate:
    """`amount` a second, of "records" or "bytes"."""

    __slots__ = ("amount", "unit")

    def __init__(self, amount: float, unit: str) -> None:
        self.amount = amount
        self.unit = unit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and (self.amount, self.unit) == (other.amount, other.unit)

    def __hash__(self) -> int:
        return hash((self.amount, self.unit))


_PERIODS_S = {"s": 1, "m": 60, "min": 60, "h": 3600}


def parse_rate(text: str) -> Rate:
    """`500/s` or `30/m`: records; `2MiB/s`: bytes of bodies and headers."""
    amount, slash, period = text.strip().partition("/")
    try:
        size = parse_size_bytes(amount)
    except BadValueError:
        size = 0
    if not slash or period.strip() not in _PERIODS_S or not size:
        raise BadValueError(f'"{text}" is not a rate: write 500/s, 30/m or 2MiB/s')
    return Rate(size / _PERIODS_S[period.strip()], "records" if amount.strip().isdigit() else "bytes")


_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}


def parse_delimiter(text: str) -> bytes:
    """What separates records: the text, with the escapes \\n, \\t, \\r, \\0, \\\\ and \\xNN."""
    parts: list[bytes] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if letter != "\\":
            parts.append(os.fsencode(letter))
            at += 1
            continue
        escape, digits = text[at + 1 : at + 2], text[at + 2 : at + 4]
        if escape in _ESCAPES:
            parts.append(_ESCAPES[escape])
            at += 2
        elif escape == "x" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            parts.append(bytes.fromhex(digits))
            at += 4
        else:
            raise BadValueError(f'"{text}" has an escape that is none of \\n, \\t, \\r, \\0, \\\\ and \\xNN')
    if not parts:
        raise BadValueError("a delimiter must not be empty")
    return b"".join(parts)


def delimiter_text(delimiter: bytes) -> str:
    """What parse_delimiter() takes for it."""
    names = {data: "\\" + name for name, data in _ESCAPES.items()}
    letters = (delimiter[at : at + 1] for at in range(len(delimiter)))
    return "".join(
        names.get(letter) or (letter.decode() if 0x20 <= letter[0] < 0x7F else f"\\x{letter.hex()}")
        for letter in letters
    )


def parse_speed(text: str) -> float:
    """`1x`, `10x`, `0.5x`; `max` is infinity."""
    if text == "max":
        return float("inf")
    number = text.removesuffix("x")
    if number.replace(".", "", 1).isdecimal() and number.isascii() and len(number) <= 12 and float(number) > 0:
        return float(number)
    raise BadValueError(f'"{text}" is not a speed: write 1x, 10x, 0.5x or max')


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


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")


def shell_word(text: str) -> str:
    """`text` as one word of a command line, for commands that are printed to be pasted."""
    # As shlex.quote does, which imports `re`: 6 ms.
    if text and _PLAIN.issuperset(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def parse_record_format(text: str) -> str:
    """`text`, `json` or `json-base64`. The official tool's names for these are understood too."""
    if text not in _RECORD_FORMATS:
        raise BadValueError(f'"{text}" is not text, json or json-base64')
    return _RECORD_FORMATS[text]


def parse_print_format(text: str) -> str:
    """The same for what prints records, with `pretty`."""
    if text != "pretty" and text not in _RECORD_FORMATS:
        raise BadValueError(f'"{text}" is not text, jsonl, json-base64 or pretty')
    return _RECORD_FORMATS.get(text, text)


def parse_bool(text: str) -> bool:
    """The value of an option that takes `true` or `false`. Raises BadValueError for any other text."""
    if text not in ("true", "false"):
        raise BadValueError(f'"{text}" is neither true nor false')
    return text == "true"


def is_true(text: str, name: str) -> bool:
    """Whether `text`, the value of the environment variable `name`, is one of 1, true, yes, on. False for 0, false, no,
    off and the empty text. Raises BadValueError for any other."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValueError(f'{name} must be 1 or 0, not "{text}"')
