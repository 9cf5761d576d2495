"""What `s2 bench` shows: live lines while it runs, and the tables at the end."""

from __future__ import annotations

from s2cli.amounts import format_count, format_seconds
from s2cli.bench.measure import CATCH_UP, WAIT, WRITE
from s2cli.bench.result import MIB, PERCENTS, mib_per_s, records_per_s
from s2cli.cli import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.bench.flow import Flow
    from s2cli.bench.measure import Run
    from s2cli.bench.result import Difference

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 60


class Display:
    """The status block of a run on a terminal: a line for each direction, and one for what the run is doing."""

    def __init__(self, place: str) -> None:
        self._place = place

    def show(self, run: Run, now: float) -> None:
        """Shows the state of a run; `now` in monotonic seconds. To be passed to Run as its `show`."""
        flows = [("write", run.write, WRITE), ("live", run.live, WRITE), ("catch-up", run.catch_up, CATCH_UP)]
        lines = [_state(name, flow, now, runs=run.phase == phase) for name, flow, phase in flows if flow is not None]
        left_s = 0.0 if run.phase_ends is None else max(0.0, run.phase_ends - now)
        if run.phase == WAIT:
            lines.append([f"catch-up read in {round(left_s)} s", self._place])
        elif run.phase == CATCH_UP:
            done = run.catch_up.records if run.catch_up is not None else 0
            lines.append([f"reading again, {done * 100 // max(1, run.write.records)} %", self._place])
        else:
            of = format_seconds(run.plan.duration_s)
            doing = f"writing for {of}, {round(left_s)} s left" if left_s else "waiting for the rest"
            lines.append([doing, self._place])
        console.status_block(lines, "  ")


def _state(name: str, flow: Flow, now: float, *, runs: bool) -> list[str]:
    """The cells of a line: the figures of the last complete interval while the direction `runs`, else of all its
    time."""
    at = int((now - flow.started) / flow.interval_s) - 1
    if runs and 0 <= at < len(flow.intervals):
        interval = flow.intervals[at]
        records, latency = interval.records / flow.interval_s, interval.latency
    else:
        records, latency = records_per_s(flow), flow.latency
    parts = [f"{name:8}", f"{records * flow.record_bytes / MIB:7.2f} MiB/s"]
    for percent in (50, 99):
        value = latency.percentile_ms(percent)
        if value is not None:
            parts.append(f"p{percent} {value:6.1f} ms")
    return [*parts, f"{round(records):8} records/s", _bars([interval.records for interval in flow.intervals[: at + 1]])]


def _bars(amounts: list[int]) -> str:
    """The last _MOST_BARS amounts as bars; the bar of the highest has full height."""
    amounts = amounts[-_MOST_BARS:]
    most = max(amounts, default=0) or 1
    return "".join(_BARS[amount * (len(_BARS) - 1) // most] for amount in amounts)


def print_run(run: Run) -> None:
    """Prints the figures as a table with a column for each direction."""
    flows = [("WRITE", run.write), ("LIVE", run.live), ("CATCH-UP", run.catch_up)]
    shown = [(title, flow) for title, flow in flows if flow is not None]
    latencies = [flow.latency for _, flow in shown]
    rows = [
        ("MiB/s", [f"{mib_per_s(flow):.2f}" for _, flow in shown]),
        ("records/s", [f"{records_per_s(flow):.0f}" for _, flow in shown]),
        ("records", [str(flow.records) for _, flow in shown]),
        ("MiB", [f"{flow.bytes / MIB:.1f}" for _, flow in shown]),
        ("seconds", [f"{flow.seconds:.2f}" for _, flow in shown]),
    ]
    for name, percent in PERCENTS.items():
        values = [latency.percentile_ms(percent) for latency in latencies]
        title = f"{name.replace('_', '.')} ms"
        rows.append((title, ["-" if value is None else f"{value:.2f}" for value in values]))
    headers = ["", *(title for title, _ in shown)]
    console.Table(headers, figures=range(1, len(headers))).add([name, *cells] for name, cells in rows)


def checked_text(run: Run) -> str:
    """The sentence that says how many records were written, and how many were read and compared."""
    reads = [("live", run.live), ("in catch-up", run.catch_up)]
    read = " and ".join(f"{flow.records} {how}" for how, flow in reads if flow is not None)
    written = f"{format_count(run.write.records, 'record', 'records')} written"
    return f"{written}; read and as written: {read}" if read else f"{written}, and none read"


def print_differences(differences: Sequence[Difference]) -> None:
    rows = []
    for difference in differences:
        percent = difference.percent
        change = "" if percent is None else f"{percent:+.1f} %"
        verdict = "worse" if difference.is_worse else ""
        rows.append([difference.name, f"{difference.old:.2f}", f"{difference.new:.2f}", change, verdict])
    if rows:
        console.Table(["FIGURE", "OLD", "NEW", "CHANGE", ""], figures=range(1, 4)).add(rows)
