"""The routes of records: append, read, tail. Each handler says whether it was a session, whose duration is the client's
choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.api.append import append_one, append_session
from s2cli.server.api.media import Media
from s2cli.server.api.read import read_one, read_session

if TYPE_CHECKING:
    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.http.exchange import Exchange


async def append(server: Server, exchange: Exchange, basin: str, stream: str) -> bool:
    media = Media(exchange)
    if media.is_session:
        await append_session(server, exchange, basin, stream, media)
        return True
    await append_one(server, exchange, basin, stream, media)
    return False


async def read(server: Server, exchange: Exchange, basin: str, stream: str) -> bool:
    media = Media(exchange)
    if media.is_session or media.wants_events:
        await read_session(server, exchange, basin, stream, media)
        return True
    return await read_one(server, exchange, basin, stream, media)


async def tail(server: Server, exchange: Exchange, basin: str, stream: str) -> bool:
    """Where the stream ends; it is made if the basin makes streams on a read."""
    grant: Grant | None = exchange.grant
    found = server.streams.find(basin, stream) or await server.streams.open(basin, stream, "read", grant)
    found.meter.tail_checks += 1
    exchange.answer_json(200, b'{"tail":{"seq_num":%d,"timestamp":%d}}' % (found.tail_seq_num, found.tail_timestamp))
    return False
