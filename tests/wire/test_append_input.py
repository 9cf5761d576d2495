"""AppendInput by hand, against protobuf."""

from hypothesis import given
from hypothesis import strategies as st

from s2cli.wire.append_input import (
    SEPARATE_BYTES,
    bodies_records,
    encode_conditions,
    encode_headers,
    encode_record,
    encoded_records,
    keys_of,
    record_key,
)
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


@given(bodies, headers, bodies, headers)
def test_keys_are_equal_exactly_if_records_are(body, pairs, other_body, other_pairs):
    equal = (body, pairs) == (other_body, other_pairs)
    assert (record_key(body, pairs) == record_key(other_body, other_pairs)) is equal
