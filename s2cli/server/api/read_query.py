"""Parses the query of a request, and the options of a read in it (protocol section 5.1)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from s2cli.errors import ApiError
from s2cli.server.core.range_scan import STARTS, ReadQuery

MAX_U64 = (1 << 64) - 1
MAX_U32 = (1 << 32) - 1

# No operation has more than eight.
MAX_PARAMETERS = 64


def parse_query(raw: bytes) -> dict[str, str]:
    """The parameters of a query; of those with one name the last. Raises ApiError `bad_query`."""
    if not raw:
        return {}
    if raw.count(b"&") >= MAX_PARAMETERS:
        raise ApiError("bad_query", f"the query has more than {MAX_PARAMETERS} parameters")
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise ApiError("bad_query", "the query is not valid UTF-8") from error


def parse_read_query(raw: bytes) -> ReadQuery:
    """What a read asks for. Raises ApiError for a query that is not valid, or contradicts itself."""
    given = parse_query(raw)
    starts = [name for name in STARTS if name in given]
    if len(starts) > 1:
        raise ApiError("invalid", "only one of seq_num, timestamp, or tail_offset can be provided")
    # Without any the read starts at the tail.
    start = starts[0] if starts else "tail_offset"
    query = ReadQuery(
        start=start,
        start_value=whole_number(given, start, MAX_U64) or 0,
        clamp=_flag(given, "clamp"),
        count=whole_number(given, "count", MAX_U64),
        size_bytes=whole_number(given, "bytes", MAX_U64),
        until=whole_number(given, "until", MAX_U64),
        wait_s=whole_number(given, "wait", MAX_U32),
    )
    if query.start == "timestamp" and query.until is not None and query.start_value >= query.until:
        raise ApiError("invalid", "start `timestamp` must be less than `until`")
    return query


def whole_number(given: dict[str, str], name: str, most: int, what: str | None = None) -> int | None:
    """The parameter of that name, `what` for people; None where it is not given. Raises ApiError `bad_query`."""
    text = given.get(name)
    if text is None:
        return None
    number = parse_number(text, most)
    if number is None:
        raise ApiError("bad_query", f"invalid value for `{name}`: not {what or f'an integer from 0 to {most}'}")
    return number


def parse_number(text: str, most: int) -> int | None:
    """The number that is written in digits alone, from 0 to `most`; None for any other text."""
    # int() alone would take signs, spaces, underscores and other scripts' digits.
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most:
        return int(text)
    return None


def _flag(given: dict[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise ApiError("bad_query", f"invalid value for `{name}`: neither `true` nor `false`")
    return text == "true"
