"""Several reads become one in the order of their records' times, whoever is how fast."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import TIMEOUT_S

from s2cli.client import merge_loop
from s2cli.client.merge_loop import MergeLoop, MergeSource
from s2cli.errors import S2Error
from s2cli.wire.read_session import Delivered
from s2cli.wire.s2_pb2 import SequencedRecord


def source(name, times, pieces=3, error=None):
    """A stream with records of these times, which come a few at a time."""

    def read(merged):
        records = [SequencedRecord(seq_num=seq_num, timestamp=time) for seq_num, time in enumerate(times)]
        for at in range(0, len(records), pieces):
            merged.put([Delivered(at, None, records[at : at + pieces])])
        if error is not None:
            raise error

    return MergeSource(name, read)


def merge(*sources, on_failure=None):
    """What is written: the name of the source, time and sequence number of each record."""
    written = []

    def write(runs):
        for merged, records in runs:
            written.extend((merged.uri, record.timestamp, record.seq_num) for record in records)

    loop = MergeLoop(write, lambda: None, grows=False)
    for one in sources:
        loop.add(one)
    loop.run(on_failure or fail)
    return written


def fail(merged, error):
    raise error


TIMES = st.lists(st.integers(0, 9), max_size=12).map(sorted)


@given(st.lists(TIMES, max_size=4), st.integers(1, 5))
def test_the_order_is_that_of_the_times_and_then_of_the_sources(streams, pieces):
    written = merge(*(source(f"s{number}", times, pieces) for number, times in enumerate(streams)))
    expected = [
        (f"s{number}", time, seq_num) for number, times in enumerate(streams) for seq_num, time in enumerate(times)
    ]
    assert written == sorted(expected, key=lambda record: (record[1], record[0], record[2]))


def test_one_that_is_much_longer_waits_for_the_others_in_bounds():
    long = list(range(20_000))
    written = merge(source("long", long, 1000), source("short", [5, 19_999], 1))
    assert len(written) == 20_002
    assert [record[1] for record in written] == sorted(record[1] for record in written)


def test_a_delivery_of_more_than_may_wait_wakes_whoever_takes_it(monkeypatch):
    monkeypatch.setattr(merge_loop, "TICK_S", 3600.0)  # or it would be found at the next tick

    def read(merged):
        pieces = [
            [SequencedRecord(seq_num=seq_num, timestamp=1) for seq_num in range(first, first + 1000)]
            for first in range(0, 9000, 1000)
        ]
        merged.put([Delivered(piece[0].seq_num, None, piece) for piece in pieces])

    written = []
    merging = threading.Thread(target=lambda: written.extend(merge(MergeSource("a", read))), daemon=True)
    merging.start()
    merging.join(TIMEOUT_S)
    assert len(written) == 9000


def test_a_failure_ends_the_merge_or_the_one_stream():
    with pytest.raises(S2Error, match="gone"):
        merge(source("a", [1]), source("b", [2], error=S2Error("gone")))
    failures = []
    written = merge(
        source("a", [1, 3]),
        source("b", [2], error=S2Error("gone")),
        on_failure=lambda merged, error: failures.append((merged.uri, error.message)),
    )
    assert failures == [("b", "gone")]
    assert [record[1] for record in written] == [1, 2, 3]


def test_what_is_stopped_writes_no_more():
    written = []
    loop = MergeLoop(lambda runs: (written.extend(runs), loop.stop()), lambda: None, grows=True)
    loop.add(source("a", [1, 2, 3], 1))
    loop.run(fail)
    assert len(written) >= 1
