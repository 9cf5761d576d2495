"""`s2 streams list|create|get|reconfigure|delete`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.basins import refuse_no_change
from s2cli.commands.connect import connect
from s2cli.commands.resource_options import request_token, stream_config, stream_patch
from s2cli.commands.resource_output import STREAM_HEADERS, print_config, print_list, print_one, stream_row
from s2cli.errors import ExitCode, UsageError
from s2cli.values import StreamUri, parse_resource, parse_uri
from s2cli.wire.names import check_basin_name, check_stream_name, check_stream_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.resource_args import (
        DeleteArgs,
        GetArgs,
        ListByUriArgs,
        ListStreamsArgs,
        NewStreamArgs,
        ReconfigureStreamArgs,
        ResourceArgs,
        StreamPagesArgs,
    )
    from s2cli.client.api import Resource


def list_streams(args: ListByUriArgs | ListStreamsArgs) -> int:
    basin = parse_resource(args.uri).basin
    print_list(args, stream_pages(args), STREAM_HEADERS, stream_row, lambda item: f"s2://{basin}/{item.get('name')}")
    return ExitCode.OK


def stream_pages(args: StreamPagesArgs) -> Iterator[list[Resource]]:
    """The pages of streams that the operand and the options ask for."""
    place = parse_resource(args.uri)
    check_basin_name(place.basin)
    if place.stream is not None and args.prefix:
        raise UsageError(f"{args.uri} and --prefix {args.prefix} name two prefixes: give one of them")
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


def create_stream(args: NewStreamArgs, said: str = "created stream {}") -> int:
    """`said` tells that it was done, with the URI where its braces are."""
    uri = stream_uri(args)
    config, token = stream_config(args), request_token(args)
    stream = api.create_stream(connect(args), uri.basin, uri.stream, config, token)
    console.done(said.format(uri))
    if args.output is not None:
        print_one(args, stream, STREAM_HEADERS, [stream_row(stream)], str(uri))
    return ExitCode.OK


def get_stream(args: GetArgs) -> int:
    uri = stream_uri(args)
    print_config(args, api.get_stream(connect(args), uri.basin, uri.stream), str(uri))
    return ExitCode.OK


def reconfigure_stream(
    args: ReconfigureStreamArgs, said: str = "reconfigured stream {}", *, always_print: bool = False
) -> int:
    """Changes what the options name. The whole StreamConfig is printed where --output asks for it."""
    uri = stream_uri(args)
    patch, token = stream_patch(args), request_token(args)
    refuse_no_change(args, patch)
    config = api.reconfigure_stream(connect(args), uri.basin, uri.stream, patch, token)
    console.done(said.format(uri))
    if always_print or args.output is not None:
        print_config(args, config, str(uri))
    return ExitCode.OK


def delete_stream(args: DeleteArgs, said: str = "stream {} is being deleted", *, ask: bool = True) -> int:
    uri = stream_uri(args)
    token = request_token(args)
    if ask and not console.confirm_deletion(f"stream {uri} with all its records", name=None, yes=args.yes):
        return ExitCode.FAILURE
    api.delete_stream(connect(args), uri.basin, uri.stream, token)
    console.notice(said.format(uri))
    return ExitCode.OK


def stream_uri(args: ResourceArgs) -> StreamUri:
    uri = parse_uri(args.uri)
    check_basin_name(uri.basin)
    check_stream_name(uri.stream)
    return uri
