"""The body of a unary request: read, decompressed and decoded, each only when the turnstile allows it. And the hash by
which two equal requests are recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from s2cli.errors import ApiError
from s2cli.server.core.idempotency import Identity
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.server.http.exchange import MAX_UNARY_BODY_BYTES, read_body
from s2cli.wire.bodies import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.api.server import Server
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.exchange import Exchange

    Result = TypeVar("Result")

# What of a request makes it the same one, beside method, path, query, basin and body. Compression does not, and the way
# to the server does not. In this order.
_HEADERS = (b"authorization", b"content-type", b"s2-format")


async def decode_body(
    server: Server, exchange: Exchange, code: str, decode: Callable[[bytes], Steps[Result]]
) -> tuple[bytes, Result]:
    """The whole body of a unary request, inflated, and what `decode` makes of it, both as the turnstile lets them.
    Raises an ApiError with the `code` beyond the limit, and for a body that cannot be inflated; DisconnectedError if
    the client left."""
    share = exchange.share
    body, encoding = await read_body(exchange, code, MAX_UNARY_BODY_BYTES)
    share.collected_bytes = len(body)  # it, or what is made of it, until it is answered
    if encoding is None and len(body) <= LARGE_BYTES:
        return body, in_one_go(decode(body))  # as the turnstile would have it: most bodies are so
    if encoding is not None:
        # What it inflates to, and what is made of that.
        await server.memory.reserve(share, 2 * MAX_UNARY_BODY_BYTES)
    try:
        body, result = await server.turnstile.decode(body, encoding, MAX_UNARY_BODY_BYTES, decode)
        if encoding is not None:
            server.memory.keep(share, 2 * len(body))  # until it is answered
        return body, result
    except ContentError as error:
        raise ApiError(code, error.message) from error


def identify(exchange: Exchange, basin: str, body: bytes) -> Identity:
    """The identity of a request. `basin` is "" where the path says all."""
    parts = [exchange.method.encode(), exchange.raw_path, exchange.query, basin.encode(), body]
    for name in _HEADERS:
        if (value := exchange.fields.get(name)) is not None:
            parts += name, value
    return Identity(parts, exchange.fields.get(b"s2-encryption-key"))
