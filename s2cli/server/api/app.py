"""The ASGI application: from a request to its handler, and the one place where an exception becomes an answer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from s2cli import __version__
from s2cli.errors import ApiError, BadValueError, S2Error
from s2cli.server.api.addressing import basin_of
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.identity import grant_of, put_grant
from s2cli.server.api.introduction import introduction_error_response
from s2cli.server.api.prometheus import PATH as PROMETHEUS_PATH
from s2cli.server.api.prometheus import send_metrics
from s2cli.server.api.request import Request
from s2cli.server.api.routes import PARAMETERS, RECORD_ROUTES, STREAMS_PREFIX, find
from s2cli.server.client_log import CLIENT_LOG, quoted
from s2cli.server.core.auth import ON_STREAM
from s2cli.server.http.authority import is_same_host, split_authority
from s2cli.server.http.content_coding import encode_payload
from s2cli.server.http.cors import answer_preflight, is_preflight, with_permission
from s2cli.server.http.exchange import DisconnectedError, header, host_and_origin, send_bytes, send_json
from s2cli.server.http.memory_budget import share_of
from s2cli.server.http.request_log import logged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.api.route import Route
    from s2cli.server.api.server import Server
    from s2cli.server.http.asgi import Message, Receive, Scope, Send

    Methods = dict[str, Route]

log = logging.getLogger(CLIENT_LOG)

HEALTH_PATHS = (b"/health", b"/ping")
# Where an exchange carries the operation that it counts as.
_OPERATION = "s2.operation"
# Of a list on its way: its rows, and what is made of them.
CONTROL_BYTES = 1024 * 1024
# What anybody may ask for.
PUBLIC_PATHS = (*HEALTH_PATHS, b"/", b"/openapi.json")


def application(server: Server, *, is_private: bool = False) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application that serves `server`. `is_private`: nobody but its owner can reach it, so no token is needed."""
    auth = None if is_private else server.auth
    # A page has no token, and does not get through a socket file.
    host_names = server.host_names if auth is None and not is_private else None
    cors = server.cors

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        server.exchanges += 1
        status = 200
        try:
            path: bytes = scope["raw_path"]
            host, origin = host_and_origin(scope)
            is_guarded = host_names is not None and path not in HEALTH_PATHS
            if is_guarded:
                assert host_names is not None
                host_names.check(host)
            if origin is not None:
                if cors is not None and cors.lets_in(origin):
                    send = with_permission(send, origin)
                    if is_preflight(scope):
                        status = await answer_preflight(scope, send)
                        return
                elif is_guarded and not is_same_host(origin, host):
                    raise _foreign(origin)
            if auth is not None and path not in PUBLIC_PATHS:
                put_grant(scope, await auth.authenticate(header(scope, b"authorization")))
            # The data path first, and at little cost: one append is worth about 40 microseconds.
            if path.startswith(STREAMS_PREFIX):
                end = path.find(b"/", len(STREAMS_PREFIX))
                if end > len(STREAMS_PREFIX) and (methods := RECORD_ROUTES.get(path[end:])) is not None:
                    segment = path[len(STREAMS_PREFIX) : end]
                    status = await _serve_records(server, scope, receive, send, methods, segment, None)
                    return
            status = await _control(server, scope, receive, send, path)
        except DisconnectedError:
            # It may only have broken off its request, as one with a bad chunk does, and still read.
            status, body, _ = error_response(ApiError("client_hangup", "the request broke off"))
            await send_json(send, status, body)
        except S2Error as error:
            status, body, headers = error_response(error)
            await send_json(send, status, body, headers)
        except asyncio.CancelledError:
            raise
        except Exception:
            status = 500
            log.exception("%s %s failed", scope["method"], quoted(scope["raw_path"]))
            # Raises, and so ends the exchange as broken, if the response has begun.
            await send_json(send, *error_response(ApiError("other", "internal error"))[:2])
        finally:
            server.meters.totals.answered(scope.get(_OPERATION, "other"), status)
            server.exchange_ended()

    return logged(answer) if server.logs_requests else answer


def _foreign(origin: bytes) -> ApiError:
    name = quoted(origin)
    return ApiError(
        "permission_denied",
        f"web pages from `{name}` may not use this server; "
        f"start it with --cors {'*' if origin == b'null' else name} if they may",
    )


async def _serve_records(
    server: Server, scope: Scope, receive: Receive, send: Send, methods: Methods, segment: bytes, basin: str | None
) -> int:
    method = scope["method"]
    route = methods.get(method)
    if route is None:
        route = methods.get("GET") if method == "HEAD" else None
        if route is None:
            return await _send_empty(send, 405, _allow(methods))
        scope[_OPERATION] = route.operation
        scope, receive, send = _without_body(scope, send)
    else:
        scope[_OPERATION] = route.operation
    if server.draining:
        raise await server.refuse()
    started_s = server.now()
    stream = _stream_name(segment)
    assert route.records is not None
    try:
        basin = basin_of(scope, server.base_domain, basin)
        grant = grant_of(scope)
        if grant is not None:
            stream = grant.stream_name(stream)
            grant.require(route.operation, basin, stream)
        # A session takes as long as its client likes: that says nothing of the server.
        if not await route.records(server, scope, receive, send, basin, stream):
            server.meters.totals.took(route.operation, server.now() - started_s)
    except S2Error as error:
        if not route.published:
            raise
        return await _send_introduction_error(send, error)
    return 200


