"""The flat verbs of the official tool for access tokens, metrics and locations, with its output on stdout."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands import locations, metrics, tokens
from s2cli.commands.basins import connect
from s2cli.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.official_args import (
        GetAccountMetricsArgs,
        GetBasinMetricsArgs,
        GetDefaultLocationArgs,
        GetStreamMetricsArgs,
        ListAccessTokensArgs,
        ListLocationsArgs,
        RevokeAccessTokenArgs,
        SetDefaultLocationArgs,
    )
    from s2cli.client.api import Resource


def list_access_tokens(args: ListAccessTokensArgs) -> int:
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


def revoke_access_token(args: RevokeAccessTokenArgs) -> int:
    return tokens.revoke_token(args, "✓ Access token '{}' revoked")


def get_metrics(args: GetAccountMetricsArgs | GetBasinMetricsArgs | GetStreamMetricsArgs) -> int:
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


def list_locations(args: ListLocationsArgs) -> int:
    for item in api.list_locations(connect(args)):
        print_location(item)
    return ExitCode.OK


def get_default_location(args: GetDefaultLocationArgs) -> int:
    print_location(api.get_default_location(connect(args)))
    return ExitCode.OK


def set_default_location(args: SetDefaultLocationArgs) -> int:
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
