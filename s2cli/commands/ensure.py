"""`s2 ensure`: creates what is missing. Of what exists already, it changes only the settings that are given.

It does not use the API's PUT, which sets the whole configuration: settings that were not given would be reset.
"""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.basins import basin_name
from s2cli.commands.connect import connect
from s2cli.commands.resource_options import basin_config, basin_patch, new_request_token, stream_config, stream_patch
from s2cli.commands.resource_output import print_one, settings
from s2cli.commands.streams import stream_uri
from s2cli.errors import ApiError, ExitCode, PreconditionError
from s2cli.wire.names import check_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s2cli.cli.resource_args import EnsureBasinArgs, EnsureByUriArgs, EnsureStreamArgs, OutputArgs
    from s2cli.client.api import ApiClient, Resource
    from s2cli.values import StreamUri

# What was done, in the words of the API's `s2-provision-result`, and for people.
CREATED, UPDATED, NOOP = "created", "updated", "noop"
_DONE = {CREATED: "created", UPDATED: "changed", NOOP: "nothing to do for"}


def ensure_basin(args: EnsureByUriArgs | EnsureBasinArgs) -> int:
    name = basin_name(args.uri)
    config, patch = basin_config(args), basin_patch(args)
    if args.location is not None:
        check_location(args.location)
    connection = connect(args)
    if _create_basin(connection, name, config, args.location):
        result = CREATED
    else:
        if args.location is not None:
            _check_location(connection, name, args.location)
        result = _change(
            patch,
            lambda: api.get_basin(connection, name),
            lambda: api.reconfigure_basin(connection, name, patch, new_request_token()),
        )
    _report(args, result, f"basin {name}", name, lambda: api.get_basin(connection, name))
    return ExitCode.OK


def ensure_stream(args: EnsureByUriArgs | EnsureStreamArgs) -> int:
    uri = stream_uri(args)
    config, patch = stream_config(args), stream_patch(args)
    connection = connect(args)
    if _create_stream(connection, uri, config):
        result = CREATED
    else:
        result = _change(
            patch,
            lambda: api.get_stream(connection, uri.basin, uri.stream),
            lambda: api.reconfigure_stream(connection, uri.basin, uri.stream, patch, new_request_token()),
        )
    _report(args, result, f"stream {uri}", str(uri), lambda: api.get_stream(connection, uri.basin, uri.stream))
    return ExitCode.OK


def _create_basin(connection: ApiClient, name: str, config: Mapping[str, object], location: str | None) -> bool:
    """Creates the basin, if it is missing. Returns True if it was."""
    # Each request has a token of its own: a token names one request.
    return _is_new(lambda: api.create_basin(connection, name, config, location, new_request_token()))


def _create_stream(connection: ApiClient, uri: StreamUri, config: Mapping[str, object]) -> bool:
    """Creates the stream, and its basin too, if they are missing. Returns True if the stream was."""

    def create() -> Resource:
        return api.create_stream(connection, uri.basin, uri.stream, config, new_request_token())

    try:
        return _is_new(create)
    except ApiError as error:
        if error.code != "basin_not_found":
            raise
    if _create_basin(connection, uri.basin, {}, None):
        console.notice(f"created basin {uri.basin}")
    return _is_new(create)


def _is_new(create: Callable[[], Resource]) -> bool:
    """Calls `create`; False if the resource existed already. Asking first would be worse: between the answer and the
    create somebody else may create it, and a resource that is being deleted would count as there."""
    try:
        create()
    except ApiError as error:
        if error.code != "resource_already_exists":
            raise
        return False
    return True


def _check_location(connection: ApiClient, name: str, location: str) -> None:
    there = api.find_basin(connection, name).get("location")
    if there != location:
        raise PreconditionError(f"basin {name} lies in {there or 'no known location'}, and cannot move to {location}")


def _change(patch: Resource, get: Callable[[], Resource], change: Callable[[], Resource]) -> str:
    if not patch:
        return NOOP
    before = get()
    return NOOP if change() == before else UPDATED


def _report(args: OutputArgs, result: str, what: str, name: str, get: Callable[[], Resource]) -> None:
    console.done(f"{_DONE[result]} {what}")
    if args.output is not None:
        config = get() if args.output != "name" else {}
        rows: list[tuple[str, ...]] = [("result", result), *settings(config)]
        print_one(args, {"name": name, "result": result, "config": config}, ("SETTING", "VALUE"), rows, name)
