"""From a batch to the bytes of its chunk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import ApiError
from s2cli.server.core.batch import MAX_CHUNK_BYTES, Batch, assemble
from s2cli.wire.frames import MAX_MESSAGE_BYTES
from s2cli.wire.record_rules import MAX_BATCH_BYTES
from s2cli.wire.s2_pb2 import ReadBatch

NOW_MS = 1_000_000
U64 = (1 << 64) - 1


def encode(batch, last_timestamp=0, mode="client-prefer", uncapped=False):
    return assemble(batch, 7, NOW_MS, last_timestamp, mode, uncapped=uncapped)


def of_records(*timestamps, size=0):
    """Records with these timestamps of their own, or None, and as much in their headers."""
    return Batch(None, [(timestamp, bytes(size), b"body") for timestamp in timestamps], [], 100, None, None)


def test_a_chunk_of_any_size_fits_in_a_frame_together_with_a_tail():
    tail = ReadBatch()
    tail.tail.seq_num = tail.tail.timestamp = U64
    assert MAX_CHUNK_BYTES + len(tail.SerializeToString()) <= MAX_MESSAGE_BYTES


def test_a_chunk_may_have_its_greatest_size_and_no_more():
    headers_bytes = MAX_CHUNK_BYTES - 100
    data, _, _ = encode(of_records(None, size=headers_bytes))
    headers_bytes += MAX_CHUNK_BYTES - len(data)
    data, _, _ = encode(of_records(None, size=headers_bytes))
    assert len(data) == MAX_CHUNK_BYTES
    with pytest.raises(ApiError, match="more than 2 MiB"):
        encode(of_records(None, size=headers_bytes + 1))


@pytest.mark.parametrize(
    ("mode", "uncapped", "expected"),
    [
        ("arrival", False, [NOW_MS] * 4),
        ("arrival", True, [NOW_MS] * 4),
        ("client-prefer", False, [NOW_MS - 5, NOW_MS - 5, NOW_MS, NOW_MS]),
        ("client-prefer", True, [NOW_MS - 5, NOW_MS - 5, NOW_MS + 9, NOW_MS + 9]),
    ],
)
def test_timestamps_never_fall_and_are_capped_unless_the_stream_says_otherwise(mode, uncapped, expected):
    batch = of_records(NOW_MS - 5, NOW_MS - 7, NOW_MS + 9, None)
    data, first, last = encode(batch, mode=mode, uncapped=uncapped)
    records = ReadBatch.FromString(data).records
    assert [record.timestamp for record in records] == expected
    assert [record.seq_num for record in records] == [7, 8, 9, 10]
    assert (first, last) == (expected[0], expected[-1])
    # Not below what the stream had before either.
    assert encode(batch, NOW_MS + 50, mode, uncapped)[1:] == (NOW_MS + 50, NOW_MS + 50)


@given(
    st.lists(st.integers(NOW_MS - 20, NOW_MS + 20), min_size=1, max_size=8),
    st.integers(NOW_MS - 30, NOW_MS + 30),
    st.sampled_from(["arrival", "client-prefer", "client-require"]),
    st.booleans(),
)
def test_bodies_with_timestamps_are_stored_as_records_with_timestamps_are(timestamps, last_timestamp, mode, uncapped):
    bodies = Batch([b"body"] * len(timestamps), [], [], 100, None, None, timestamps)
    data, *ends = encode(bodies, last_timestamp, mode, uncapped)
    expected, *expected_ends = encode(of_records(*timestamps), last_timestamp, mode, uncapped)
    assert (ReadBatch.FromString(data), ends) == (ReadBatch.FromString(expected), expected_ends)


@pytest.mark.parametrize("batch", [of_records(5, None), Batch([b"body"], [], [], MAX_BATCH_BYTES, None, None)])
def test_a_stream_may_require_timestamps_of_its_clients(batch):
    with pytest.raises(ApiError) as refused:
        encode(batch, mode="client-require")
    assert refused.value.code == "invalid"
    encode(of_records(5, 6), mode="client-require")