async def _control(server: Server, scope: Scope, receive: Receive, send: Send, path: bytes) -> int:
    if path in HEALTH_PATHS:
        return await _health(server, scope, send)
    if path == b"/":
        return await _say_what_it_is(server, scope, send)
    if path == PROMETHEUS_PATH:
        if scope["method"] not in ("GET", "HEAD"):
            return await _send_empty(send, 405, _allow({"GET": None}))
        await send_metrics(server, scope, _dropping_body(send) if scope["method"] == "HEAD" else send)
        return 200
    methods, found = find(path)
    if not methods:
        return await _send_empty(send, 404)
    method = scope["method"]
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        return await _send_empty(send, 405, _allow(methods))
    try:
        if route.records is not None:
            basin = _name(found[0][1], "basin")
            return await _serve_records(server, scope, receive, send, methods, found[1][1], basin)
        return await _serve_control(server, scope, receive, send, route, found)
    except S2Error as error:
        if not route.published:
            raise
        return await _send_introduction_error(send, error)


async def _serve_control(
    server: Server, scope: Scope, receive: Receive, send: Send, route: Route, found: list[tuple[str, bytes]]
) -> int:
    scope[_OPERATION] = route.operation
    if server.draining:
        raise await server.refuse()
    started_s = server.now()
    names = [_name(segment, parameter) for parameter, segment in found]
    name = names.pop() if route.path[-1] == "}" else ""
    assert route.handler is not None
    request = Request(server, scope, receive, route.operation, route.body, name, names[0] if names else None)
    if route.operation in ON_STREAM:
        request.name = request.stream_name(name) if name else name
    if request.grant is not None:
        if route.method != "POST":
            request.permit(route.operation, request.basin() if route.operation == "list-streams" else request.name)
        else:
            # What it makes it names in its body, which is worth reading only for somebody who may make anything: the
            # handler asks for the rest.
            request.grant.require_operation(route.operation, request.basin() if route.operation in ON_STREAM else None)
    if route.method == "GET":
        await server.memory.reserve(share_of(scope), CONTROL_BYTES)
    status, body, headers = await request.answer(route.handler)
    assert request.permitted, f"{route.method} {route.path} was not checked"
    if request.operation:
        server.meters.operation(*request.counted_as())
    server.meters.totals.took(route.operation, server.now() - started_s)
    if not body:
        return await _send_empty(send, status, *headers)
    body, coded = await encode_payload(scope, body)
    if scope["method"] == "HEAD":
        send = _dropping_body(send)
    await send_json(send, status, body, [*headers, *coded])
    return status


async def _say_what_it_is(server: Server, scope: Scope, send: Send) -> int:
    if scope["method"] not in ("GET", "HEAD"):
        return await _send_empty(send, 405, _allow({"GET": None}))
    if scope["method"] == "HEAD":
        send = _dropping_body(send)
    host = (host_and_origin(scope)[0] or b"").decode("latin-1")
    # As it was asked, which may be another name than its own; but nothing that a shell would take apart.
    address = host if split_authority(host) is not None else "HOST:PORT"
    token = "ignored" if server.auth is None else "…"
    await send_bytes(send, 200, b"text/plain; charset=utf-8", _WHAT_IT_IS.format(address, token).encode())
    return 200


_WHAT_IT_IS = f"""\
s2 lite {__version__}: a server of S2 durable streams

GET /v1/basins     what is kept here
GET /openapi.json  the API, described
GET /health        OK while it serves
GET /metrics       counters, for Prometheus

From a shell:
export S2_ACCOUNT_ENDPOINT=http://{{0}}
export S2_BASIN_ENDPOINT=http://{{0}}
export S2_ACCESS_TOKEN={{1}}
s2 list
"""


async def _health(server: Server, scope: Scope, send: Send) -> int:
    """200 and `OK`, or 503 and why. For load balancers and scripts that wait for a server: no version, no token."""
    if scope["method"] not in ("GET", "HEAD"):
        return await _send_empty(send, 405, _allow({"GET": None}))
    problem = "draining" if server.draining else server.store.failure
    text = "OK" if problem is None else problem
    if scope["method"] == "HEAD":
        send = _dropping_body(send)
    status = 200 if problem is None else 503
    await send_bytes(send, status, b"text/plain; charset=utf-8", text.encode())
    return status


# The names of streams that were found to be valid: each record request brings one.
_known_streams: dict[bytes, str] = {}
MAX_KNOWN_STREAMS = 4096


def _stream_name(segment: bytes) -> str:
    name = _known_streams.get(segment)
    if name is None:
        name = _name(segment, "stream")
        if len(_known_streams) >= MAX_KNOWN_STREAMS:
            _known_streams.clear()
        _known_streams[segment] = name
    return name


def _name(segment: bytes, parameter: str) -> str:
    """The name in a segment of a path: percent-decoded once, and checked."""
    try:
        name = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
        PARAMETERS[parameter](name)
    except UnicodeDecodeError as error:
        raise ApiError("bad_path", "the name in the path is not valid UTF-8") from error
    except BadValueError as error:
        raise ApiError("bad_path", error.message) from error
    return name


async def _send_empty(send: Send, status: int, *headers: tuple[bytes, bytes]) -> int:
    await send_bytes(send, status, None, b"", headers)
    return status


async def _send_introduction_error(send: Send, error: S2Error) -> int:
    status, body, headers = introduction_error_response(error)
    await send_json(send, status, body, headers)
    return status


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
