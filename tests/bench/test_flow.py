import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.bench.flow import MAX_INTERVALS, Flow, Histogram

LATENCIES_S = st.lists(st.integers(0, 10**9).map(lambda value_us: value_us / 1_000_000), min_size=1, max_size=200)


@given(LATENCIES_S, st.floats(0, 100))
def test_a_percentile_is_at_most_one_percent_off(values_s, percent):
    histogram = Histogram()
    for value_s in values_s:
        histogram.add(value_s)
    ordered = sorted(values_s)
    exact_ms = next(v for at, v in enumerate(ordered, 1) if at >= len(ordered) * percent / 100) * 1000
    assert histogram.percentile_ms(percent) == pytest.approx(exact_ms, rel=0.01, abs=0.002)


@given(LATENCIES_S, LATENCIES_S)
def test_merged_histograms_are_one_of_all_values(first, second):
    apart, together = (Histogram(), Histogram()), Histogram()
    for histogram, values in zip(apart, (first, second), strict=True):
        for value in values:
            histogram.add(value)
            together.add(value)
    merged = Histogram().merge(apart)
    assert merged.count == len(first) + len(second)
    assert [merged.percentile_ms(p) for p in (0, 50, 99, 100)] == [together.percentile_ms(p) for p in (0, 50, 99, 100)]


def test_nothing_has_no_percentile():
    assert Histogram().percentile_ms(50) is None


def test_a_flow_counts_by_intervals():
    flow = Flow(100, 1000.0, 10)
    flow.add(5, 1000.2, [0.001])
    flow.add(7, 1002.5, [0.003, 0.003])
    assert [interval.records for interval in flow.intervals] == [5, 0, 7]
    assert [interval.latency.count for interval in flow.intervals] == [1, 0, 2]
    assert (flow.records, flow.bytes, flow.seconds) == (12, 1200, 2.5)
    assert flow.latency.count == 3


def test_a_long_run_has_longer_intervals():
    assert Flow(100, 0.0, MAX_INTERVALS * 7).interval_s == 7
