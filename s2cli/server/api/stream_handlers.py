"""The operations on streams as resources (protocol section 2.5), and their creation on first use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError
from s2cli.server.api import basin_handlers
from s2cli.server.api.request import Request, checked_config, json_response, rfc3339, string_member
from s2cli.server.api.visible_items import list_within
from s2cli.server.store.interface import StreamRow
from s2cli.wire.configs import parse_stream_config, patch_stream_layer, resolve_stream_config
from s2cli.wire.names import check_stream_name, check_stream_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.api.request import Response
    from s2cli.server.process import Server
    from s2cli.server.store.interface import Reply
    from s2cli.wire.configs import Layer


async def list_streams(request: Request) -> Response:
    basin = request.basin()
    prefix, start_after, limit = request.page(check_stream_prefix)
    allowed = None
    if request.grant is not None:
        allowed = request.grant.scope.streams
        prefix, start_after = request.grant.stream_prefix + prefix, request.grant.stream_prefix + start_after
    store = request.server.store
    if await store.get_basin(basin) is None:
        raise basin_handlers.not_found(basin)
    rows, has_more = await list_within(
        allowed, prefix, lambda prefix: store.list_streams(basin, prefix, start_after, limit), lambda row: row.name
    )
    return json_response(200, {"streams": [_info(request, row) for row in rows], "has_more": has_more})


async def create_stream(request: Request) -> Response:
    basin = request.basin()
    members = await request.members()
    name = request.stream_name(string_member(members, "stream", check_stream_name))
    request.permit("create-stream", name)
    layer = checked_config(parse_stream_config, members.get("config"))
    # Of the layer as requested: changed defaults of the basin must not break a replay (protocol section 9.1).
    key = request.create_key(layer)
    row, is_new = await _insert(
        request.server, basin, name, layer, request.confirm, key=None if key is None else key.stored
    )
    if is_new:
        return json_response(201, _info(request, row), b"created")
    _refuse_deleting(row)
    if key is None or not key.made(row.request_key):
        raise ApiError("resource_already_exists", f"stream `{name}` in basin `{basin}` already exists")
    return json_response(201, _info(request, row), b"noop")


async def get_stream_config(request: Request) -> Response:
    row = await _stored(request.server, request.basin(), request.name)
    _refuse_deleting(row)
    return json_response(200, row.config)


async def ensure_stream(request: Request) -> Response:
    basin = request.basin()
    layer = checked_config(parse_stream_config, await request.optional_json())
    server = request.server

    def created(row: StreamRow) -> Response:
        return json_response(201, _info(request, row), b"created")

    async with server.changing:
        row, is_new = await _insert(
            server, basin, request.name, layer, request.confirm, reply_of=lambda row: request.reply(created(row))
        )
        if is_new:
            return created(row)
        _refuse_deleting(row)
        defaults = (await basin_handlers.active_basin(server, basin)).config["default_stream_config"]
        config = resolve_stream_config(layer, defaults)
        if row.config == config:
            return json_response(200, _info(request, row), b"noop")
        request.permit("reconfigure-stream", request.name)
        row.config = config
        updated = json_response(200, _info(request, row), b"updated")
        request.confirm()
        await server.store.update_stream(row, request.reply(updated))
        server.streams.config_changed(row)
        return updated


async def reconfigure_stream(request: Request) -> Response:
    """Changes what the body names; what is unset by it, the basin decides, or the system (protocol section 2.5)."""
    basin = request.basin()
    patch = await request.members()
    server = request.server
    async with server.changing:
        row = await _stored(server, basin, request.name)
        _refuse_deleting(row)
        defaults = (await basin_handlers.active_basin(server, basin)).config["default_stream_config"]
        row.config = resolve_stream_config(checked_config(partial(patch_stream_layer, row.config), patch), defaults)
        response = json_response(200, row.config)
        request.confirm()
        await server.store.update_stream(row, request.reply(response))
        server.streams.config_changed(row)
    return response


async def delete_stream(request: Request) -> Response:
    """Marks the stream. Its records, and then it, are removed by upkeep."""
    server, basin = request.server, request.basin()
    async with server.changing:
        row = await _stored(server, basin, request.name)
        if row.deleted_at_ms is None:
            request.confirm()
            await mark_deleted(server, row, request.reply(basin_handlers.ACCEPTED))
    return basin_handlers.ACCEPTED


async def mark_deleted(server: Server, row: StreamRow, reply: Reply | None = None) -> None:
    """Marks a stream as deleted, so that whatever is asked of it from now on fails, and has it removed. The caller
    holds `server.changing`."""
    row.deleted_at_ms = server.clock_ms()
    await server.store.update_stream(row, reply)
    server.streams.deleted(row)
    server.upkeep.remove_stream(row)


async def auto_create(
    server: Server, basin: str, name: str, on: str, layer: Layer, confirm: Callable[[], None]
) -> StreamRow:
    """The stream that an append or a read (which of them `on` says) found missing, if its basin creates streams so;
    `layer` is what the request says about its config. Of several first users one creates it; the others get the same
    one."""
    row = await basin_handlers.active_basin(server, basin)
    if not row.config[f"create_stream_on_{on}"]:
        raise not_found(basin, name)
    stream, _ = await _insert(server, basin, name, layer, confirm)
    _refuse_deleting(stream)
    return stream


async def missing_stream(server: Server, basin: str, name: str) -> ApiError:
    """What to answer to a request for records where the stream is not there: it may be the basin that is missing
    (protocol section 13.6)."""
    if await server.store.get_basin(basin) is None:
        return basin_handlers.not_found(basin)
    return not_found(basin, name)


def not_found(basin: str, name: str) -> ApiError:
    return ApiError("stream_not_found", f"stream `{name}` in basin `{basin}` not found")


async def _insert(
    server: Server,
    basin: str,
    name: str,
    layer: Layer,
    confirm: Callable[[], None],
    *,
    key: bytes | None = None,
    reply_of: Callable[[StreamRow], Reply | None] = lambda row: None,
) -> tuple[StreamRow, bool]:
    """The new stream and True, or the one that has the name already and False. `confirm` raises where the request may
    not make it any more. `reply_of` gives, for a request that may be repeated, the answer that is stored with it."""
    # Held until the row is written: the removal of a basin waits for the streams that are on their way into it.
    with server.upkeep.creating_in(basin):
        of_basin = (await basin_handlers.active_basin(server, basin)).config
        config = resolve_stream_config(layer, of_basin["default_stream_config"])
        row = StreamRow(basin, name, config, server.clock_ms(), of_basin["stream_cipher"], request_key=key)
        reply = reply_of(row)
        confirm()
        existing = await server.store.insert_stream(row, reply)
    return (row, True) if existing is None else (existing, False)


async def _stored(server: Server, basin: str, name: str) -> StreamRow:
    row = await server.store.get_stream(basin, name)
    if row is None:
        # Whether the basin is there is not looked at: so does the official server (protocol section 2.5).
        raise not_found(basin, name)
    return row


def _refuse_deleting(row: StreamRow) -> None:
    if row.deleted_at_ms is not None:
        raise ApiError("stream_deletion_pending", "stream deletion pending")


def _info(request: Request, row: StreamRow) -> dict[str, Any]:
    return {
        "name": request.shown_name(row.name),
        "created_at": rfc3339(row.created_at_ms),
        "deleted_at": rfc3339(row.deleted_at_ms),
        "cipher": row.cipher,
    }
