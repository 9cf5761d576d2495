"""`GET /metrics` for Prometheus. Its library is imported with the first such request, because nothing else needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.http.exchange import Exchange
    from s2cli.server.store.interface import Histogram

PATH = b"/metrics"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


async def answer_metrics(server: Server, exchange: Exchange) -> None:
    from prometheus_client.exposition import generate_latest

    grant: Grant | None = exchange.grant
    if grant is not None:
        grant.require("account-metrics", None, "")
    await server.meters.gather()
    exchange.answer(200, CONTENT_TYPE, generate_latest(_Collector(server)))


class _Collector:
    """Stands for a registry of the library, which would want to do the counting."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        server = self._server
        totals = server.meters.totals
        requests = CounterMetricFamily(
            "s2_requests", "Requests by operation and status.", labels=("operation", "status")
        )
        for (operation, status), count in sorted(totals.requests.items()):
            requests.add_metric((operation, str(status)), count)
        yield requests
        latencies = HistogramMetricFamily(
            "s2_request_duration_seconds", "Time to answer a unary request that succeeded.", labels=("operation",)
        )
        for operation, histogram in sorted(totals.latencies.items()):
            latencies.add_metric((operation,), _buckets(histogram), histogram.total)
        yield latencies
        for name, what, count in (
            ("s2_appended_records", "Records that were made durable.", totals.append_records),
            ("s2_appended_bytes", "Metered bytes that were made durable.", totals.append_bytes),
            ("s2_read_records", "Records that were read.", totals.read_records),
            ("s2_read_bytes", "Metered bytes that were read.", totals.read_bytes),
        ):
            yield CounterMetricFamily(name, what, value=count)
        sessions = GaugeMetricFamily("s2_open_sessions", "Sessions that are open.", labels=("kind",))
        sessions.add_metric(("append",), totals.append_sessions)
        sessions.add_metric(("read",), totals.read_sessions)
        yield sessions
        memory = server.memory
        yield GaugeMetricFamily(
            "s2_queued_bytes",
            "What waits in memory for readers and of appends, at the last count.",
            value=memory.used_bytes,
        )
        yield CounterMetricFamily(
            "s2_readers_ended_for_memory",
            "Readers that had taken nothing for longest, and were ended when memory was short.",
            value=memory.ended_readers,
        )
        commits = HistogramMetricFamily("s2_commit_duration_seconds", "Time to make a group of appends durable.")
        commits.add_metric((), _buckets(server.store.commit_times), server.store.commit_times.total)
        yield commits
        failing = server.store.failure is not None
        yield GaugeMetricFamily("s2_store_failing", "1 while the store takes no writes, else 0.", value=int(failing))
        yield GaugeMetricFamily(
            "s2_doubtful_places",
            "Streams and other names of which something is missing or damaged on disk, as found at the start.",
            value=len(server.store.doubtful),
        )
        yield GaugeMetricFamily(
            "s2_contended_basins",
            "Basins that another server on the same bucket takes from this one again and again.",
            value=len(server.store.contended),
        )
        yield GaugeMetricFamily("s2_store_bytes", "Size of the database on disk.", value=server.store.disk_bytes())


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Bounds as text, and how many values lie below each."""
    below = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((bound, below))
    return buckets
