"""The operations on basins (protocol section 2.4) and on locations (section 2.3), of which there is only `local`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.request import Request, checked_config, json_response, string_member
from s2cli.server.api.timestamps import rfc3339
from s2cli.server.core.encryption import check_available
from s2cli.server.core.resources import CREATED, NOOP
from s2cli.server.core.scopes import list_within
from s2cli.server.http.exchange import encode_json
from s2cli.wire.configs import (
    STORAGE_CLASSES,
    SYSTEM_DEFAULTS,
    parse_basin_config,
    patch_basin_config,
    show_basin_config,
)
from s2cli.wire.names import check_basin_name, check_basin_prefix, check_location

if TYPE_CHECKING:
    from s2cli.server.api.request import Response
    from s2cli.server.store.interface import BasinRow

ACCEPTED: Response = 202, b"", []

LOCAL = "local"

# Nobody else has anything at this place. The storage classes are those that clients know and offer: a stream may name
# any other, and none is better here than another.
_LOCATION = {
    "name": LOCAL,
    "is_private": True,
    "storage_classes": list(STORAGE_CLASSES),
    "default_storage_class": SYSTEM_DEFAULTS["storage_class"],
}


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
        _check_location(members["location"])
    config = _config(members.get("config"))
    key = request.create_key(config)
    row, is_new = await request.server.resources.create_basin(
        name, config, request.confirm, None if key is None else key.stored
    )
    if not is_new and (key is None or not key.made(row.request_key)):
        raise ApiError("resource_already_exists", f"basin `{name}` already exists")
    return provisioned(CREATED if is_new else NOOP, encode_json(_info(row)), 201)


async def get_basin_config(request: Request) -> Response:
    row = await request.server.resources.basin(request.name)
    return json_response(200, show_basin_config(row.config))


async def ensure_basin(request: Request) -> Response:
    body = await request.optional_json()
    if body is not None and not isinstance(body, dict):
        raise ApiError("bad_json", "the body must be a JSON object")
    if body is not None and body.get("location") is not None:
        _check_location(body["location"])
    # A full desired state: without a config it is the default one (protocol section 2.4).
    config = _config((body or {}).get("config"))
    outcome, row = await request.server.resources.ensure_basin(
        request.name,
        config,
        lambda: request.permit("reconfigure-basin", request.name),
        request.confirm,
        lambda outcome, row: request.reply(provisioned(outcome, encode_json(_info(row)))),
    )
    return provisioned(outcome, encode_json(_info(row)))


async def reconfigure_basin(request: Request) -> Response:
    """Changes what the body names; only streams that are created later are concerned."""
    patch = await request.members()
    row = await request.server.resources.reconfigure_basin(
        request.name,
        lambda config: _storable(checked_config(partial(patch_basin_config, config), patch)),
        request.confirm,
        lambda _, row: request.reply(json_response(200, show_basin_config(row.config))),
    )
    return json_response(200, show_basin_config(row.config))


async def delete_basin(request: Request) -> Response:
    """Marks the basin, and with it all its streams."""
    await request.server.resources.delete_basin(request.name, request.confirm, lambda *_: request.reply(ACCEPTED))
    return ACCEPTED


async def list_locations(request: Request) -> Response:
    return json_response(200, [_LOCATION])


async def get_default_location(request: Request) -> Response:
    return json_response(200, _LOCATION)


async def set_default_location(request: Request) -> Response:
    _check_location(await request.json())
    return json_response(200, _LOCATION)


def provisioned(outcome: str, info: bytes, status: int | None = None) -> Response:
    """What is answered where a basin or a stream was created, changed, or was as it should be; `info` is JSON."""
    status = status or (201 if outcome == CREATED else 200)
    return status, info, [(b"s2-provision-result", outcome.encode())]


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


def _check_location(value: Any) -> None:
    """Raises ApiError unless the value of a JSON body is the name of a location that there is."""
    if not isinstance(value, str):
        raise ApiError("bad_json", "a location must be a string")
    try:
        check_location(value)
    except BadValueError as error:
        raise ApiError("bad_json", error.message) from error
    if value != LOCAL:
        raise ApiError("invalid", f"location `{value}` not found: this server has only `{LOCAL}`")
