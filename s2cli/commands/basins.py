"""`s2 basins list|create|get|reconfigure|delete`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.client.api import ApiClient
from s2cli.commands.confirm import confirm_deletion
from s2cli.commands.connect import open_settings
from s2cli.commands.resource_options import basin_config, basin_patch, request_token
from s2cli.commands.resource_output import (
    BASIN_HEADERS,
    basin_row,
    print_changed,
    print_config,
    print_created,
    print_list,
)
from s2cli.errors import ExitCode, UsageError
from s2cli.values import parse_basin
from s2cli.wire.names import check_basin_name, check_basin_prefix, check_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.args import Args
    from s2cli.client.api import Resource


def run(args: Args) -> int:
    return VERBS[args.command.rpartition(" ")[2]](args)


def list_basins(args: Args) -> int:
    print_list(args, basin_pages(args), BASIN_HEADERS, basin_row, lambda item: str(item.get("name")))
    return ExitCode.OK


def basin_pages(args: Args) -> Iterator[list[Resource]]:
    """The pages of basins that the options ask for."""
    check_basin_prefix(args.prefix, "prefix")
    check_basin_prefix(args.start_after, "start after")
    connection = connect(args)
    return api.pages(
        lambda start_after, size: api.list_basins(connection, args.prefix, start_after, size),
        args.start_after,
        args.limit,
        only_one=args.no_auto_paginate,
    )


def create_basin(args: Args) -> int:
    name = basin_name(args.basin)
    basin = make_basin(args, name)
    console.notice(f"created basin {name}")
    print_created(args, basin, BASIN_HEADERS, basin_row, name)
    return ExitCode.OK


def make_basin(args: Args, name: str) -> Resource:
    """Create the basin with the config that the options ask for."""
    config, token = basin_config(args), request_token(args)
    if args.location is not None:
        check_location(args.location)
    return api.create_basin(connect(args), name, config, args.location, token)


def get_basin(args: Args) -> int:
    name = basin_name(args.basin)
    print_config(args, api.get_basin(connect(args), name), name)
    return ExitCode.OK


def reconfigure_basin(args: Args) -> int:
    name = basin_name(args.basin)
    config = change_basin(args, name)
    console.notice(f"reconfigured basin {name}")
    print_changed(args, config, name)
    return ExitCode.OK


def change_basin(args: Args, name: str) -> Resource:
    """Change what the options name; the whole BasinConfig."""
    patch, token = basin_patch(args), request_token(args)
    refuse_no_change(args, patch)
    return api.reconfigure_basin(connect(args), name, patch, token)


def refuse_no_change(args: Args, patch: Resource) -> None:
    if not patch:
        raise UsageError("no option says what to change", hint=f"s2 {args.command} --help lists them")


def delete_basin(args: Args) -> int:
    name = basin_name(args.basin)
    token = request_token(args)
    if not confirm_deletion(f"basin {name} with all its streams and records", name=name, yes=args.yes):
        return ExitCode.FAILURE
    api.delete_basin(connect(args), name, token)
    console.notice(f"basin {name} is being deleted")
    return ExitCode.OK


def basin_name(text: str) -> str:
    name = parse_basin(text)
    check_basin_name(name)
    return name


def connect(args: Args) -> ApiClient:
    settings = open_settings(args)
    return ApiClient(settings.target(), settings.timeout_s, console.notice)


VERBS = {
    "list": list_basins,
    "create": create_basin,
    "get": get_basin,
    "reconfigure": reconfigure_basin,
    "delete": delete_basin,
}
