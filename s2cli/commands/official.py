"""The flat verbs of the official tool, with its output on stdout, so that scripts for it still work."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands import basins, locations, metrics, streams, tokens
from s2cli.commands.connect import connect
from s2cli.commands.resource_output import print_names, state
from s2cli.errors import ExitCode, UsageError
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.cli import official_args
    from s2cli.client.api import Resource


IN_OTHER_FORMATS = "s2 basins list and s2 streams list show them, and print all of them with -o name -0"


def ls(args: official_args.LsArgs) -> int:
    if not args.uri:
        return list_basins(args)
    basin = parse_resource(args.uri).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']} {item.get('created_at')}")


def list_basins(args: official_args.LsArgs | official_args.ListBasinsArgs) -> int:
    def line(item: Resource) -> str:
        location = item.get("location")
        return f"{item['name']} ({location})" if location else str(item["name"])

    return _print(basins.basin_pages(args), line)


def list_streams(args: official_args.ListStreamsArgs) -> int:
    basin = parse_resource(args.uri).basin
    return _print(streams.stream_pages(args), lambda item: f"s2://{basin}/{item['name']}")


def create_basin(args: official_args.CreateBasinArgs) -> int:
    return basins.create_basin(args, "✓ Basin created")


def create_stream(args: official_args.CreateStreamArgs) -> int:
    return streams.create_stream(args, "✓ Stream created")


def reconfigure_basin(args: official_args.ReconfigureBasinArgs) -> int:
    return basins.reconfigure_basin(args, "✓ Basin reconfigured", always_print=True)


def reconfigure_stream(args: official_args.ReconfigureStreamArgs) -> int:
    return streams.reconfigure_stream(args, "✓ Stream reconfigured", always_print=True)


def delete_basin(args: official_args.DeleteBasinArgs) -> int:
    return basins.delete_basin(args, "✓ Basin deletion requested", ask=False)


def delete_stream(args: official_args.DeleteStreamArgs) -> int:
    return streams.delete_stream(args, "✓ Stream deletion requested", ask=False)


def _print(pages: Iterable[list[Resource]], line: Callable[[Resource], str]) -> int:
    def lines(items: list[Resource]) -> list[str]:
        return [line(item) + (" [deleting]" if state(item) == "deleting" else "") for item in items]

    print_names(map(lines, pages), hint=IN_OTHER_FORMATS)
    return ExitCode.OK


# Access tokens, metrics and locations


def list_access_tokens(args: official_args.ListAccessTokensArgs) -> int:
    first = True
    for items in tokens.token_pages(args):
        width = max((len(str(item.get("id"))) for item in items), default=0)
        for item in items:
            console.print_lines([] if first else [""])
            console.print_lines(_token_lines(item, width))
            first = False
    return ExitCode.OK


def _token_lines(item: Resource, width: int) -> list[str]:
    scope = tokens.scope_of(item)
    sets = "  ".join(
        f"{shown}={tokens.shown_set(scope.get(name), none='∅')}"
        for shown, name in (("basins", "basins"), ("streams", "streams"), ("tokens", "access_tokens"))
    )
    permissions = " ".join(f"{group[0]}:{letters}" for group, letters in tokens.groups_of(scope)) or "none"
    first = f"{str(item.get('id')).ljust(width)}  expires {item.get('expires_at') or 'never'}"
    return [first, f"  {sets}  perms={permissions}  ops={len(tokens.operations_of(scope))}"]


def revoke_access_token(args: official_args.RevokeAccessTokenArgs) -> int:
    return tokens.revoke_token(args, "✓ Access token '{}' revoked")


def get_metrics(
    args: official_args.GetAccountMetricsArgs | official_args.GetBasinMetricsArgs | official_args.GetStreamMetricsArgs,
) -> int:
    start_ms, end_ms = metrics.start_and_end_ms(args, time.time_ns() // 1_000_000)
    if args.metric is not None and start_ms is None:
        raise UsageError("one of --start-timestamp and --start-ago is needed")
    if args.metric is not None and end_ms is None:
        raise UsageError("one of --end-timestamp and --end-ago is needed")
    for metric in metrics.find_metrics(args, start_ms or 0, end_ms or 0):
        console.print_lines(metric_lines(metric))
    return ExitCode.OK


def metric_lines(metric: Resource) -> list[str]:
    kind, name, unit, values = metrics.series(metric)
    if kind == "scalar":
        return [f"{name}: {values[0][1]} {unit}"]
    if kind == "label":
        return [f"{name}:", *(f"  {value}" for _, value in values)]
    rows = [(metrics.rfc3339(epoch_s), str(value)) for epoch_s, value in values]
    left = max(len("time"), *(len(row[0]) for row in rows)) if rows else len("time")
    right = max(len(unit), *(len(row[1]) for row in rows)) if rows else len(unit)
    rule = f"+{'-' * (left + 2)}+{'-' * (right + 2)}+"
    lines = [f"| {moment.ljust(left)} | {value.rjust(right)} |" for moment, value in rows]
    return [name, rule, f"| {'time'.ljust(left)} | {unit.rjust(right)} |", rule, *lines, rule, ""]


def list_locations(args: official_args.ListLocationsArgs) -> int:
    for item in api.list_locations(connect(args)):
        print_location(item)
    return ExitCode.OK


def get_default_location(args: official_args.GetDefaultLocationArgs) -> int:
    print_location(api.get_default_location(connect(args)))
    return ExitCode.OK


def set_default_location(args: official_args.SetDefaultLocationArgs) -> int:
    item = locations.change_default(args, "✓ Default location set")
    print_location(item)
    return ExitCode.OK


def print_location(item: Resource) -> None:
    console.print_line(f"{item.get('name')} ({locations.access(item)})")
    classes = item.get("storage_classes")
    if isinstance(classes, list):
        console.print_line(f"  storage classes: {', '.join(map(str, classes)) or 'none'}")
    if item.get("default_storage_class") is not None:
        console.print_line(f"  default storage class: {item['default_storage_class']}")
