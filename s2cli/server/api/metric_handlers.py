"""The metrics of the API (protocol section 12), made from what was counted."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from s2cli.errors import ApiError
from s2cli.server.api.read_query import MAX_U32, whole_number
from s2cli.server.api.request import Request
from s2cli.server.http.exchange import encode_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

    from s2cli.server.api.request import Response
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.store.interface import Counted

    MakeSet = Callable[["_Question"], Awaitable[list["Metric"]]]

INTERVALS = {"minute": 1, "hour": 60, "day": 24 * 60}  # minutes
MAX_SPAN_S = 90 * 24 * 3600
# Clocks differ.
MAX_AHEAD_S = 60
# Of an answer, what is made of it in one step: a millisecond or two.
VALUES_IN_A_ROW = 2048
# What a metric takes as JSON at most, beside its values, and one of these.
METRIC_BYTES = 512
VALUE_BYTES = 52
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
        return await self.request.server.store.counted(self.basin, self.stream, series, first, end, self.interval)

    def accumulations(self, counted: Counted, unit: str) -> list[Metric]:
        """One for each series, named by what follows the colon; only points where something was counted."""
        return [
            self.accumulation(series.rpartition(":")[2].replace("_", "-"), unit, counted[series].items())
            for series in sorted(counted)
        ]

    def accumulation(self, name: str, unit: str, points: Collection[tuple[int, int]]) -> Metric:
        word = next(word for word, minutes in INTERVALS.items() if minutes == self.interval)
        members = {"name": name, "unit": unit, "interval": word}
        return Metric("accumulation", members, map(point, points), len(points))


class Metric(NamedTuple):
    """One of an answer. Its values come as JSON, one by one: there may be many."""

    kind: str
    members: dict[str, str]
    values: Iterable[str]
    length: int  # how many these are, at most


def point(point: tuple[int, int]) -> str:
    return f"[{point[0] * 60},{point[1]}]"


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
    server = request.server
    await server.meters.flush()
    if basin and await server.store.get_basin(basin) is None:
        # Otherwise what does not exist would have metrics as soon as somebody has asked for them.
        request.operation = ""
    async with server.meters.answering:
        metrics = await make(question)
        size_bytes = sum([METRIC_BYTES + VALUE_BYTES * metric.length for metric in metrics])
        await server.memory.reserve(request.share, size_bytes)
        payload = await server.rendering.pass_by(size_bytes, render(metrics))
    server.memory.keep(request.share, len(payload))
    return 200, payload, []


def render(metrics: list[Metric]) -> Steps[bytes]:
    """The answer as JSON; without those that have no values."""
    items = []
    for kind, members, values, _ in metrics:
        pieces = []
        remaining = iter(values)
        while piece := ",".join(islice(remaining, VALUES_IN_A_ROW)):
            pieces.append(piece)
            yield
        if pieces:
            begin = encode_json(members)[:-1].decode()
            items.append(f'{{"{kind}":{begin},"values":[{",".join(pieces)}]}}}}')
    return f'{{"values":[{",".join(items)}]}}'.encode()


async def _active_basins(question: _Question) -> list[Metric]:
    if question.first >= question.end:
        return []
    names = await question.request.server.store.active_basins(question.first, question.end)
    grant = question.request.grant
    if grant is not None:
        names = [name for name in names if name in grant.scope.basins]
    return [Metric("label", {"name": "active_basins"}, map(json.dumps, names), len(names))]


def _counted(series: str, unit: str) -> MakeSet:
    """What makes a set of all that was counted under names that begin with `series`."""

    async def make(question: _Question) -> list[Metric]:
        return question.accumulations(await question.counted(series), unit)

    return make


_operations = _counted("op:", "operations")


async def _read_throughput(question: _Question) -> list[Metric]:
    counted = await question.counted("read_bytes")
    return question.accumulations({"read-throughput": counted["read_bytes"]} if counted else {}, "bytes")


async def _billable_usage(question: _Question) -> list[Metric]:
    """Hours that are over, and in which something was done. It costs nothing here."""
    this_hour = question.request.server.clock_ms() // 3_600_000 * 60
    counted = await question.counted("op:", end=min(question.end, this_hour))
    at = sorted({minute for values in counted.values() for minute in values})
    return [question.accumulation(name, "usd", [(minute, 0) for minute in at]) for name in _DIMENSIONS]


async def _storage(question: _Question) -> list[Metric]:
    """What is there now, less what was added since: at the end of each interval, from when there was anything."""
    server, interval = question.request.server, question.interval
    now = server.clock_ms() // 60_000
    counted = await question.counted("stored", first=0, end=now + 1)
    added = counted.get("stored")
    if not added:
        return []
    size_bytes = await server.store.stored_bytes(question.basin, question.stream) - sum(added.values())
    known = min(added)
    first, last = max(question.first - question.first % interval, known), min(question.end - 1, now)
    before = sum([value for minute, value in added.items() if minute < first])
    intervals = range(first, last + 1, interval)
    values = map(point, sizes(size_bytes + before, intervals, added))
    return [Metric("gauge", {"name": "storage", "unit": "bytes"}, values, len(intervals))]


def sizes(size_bytes: int, intervals: Iterable[int], added: dict[int, int]) -> Iterator[tuple[int, int]]:
    """What was there at the end of each interval; `size_bytes` before the first of them."""
    for minute in intervals:
        size_bytes += added.get(minute, 0)
        yield minute, max(0, size_bytes)


def _seconds(query: dict[str, str], name: str) -> int | None:
    return whole_number(query, name, MAX_U32, "a time in whole seconds since 1970")


_ALL = tuple(INTERVALS)
# Set -> what makes it, its interval where none is asked for, those that it can have.
_ACCOUNT_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {
    "active-basins": (_active_basins, "hour", _ALL),
    "account-ops": (_operations, "hour", _ALL),
    "estimated-billable-usage": (_billable_usage, "hour", ("hour", "day")),
}
_BASIN_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {
    "storage": (_storage, "hour", ("hour",)),
    "append-ops": (_counted("append_ops:", "operations"), "minute", _ALL),
    "read-ops": (_counted("read_ops:", "operations"), "minute", _ALL),
    "read-throughput": (_read_throughput, "minute", _ALL),
    "append-throughput": (_counted("append_bytes:", "bytes"), "minute", _ALL),
    "basin-ops": (_operations, "hour", _ALL),
}
_STREAM_SETS: dict[str, tuple[MakeSet, str, tuple[str, ...]]] = {"storage": (_storage, "minute", ("minute",))}
