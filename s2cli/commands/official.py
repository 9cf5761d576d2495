"""The flat verbs of the official tool, with its output on stdout, so that scripts for it go on working."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands import basins, streams
from s2cli.commands.resource_options import request_token
from s2cli.commands.resource_output import print_config, print_names, state
from s2cli.errors import ExitCode
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.cli.args import Args
    from s2cli.client.api import Resource


IN_OTHER_FORMATS = "s2 basins list and s2 streams list show them, and print all of them with -o name -0"


def run(args: Args) -> int:
    return VERBS[args.command](args)


def ls(args: Args) -> int:
    if not args.basin:
        return list_basins(args)
    basin = parse_resource(args.basin).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']} {item.get('created_at')}")


def list_basins(args: Args) -> int:
    def line(item: Resource) -> str:
        location = item.get("location")
        return f"{item['name']} ({location})" if location else str(item["name"])

    return _print(basins.basin_pages(args), line)


def list_streams(args: Args) -> int:
    basin = parse_resource(args.basin).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']}")


def create_basin(args: Args) -> int:
    basins.make_basin(args, basins.basin_name(args.basin))
    console.notice("✓ Basin created")
    return ExitCode.OK


def create_stream(args: Args) -> int:
    streams.make_stream(args, streams.stream_uri(args))
    console.notice("✓ Stream created")
    return ExitCode.OK


def reconfigure_basin(args: Args) -> int:
    name = basins.basin_name(args.basin)
    config = basins.change_basin(args, name)
    console.notice("✓ Basin reconfigured")
    print_config(args, config, name)
    return ExitCode.OK


def reconfigure_stream(args: Args) -> int:
    uri = streams.stream_uri(args)
    config = streams.change_stream(args, uri)
    console.notice("✓ Stream reconfigured")
    print_config(args, config, str(uri))
    return ExitCode.OK


def delete_basin(args: Args) -> int:
    name = basins.basin_name(args.basin)
    api.delete_basin(basins.connect(args), name, request_token(args))
    console.notice("✓ Basin deletion requested")
    return ExitCode.OK


def delete_stream(args: Args) -> int:
    uri = streams.stream_uri(args)
    api.delete_stream(basins.connect(args), uri.basin, uri.stream, request_token(args))
    console.notice("✓ Stream deletion requested")
    return ExitCode.OK


def _print(pages: Iterable[list[Resource]], line: Callable[[Resource], str]) -> int:
    def lines(items: list[Resource]) -> list[str]:
        return [line(item) + (" [deleting]" if state(item) == "deleting" else "") for item in items]

    print_names(map(lines, pages), hint=IN_OTHER_FORMATS)
    return ExitCode.OK


VERBS = {
    "ls": ls,
    "list-basins": list_basins,
    "list-streams": list_streams,
    "create-basin": create_basin,
    "create-stream": create_stream,
    "delete-basin": delete_basin,
    "delete-stream": delete_stream,
    "get-basin-config": basins.get_basin,
    "get-stream-config": streams.get_stream,
    "reconfigure-basin": reconfigure_basin,
    "reconfigure-stream": reconfigure_stream,
}
