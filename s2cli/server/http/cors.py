"""Cross-origin requests: which web pages may use the server from a browser. Pages of this machine may, unless told
otherwise; `--cors` lets in others by their origin, or all of them by `*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.http.authority import address_in, is_local_name, split_origin
from s2cli.server.http.exchange import header

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from s2cli.server.http.asgi import Message, Scope, Send

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


def with_permission(send: Send, origin: bytes) -> Send:
    """A `send` that adds what the browser looks for. It gives back what `send` gives: its type tells whether there is
    room in the host's queue (streaming.py)."""
    permission = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", RESPONSE_HEADERS),
        (b"vary", b"origin"),
    ]

    def send_permitted(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *permission]}
        return send(message)

    return send_permitted


def is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None


async def answer_preflight(scope: Scope, send: Send) -> int:
    """`send` adds the permission itself. Gives the status."""
    headers = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", REQUEST_HEADERS),
        (b"access-control-max-age", b"%d" % MAX_AGE_S),
        (b"content-length", b"0"),
    ]
    # A page from elsewhere asks whether it may reach into this machine or network.
    if header(scope, b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return 204
