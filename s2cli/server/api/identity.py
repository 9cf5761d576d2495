"""Which other request would be the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.core.idempotency import Identity

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Exchange

# What of a request makes it the same one, beside method, path, query, basin and body. Compression does not, and the way
# to the server does not. In this order.
_HEADERS = (b"authorization", b"content-type", b"s2-format")


def identify(exchange: Exchange, basin: str, body: bytes) -> Identity:
    """The identity of a request. `basin` is "" where the path says all."""
    parts = [exchange.method.encode(), exchange.raw_path, exchange.query, basin.encode(), body]
    for name in _HEADERS:
        if (value := exchange.fields.get(name)) is not None:
            parts += name, value
    return Identity(parts, exchange.fields.get(b"s2-encryption-key"))
