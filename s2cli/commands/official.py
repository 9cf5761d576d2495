"""The flat verbs of the official tool, with its output on stdout, so that scripts for it go on working."""

from __future__ import annotations

from s2cli.commands import basins, streams
from s2cli.commands.resource_output import print_names, state
from s2cli.errors import ExitCode
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.cli.official_args import (
        CreateBasinArgs,
        CreateStreamArgs,
        DeleteBasinArgs,
        DeleteStreamArgs,
        ListBasinsArgs,
        ListStreamsArgs,
        LsArgs,
        ReconfigureBasinArgs,
        ReconfigureStreamArgs,
    )
    from s2cli.client.api import Resource


IN_OTHER_FORMATS = "s2 basins list and s2 streams list show them, and print all of them with -o name -0"


def ls(args: LsArgs) -> int:
    if not args.uri:
        return list_basins(args)
    basin = parse_resource(args.uri).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']} {item.get('created_at')}")


def list_basins(args: LsArgs | ListBasinsArgs) -> int:
    def line(item: Resource) -> str:
        location = item.get("location")
        return f"{item['name']} ({location})" if location else str(item["name"])

    return _print(basins.basin_pages(args), line)


def list_streams(args: ListStreamsArgs) -> int:
    basin = parse_resource(args.uri).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']}")


def create_basin(args: CreateBasinArgs) -> int:
    return basins.create_basin(args, "✓ Basin created")


def create_stream(args: CreateStreamArgs) -> int:
    return streams.create_stream(args, "✓ Stream created")


def reconfigure_basin(args: ReconfigureBasinArgs) -> int:
    return basins.reconfigure_basin(args, "✓ Basin reconfigured", always_print=True)


def reconfigure_stream(args: ReconfigureStreamArgs) -> int:
    return streams.reconfigure_stream(args, "✓ Stream reconfigured", always_print=True)


def delete_basin(args: DeleteBasinArgs) -> int:
    return basins.delete_basin(args, "✓ Basin deletion requested", ask=False)


def delete_stream(args: DeleteStreamArgs) -> int:
    return streams.delete_stream(args, "✓ Stream deletion requested", ask=False)


def _print(pages: Iterable[list[Resource]], line: Callable[[Resource], str]) -> int:
    def lines(items: list[Resource]) -> list[str]:
        return [line(item) + (" [deleting]" if state(item) == "deleting" else "") for item in items]

    print_names(map(lines, pages), hint=IN_OTHER_FORMATS)
    return ExitCode.OK
