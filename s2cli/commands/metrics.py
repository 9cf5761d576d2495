"""`s2 metrics account|basin|stream`."""

from __future__ import annotations

import time

from s2cli.amounts import format_utc
from s2cli.cli import console
from s2cli.cli.account_args import BasinPeriodArgs, StreamMetricsArgs, StreamPeriodArgs
from s2cli.client import api
from s2cli.commands.basins import basin_name
from s2cli.commands.connect import connect
from s2cli.commands.resource_output import print_names, text_of
from s2cli.commands.streams import stream_uri
from s2cli.errors import BadValueError, ExitCode, UsageError
from s2cli.positions import parse_position
from s2cli.values import parse_duration_ms, parse_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.account_args import AccountMetricsArgs, BasinMetricsArgs, PeriodArgs
    from s2cli.client.api import Resource

HEADERS = ("METRIC", "TIME", "VALUE", "UNIT")
DAY_MS = 86_400_000
# What there is of the account, a basin, a stream (protocol section 12.2).
SETS = {
    "account": ("active-basins", "account-ops", "estimated-billable-usage"),
    "basin": ("storage", "append-ops", "read-ops", "append-throughput", "read-throughput", "basin-ops"),
    "stream": ("storage",),
}


def print_metrics(args: AccountMetricsArgs | BasinMetricsArgs | StreamMetricsArgs) -> int:
    now_ms = time.time_ns() // 1_000_000
    start_ms, end_ms = start_and_end_ms(args, now_ms)
    if isinstance(args, StreamMetricsArgs):
        args.metric = args.metric or "storage"
    start_ms = now_ms - DAY_MS if start_ms is None else start_ms
    metrics = find_metrics(args, start_ms, now_ms if end_ms is None else end_ms)
    output = args.output or "table"
    if output == "table":
        rows = [row for metric in metrics for row in _rows(args.metric or "", metric)]
        figures = () if any(series(metric)[0] == "label" for metric in metrics) else {HEADERS.index("VALUE")}
        console.Table(HEADERS, show_headers=not args.no_headers, figures=figures).add(rows)
    elif output == "json":
        console.print_json(metrics, indent=2)
    elif output == "jsonl":
        console.print_json_lines(metrics)
    else:
        print_names([_names(metrics)], hint="-o json shows them")
    return ExitCode.OK


def find_metrics(args: PeriodArgs, start_ms: int, end_ms: int) -> list[Resource]:
    """The Metrics of the account, or of the basin or the stream that is named."""
    place: tuple[str, ...] = ()
    kind = "account"
    if isinstance(args, BasinPeriodArgs):
        kind, place = "basin", (basin_name(args.uri),)
    elif isinstance(args, StreamPeriodArgs):
        uri = stream_uri(args)
        kind, place = "stream", (uri.basin, uri.stream)
    if args.metric is None:
        raise UsageError(f"s2 {args.command} requires a metric: {', '.join(SETS[kind])}")
    if start_ms > end_ms:
        raise UsageError("the start is after the end")
    query: dict[str, str | int] = {"set": args.metric, "start": start_ms // 1000, "end": end_ms // 1000}
    if args.interval is not None:
        query["interval"] = args.interval
    return api.get_metrics(connect(args), place, query)


def start_and_end_ms(args: PeriodArgs, now_ms: int) -> tuple[int | None, int | None]:
    """What the options say of each; None where none does."""
    start = _time_ms(args, now_ms, "--from", "--start-timestamp", "--start-ago")
    return start, _time_ms(args, now_ms, "--to", "--end-timestamp", "--end-ago")


def _time_ms(args: PeriodArgs, now_ms: int, moment: str, timestamp: str, ago: str) -> int | None:
    """What the one of these options says that was given."""
    values = {option: getattr(args, _attribute(option)) for option in (moment, timestamp, ago)}
    given = [option for option, value in values.items() if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} name two times: give one of them")
    (option,) = given
    if option == timestamp:
        return int(values[option]) * 1000
    if option == moment:
        return parse_option(option, lambda text: _moment_ms(text, now_ms), values[option])
    return max(0, now_ms - parse_option(option, parse_duration_ms, values[option]))


def _attribute(option: str) -> str:
    return "from_" if option == "--from" else option[2:].replace("-", "_")


def _moment_ms(text: str, now_ms: int) -> int:
    if text.strip() in ("now", "end"):
        return now_ms
    try:
        position = parse_position(text, now_ms)
    except BadValueError:
        position = None
    if position is None or position.kind != "timestamp":
        raise BadValueError(f'"{text}" is not a time: write 5m (ago), 2026-01-31T12:00:00Z, 2026-01-31, @EPOCH or now')
    return position.value


def series(metric: Resource) -> tuple[str, str, str, list[tuple[object, object]]]:
    """Kind, name, unit, and the values with their time (None where there is none); nothing of what is unknown."""
    for kind, content in metric.items():
        if isinstance(content, dict):
            name, unit = str(content.get("name")), str(content.get("unit") or "")
            if kind == "scalar":
                return kind, name, unit, [(None, content.get("value"))]
            values = content.get("values")
            if kind == "label" and isinstance(values, list):
                return kind, name, unit, [(None, value) for value in values]
            if isinstance(values, list):
                return kind, name, unit, [(pair[0], pair[1]) for pair in values if isinstance(pair, list)]
    return "", "", "", []


def rfc3339(epoch_s: object) -> str:
    if not isinstance(epoch_s, int):
        return str(epoch_s)
    try:
        return format_utc(epoch_s)
    except (OverflowError, ValueError, OSError):
        return str(epoch_s)


def _rows(asked: str, metric: Resource) -> Iterator[tuple[str, ...]]:
    """A row for each value. Some series are named for what they count within the set: append-ops has one for each
    storage class, named `express` for example."""
    _, name, unit, values = series(metric)
    shown = name if name.replace("_", "-") == asked else f"{asked} ({name})"
    for epoch_s, value in values:
        yield text_of(shown), "-" if epoch_s is None else rfc3339(epoch_s), text_of(value), text_of(unit)


def _names(metrics: list[Resource]) -> list[str]:
    """The names of the metrics; where one is a list of names, those."""
    names: list[str] = []
    for metric in metrics:
        kind, name, _, values = series(metric)
        names += [str(value) for _, value in values] if kind == "label" else [name]
    return names
