"""Batches by hand are what protobuf would write, or what it would read as the same."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import ProtocolError
from s2cli.wire import messages, protobuf
from s2cli.wire.s2_pb2 import AppendAck, AppendInput, AppendRecord, Header, ReadBatch, SequencedRecord, StreamPosition

UINT64 = st.integers(0, 2**64 - 1)
BODIES = st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"x" * 127, b"x" * 128, b"y" * 5000]), max_size=30)
# Times that are the same, close together, far apart, and as large as can be
TIMESTAMPS = st.just(1_764_000_000_000) | st.integers(1_764_000_000_000, 1_764_000_040_000) | UINT64
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
    assert messages.split_append(data) == (bodies, None, match_seq_num, fencing_token)


@given(
    st.lists(st.tuples(st.binary(max_size=300) | st.just(b"y" * 5000), TIMESTAMPS), min_size=1, max_size=30),
    st.none() | UINT64,
    st.none() | st.text(max_size=12),
)
def test_an_append_with_timestamps_has_the_bytes_of_protobuf(records, match_seq_num, fencing_token):
    bodies, timestamps = [body for body, _ in records], [timestamp for _, timestamp in records]
    message = AppendInput(
        records=[AppendRecord(body=body, timestamp=timestamp) for body, timestamp in records],
        match_seq_num=match_seq_num,
        fencing_token=fencing_token,
    )
    token = None if fencing_token is None else fencing_token.encode()
    data = protobuf.encode_append(bodies, match_seq_num, token, timestamps)
    assert data == message.SerializeToString()
    # An empty body leaves no trace beside its timestamp.
    expected = (bodies, timestamps, match_seq_num, fencing_token)
    assert messages.split_append(data) == (expected if all(bodies) else None)


@given(st.lists(RECORDS, max_size=8), st.none() | UINT64, st.binary(max_size=6))
def test_a_split_append_is_exact_or_none(records, match_seq_num, garbage):
    message = AppendInput(records=records, match_seq_num=match_seq_num)
    data = message.SerializeToString() + garbage
    split = messages.split_append(data)
    plain = not garbage and all(not record.headers and not record.HasField("timestamp") for record in records)
    if plain:
        assert split == ([record.body for record in records], None, match_seq_num, None)
    elif split is not None:
        bodies, timestamps, match, token = split
        assert protobuf.encode_append(bodies, match, None if token is None else token.encode(), timestamps) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x02\x08\x05", id="a timestamp alone"),
        pytest.param(b"\x0a\x05\x08\x05\x1a\x01a\x0a\x03\x1a\x01b", id="a timestamp of one record only"),
        pytest.param(b"\x0a\x05\x08\x05\x1a\x01a\x0a\x02\x08\x06\x0a\x03\x1a\x01b", id="timestamp and body apart"),
        pytest.param(b"\x0a\x07\x08\x05\x08\x06\x1a\x01a\x0a\x03\x1a\x01b", id="two timestamps and none"),
        pytest.param(b"\x0a\x05\x1a\x01a\x08\x05", id="a timestamp behind the body"),
        pytest.param(b"\x0a\x06\x08\x85\x00\x1a\x01a", id="a padded timestamp"),
        pytest.param(b"\x0a\x06\x0a\x01\x05\x1a\x01a", id="a packed timestamp"),
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


@given(st.lists(st.tuples(st.binary(max_size=300), TIMESTAMPS), min_size=1), st.integers(0, 2**20))
def test_records_with_timestamps_of_their_own_read_back_through_protobuf(records, first_seq_num):
    records.sort(key=lambda record: record[1])
    bodies, timestamps = [body for body, _ in records], [timestamp for _, timestamp in records]
    data = protobuf.encode_timed_records(bodies, first_seq_num, timestamps)
    assert list(ReadBatch.FromString(data).records) == [
        SequencedRecord(seq_num=first_seq_num + at, timestamp=timestamp, body=body)
        for at, (body, timestamp) in enumerate(records)
    ]


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


FIELDS = st.sampled_from(
    [b"\x08\x05", b"\x10\x81\x01", b"\x18\x01", b"\x22\x01a", b"\x08", b"\x0a\x02", b"\x03", b"\xff"]
)
PARTS = st.lists(FIELDS, max_size=4).map(b"".join).map(lambda part: bytes([len(part)]) + part)


@given(st.binary(max_size=40) | st.lists(st.tuples(st.sampled_from([b"\x0a", b"\x12", b"\x1a", b"\x2a"]), PARTS)).map(
    lambda parts: b"".join(key + part for key, part in parts)))  # fmt: skip
def test_garbage_is_no_ack_or_what_protobuf_says(data):
    try:
        numbers = protobuf.decode_ack(data)
        ack = AppendAck.FromString(data)
    except (ProtocolError, DecodeError):
        return
    positions = (ack.start, ack.end, ack.tail)
    assert numbers == tuple(number for position in positions for number in (position.seq_num, position.timestamp))


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


HEADERS = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=4)


@given(UINT64, UINT64, HEADERS, st.binary(max_size=300))
def test_a_record_with_headers_is_read_by_protobuf(seq_num, timestamp, headers, body):
    data = protobuf.encode_record(seq_num, timestamp, b"".join(map(protobuf.encode_header, headers)), body)
    pairs = [Header(name=name, value=value) for name, value in headers]
    record = SequencedRecord(seq_num=seq_num, timestamp=timestamp, headers=pairs, body=body)
    assert list(ReadBatch.FromString(data).records) == [record]


def test_what_is_remembered_of_headers_is_bounded():
    remembered = protobuf.encode_header.__self__
    remembered.clear()
    for number in range(10_000):
        protobuf.encode_header((b"number", b"%d" % number))
        protobuf.encode_header((b"long", bytes(300) + b"%d" % number))
        assert len(remembered) <= 4096
    assert {(b"number", b"%d" % number) for number in range(9900, 10_000)} <= remembered.keys()
    assert max(map(len, remembered.values())) <= 256


@pytest.mark.parametrize("message", [b"\x26", b"\x27", b"\x23", b"\x24", b"\x12\x02\x26\x01"])
def test_fields_of_unknown_kinds_are_no_ack(message):
    with pytest.raises(ProtocolError, match="unknown kind"):
        protobuf.decode_ack(message)


def test_an_ack_whose_parts_are_longer_than_they_say_is_garbled():
    with pytest.raises(ProtocolError, match="garbled"):
        protobuf.decode_ack(b"\x0a\x03\x08\x01\x10\x80\x01")
    with pytest.raises(ProtocolError, match="does not end"):
        protobuf.decode_ack(b"\x0a\x0c\x08" + b"\xff" * 11)


@given(st.lists(RECORDS, max_size=12), st.none() | UINT64, st.integers(0, 12))
def test_records_are_counted_no_further_than_needed(records, match_seq_num, most):
    data = AppendInput(records=records, match_seq_num=match_seq_num).SerializeToString()
    assert protobuf.count_records(data, most) == min(len(records), most + 1)


def test_what_is_cut_short_counts_as_far_as_it_goes():
    assert protobuf.count_records(b"\x0a\x01a" * 3 + b"\x0a", 10) == 3


LONG = b"\x0a\x80\x01" + bytes(128) + b"\x0a\xac\x02" + bytes(300)  # fields whose lengths take two bytes


@pytest.mark.parametrize(
    ("data", "most", "expected"),
    [
        (b"", 9, []),
        (b"\x0a\x01a\x0a\x00", 9, [(0, 5, True)]),
        (b"\x0a\x01a" * 5, 2, [(0, 6, True), (6, 12, True), (12, 15, True)]),
        (b"\x0a\x01a\x10\x05\x0a\x01b", 9, [(0, 3, True), (3, 5, False), (5, 8, True)]),
        (LONG + b"\x0a\x01a", 9, [(0, len(LONG) + 3, True)]),
        (b"\x10\x05\x1d1234\x19" + bytes(8), 9, [(0, 2, False), (2, 7, False), (7, 16, False)]),
    ],
)
def test_runs_of_a_field(data, most, expected):
    assert list(protobuf.runs_of_field(data, 0x0A, most)) == expected
    ends = {end for _, end, _ in protobuf.runs_of_field(data, 0x0A, 1)} | {0}
    for size in range(len(data)):
        if size in ends:
            assert sum(end - begin for begin, end, _ in protobuf.runs_of_field(data[:size], 0x0A, most)) == size
        else:
            with pytest.raises(ProtocolError, match="cut short"):
                list(protobuf.runs_of_field(data[:size], 0x0A, most))


def test_other_fields_have_a_bound():
    most = 64
    for count in (most, most + 1):
        data = b"\x10\x05" * count
        if count == most:
            assert protobuf.count_records(data + b"\x0a\x00", 9) == 1
            assert len(list(protobuf.runs_of_field(data, 0x0A, 9))) == most
            continue
        with pytest.raises(ProtocolError, match="more than 64 fields"):
            protobuf.count_records(data, 9)
        with pytest.raises(ProtocolError, match="no client sends"):
            list(protobuf.runs_of_field(data, 0x0A, 9))
