"""Text to value: URIs, durations, sizes, rates, formats; BadValueError says what was expected. Times and positions in a
stream: positions.py.

On the start-up path of the record commands, so everything is parsed by hand: `re` and `datetime` cost 6 ms each.
"""

from __future__ import annotations

import os

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


def parse_whole_seconds(text: str) -> int:
    """A duration that is a whole number of seconds. Raises BadValueError."""
    milliseconds = parse_duration_ms(text)
    if milliseconds % 1000:
        raise BadValueError(f"{text} is not in whole seconds: write 1s, 5m or 7d")
    return milliseconds // 1000


def parse_speed(text: str) -> float:
    """`1x`, `10x`, `0.5x`; `max` is infinity."""
    if text == "max":
        return float("inf")
    number = text.removesuffix("x")
    if number.replace(".", "", 1).isdecimal() and number.isascii() and len(number) <= 12 and float(number) > 0:
        return float(number)
    raise BadValueError(f'"{text}" is not a speed: write 1x, 10x, 0.5x or max')


def speed_text(speed: float) -> str:
    """What parse_speed() takes for it."""
    return "max" if speed == float("inf") else f"{speed:.10g}x"


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
