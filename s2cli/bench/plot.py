"""The plot of a bench: throughput and latency over time. The one place that knows matplotlib, an extra of the package;
it is imported only when a plot is asked for."""

from __future__ import annotations

from s2cli.errors import S2Error, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.bench.flow import Flow
    from s2cli.bench.measure import Run

FORMATS = ("svg", "png")
# From the palette of Okabe and Ito, which colour-blind people can tell apart, and anybody in grey.
_COLORS = {"write": "#0072B2", "live": "#E69F00", "catch-up": "#009E73"}


def check_plot(path: str) -> None:
    """To be called before anything is measured. Raises UsageError if no plot can be drawn into this file."""
    if path.rpartition(".")[2].lower() not in FORMATS:
        raise UsageError(f"--plot {path}: the name must end with .svg or .png, which says what is drawn")
    try:
        import matplotlib  # noqa: F401  # whether it is there
    except ImportError as error:
        raise UsageError("--plot needs matplotlib", hint="pip install 's2cli[plot]'") from error
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise UsageError(f"cannot write {path}: {describe(error)}") from error


def draw(run: Run, title: str, path: str) -> None:
    """Draws throughput and latency of a run into a file. Raises S2Error if it cannot be written."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    flows: list[tuple[str, Flow]] = [
        (name, flow)
        for name, flow in (("write", run.write), ("live", run.live), ("catch-up", run.catch_up))
        if flow is not None
    ]
    figure = Figure(figsize=(9, 6), layout="constrained")
    throughput, latency = figure.subplots(2, 1, sharex=True)
    for name, flow in flows:
        start_s = flow.started - run.write.started
        times_s = [start_s + (at + 0.5) * flow.interval_s for at in range(len(flow.intervals))]
        rates = [
            interval.records * flow.record_bytes / _lasts_s(flow, at) / (1 << 20)
            for at, interval in enumerate(flow.intervals)
        ]
        throughput.plot(times_s, rates, color=_COLORS[name], marker=".", label=name)
        for percent, style in ((50, "-"), (99, "--")):
            values = [interval.latency.percentile_ms(percent) for interval in flow.intervals]
            points = [(time_s, value) for time_s, value in zip(times_s, values, strict=True) if value is not None]
            if points:
                latency.plot(*zip(*points, strict=True), style, color=_COLORS[name], label=f"{name} p{percent}")
    throughput.set_title(title)
    throughput.set_ylabel("MiB/s")
    # Logarithmic, as a catch-up may be a hundred times faster than a write; linear near 0, where a stall is.
    throughput.set_yscale("symlog", linthresh=1)
    throughput.set_ylim(bottom=0)
    latency.set_ylabel("latency, ms")
    latency.set_yscale("log")
    latency.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    latency.set_xlabel("seconds")
    for axes in (throughput, latency):
        axes.grid(alpha=0.3)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        if axes.lines:
            axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise S2Error(f"cannot write {path}: {describe(error)}") from error


def _lasts_s(flow: Flow, at: int) -> float:
    """How long an interval lasted: the last one ends with the flow."""
    return max(0.001, min(flow.interval_s, flow.seconds - at * flow.interval_s))
