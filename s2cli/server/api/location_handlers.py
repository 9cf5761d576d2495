"""Locations (protocol section 2.3). There is one: here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.request import Request, json_response
from s2cli.wire.configs import STORAGE_CLASSES, SYSTEM_DEFAULTS
from s2cli.wire.names import check_location

if TYPE_CHECKING:
    from s2cli.server.api.request import Response

LOCAL = "local"

# Nobody else has anything at this place. The storage classes are those that clients know and offer: a stream may name
# any other, and none is better here than another.
_INFO = {
    "name": LOCAL,
    "is_private": True,
    "storage_classes": list(STORAGE_CLASSES),
    "default_storage_class": SYSTEM_DEFAULTS["storage_class"],
}


async def list_locations(request: Request) -> Response:
    return json_response(200, [_INFO])


async def get_default_location(request: Request) -> Response:
    return json_response(200, _INFO)


async def set_default_location(request: Request) -> Response:
    check_known(await request.json())
    return json_response(200, _INFO)


def check_known(value: Any) -> None:
    """Raises ApiError unless the value of a JSON body is the name of a location that there is."""
    if not isinstance(value, str):
        raise ApiError("bad_json", "a location must be a string")
    try:
        check_location(value)
    except BadValueError as error:
        raise ApiError("bad_json", error.message) from error
    if value != LOCAL:
        raise ApiError("invalid", f"location `{value}` not found: this server has only `{LOCAL}`")
