"""The application: from a request to its handler, and the one place where an exception becomes an answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from s2cli import __version__
from s2cli.errors import ApiError, S2Error
from s2cli.server.api.addressing import basin_of, name_in_path, stream_name
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.introduction import introduction_error_response
from s2cli.server.api.owner_handlers import serve_owner
from s2cli.server.api.prometheus import PATH as PROMETHEUS_PATH
from s2cli.server.api.prometheus import answer_metrics
from s2cli.server.api.request import Request
from s2cli.server.api.routes import PARAMETERS, RECORD_ROUTES, STREAMS_PREFIX, find
from s2cli.server.api.small_append import SmallAppends
from s2cli.server.api.timestamps import rfc3339
from s2cli.server.client_log import CLIENT_LOG, REQUEST_LOG, quoted
from s2cli.server.core.auth import ON_STREAM
from s2cli.server.http.authority import is_same_host, split_authority
from s2cli.server.http.content_coding import THRESHOLD_BYTES, encode_payload
from s2cli.server.http.cors import answer_preflight, is_preflight, permission
from s2cli.server.http.exchange import DisconnectedError, encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from s2cli.server.api.request import Response, Route
    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.http.exchange import Application, Exchange

    Methods = dict[str, Route]
    Answer = Callable[[Exchange], Coroutine[Any, Any, None]]

log = logging.getLogger(CLIENT_LOG)

HEALTH_PATHS = (b"/health", b"/ping")
# The rest is only counted.
MAX_DOUBTFUL_PLACES = 100
# Of a list on its way: its rows, and what is made of them.
CONTROL_BYTES = 1024 * 1024
# What anybody may ask for.
PUBLIC_PATHS = (*HEALTH_PATHS, b"/", b"/openapi.json")
PLAIN_TEXT = b"text/plain; charset=utf-8"


def application(server: Server, *, is_private: bool = False) -> Application:
    """The application that serves `server`. `is_private`: nobody but its owner can reach it, so no token is needed."""
    auth = None if is_private else server.auth
    # A page has no token, and does not get through a socket file.
    host_names = server.host_names if auth is None and not is_private else None
    cors = server.cors

    async def answer(exchange: Exchange) -> None:
        server.exchanges += 1
        failure: Response | None = None
        try:
            path = exchange.raw_path
            if exchange.repeated is not None:
                # Two hosts are also a request target, or an `:authority`, that names another one than the header.
                text = exchange.repeated.decode()
                raise ApiError("bad_header", f"Invalid header `{text}`: the request has more than one")
            host, origin = exchange.fields.get(b"host"), exchange.fields.get(b"origin")
            is_guarded = host_names is not None and path not in HEALTH_PATHS
            if is_guarded:
                assert host_names is not None
                host_names.check(host)
            if origin is not None:
                if cors is not None and cors.lets_in(origin):
                    exchange.added_headers = permission(origin)
                    if is_preflight(exchange):
                        answer_preflight(exchange)
                        return
                elif is_guarded and not is_same_host(origin, host):
                    raise _foreign_origin(origin)
            if auth is not None and path not in PUBLIC_PATHS:
                exchange.grant = await auth.authenticate(exchange.fields.get(b"authorization"))
            # The data path first, and at little cost: one append is worth about 40 microseconds.
            if path.startswith(STREAMS_PREFIX):
                end = path.find(b"/", len(STREAMS_PREFIX))
                if end > len(STREAMS_PREFIX) and (methods := RECORD_ROUTES.get(path[end:])) is not None:
                    await _serve_records(server, exchange, methods, path[len(STREAMS_PREFIX) : end], None)
                    return
            if not (is_private and await serve_owner(server, exchange)):
                await _control(server, exchange, path, is_private=is_private)
        except Exception as error:  # noqa: BLE001 - each has an answer
            failure = _failure(exchange, error)
        finally:
            # Also of a response that has begun: then the client only sees that it breaks off.
            status = exchange.status or 200 if failure is None else failure[0]
            server.meters.totals.answered(exchange.operation, status)
            server.exchange_ended()
        if failure is not None:
            # Raises, and so ends the exchange as broken, if the response has begun.
            exchange.answer_json(*failure)

    if server.logs_requests:
        return _logged(answer)
    if auth is not None:
        return answer
    small_appends = SmallAppends(server, host_names, answer)
    return lambda exchange: None if small_appends.take(exchange) else answer(exchange)


def _failure(exchange: Exchange, error: Exception) -> Response:
    """The answer to what a handler has raised."""
    if isinstance(error, DisconnectedError):
        # It may only have broken off its request, as one with a bad chunk does, and still read.
        error = ApiError("client_hangup", "the client disconnected before the request was complete")
    elif not isinstance(error, S2Error):
        log.error("%s %s failed", exchange.method, quoted(exchange.raw_path), exc_info=error)
        error = ApiError("other", "internal error")
    return error_response(error)


def _logged(answer: Answer) -> Application:
    """Logs each request when it has ended, a session too. Headers, bodies and the query are left out: they may be
    secret."""
    requests = logging.getLogger(REQUEST_LOG)

    async def answer_and_log(exchange: Exchange) -> None:
        began_s = time.monotonic()
        try:
            await answer(exchange)
        finally:
            took_ms = (time.monotonic() - began_s) * 1000
            path, status = quoted(exchange.raw_path), exchange.status or "-"
            requests.info("%s %s %s %.1f ms %d bytes", exchange.method, path, status, took_ms, exchange.written_bytes)

    return answer_and_log


def _foreign_origin(origin: bytes) -> ApiError:
    name = quoted(origin)
    return ApiError(
        "permission_denied",
        f"web pages from `{name}` may not use this server; "
        f"start it with --cors {'*' if origin == b'null' else name} to allow them",
    )


async def _serve_records(
    server: Server, exchange: Exchange, methods: Methods, segment: bytes, basin: str | None
) -> None:
    route = methods.get("GET" if exchange.method == "HEAD" else exchange.method)
    if route is None:
        _answer_empty(exchange, 405, _allow(methods))
        return
    exchange.operation = route.operation
    if server.draining:
        raise await server.refuse()
    started_s = server.now()
    stream = stream_name(segment)
    assert route.records is not None
    try:
        basin = basin_of(exchange, server.base_domain, basin)
        grant: Grant | None = exchange.grant
        if grant is not None:
            stream = grant.stream_name(stream)
            grant.require(route.operation, basin, stream)
        await route.records(server, exchange, basin, stream)
        if not exchange.client_paced:
            server.meters.totals.took(route.operation, server.now() - started_s)
    except S2Error as error:
        if not route.of_introduction:
            raise
        exchange.answer_json(*introduction_error_response(error))


async def _control(server: Server, exchange: Exchange, path: bytes, *, is_private: bool) -> None:
    if path in HEALTH_PATHS:
        _answer_health(server, exchange, is_private=is_private)
        return
    if path == b"/":
        _say_what_it_is(server, exchange)
        return
    if path == PROMETHEUS_PATH:
        if _is_get(exchange):
            await answer_metrics(server, exchange)
        return
    methods, found = find(path)
    if not methods:
        _answer_empty(exchange, 404)
        return
    route = methods.get("GET" if exchange.method == "HEAD" else exchange.method)
    if route is None:
        _answer_empty(exchange, 405, _allow(methods))
        return
    try:
        if route.records is not None:
            basin = name_in_path(found[0][1], PARAMETERS["basin"])
            await _serve_records(server, exchange, methods, found[1][1], basin)
        else:
            await _serve_control(server, exchange, route, found)
    except S2Error as error:
        if not route.of_introduction:
            raise
        exchange.answer_json(*introduction_error_response(error))


async def _serve_control(server: Server, exchange: Exchange, route: Route, found: list[tuple[str, bytes]]) -> None:
    # Routes that need no permission have no operation.
    exchange.operation = route.operation or "other"
    if server.draining:
        raise await server.refuse()
    started_s = server.now()
    names = [name_in_path(segment, PARAMETERS[parameter]) for parameter, segment in found]
    name = names.pop() if route.path[-1] == "}" else ""
    assert route.handler is not None
    request = Request(server, exchange, route.operation, route.body, name, names[0] if names else None)
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
        await server.memory.reserve(exchange.share, CONTROL_BYTES)
    status, body, headers = await request.answer(route.handler)
    assert request.permitted, f"{route.method} {route.path} was not checked"
    if request.operation:
        server.meters.operation(*request.counted_as())
    server.meters.totals.took(exchange.operation, server.now() - started_s)
    if not body:
        _answer_empty(exchange, status, *headers)
        return
    if len(body) > THRESHOLD_BYTES:
        body, coded = await encode_payload(exchange, body)
        headers = [*headers, *coded]
    exchange.answer_json(status, body, headers)


def _is_get(exchange: Exchange) -> bool:
    """Whether it only asks; else it is answered."""
    if exchange.method in ("GET", "HEAD"):
        return True
    _answer_empty(exchange, 405, _allow({"GET": None}))
    return False


def _say_what_it_is(server: Server, exchange: Exchange) -> None:
    if not _is_get(exchange):
        return
    host = exchange.fields.get(b"host", b"").decode("latin-1")
    # As it was asked, which may be another name than its own; but nothing that a shell would take apart.
    address = host if split_authority(host) is not None else "HOST:PORT"
    token = "ignored" if server.auth is None else "…"
    exchange.answer(200, PLAIN_TEXT, _WHAT_IT_IS.format(address, token).encode())


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


def _answer_health(server: Server, exchange: Exchange, *, is_private: bool) -> None:
    """200 and `OK`, or 503 and why. For load balancers and scripts that wait for a server: no version, no token. As
    JSON, for who asks for that, with the time since when, what is in doubt, and which basins another server takes from
    this one; names, that of the bucket too, only for whoever needs no token."""
    if not _is_get(exchange):
        return
    failure = server.store.failure
    problem = "draining" if server.draining else failure
    status = 200 if problem is None else 503
    if b"application/json" not in exchange.fields.get(b"accept", b""):
        exchange.answer(status, PLAIN_TEXT, (problem or "OK").encode())
        return
    facts: dict[str, Any] = {
        "status": "draining" if server.draining else "ok" if failure is None else "failing",
        "reason": failure,
        "since": rfc3339(server.store.failing_since_ms),
        "doubtful": len(server.store.doubtful),
        "contended": len(server.store.contended),
        "clock_ahead_ms": server.deletion_clock.ahead_ms,
    }
    if is_private or server.auth is None:
        facts["doubtful_places"] = list(server.store.doubtful[:MAX_DOUBTFUL_PLACES])
        facts["contended_basins"] = list(server.store.contended[:MAX_DOUBTFUL_PLACES])
        facts["bucket"] = server.bucket
    exchange.answer_json(status, encode_json(facts))


def _answer_empty(exchange: Exchange, status: int, *headers: tuple[bytes, bytes]) -> None:
    exchange.answer(status, None, b"", headers)


def _allow(methods: dict[str, Any]) -> tuple[bytes, bytes]:
    names = [*methods, "HEAD"] if "GET" in methods else list(methods)
    return b"allow", ", ".join(names).encode()
