"""Finds what a request is about: the names in its path, and the basin from its path, the `s2-basin` header, or the host
(protocol sections 1.2 and 16.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from s2cli.errors import ApiError, BadValueError
from s2cli.wire.names import check_basin_name, check_stream_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.http.exchange import Exchange

# The names that clients use are few, and each record request brings some: check each once.
_known_basins: dict[bytes, str] = {}
_known_streams: dict[bytes, str] = {}
MAX_KNOWN_STREAMS = 4096


def stream_name(segment: bytes) -> str:
    """The name of a stream in this segment of a path. Raises ApiError."""
    name = _known_streams.get(segment)
    if name is None:
        name = name_in_path(segment, check_stream_name)
        if len(_known_streams) >= MAX_KNOWN_STREAMS:
            _known_streams.clear()
        _known_streams[segment] = name
    return name


def name_in_path(segment: bytes, check: Callable[[str], None]) -> str:
    """The name in a segment of a path: percent-decoded once, and checked. Raises ApiError."""
    try:
        name = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
        check(name)
    except UnicodeDecodeError as error:
        raise ApiError("bad_path", "the name in the path is not valid UTF-8") from error
    except BadValueError as error:
        raise ApiError("bad_path", error.message) from error
    return name


def basin_of(exchange: Exchange, base_domain: str | None, in_path: str | None = None) -> str:
    """The basin. Where several places name one, they must agree; without `base_domain` the host names none."""
    value = exchange.fields.get(b"s2-basin")
    found = None if value is None else _known_basins.get(value) or _checked(value)
    if in_path is not None:
        found = _agreed(in_path, "the path", found, "the header `s2-basin`")
    if base_domain is not None:
        found = _agreed(found, "the request", _basin_of_host(exchange, base_domain), "the host")
    if found is None:
        raise ApiError("bad_header", "Missing header `s2-basin`")
    return found


def _checked(value: bytes) -> str:
    name = value.decode("latin-1")
    try:
        check_basin_name(name)
    except BadValueError as error:
        raise ApiError("bad_header", f"Invalid header `s2-basin`: {error.message}") from error
    if len(_known_basins) >= 1024:
        _known_basins.clear()
    _known_basins[value] = name
    return name


def _agreed(first: str | None, where: str, second: str | None, elsewhere: str) -> str | None:
    if first is not None and second is not None and first != second:
        raise ApiError("bad_header", f"{where} names the basin `{first}`, {elsewhere} the basin `{second}`")
    return first or second


def _basin_of_host(exchange: Exchange, base_domain: str) -> str | None:
    """The basin in the host name: its first label, if the rest is the base domain; None if that is not a valid name, as
    for the account's host."""
    value = exchange.fields.get(b"host")
    if value is None:
        return None
    host = value.decode("latin-1").lower().rstrip(".")
    name, _, rest = host.rpartition(":")[0].partition(".") if _has_port(host) else host.partition(".")
    if rest != base_domain:
        return None
    try:
        check_basin_name(name)
    except BadValueError:
        return None
    return name


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and ":" in host
