"""The metrics of the API (protocol section 12), made from what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError
from s2cli.server.query import MAX_U32
from s2cli.server.request import Request, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.request import Response
    from s2cli.server.store import Counted

    Metric = dict[str, Any]
    MakeSet = Callable[["_Question"], Awaitable[list[Metric]]]

INTERVALS = {"minute": 1, "hour": 60, "day": 24 * 60}  # minutes
MAX_SPAN_S = 90 * 24 * 3600
# Clocks differ.
MAX_AHEAD_S = 60
# What a bill would have on it. This server sends none.
_DIMENSIONS = ("append-ops", "append-throughput", "ops", "read-ops", "read-throughput", "storage", "total")


class _Question:
    """What is asked for. `first` and `end` are minutes, `interval` is a number of them."""

    __slots__ = ("basin", "end", "first", "interval", "request", "stream")

    def __init__(self, request: Request, basin: str, stream: str, default: str, allowed: tuple[str, ...]) -> None:
        self.request = request
        self.basin = basin
        self.stream = stream
        query = request.query()
        start_s, end_s = _seconds(query, "start"), _seconds(query, "end")
        word = query.get("interval", default)
        if word not in INTERVALS:
            raise ApiError("bad_query", "invalid value for `interval`: must be `minute`, `hour` or `day`")
        if start_s is None or end_s is None:
            raise ApiError("invalid", "`start` and `end` are required for this set")
        if start_s > end_s:
            raise ApiError("invalid", "`start` must not be after `end`")
        if end_s > request.server.clock_ms() / 1000 + MAX_AHEAD_S:
            raise ApiError("invalid", "`end` must not be in the future")
        if end_s - start_s > MAX_SPAN_S:
            raise ApiError("invalid", "the time from `start` to `end` must not exceed 90 days")
        if word not in allowed:
            raise ApiError("invalid", f"the interval `{word}` is not supported for this set, only {', '.join(allowed)}")
        self.interval = INTERVALS[word]
        self.first = start_s // 60
        self.end = -(-end_s // 60)

    async def counted(self, *series: str, first: int | None = None, end: int | None = None) -> Counted:
        first, end = self.first if first is None else first, self.end if end is None else end
        if first >= end:
            return {}
        return await self.request.server.store.counted(self.basin, self.stream, series, first, end)

    def accumulations(self, counted: Counted, unit: str) -> list[Metric]:
        """One for each series, named by what follows the colon; only points where something was counted."""
        metrics = []
        for series in sorted(counted):
            sums: dict[int, int] = {}
            for minute, value in counted[series].items():
                at = minute - minute % self.interval
                sums[at] = sums.get(at, 0) + value
            metrics.append(self.accumulation(series.rpartition(":")[2].replace("_", "-"), unit, sorted(sums.items())))
        return [metric for metric in metrics if metric["accumulation"]["values"]]

    def accumulation(self, name: str, unit: str, points: list[tuple[int, int]]) -> Metric:
        word = next(word for word, minutes in INTERVALS.items() if minutes == self.interval)
        values = [[minute * 60, value] for minute, value in points]
        return {"accumulation": {"name": name, "unit": unit, "interval": word, "values": values}}


async def account_metrics(request: Request) -> Response:
    return await _answer(request, _ACCOUNT_SETS, "", "")


async def basin_metrics(request: Request) -> Response:
    return await _answer(request, _BASIN_SETS, request.name, "")


async def stream_metrics(request: Request) -> Response:
    return await _answer(request, _STREAM_SETS, request.basin(), request.name)


async def _answer(
    request: Request, sets: dict[str, tuple[MakeSet, str, tuple[str, ...]]], basin: str, stream: str
) -> Response:
    name = request.query().get("set")
    if name is None:
        raise ApiError("bad_query", "missing parameter `set`")
    if name not in sets:
        raise ApiError("bad_query", f"invalid value for `set`: must be one of {', '.join(sets)}")
    make, default, allowed = sets[name]
    question = _Question(request, basin, stream, default, allowed)
    await request.server.meters.flush()
    if basin and await request.server.store.get_basin(basin) is None:
        # Otherwise what does not exist would have metrics as soon as somebody has asked for them.
        request.operation = ""
    return json_response(200, {"values": await make(question)})


async def _active_basins(question: _Question) -> list[Metric]:
    if question.first >= question.end:
        return []
    names = await question.request.server.store.active_basins(question.first, question.end)
    grant = question.request.grant
    if grant is not None:
        names = [name for name in names if name in grant.scope.basins]
    return [{"label": {"name": "active_basins", "values": names}}] if names else []


async def _operations(question: _Question) -> list[Metric]:
    return question.accumulations(await question.counted("op:"), "operations")


async def _append_ops(question: _Question) -> list[Metric]:
    return question.accumulations(await question.counted("append_ops:"), "operations")


async def _append_throughput(question: _Question) -> list[Metric]:
    return question.accumulations(await question.counted("append_bytes:"), "bytes")


async def _read_ops(question: _Question) -> list[Metric]:
    return question.accumulations(await question.counted("read_ops:"), "operations")


async def _read_throughput(question: _Question) -> list[Metric]:
    counted = await question.counted("read_bytes")
    return question.accumulations({"read-throughput": counted["read_bytes"]} if counted else {}, "bytes")


async def _billable_usage(question: _Question) -> list[Metric]:
    """Hours that are over, and in which something was done. It costs nothing here."""
    this_hour = question.request.server.clock_ms() // 3_600_000 * 60
    counted = await question.counted("op:", end=min(question.end, this_hour))
    at = sorted({minute - minute % question.interval for values in counted.values() for minute in values})
    if not at:
        return []
    return [question.accumulation(name, "usd", [(minute, 0) for minute in at]) for name in _DIMENSIONS]


async def _storage(question: _Question) -> list[Metric]:
    """What is there now, less what was added since: at the end of each interval, from when there was anything."""
    server = question.request.server
    now = server.clock_ms() // 60_000
    counted = await question.counted("stored", first=0, end=now + 1)
    added = counted.get("stored")
    if not added:
        return []
    first_known, interval = min(added), question.interval
    size_bytes = await server.store.stored_bytes(question.basin, question.stream)
    changes = sorted(added.items(), reverse=True)
    first = max(question.first, first_known)
    last = min(question.end - 1, now)
    at = last - last % interval
    values = []
    while at > first - interval and at >= first_known - first_known % interval:
        # At the end of the interval that begins there.
        while changes and changes[0][0] >= at + interval:
            size_bytes -= changes.pop(0)[1]
        values.append([at * 60, max(0, size_bytes)])
        at -= interval
    if not values:
        return []
    return [{"gauge": {"name": "storage", "unit": "bytes", "values": values[::-1]}}]


def _seconds(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    # int() alone would take signs, spaces, underscores and other scripts' digits.
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_U32:
        return int(text)
    raise ApiError("bad_query", f"invalid value for `{name}`: not a time in whole seconds since 1970")


_ALL = tuple(INTERVALS)
# Set -> what makes it, its interval where none is asked for, those that it can have.
_ACCOUNT_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {
    "active-basins": (_active_basins, "hour", _ALL),
    "account-ops": (_operations, "hour", _ALL),
    "estimated-billable-usage": (_billable_usage, "hour", ("hour", "day")),
}
_BASIN_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {
    "storage": (_storage, "hour", ("hour",)),
    "append-ops": (_append_ops, "minute", _ALL),
    "read-ops": (_read_ops, "minute", _ALL),
    "read-throughput": (_read_throughput, "minute", _ALL),
    "append-throughput": (_append_throughput, "minute", _ALL),
    "basin-ops": (_operations, "hour", _ALL),
}
_STREAM_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {"storage": (_storage, "minute", ("minute",))}
