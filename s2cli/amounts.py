"""Numbers for people, all in one style. What prints a count, a size or a time calls this.

- Counts, sequence numbers and numbers of lines are digits and nothing else: they are copied into command lines.
- Sizes have binary units and one decimal: `17 B`, `5.9 MiB`.
- Times that were measured are seconds, to the hundredth and from ten on to the tenth: `0.31 s`, `12.4 s`.
- Durations that somebody set are written as options take them: `7d`, `1h 30m`, `1month`.
- Times of day are in RFC 3339 and UTC: `2026-01-31T12:00:00Z`.
- In JSON every number is one of the unit that its name says, without rounding.
"""

from __future__ import annotations

import time


def format_count(number: int, one: str, many: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number} {one if number == 1 else many}"


def format_bytes(count: int) -> str:
    """`17 B`, `5.9 MiB`."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1023.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} GiB"


def format_seconds(seconds: float) -> str:
    """`0.31 s`, `12.4 s`, `60 s`."""
    text = f"{seconds:.2f}" if seconds < 9.995 else f"{seconds:.1f}"
    return text.rstrip("0").rstrip(".") + " s"


def format_rate(count: int, seconds: float, what: str) -> str:
    """`125000 records/s`."""
    return f"{round(count / seconds) if seconds > 0 else 0} {what}/s"


def format_utc(seconds: int, milliseconds: int | None = None) -> str:
    """A time since the epoch in RFC 3339: `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00.250Z`. Raises OverflowError,
    ValueError or OSError for one that no calendar has."""
    fraction = "" if milliseconds is None else f".{milliseconds:03}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def format_duration(seconds: int) -> str:
    """A duration as options take it: `7d`, `1h 30m`; `1month` and `1y` where it is a whole number of them."""
    for unit, size in (("y", 31_557_600), ("month", 2_630_016)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, seconds = divmod(seconds, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return " ".join(parts) or "0s"
