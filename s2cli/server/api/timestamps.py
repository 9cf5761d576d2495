"""RFC 3339 times. Those of clients are kept exactly as given, because clients compare what they set with what they get;
ours are formatted here too."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from s2cli.errors import ApiError

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)


def parse_timestamp(value: object, name: str) -> str:
    """An instant out of a JSON body as the same one in UTC. Raises ApiError `bad_json`."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _bad(name)
    day, time, fraction, _, sign, hours, minutes = match.groups()
    try:
        # A leap second is the next one.
        leap = time.endswith(":60")
        at = datetime.fromisoformat(f"{day}T{time[:-2]}59" if leap else f"{day}T{time}")
        if sign is not None:
            if int(hours) > 23 or int(minutes) > 59:
                raise ValueError
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            at += -offset if sign == "+" else offset
        if leap:
            at += timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise _bad(name) from error
    fraction = (fraction or "").rstrip("0")
    return f"{at.isoformat()}.{fraction}Z" if fraction else f"{at.isoformat()}Z"


def milliseconds_of(instant: str) -> int:
    """Milliseconds since the epoch of what `parse_timestamp` gave; a part of one counts as a whole."""
    seconds, _, fraction = instant[:-1].partition(".")
    whole = int(datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp())
    return whole * 1000 - (-int(fraction.ljust(9, "0")) // 1_000_000 if fraction else 0)


def is_later(instant: str, other: str) -> bool:
    return _sortable(instant) > _sortable(other)


def _sortable(instant: str) -> tuple[str, str]:
    seconds, _, fraction = instant[:-1].partition(".")
    return seconds, fraction.ljust(9, "0")


def _bad(name: str) -> ApiError:
    return ApiError("bad_json", f"`{name}` must be an RFC 3339 time, as in 2030-01-31T09:00:00Z")


def rfc3339(time_ms: int | None) -> str | None:
    """A time as the API writes it, with milliseconds."""
    if time_ms is None:
        return None
    return f"{_second(time_ms // 1000)}.{time_ms % 1000:03d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    # strftime takes four times as long, and a page of a list has 2000 times.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
