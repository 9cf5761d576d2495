"""The body of a unary request: read, inflated and decoded, each when it is its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from s2cli.errors import ApiError
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.server.http.exchange import MAX_UNARY_BODY_BYTES, read_body
from s2cli.wire.bodies import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.api.server import Server
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.exchange import Exchange

    Result = TypeVar("Result")


async def decode_body(
    server: Server,
    exchange: Exchange,
    code: str,
    decode: Callable[[bytes], Steps[Result]],
    limit: int = MAX_UNARY_BODY_BYTES,
) -> tuple[bytes, Result]:
    """The whole body of a unary request, inflated, and what `decode` makes of it, both as the turnstile lets them.
    Raises an ApiError with the `code` beyond the limit, and for a body that cannot be inflated; DisconnectedError if
    the client left."""
    share = exchange.share
    body, encoding = await read_body(exchange, code, limit)
    share.collected_bytes = len(body)  # it, or what is made of it, until it is answered
    if encoding is None and len(body) <= LARGE_BYTES:
        return body, in_one_go(decode(body))  # as the turnstile would have it: most bodies are so
    if encoding is not None:
        # What it inflates to, and what is made of that.
        await server.memory.reserve(share, 2 * limit)
    try:
        body, result = await server.turnstile.decode(body, encoding, limit, decode)
        if encoding is not None:
            server.memory.keep(share, 2 * len(body))  # until it is answered
        return body, result
    except ContentError as error:
        raise ApiError(code, error.message) from error
