"""Requests that only the owner of the data directory may make, through the server's socket file, which nobody else can
open (protocol section 2.7): a copy of the database, to a directory of the owner; and to trust a clock that was set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from s2cli.errors import ApiError
from s2cli.server.http.exchange import encode_json

if TYPE_CHECKING:
    from s2cli.server.api.server import Server
    from s2cli.server.http.exchange import Exchange

COPY_PATH = b"/lite/copy"
CLOCK_PATH = b"/lite/clock"


async def serve_owner(server: Server, exchange: Exchange) -> bool:
    """Answers a request for a path that only the owner may use; False for any other path."""
    if exchange.raw_path not in (COPY_PATH, CLOCK_PATH):
        return False
    if server.draining:
        raise await server.refuse()
    if exchange.raw_path == CLOCK_PATH:
        _trust_clock(server, exchange)
        return True
    if exchange.method == "POST":
        server.copying.begin(_path(exchange.query))
    elif exchange.method == "DELETE":
        server.copying.cancel()
    elif exchange.method != "GET":
        exchange.answer(405, None, b"", [(b"allow", b"GET, POST, DELETE")])
        return True
    exchange.answer_json(202 if exchange.method == "POST" else 200, encode_json(server.copying.facts()))
    return True


def _trust_clock(server: Server, exchange: Exchange) -> None:
    if exchange.method != "POST":
        exchange.answer(405, None, b"", [(b"allow", b"POST")])
        return
    ahead_ms = server.deletion_clock.ahead_ms
    server.deletion_clock.trust()
    exchange.answer_json(200, encode_json({"was_ahead_ms": ahead_ms}))


def _path(query: bytes) -> Path:
    """The parameter `path` of a copy. Raises ApiError for any other query."""
    try:
        (path,) = parse_qs(query.decode("ascii", "replace"), max_num_fields=1)["path"]
    except (ValueError, KeyError) as error:
        raise ApiError("invalid", "a copy has one parameter, `path`") from error
    return Path(path)
