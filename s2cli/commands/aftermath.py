"""What is worth a second look once a command has ended: a name that is not there, a storage class that nobody knows.

Each look is one call, bounded in time and size; where it fails or is not allowed, nothing is said.
"""

from __future__ import annotations

from s2cli.cli import console
from s2cli.cli.account_args import RevokeTokenArgs
from s2cli.cli.record_args import RecordArgs
from s2cli.cli.resource_args import ResourceArgs
from s2cli.cli.suggestions import near
from s2cli.client import api
from s2cli.client.api import ApiClient
from s2cli.errors import S2Error
from s2cli.values import URI_PREFIX, parse_resource
from s2cli.wire.configs import STORAGE_CLASSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import CommonArgs, StreamConfigArgs
    from s2cli.client.api import Resource
    from s2cli.config.settings import Settings
    from s2cli.errors import ApiError
    from s2cli.values import S2Uri

LOOK_TIMEOUT_S = 1.0


def with_near_names(error: ApiError, args: CommonArgs) -> ApiError:
    """A 404 with the near names that there are, among the first thousand."""
    settings = args.settings
    if settings is None:
        return error
    try:
        names = _near_names(error.code, args, settings, _connect(settings))
    except S2Error:
        return error
    if not names:
        return error
    import shlex

    did_you_mean = f"did you mean {' or '.join(map(shlex.quote, names))}?"
    return error.reworded(hint=f"{did_you_mean} Else {error.hint}" if error.hint else did_you_mean)


def _connect(settings: Settings) -> ApiClient:
    return ApiClient(settings.target(), min(settings.timeout_s, LOOK_TIMEOUT_S), console.detail)


def _near_names(code: str, args: CommonArgs, settings: Settings, connection: ApiClient) -> list[str]:
    if code == "access_token_not_found" and isinstance(args, RevokeTokenArgs):
        items, _ = api.list_tokens(connection, "", "", api.MAX_PAGE)
        return near(args.token_id, [str(item.get("id")) for item in items])
    uri: S2Uri
    if isinstance(args, RecordArgs):
        uri, typed = settings.stream_uri(args.uri, args.stream), URI_PREFIX
    elif isinstance(args, ResourceArgs):
        uri, typed = parse_resource(args.uri), args.uri
    else:
        return []
    if code == "basin_not_found":
        items, _ = api.list_basins(connection, "", "", api.MAX_PAGE)
        below = "" if uri.stream is None else "/" + uri.stream
        # As it was typed; only a basin alone has a name without the prefix.
        prefix = URI_PREFIX if typed.startswith(URI_PREFIX) else ""
        return [prefix + name + below for name in near(uri.basin, _active(items))]
    if uri.stream is None:
        return []
    items, _ = api.list_streams(connection, uri.basin, "", "", api.MAX_PAGE)
    return [f"{URI_PREFIX}{uri.basin}/{name}" for name in near(uri.stream, _active(items))]


def _active(items: list[Resource]) -> list[str]:
    return [str(item.get("name")) for item in items if item.get("deleted_at") is None]


def warn_of_unknown_class(args: StreamConfigArgs) -> None:
    """Warns if the requested storage class is not among those that the locations of the server list. Silent if one of
    them has no list."""
    settings = args.settings
    if settings is None or args.storage_class in STORAGE_CLASSES:
        return
    try:
        locations = api.list_locations(_connect(settings))
    except S2Error:
        return
    known: set[str] = set()
    for location in locations:
        classes = location.get("storage_classes")
        if not isinstance(classes, list):
            return
        known.update(map(str, classes))
    if args.storage_class not in known:
        there_are = f"there are {', '.join(sorted(known))}" if known else "there is none"
        console.warn(f'no location has the storage class "{args.storage_class}": {there_are}')
