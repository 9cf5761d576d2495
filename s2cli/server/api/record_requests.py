"""The routes of records: append, read, tail. Each says whether it was a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.api.append import append_one, append_session
from s2cli.server.api.identity import grant_of
from s2cli.server.api.media import Media
from s2cli.server.api.read import read_one, read_session
from s2cli.server.http.exchange import send_json

if TYPE_CHECKING:
    from s2cli.server.api.server import Server
    from s2cli.server.http.asgi import Receive, Scope, Send


async def append(server: Server, scope: Scope, receive: Receive, send: Send, basin: str, stream: str) -> bool:
    media = Media(scope)
    if media.is_session:
        await append_session(server, scope, receive, send, basin, stream, media)
        return True
    await append_one(server, scope, receive, send, basin, stream, media)
    return False


async def read(server: Server, scope: Scope, receive: Receive, send: Send, basin: str, stream: str) -> bool:
    media = Media(scope)
    if media.is_session or media.wants_events:
        await read_session(server, scope, receive, send, basin, stream, media)
        return True
    await read_one(server, scope, receive, send, basin, stream, media)
    return False


async def tail(server: Server, scope: Scope, receive: Receive, send: Send, basin: str, stream: str) -> bool:
    """Where the stream ends; it is made if the basin makes streams on a read."""
    grant = grant_of(scope)
    found = server.streams.find(basin, stream) or await server.streams.open(basin, stream, "read", grant)
    found.meter.tail_checks += 1
    await send_json(send, 200, b'{"tail":{"seq_num":%d,"timestamp":%d}}' % (found.tail_seq_num, found.tail_timestamp))
    return False
