"""`s2 streams list|create|get|reconfigure|delete`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.basins import connect, refuse_no_change
from s2cli.commands.confirm import confirm_deletion
from s2cli.commands.resource_options import request_token, stream_config, stream_patch
from s2cli.commands.resource_output import (
    STREAM_HEADERS,
    print_changed,
    print_config,
    print_created,
    print_list,
    stream_row,
)
from s2cli.errors import ExitCode, UsageError
from s2cli.values import S2Uri, StreamUri, parse_resource, parse_uri
from s2cli.wire.names import check_basin_name, check_stream_name, check_stream_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.args import Args
    from s2cli.client.api import Resource


def run(args: Args) -> int:
    return VERBS[args.command.rpartition(" ")[2]](args)


def list_streams(args: Args) -> int:
    basin = parse_resource(args.basin).basin
    print_list(args, stream_pages(args), STREAM_HEADERS, stream_row, lambda item: f"s2://{basin}/{item.get('name')}")
    return ExitCode.OK


def stream_pages(args: Args) -> Iterator[list[Resource]]:
    """The pages of streams that the operand and the options ask for."""
    place = parse_resource(args.basin)
    check_basin_name(place.basin)
    if place.stream is not None and args.prefix:
        raise UsageError(f"{args.basin} and --prefix {args.prefix} name two prefixes: give one of them")
    prefix = place.stream or args.prefix
    check_stream_prefix(prefix, "prefix")
    check_stream_prefix(args.start_after, "start after")
    connection = connect(args)
    return api.pages(
        lambda start_after, size: api.list_streams(connection, place.basin, prefix, start_after, size),
        args.start_after,
        args.limit,
        only_one=args.no_auto_paginate,
    )


def create_stream(args: Args) -> int:
    uri = stream_uri(args)
    stream = make_stream(args, uri)
    console.notice(f"created stream {uri}")
    print_created(args, stream, STREAM_HEADERS, stream_row, str(uri))
    return ExitCode.OK


def make_stream(args: Args, uri: StreamUri) -> Resource:
    """Create the stream with the config that the options ask for."""
    config, token = stream_config(args), request_token(args)
    return api.create_stream(connect(args), uri.basin, uri.stream, config, token)


def get_stream(args: Args) -> int:
    uri = stream_uri(args)
    print_config(args, api.get_stream(connect(args), uri.basin, uri.stream), str(uri))
    return ExitCode.OK


def reconfigure_stream(args: Args) -> int:
    uri = stream_uri(args)
    config = change_stream(args, uri)
    console.notice(f"reconfigured stream {uri}")
    print_changed(args, config, str(uri))
    return ExitCode.OK


def change_stream(args: Args, uri: StreamUri) -> Resource:
    """Change what the options name; the whole StreamConfig."""
    patch, token = stream_patch(args), request_token(args)
    refuse_no_change(args, patch)
    return api.reconfigure_stream(connect(args), uri.basin, uri.stream, patch, token)


def delete_stream(args: Args) -> int:
    uri = stream_uri(args)
    token = request_token(args)
    if not confirm_deletion(f"stream {uri} with all its records", name=None, yes=args.yes):
        return ExitCode.FAILURE
    api.delete_stream(connect(args), uri.basin, uri.stream, token)
    console.notice(f"stream {uri} is being deleted")
    return ExitCode.OK


def stream_uri(args: Args) -> StreamUri:
    uri = parse_uri(args.uri or "")
    check_names(uri)
    return uri


def check_names(uri: S2Uri) -> None:
    check_basin_name(uri.basin)
    if uri.stream is not None:
        check_stream_name(uri.stream)


VERBS = {
    "list": list_streams,
    "create": create_stream,
    "get": get_stream,
    "reconfigure": reconfigure_stream,
    "delete": delete_stream,
}
