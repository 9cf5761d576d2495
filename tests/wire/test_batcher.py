"""Batcher: batches that are as large as they may be, and never larger."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from s2cli.wire.batcher import Batcher
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RECORD_OVERHEAD_BYTES


def collect(pieces, sizes_of=None):
    batcher, batches = Batcher(), []
    for piece in pieces:
        sizes = None if sizes_of is None else [sizes_of(record) for record in piece]
        batches += batcher.add(list(piece), sum(sizes or map(len, piece)), sizes)
    if len(batcher):
        batches.append(batcher.take_rest())
    assert len(batcher) == 0
    return batches


def is_full(batch, next_record):
    records, size = batch
    metered = size + RECORD_OVERHEAD_BYTES * (len(records) + 1) + len(next_record)
    return len(records) == MAX_BATCH_RECORDS or metered > MAX_BATCH_BYTES


sizes = st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(0, MAX_BATCH_BYTES - RECORD_OVERHEAD_BYTES))


@given(st.lists(st.lists(st.tuples(sizes, st.integers(1, 400)), max_size=3), max_size=6))
def test_batches_are_legal_full_and_lose_nothing(shape):
    pieces = [[bytes(size) for size, repeat in runs for _ in range(repeat if size < 3000 else 1)] for runs in shape]
    batches = collect(pieces)
    assert [record for records, _ in batches for record in records] == [record for piece in pieces for record in piece]
    for records, size in batches:
        assert size == sum(map(len, records))
        assert 0 < len(records) <= MAX_BATCH_RECORDS
        assert size + RECORD_OVERHEAD_BYTES * len(records) <= MAX_BATCH_BYTES
    for batch, (following, _) in itertools.pairwise(batches):
        assert is_full(batch, following[0])


def test_a_thousand_records_leave_at_once():
    batcher = Batcher()
    assert batcher.add([b"x"] * 999, 999) == []
    assert [len(records) for records, _ in batcher.add([b"x"] * 1002, 1002)] == [1000, 1000]
    assert len(batcher) == 1


def test_a_thousand_records_leave_at_once_however_large():
    batcher = Batcher()
    assert [len(records) for records, _ in batcher.add([b"x" * 1040] * 1000, 1040 * 1000)] == [1000]
    assert len(batcher) == 0


def test_sizes_decide_where_they_are_given():
    batches = collect([[b"small"] * 5], sizes_of=lambda record: MAX_BATCH_BYTES // 2 - RECORD_OVERHEAD_BYTES)
    assert [len(records) for records, _ in batches] == [2, 2, 1]
    assert batches[0][1] == MAX_BATCH_BYTES - 2 * RECORD_OVERHEAD_BYTES
