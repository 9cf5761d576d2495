"""The ASGI application: the route table, and the one place where an exception becomes an answer.

Routes are matched on the raw path, so that `%2F` in the name of a stream stays in its segment.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from s2cli.errors import ApiError, BadValueError, S2Error
from s2cli.server import basins, records, streams
from s2cli.server.exchange import DisconnectedError, error_response, send_bytes, send_json
from s2cli.server.request import Request, basin_of
from s2cli.wire.names import check_basin_name, check_stream_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.exchange import Message, Receive, Scope, Send
    from s2cli.server.request import Handler
    from s2cli.server.serve import Server

    RecordHandler = Callable[[Server, Scope, Receive, Send, str, str], Awaitable[None]]

log = logging.getLogger("s2cli.server")

STREAMS_PREFIX = b"/v1/streams/"

# What follows the name of a stream -> method -> handler.
RECORD_ROUTES: dict[bytes, dict[str, RecordHandler]] = {
    b"/records": {"POST": records.append, "GET": records.read},
    b"/records/tail": {"GET": records.tail},
}
COLLECTION_ROUTES: dict[bytes, dict[str, Handler]] = {
    b"/v1/basins": {"GET": basins.list_basins, "POST": basins.create_basin},
    b"/v1/streams": {"GET": streams.list_streams, "POST": streams.create_stream},
}
# The path up to the name of the resource -> how the name is checked, and the handlers.
RESOURCE_ROUTES: dict[bytes, tuple[Callable[[str], None], dict[str, Handler]]] = {
    b"/v1/basins/": (
        check_basin_name,
        {"GET": basins.get_basin_config, "PUT": basins.ensure_basin, "DELETE": basins.delete_basin},
    ),
    b"/v1/streams/": (
        check_stream_name,
        {"GET": streams.get_stream_config, "PUT": streams.ensure_stream, "DELETE": streams.delete_stream},
    ),
}
HEALTH_PATHS = (b"/health", b"/ping")


def application(server: Server) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application that serves `server`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        server.exchanges += 1
        try:
            path: bytes = scope["raw_path"]
            # The data path first, and at little cost: one append is worth about 40 microseconds.
            if path.startswith(STREAMS_PREFIX):
                end = path.find(b"/", len(STREAMS_PREFIX))
                if end > len(STREAMS_PREFIX) and (methods := RECORD_ROUTES.get(path[end:])) is not None:
                    await _records(server, scope, receive, send, methods, path[len(STREAMS_PREFIX) : end])
                    return
            await _control(server, scope, receive, send, path)
        except DisconnectedError:
            pass
        except S2Error as error:
            status, body, headers = error_response(error)
            await send_json(send, status, body, headers)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            # Raises, and so ends the exchange as broken, if the response has begun.
            await send_json(send, *error_response(ApiError("other", "internal error"))[:2])
        finally:
            server.exchange_ended()

    return answer


async def _records(
    server: Server, scope: Scope, receive: Receive, send: Send, methods: dict[str, RecordHandler], segment: bytes
) -> None:
    handler = methods.get(scope["method"])
    if handler is None:
        if scope["method"] == "HEAD" and "GET" in methods:
            scope, receive, send = _without_body(scope, send)
            handler = methods["GET"]
        else:
            await _send_empty(send, 405, _allow(methods))
            return
    if server.draining:
        raise await server.refuse()
    stream = _name(segment, check_stream_name)
    await handler(server, scope, receive, send, basin_of(scope), stream)


async def _control(server: Server, scope: Scope, receive: Receive, send: Send, path: bytes) -> None:
    if path in HEALTH_PATHS:
        await _health(server, scope, send)
        return
    name = ""
    methods = COLLECTION_ROUTES.get(path)
    if methods is None:
        start = path.rfind(b"/") + 1
        if start == len(path) or path[:start] not in RESOURCE_ROUTES:
            await _send_empty(send, 404)
            return
        check, methods = RESOURCE_ROUTES[path[:start]]
        name = _name(path[start:], check)
    method = scope["method"]
    handler = methods.get("GET" if method == "HEAD" else method)
    if handler is None:
        await _send_empty(send, 405, _allow(methods))
        return
    if server.draining:
        raise await server.refuse()
    status, body, headers = await handler(Request(server, scope, receive, name))
    if not body:
        await _send_empty(send, status, *headers)
    elif method == "HEAD":
        await send_bytes(_dropping_body(send), status, b"application/json", body, headers)
    else:
        await send_json(send, status, body, headers)


async def _health(server: Server, scope: Scope, send: Send) -> None:
    """200 and `OK`, or 503 and why. For load balancers and scripts that wait for a server: no version, no token."""
    if scope["method"] not in ("GET", "HEAD"):
        await _send_empty(send, 405, _allow({"GET": None}))
        return
    problem = "draining" if server.draining else server.store.failure
    text = "OK" if problem is None else problem
    if scope["method"] == "HEAD":
        send = _dropping_body(send)
    await send_bytes(send, 200 if problem is None else 503, b"text/plain; charset=utf-8", text.encode())


def _name(segment: bytes, check: Callable[[str], None]) -> str:
    """The name in a segment of a path: percent-decoded once, and checked."""
    try:
        name = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
        check(name)
    except UnicodeDecodeError as error:
        raise ApiError("bad_path", "the name in the path is not valid UTF-8") from error
    except BadValueError as error:
        raise ApiError("bad_path", error.message) from error
    return name


async def _send_empty(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send_bytes(send, status, None, b"", headers)


def _allow(methods: dict[str, Any]) -> tuple[bytes, bytes]:
    names = [*methods, "HEAD"] if "GET" in methods else list(methods)
    return b"allow", ", ".join(names).encode()


def _dropping_body(send: Send) -> Send:
    """A `send` for HEAD: the head as it would be for GET, and nothing after it."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


def _without_body(scope: Scope, send: Send) -> tuple[Scope, Receive, Send]:
    """A HEAD exchange as a GET for a handler that streams: once the head is out, its client is gone."""
    head_sent = asyncio.Event()
    send_head = _dropping_body(send)

    async def send_and_leave(message: Message) -> None:
        await send_head(message)
        head_sent.set()

    async def receive() -> Message:
        await head_sent.wait()
        return {"type": "http.disconnect"}

    return {**scope, "method": "GET"}, receive, send_and_leave
