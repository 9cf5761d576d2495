"""The operations on basins (protocol section 2.4)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError
from s2cli.server.api.location_handlers import LOCAL, check_known
from s2cli.server.api.request import Request, checked_config, json_response, rfc3339, string_member
from s2cli.server.api.visible_items import list_within
from s2cli.server.core.encryption import check_available
from s2cli.server.store.interface import BasinRow
from s2cli.wire.configs import parse_basin_config, patch_basin_config, show_basin_config
from s2cli.wire.names import check_basin_name, check_basin_prefix

if TYPE_CHECKING:
    from s2cli.server.api.request import Response
    from s2cli.server.process import Server

ACCEPTED: Response = 202, b"", []


async def list_basins(request: Request) -> Response:
    prefix, start_after, limit = request.page(check_basin_prefix)
    allowed = None if request.grant is None else request.grant.scope.basins
    store = request.server.store
    rows, has_more = await list_within(
        allowed, prefix, lambda prefix: store.list_basins(prefix, start_after, limit), lambda row: row.name
    )
    return json_response(200, {"basins": [_info(row) for row in rows], "has_more": has_more})


async def create_basin(request: Request) -> Response:
    members = await request.members()
    name = string_member(members, "basin", check_basin_name)
    request.permit("create-basin", name)
    if members.get("location") is not None:
        check_known(members["location"])
    config = _config(members.get("config"))
    key = request.create_key(config)
    row = BasinRow(name, config, request.server.clock_ms(), request_key=None if key is None else key.stored)
    request.confirm()
    existing = await request.server.store.insert_basin(row)
    if existing is None:
        return json_response(201, _info(row), b"created")
    _refuse_deleting(existing)
    if key is None or not key.made(existing.request_key):
        raise ApiError("resource_already_exists", f"basin `{name}` already exists")
    return json_response(201, _info(existing), b"noop")


async def get_basin_config(request: Request) -> Response:
    row = await request.server.store.get_basin(request.name)
    if row is None:
        raise not_found(request.name)
    return json_response(200, show_basin_config(row.config))


async def ensure_basin(request: Request) -> Response:
    body = await request.optional_json()
    if body is not None and not isinstance(body, dict):
        raise ApiError("bad_json", "the body must be a JSON object")
    if body is not None and body.get("location") is not None:
        check_known(body["location"])
    # A full desired state: without a config it is the default one (protocol section 2.4).
    config = _config((body or {}).get("config"))
    server = request.server
    async with server.changing:
        row = BasinRow(request.name, config, server.clock_ms())
        created = json_response(201, _info(row), b"created")
        request.confirm()
        existing = await server.store.insert_basin(row, request.reply(created))
        if existing is None:
            return created
        _refuse_deleting(existing)
        if existing.config == config:
            return json_response(200, _info(existing), b"noop")
        request.permit("reconfigure-basin", request.name)
        existing.config = config
        updated = json_response(200, _info(existing), b"updated")
        request.confirm()
        await server.store.update_basin(existing, request.reply(updated))
        return updated


async def reconfigure_basin(request: Request) -> Response:
    """Changes what the body names; only streams that are created later are concerned."""
    patch = await request.members()
    server = request.server
    async with server.changing:
        row = await active_basin(server, request.name)
        row.config = _storable(checked_config(partial(patch_basin_config, row.config), patch))
        response = json_response(200, show_basin_config(row.config))
        request.confirm()
        await server.store.update_basin(row, request.reply(response))
    return response


async def delete_basin(request: Request) -> Response:
    """Marks the basin, and with it all its streams. These, and then it, are removed by upkeep."""
    server = request.server
    async with server.changing:
        row = await server.store.get_basin(request.name)
        if row is None:
            raise not_found(request.name)
        if row.deleted_at_ms is None:
            row.deleted_at_ms = server.clock_ms()
            request.confirm()
            await server.store.update_basin(row, request.reply(ACCEPTED))
            server.streams.basin_deleted(row.name)
            server.upkeep.remove_basin(row)
    return ACCEPTED


async def active_basin(server: Server, name: str) -> BasinRow:
    """The basin, for something that is to be created in it."""
    row = await server.store.get_basin(name)
    if row is None:
        raise not_found(name)
    _refuse_deleting(row)
    return row


def not_found(name: str) -> ApiError:
    return ApiError("basin_not_found", f"basin `{name}` not found")


def _refuse_deleting(row: BasinRow) -> None:
    if row.deleted_at_ms is not None:
        raise ApiError("basin_deletion_pending", f"basin `{row.name}` is being deleted")


def _config(value: object) -> dict[str, Any]:
    return _storable(checked_config(parse_basin_config, value))


def _storable(config: dict[str, Any]) -> dict[str, Any]:
    if config["stream_cipher"] is not None:
        check_available(config["stream_cipher"])
    return config


def _info(row: BasinRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "location": LOCAL,
        "created_at": rfc3339(row.created_at_ms),
        "deleted_at": rfc3339(row.deleted_at_ms),
        # Deprecated, for old clients.
        "state": "active" if row.deleted_at_ms is None else "deleting",
    }
