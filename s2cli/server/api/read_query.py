"""The query of a request, and that of a read (protocol section 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from s2cli.errors import ApiError

if TYPE_CHECKING:
    from s2cli.server.http.asgi import Scope

MAX_U64 = (1 << 64) - 1
MAX_U32 = (1 << 32) - 1

# No operation has more than eight.
MAX_PARAMETERS = 64

STARTS = ("seq_num", "timestamp", "tail_offset")


def parse_query(scope: Scope) -> dict[str, str]:
    """The parameters of the query; of those with one name the last. Raises ApiError `bad_query`."""
    raw: bytes = scope["query_string"]
    if not raw:
        return {}
    if raw.count(b"&") >= MAX_PARAMETERS:
        raise ApiError("bad_query", f"the query has more than {MAX_PARAMETERS} parameters")
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise ApiError("bad_query", "the query is not valid UTF-8") from error


class ReadQuery:
    """What a read asks for. `start` is one of STARTS; a limit that was not given is None."""

    __slots__ = ("clamp", "count", "size_bytes", "start", "start_value", "until", "wait_s")

    def __init__(self, scope: Scope) -> None:
        """Raises ApiError for a query that is none, or contradicts itself."""
        given = parse_query(scope)
        starts = [name for name in STARTS if name in given]
        if len(starts) > 1:
            raise ApiError("invalid", "only one of seq_num, timestamp, or tail_offset can be provided")
        # Without any the read starts at the tail.
        self.start = starts[0] if starts else "tail_offset"
        self.start_value = _number(given, self.start, MAX_U64) or 0
        self.clamp = _flag(given, "clamp")
        self.count = _number(given, "count", MAX_U64)
        self.size_bytes = _number(given, "bytes", MAX_U64)
        self.until = _number(given, "until", MAX_U64)
        self.wait_s = _number(given, "wait", MAX_U32)
        if self.start == "timestamp" and self.until is not None and self.start_value >= self.until:
            raise ApiError("invalid", "start `timestamp` must be less than `until`")

    @property
    def wants_nothing(self) -> bool:
        return self.count == 0 or self.size_bytes == 0

    @property
    def may_follow(self) -> bool:
        """Whether the read goes on at the tail, as a session (protocol section 5.2)."""
        unbounded = self.count is None and self.size_bytes is None and self.until is None
        return unbounded or bool(self.wait_s)


def _number(given: dict[str, str], name: str, most: int) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    # int() alone would take signs, spaces, underscores and other scripts' digits.
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most:
        return int(text)
    raise ApiError("bad_query", f"invalid value for `{name}`: not an integer from 0 to {most}")


def _flag(given: dict[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise ApiError("bad_query", f"invalid value for `{name}`: neither `true` nor `false`")
    return text == "true"
