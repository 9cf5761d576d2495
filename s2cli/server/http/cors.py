"""Cross-origin requests: which web pages may use the server from a browser. Pages served from this machine may, unless
`--no-cors` is given; `--cors` allows others by their origin, or all of them by `*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.http.authority import address_in, is_local_name, split_origin

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Exchange

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = b", ".join(
    (
        b"accept",
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"last-event-id",
        b"s2-basin",
        b"s2-encryption-key",
        b"s2-format",
        b"s2-request-token",
        b"s2-stream-config",
    )
)
RESPONSE_HEADERS = b"s2-provision-result, retry-after, retry-after-ms"
# How long a browser may remember what a preflight said: as long as any of them does.
MAX_AGE_S = 7200


class Cors:
    """Who is let in: the origins in `allowed`, everybody where `*` is among them, and pages of this machine."""

    __slots__ = ("_allowed", "_everybody")

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._allowed = frozenset(origin.lower().encode() for origin in allowed)
        self._everybody = b"*" in self._allowed

    def lets_in(self, origin: bytes) -> bool:
        return self._everybody or origin.lower() in self._allowed or _is_loopback(origin)


def _is_loopback(origin: bytes) -> bool:
    parts = split_origin(origin.decode("latin-1"))
    if parts is None:
        return False
    address = address_in(parts[1])
    return is_local_name(parts[1]) if address is None else address.is_loopback


def permission(origin: bytes) -> list[tuple[bytes, bytes]]:
    """The headers that the browser looks for in each response to that page."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", RESPONSE_HEADERS),
        (b"vary", b"origin"),
    ]


def is_preflight(exchange: Exchange) -> bool:
    return exchange.method == "OPTIONS" and b"access-control-request-method" in exchange.fields


def answer_preflight(exchange: Exchange) -> None:
    headers = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", REQUEST_HEADERS),
        (b"access-control-max-age", b"%d" % MAX_AGE_S),
    ]
    # A page from elsewhere asks whether it may reach into this machine or network.
    if exchange.fields.get(b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    exchange.answer(204, None, b"", headers)
