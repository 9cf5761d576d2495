"""Batches that are as large as they may be and never larger, and AppendInput by hand, against protobuf."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.wire.append_input import (
    SEPARATE_BYTES,
    Batcher,
    bodies_records,
    encode_conditions,
    encode_headers,
    encode_record,
    encoded_records,
    keys_of,
    record_key,
)
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RECORD_OVERHEAD_BYTES
from s2cli.wire.s2_pb2 import AppendInput

headers = st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=200)), max_size=3)
timestamps = st.none() | st.integers(0, 2**64 - 1)
bodies = st.binary(max_size=300)


@given(
    st.lists(st.tuples(bodies, headers, timestamps), min_size=1, max_size=5),
    st.none() | st.integers(0, 2**64 - 1),
    st.none() | st.binary(max_size=36).filter(lambda token: token.isascii()),
)
def test_records_are_what_protobuf_writes(given_records, match, token):
    expected = AppendInput()
    encoded = []
    for body, pairs, timestamp in given_records:
        record = expected.records.add(body=body, timestamp=timestamp)
        for name, value in pairs:
            record.headers.add(name=name, value=value)
        encoded.append(encode_record(body, encode_headers(pairs), timestamp))
    if match is not None:
        expected.match_seq_num = match
    if token is not None:
        expected.fencing_token = token.decode()
    records = encoded_records(encoded, 7)
    assert b"".join(records.parts) + encode_conditions(match, token) == expected.SerializeToString()
    assert (records.count, records.size) == (len(encoded), 7)
    assert records.encoded_bytes == len(b"".join(records.parts))
    assert keys_of(records) == [record_key(body, pairs) for body, pairs, _ in given_records]


@given(st.lists(bodies | st.binary(min_size=SEPARATE_BYTES, max_size=3000), min_size=1, max_size=20))
def test_bodies_are_what_protobuf_writes(given_bodies):
    expected = AppendInput()
    for body in given_bodies:
        expected.records.add(body=body)
    records = bodies_records(given_bodies, sum(map(len, given_bodies)))
    data = b"".join(records.parts)
    assert data == expected.SerializeToString()
    assert (records.count, records.encoded_bytes) == (len(given_bodies), len(data))


@pytest.mark.parametrize("size", [SEPARATE_BYTES - 1, SEPARATE_BYTES, SEPARATE_BYTES + 1])
def test_bodies_are_parts_by_themselves_from_their_average_size_on(size):
    given_bodies = [bytes(size - 100), bytes(size + 100), bytes(size)]
    parts = bodies_records(given_bodies, 3 * size).parts
    assert len(parts) == (1 if size < SEPARATE_BYTES else 6)
    assert [any(part is body for part in parts) for body in given_bodies] == [size >= SEPARATE_BYTES] * 3


@given(bodies, headers, bodies, headers)
def test_keys_are_equal_exactly_if_records_are(body, pairs, other_body, other_pairs):
    equal = (body, pairs) == (other_body, other_pairs)
    assert (record_key(body, pairs) == record_key(other_body, other_pairs)) is equal


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


def test_what_each_record_counts_beside_its_body_is_never_left_out():
    body = bytes(1160)  # 900 of them are below 1 MiB as bodies, and above it with 8 bytes each
    for pieces in ([[body] * 900], [[body] * 450] * 2, [[body] * 1100]):
        full = collect(pieces)[0]
        assert is_full(full, body)
        assert len(full[0]) == MAX_BATCH_BYTES // (1160 + RECORD_OVERHEAD_BYTES)


def test_a_thousand_records_behind_a_large_one_leave_at_once():
    batcher = Batcher()
    large = bytes(MAX_BATCH_BYTES - RECORD_OVERHEAD_BYTES)
    assert batcher.size_bytes == 0
    batches = batcher.add([large] + [b"x"] * MAX_BATCH_RECORDS, len(large) + MAX_BATCH_RECORDS)
    assert [len(records) for records, _ in batches] == [1, MAX_BATCH_RECORDS]
    assert (len(batcher), batcher.size_bytes) == (0, 0)
    batches = batcher.add([large] + [b"x"] * 2500, len(large) + 2500)
    assert [len(records) for records, _ in batches] == [1, MAX_BATCH_RECORDS, MAX_BATCH_RECORDS]
    assert batcher.size_bytes == 500 * (1 + RECORD_OVERHEAD_BYTES)
    assert batcher.take_rest() == ([b"x"] * 500, 500)
    assert batcher.add([b"abc"], 3) == []
    assert batcher.size_bytes == 3 + RECORD_OVERHEAD_BYTES
    assert batcher.take_rest() == ([b"abc"], 3)


def test_sizes_decide_where_they_are_given():
    batches = collect([[b"small"] * 5], sizes_of=lambda record: MAX_BATCH_BYTES // 2 - RECORD_OVERHEAD_BYTES)
    assert [len(records) for records, _ in batches] == [2, 2, 1]
    assert batches[0][1] == MAX_BATCH_BYTES - 2 * RECORD_OVERHEAD_BYTES
