"""The result of a bench as JSON, and its comparison with an earlier one."""

from __future__ import annotations

from s2cli import __version__
from s2cli.errors import BadInputError, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s2cli.bench.flow import Flow, Histogram
    from s2cli.bench.measure import Plan, Run

    Fields = dict[str, object]

MIB = 1 << 20
PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
# A latency that has grown by less than this does not count as worse: on a busy machine that is chance.
LEAST_MS = 1.0
MAX_FILE_BYTES = 16 * MIB
# Settings that must be the same in two runs that are compared -> the option that sets them.
_SAME = {
    "record_bytes": "--record-size",
    "bytes_per_s": "a rate (bytes a second)",
    "streams": "--streams",
    "writers": "--writers",
    "readers": "--readers",
    "batch_records": "--batch",
    "inflight_bytes": "--inflight",
}


def settings(plan: Plan) -> Fields:
    return {
        "record_bytes": plan.record_bytes,
        "bytes_per_s": plan.bytes_per_s,
        "duration_s": plan.duration_s,
        "catch_up_delay_s": plan.catch_up_delay_s,
        "streams": plan.streams,
        "writers": plan.writers,
        "readers": plan.readers,
        "batch_records": plan.batch_records,
        "inflight_bytes": plan.inflight_bytes,
    }


def result(run: Run, uri: str, outcome: str) -> Fields:
    """Everything that was measured, as JSON; null for a read that did not take place."""
    flows = {"write": run.write, "live": run.live, "catch_up": run.catch_up}
    fields: Fields = {"bench": 1, "version": __version__, "uri": uri, "settings": settings(run.plan)}
    for name, flow in flows.items():
        fields[name] = None if flow is None else _flow_fields(flow)
    fields["unsent_batches"] = run.unsent
    fields["client_cpu"] = round(run.client_cpu, 3)
    fields["interval_s"] = run.write.interval_s
    fields["intervals"] = {name: _intervals(flow) for name, flow in flows.items() if flow is not None}
    fields["outcome"] = outcome
    return fields


def mib_per_s(flow: Flow) -> float:
    return flow.bytes / MIB / flow.seconds if flow.seconds > 0 else 0.0


def records_per_s(flow: Flow) -> float:
    return flow.records / flow.seconds if flow.seconds > 0 else 0.0


def _flow_fields(flow: Flow) -> Fields:
    latency = flow.latency
    return {
        "records": flow.records,
        "bytes": flow.bytes,
        "seconds": round(flow.seconds, 3),
        "mib_per_s": round(mib_per_s(flow), 3),
        "records_per_s": round(records_per_s(flow), 1),
        "batches": latency.count,
        "latency_ms": _percentiles(latency) if latency.count else None,
    }


def _percentiles(latency: Histogram) -> Fields:
    return {name: latency.percentile_ms(percent) for name, percent in PERCENTS.items()}


def _intervals(flow: Flow) -> list[Fields]:
    return [
        {
            "records": interval.records,
            "p50_ms": interval.latency.percentile_ms(50),
            "p99_ms": interval.latency.percentile_ms(99),
        }
        for interval in flow.intervals
    ]


# Comparison


class Difference:
    """A figure that both results have. `is_worse`: by more than the tolerance."""

    __slots__ = ("is_worse", "name", "new", "old")

    def __init__(self, name: str, old: float, new: float, is_worse: bool) -> None:
        self.name = name
        self.old = old
        self.new = new
        self.is_worse = is_worse

    @property
    def percent(self) -> float | None:
        return (self.new - self.old) / self.old * 100 if self.old else None

    def fields(self) -> Fields:
        percent = self.percent
        return {
            "figure": self.name,
            "old": self.old,
            "new": self.new,
            "percent": None if percent is None else round(percent, 1),
            "worse": self.is_worse,
        }


def read_result(path: str, plan: Plan) -> Mapping[str, object]:
    """The result of an earlier bench. Raises UsageError if it cannot be read or was made with another plan,
    BadInputError if it is not a result."""
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {describe(error)}") from error
    not_a_result = BadInputError(f"{path} is not the result of a bench: s2 bench … -o json > {path} makes one")
    if len(text) > MAX_FILE_BYTES:
        raise not_a_result
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise not_a_result from error
    if not isinstance(found, dict) or found.get("bench") != 1 or not isinstance(found.get("settings"), dict):
        raise not_a_result
    if found.get("outcome") != "ok":
        raise BadInputError(f"{path} is the result of a bench that did not come to its end")
    if not list(_figures(found)):
        raise not_a_result
    wanted = settings(plan)
    for name, option in _SAME.items():
        old = found["settings"].get(name)
        if old != wanted[name]:
            raise UsageError(f"{path} was measured with {option} {old}, and not with {wanted[name]}: no comparison")
    return found


def compare(old: Mapping[str, object], new: Mapping[str, object], tolerance_percent: float) -> list[Difference]:
    """The figures that both results have, compared."""
    before = {name: (value, higher) for name, value, higher in _figures(old)}
    differences = []
    for name, value, higher_is_better in _figures(new):
        if name not in before:
            continue
        was = before[name][0]
        if higher_is_better:
            worse = value < was * (1 - tolerance_percent / 100)
        else:
            worse = value > was * (1 + tolerance_percent / 100) and value > was + LEAST_MS
        differences.append(Difference(name, was, value, worse))
    return differences


def _figures(found: Mapping[str, object]) -> Iterator[tuple[str, float, bool]]:
    """The figures of a result that are compared: name, value, and whether a higher one is better."""
    for name in ("write", "live", "catch_up"):
        flow = found.get(name)
        if not isinstance(flow, dict):
            continue
        if _is_number(flow.get("mib_per_s")):
            yield f"{name} mib_per_s", flow["mib_per_s"], True
        latency = flow.get("latency_ms")
        for percentile in ("p50", "p99"):
            if isinstance(latency, dict) and _is_number(latency.get(percentile)):
                yield f"{name} {percentile}_ms", latency[percentile], False


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
