"""How the routes of the Introduction answer differently from the deployed ones (protocol sections 16.1 and 16.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.errors import (
    ApiError,
    BadValueError,
    FencingTokenMismatchError,
    RangeNotSatisfiableError,
    SeqNumMismatchError,
)
from s2cli.server.api import read as reads
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.read_query import parse_query
from s2cli.server.core.range_scan import STARTS
from s2cli.server.http.exchange import encode_json

if TYPE_CHECKING:
    from s2cli.errors import S2Error
    from s2cli.server.api.server import Server
    from s2cli.server.http.exchange import Exchange


async def read(server: Server, exchange: Exchange, basin: str, stream: str) -> None:
    """A read that begins at the first record if the query names no start. On an empty stream it then returns no records
    instead of an error."""
    if not parse_query(exchange.query).keys().isdisjoint(STARTS):
        await reads.read(server, exchange, basin, stream)
        return
    query = exchange.query
    begin = query + b"&" if query else b""
    try:
        exchange.query = begin + b"seq_num=0"
        await reads.read(server, exchange, basin, stream)
    except RangeNotSatisfiableError:
        exchange.query = begin + b"count=0"
        await reads.read(server, exchange, basin, stream)


def introduction_error_response(error: S2Error) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """The page knows neither 412 nor 422: a condition that failed is a 409, a value that breaks a rule a 400."""
    if isinstance(error, SeqNumMismatchError):
        return _condition_failed(error, "seq_num_mismatch", error.expected)
    if isinstance(error, FencingTokenMismatchError):
        return _condition_failed(error, "fencing_token_mismatch", error.token)
    status, body, headers = error_response(error)
    if isinstance(error, BadValueError) or (isinstance(error, ApiError) and error.code == "invalid"):
        status = 400
    return status, body, headers


def _condition_failed(error: S2Error, member: str, value: object) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    code = "condition_failed"
    return 409, encode_json({"error": code, "code": code, "message": error.message, member: value}), []
