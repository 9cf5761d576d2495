"""`s2 basins list|create|get|reconfigure|delete`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.connect import connect
from s2cli.commands.resource_options import basin_config, basin_patch, request_token
from s2cli.commands.resource_output import BASIN_HEADERS, basin_row, print_config, print_list, print_one
from s2cli.errors import ExitCode, UsageError
from s2cli.values import parse_basin
from s2cli.wire.names import check_basin_name, check_basin_prefix, check_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.args import CommonArgs
    from s2cli.cli.resource_args import DeleteArgs, GetArgs, ListArgs, NewBasinArgs, PagesArgs, ReconfigureBasinArgs
    from s2cli.client.api import Resource


def list_basins(args: ListArgs) -> int:
    print_list(args, basin_pages(args), BASIN_HEADERS, basin_row, lambda item: str(item.get("name")))
    return ExitCode.OK


def basin_pages(args: PagesArgs) -> Iterator[list[Resource]]:
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


def create_basin(args: NewBasinArgs, said: str = "created basin {}") -> int:
    """`said` tells that it was done, with the name where its braces are."""
    name = basin_name(args.uri)
    config, token = basin_config(args), request_token(args)
    if args.location is not None:
        check_location(args.location)
    basin = api.create_basin(connect(args), name, config, args.location, token)
    console.done(said.format(name))
    if args.output is not None:
        print_one(args, basin, BASIN_HEADERS, [basin_row(basin)], name)
    return ExitCode.OK


def get_basin(args: GetArgs) -> int:
    name = basin_name(args.uri)
    print_config(args, api.get_basin(connect(args), name), name)
    return ExitCode.OK


def reconfigure_basin(
    args: ReconfigureBasinArgs, said: str = "reconfigured basin {}", *, always_print: bool = False
) -> int:
    """Changes what the options name. The whole BasinConfig is printed where --output asks for it."""
    name = basin_name(args.uri)
    patch, token = basin_patch(args), request_token(args)
    refuse_no_change(args, patch)
    config = api.reconfigure_basin(connect(args), name, patch, token)
    console.done(said.format(name))
    if always_print or args.output is not None:
        print_config(args, config, name)
    return ExitCode.OK


def refuse_no_change(args: CommonArgs, patch: Resource) -> None:
    if not patch:
        raise UsageError(
            "nothing to change: no option sets or unsets anything", hint=f"s2 {args.command} --help lists them"
        )


def delete_basin(args: DeleteArgs, said: str = "basin {} is being deleted", *, ask: bool = True) -> int:
    name = basin_name(args.uri)
    token = request_token(args)
    what = f"basin {name} with all its streams and records"
    if ask and not console.confirm_deletion(what, name=name, yes=args.yes):
        return ExitCode.FAILURE
    api.delete_basin(connect(args), name, token)
    console.notice(said.format(name))
    return ExitCode.OK


def basin_name(text: str) -> str:
    name = parse_basin(text)
    check_basin_name(name)
    return name
