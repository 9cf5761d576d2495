"""Batches by hand are what protobuf would write, or what it would read as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import ProtocolError
from s2cli.wire import messages, protobuf
from s2cli.wire.s2_pb2 import AppendAck, AppendInput, AppendRecord, Header, ReadBatch, SequencedRecord, StreamPosition

UINT64 = st.integers(0, 2**64 - 1)
BODIES = st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"x" * 127, b"x" * 128, b"y" * 5000]), max_size=30)
RECORDS = st.builds(
    AppendRecord,
    timestamp=st.none() | UINT64,
    headers=st.lists(st.builds(Header, name=st.binary(max_size=5), value=st.binary(max_size=5)), max_size=2),
    body=st.binary(max_size=20),
)


@given(BODIES, st.none() | UINT64, st.none() | st.text(max_size=12))
def test_an_append_has_the_bytes_of_protobuf(bodies, match_seq_num, fencing_token):
    message = AppendInput(
        records=[AppendRecord(body=body) for body in bodies],
        match_seq_num=match_seq_num,
        fencing_token=fencing_token,
    )
    token = None if fencing_token is None else fencing_token.encode()
    data = protobuf.encode_append(bodies, match_seq_num, token)
    assert data == message.SerializeToString()
    assert messages.split_append(data) == (bodies, match_seq_num, fencing_token)


@given(st.lists(RECORDS, max_size=8), st.none() | UINT64, st.binary(max_size=6))
def test_a_split_append_is_exact_or_none(records, match_seq_num, garbage):
    message = AppendInput(records=records, match_seq_num=match_seq_num)
    data = message.SerializeToString() + garbage
    split = messages.split_append(data)
    plain = not garbage and all(not record.headers and not record.HasField("timestamp") for record in records)
    if plain:
        assert split == ([record.body for record in records], match_seq_num, None)
    elif split is not None:
        bodies, match, token = split
        assert protobuf.encode_append(bodies, match, None if token is None else token.encode()) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x02\x08\x05", id="a timestamp"),
        pytest.param(b"\x0a\x04\x12\x02\x0a\x00", id="a header"),
        pytest.param(b"\x0a\x02\x1a\x00", id="an empty body spelled out"),
        pytest.param(b"\x0a\x06\x1a\x01a\x1a\x01b", id="one body given twice"),
        pytest.param(b"\x0a\x03\x1a\x01a\x20\x01", id="an unknown field"),
        pytest.param(b"\x10\x05\x0a\x03\x1a\x01a", id="another order"),
        pytest.param(b"\x0a\x84\x00\x1a\x02ab", id="a padded length"),
        pytest.param(b"\x0a\x05\x1a\x01a", id="cut short"),
    ],
)
def test_what_is_not_bodies_alone_is_left_to_the_runtime(data):
    assert messages.split_append(data) is None


@given(BODIES, st.integers(0, 2**41) | st.integers(16_380, 16_390), st.integers(0, 2**50))
def test_records_read_back_through_protobuf(bodies, first_seq_num, timestamp):
    data = protobuf.encode_records(bodies, first_seq_num, timestamp)
    expected = [
        SequencedRecord(seq_num=first_seq_num + at, timestamp=timestamp, body=body) for at, body in enumerate(bodies)
    ]
    assert list(ReadBatch.FromString(data).records) == expected
    if bodies:
        assert messages.read_bodies(data, first_seq_num) == bodies


@given(BODIES.filter(bool), st.integers(0, 1000), st.data())
def test_a_cut_holds_exactly_the_records_asked_for(bodies, first_seq_num, data):
    skip = data.draw(st.integers(0, len(bodies)))
    keep = data.draw(st.integers(0, len(bodies) - skip))
    whole = protobuf.encode_records(bodies, first_seq_num, 7)
    records = ReadBatch.FromString(messages.cut(whole, skip, keep)).records
    assert [record.seq_num for record in records] == list(range(first_seq_num + skip, first_seq_num + skip + keep))
    assert [record.body for record in records] == bodies[skip : skip + keep]


def test_bodies_beside_headers_or_gaps_are_not_read_the_fast_way():
    records = [SequencedRecord(seq_num=5, body=b"a"), SequencedRecord(seq_num=6, body=b"b")]
    assert messages.read_bodies(ReadBatch(records=records).SerializeToString(), 5) == [b"a", b"b"]
    assert messages.read_bodies(ReadBatch(records=records).SerializeToString(), 4) is None
    records[1].seq_num = 7
    assert messages.read_bodies(ReadBatch(records=records).SerializeToString(), 5) is None
    records[1].seq_num = 6
    records[1].body = b""  # which protobuf leaves out
    assert messages.read_bodies(ReadBatch(records=records).SerializeToString(), 5) is None
    records[1].body = b"b"
    records[0].headers.append(Header(name=b"n", value=b"v"))
    assert messages.read_bodies(ReadBatch(records=records).SerializeToString(), 5) is None


@given(UINT64, UINT64)
def test_a_tail_is_read_by_protobuf(seq_num, timestamp):
    data = protobuf.encode_tail(seq_num, timestamp)
    assert ReadBatch.FromString(data).tail == StreamPosition(seq_num=seq_num, timestamp=timestamp)


@given(st.tuples(UINT64, UINT64, UINT64, UINT64, UINT64, UINT64))
def test_acks_agree_with_protobuf_both_ways(numbers):
    start, end, tail = (
        StreamPosition(seq_num=s, timestamp=t) for s, t in zip(numbers[::2], numbers[1::2], strict=True)
    )
    message = AppendAck(start=start, end=end, tail=tail)
    assert AppendAck.FromString(protobuf.encode_ack(*numbers)) == message
    assert protobuf.decode_ack(message.SerializeToString()) == numbers
    assert protobuf.decode_ack(protobuf.encode_ack(*numbers)) == numbers


@given(st.binary(max_size=40))
def test_garbage_is_no_ack_or_what_protobuf_says(data):
    try:
        numbers = protobuf.decode_ack(data)
    except ProtocolError:
        return
    assert len(numbers) == 6


def test_unknown_fields_of_an_ack_are_passed_over():
    known = protobuf.encode_ack(1, 2, 3, 4, 5, 6)
    for unknown in (b"\x28\x01", b"\x29" + bytes(8), b"\x2a\x02ab", b"\x2d" + bytes(4)):
        assert protobuf.decode_ack(unknown + known + unknown) == (1, 2, 3, 4, 5, 6)


def test_an_ack_cut_anywhere_is_refused_or_incomplete():
    known = protobuf.encode_ack(300, 1_790_000_000_000, 301, 1_790_000_000_000, 301, 1_790_000_000_000)
    for size in range(1, len(known)):
        try:
            assert protobuf.decode_ack(known[:size])[5] == 0
        except ProtocolError:
            continue


def test_metered_bodies():
    assert protobuf.metered_bodies_bytes([b"", b"abc", b"x" * 100]) == 3 * 8 + 103
