"""Large bodies: what is decoded of them, how far, and that in steps they are what they are at once."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.s2s import append_input, open_append

from s2cli.errors import ApiError, BadValueError, ProtocolError
from s2cli.server.api import append_body, append_json
from s2cli.server.api.append_body import parse_proto, proto_steps
from s2cli.server.api.append_json import json_steps, parse_json
from s2cli.server.api.json_bodies import JsonError, decode_json
from s2cli.server.api.openapi import document
from s2cli.server.api.routes import ROUTES
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.wire.frames import encode_frame
from s2cli.wire.messages import record_pieces
from s2cli.wire.protobuf import count_records
from s2cli.wire.s2_pb2 import AppendRecord, Header, ReadBatch

MIB = 1 << 20
BODIES = sorted({route.body for route in ROUTES if route.body})


# JSON.


@pytest.mark.parametrize("schema", BODIES)
@pytest.mark.parametrize(
    "body",
    [b"{" * MIB, b"[" * MIB, b'{"x":' + b"[" * MIB, b'{"x":"\\ud800"}', b'{"x":"\xff"}', b'{"x":NaN}', b"", b"{} {}"],
    ids=["braces", "brackets", "deep", "half a pair", "no UTF-8", "NaN", "nothing", "two"],
)
def test_what_is_no_json_is_refused_at_once(schema, body):
    with pytest.raises(JsonError):
        decode_json(body, schema)


@pytest.mark.parametrize("schema", [name for name in BODIES if name != "LocationName"])
def test_of_what_the_description_does_not_name_nothing_is_made(schema):
    known = document(ROUTES)["components"]["schemas"][schema]["properties"]
    many = b"[" + b"{}," * 100_000 + b"[]]"
    assert decode_json(b'{"unknown":%b}' % many, schema) == {}
    for name in known:
        # No array of arrays stands anywhere, but for the headers of records.
        with pytest.raises(JsonError):
            decode_json(b'{"%b":[%b]}' % (name.encode(), many), schema)


@pytest.mark.parametrize("schema", BODIES)
def test_every_text_is_valid_unicode(schema):
    def refused(value):
        with pytest.raises(JsonError):
            decode_json(json.dumps(value).encode(), schema)

    def walk(node, wrap):
        if "$ref" in node:
            walk(SCHEMAS[node["$ref"].rpartition("/")[2]], wrap)
        for variant in node.get("anyOf", []) + node.get("oneOf", []):
            walk(variant, wrap)
        for name, member in node.get("properties", {}).items():
            walk(member, lambda value, name=name: wrap({name: value}))
        if "items" in node:
            walk(node["items"], lambda value: wrap([value] * node.get("minItems", 1)))
        if node.get("type") == "string":
            refused(wrap("a\ud800"))
            walked.append(wrap("x"))

    SCHEMAS, walked = document(ROUTES)["components"]["schemas"], []
    walk(SCHEMAS[schema], lambda value: value)
    for value in walked:
        # The same with a whole text: it was that which was refused.
        assert json.loads(json.dumps(decode_json(json.dumps(value).encode(), schema))) == value


def test_numbers_of_any_size_are_refused_by_their_member(shared_server, basin):
    for number in ("1e400", "-1", "1.0", "1.5", str(1 << 64), "9" * 5000, "NaN", "Infinity", "true", '"1"'):
        for body in (
            '{"records":[{"timestamp":%s}]}',
            '{"records":[{}],"match_seq_num":%s}',
        ):
            answer = shared_server.request(
                "POST",
                "/v1/streams/stream/records",
                basin=basin,
                body=(body % number).encode(),
                headers={"content-type": "application/json"},
            )
            assert (answer.status, answer.json()["code"]) == (400, "bad_json"), (body, number)
        for config in ('{"retention_policy":{"age":%s}}', '{"delete_on_empty":{"min_age_secs":%s}}'):
            answer = shared_server.request(
                "PUT",
                "/v1/streams/stream",
                basin=basin,
                body=(config % number).encode(),
                headers={"content-type": "application/json"},
            )
            assert (answer.status, answer.json()["code"]) == (400, "bad_json"), (config, number)


@pytest.mark.parametrize(
    ("storage_class", "status", "code"),
    [("\ud800", 400, "bad_json"), ("", 422, "invalid"), ("x" * 65, 422, "invalid"), ("é" * 33, 422, "invalid")]
    + [("a\0b", 422, "invalid"), ("é" * 32, 200, None), ("any other", 200, None)],
)
def test_a_storage_class_is_a_short_text(shared_server, storage_class, status, code):
    basin = shared_server.create_basin(create_stream_on_append=True)
    config = {"storage_class": storage_class}
    answer = shared_server.request(
        "POST",
        "/v1/streams/by-append/records",
        basin=basin,
        json_body={"records": [{"body": "x"}]},
        headers={"s2-stream-config": json.dumps(config)},
    )
    expected = (status, code) if status == 200 else (400, "bad_header")
    assert (answer.status, answer.json().get("code")) == expected
    answer = shared_server.request("PUT", "/v1/streams/by-put", basin=basin, json_body=config)
    assert (answer.status, answer.json().get("code")) == ((201, None) if status == 200 else (status, code))
    answer = shared_server.request("PATCH", f"/v1/basins/{basin}", json_body={"default_stream_config": config})
    assert (answer.status, answer.json().get("code")) == (status, code)


def steps_and_peak(steps):
    """How many steps there are, what they return or raise, and how many bytes of objects there are at most."""
    taken = 0
    tracemalloc.start()
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return taken, end.value, tracemalloc.get_traced_memory()[1]
            except BadValueError as error:
                return taken, error, tracemalloc.get_traced_memory()[1]
            taken += 1
    finally:
        tracemalloc.stop()


def test_of_too_many_records_in_json_few_are_made():
    body = b'{"records":[%b{}]}' % (b"{}," * 699_000)
    _, error, peak_bytes = steps_and_peak(json_steps(body))
    assert "1000 records, it has 1001" in error.message
    assert peak_bytes < len(body) + MIB
    # That many are made each time, not all in all.
    most = b'{"records":[%b{}]}' % (b"{}," * 999)
    assert [in_one_go(json_steps(most)).count for _ in range(2)] == [1000, 1000]


def test_headers_in_json_are_taken_in_steps(shared_server, basin):
    shared_server.create_stream(basin)
    body = b'{"records":[{"headers":[%b["a",""]]}]}' % (b'["a",""],' * 232_000)
    taken, batch, peak_bytes = steps_and_peak(json_steps(body))
    assert taken > 100
    assert (batch.count, batch.metered_bytes) == (1, 8 + 3 * 232_001)
    assert peak_bytes < 12 * MIB
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    path = "/v1/streams/stream/records"
    answer = shared_server.request("POST", path, basin=basin, body=gzip.compress(body), headers=headers)
    assert answer.status == 200
    answer = shared_server.request("GET", f"{path}?seq_num=0&count=1", basin=basin)
    assert answer.json()["records"][0]["headers"] == [["a", ""]] * 232_001
    for last in ("5", '["a"]', '["a","b","c"]', '["a",5]', '{"a":"b"}', "null", '["","fence"]'):
        bad = body.replace(b'["a",""]]', b'["a",""],%b]' % last.encode())
        answer = shared_server.request("POST", path, basin=basin, body=gzip.compress(bad), headers=headers)
        assert (answer.status, answer.json()["code"]) == ((422, "invalid") if "fence" in last else (400, "bad_json"))


json_text = st.text(st.characters(codec="utf-8"), max_size=4)

json_record = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.none() | st.integers(0, (1 << 64) - 1),
        "headers": st.none() | st.lists(st.tuples(json_text, json_text), max_size=9),
        "body": json_text,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(records=st.lists(json_record, min_size=1, max_size=4), indent=st.sampled_from([None, 1]))
def test_json_in_steps_is_what_it_is_at_once(records, indent):
    body = json.dumps({"records": records}, indent=indent).encode()
    at_once = outcome(lambda: parse_json(body, as_base64=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append_json, "_AT_ONCE_BYTES", len("null"))
        assert outcome(lambda: parse_json(body, as_base64=False)) == at_once


def outcome(parse):
    try:
        batch = parse()
    except BadValueError as error:
        return error.message
    bodies = None if batch.bodies is None else list(map(bytes, batch.bodies))
    return bodies, batch.records, batch.commands, batch.metered_bytes


# Protobuf.


proto_bytes = st.sampled_from([b"", b"fence", b"trim", b"a", b"12345678"]) | st.binary(max_size=200)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.none() | st.integers(0, (1 << 64) - 1),
            st.lists(st.tuples(proto_bytes, proto_bytes), max_size=5),
            proto_bytes,
        ),
        min_size=1,
        max_size=4,
    ),
    most=st.integers(1, 3),
)
def test_protobuf_in_steps_is_what_it_is_at_once(records, most):
    data = append_input(*records)
    at_once = outcome(lambda: parse_proto(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append_body, "HEADERS_IN_A_ROW", most)
        assert outcome(lambda: parse_proto(data)) == at_once
        patch.setattr(append_body, "_AT_ONCE_BYTES", 0)
        assert outcome(lambda: parse_proto(data)) == at_once
        patch.setattr(append_body, "_RECORD_AT_ONCE_BYTES", -1)
        assert outcome(lambda: parse_proto(data)) == at_once


def test_pieces_of_a_record_have_few_headers():
    record = AppendRecord(timestamp=5, body=b"body", headers=[Header(name=b"%d" % number) for number in range(1000)])
    data = record.SerializeToString()
    pieces = list(record_pieces(data, 64))
    assert [len(piece.headers) for piece in pieces] == [64] * 15 + [40, 0]
    assert AppendRecord.FromString(b"".join(piece.SerializeToString() for piece in pieces)) == record
    # Fields in any order, and unknown ones.
    assert list(record_pieces(b"\x1a\x01x\x12\x03\x0a\x01a\x20\x05\x08\x07\x12\x03\x0a\x01b", 64)) == [
        AppendRecord(headers=[Header(name=b"a")]),
        AppendRecord(headers=[Header(name=b"b")]),
        AppendRecord.FromString(b"\x1a\x01x\x20\x05\x08\x07"),
    ]
    for cut_short in (data[:-1], data[: len(data) // 2], b"\x12", b"\x12\xff", b"\x12\x05a"):
        with pytest.raises(ProtocolError):
            list(record_pieces(cut_short, 64))
    for strange in (b"\x08\x05" * 1000, b"\x92\x00\x00", b"\x23\x24"):
        with pytest.raises(ProtocolError):
            list(record_pieces(strange, 64))


def test_a_record_that_is_cut_short_is_no_batch():
    large = b"\x1a\x80\x80\x14" + bytes(5 << 16)
    with pytest.raises(ApiError, match="cut short"):
        parse_proto(
            b"\x0a"
            + bytes((len(large) & 0x7F | 0x80, len(large) >> 7 & 0x7F | 0x80, len(large) >> 14))
            + large[:3]
            + b"\x15"
            + large[4:]
        )


def test_records_are_counted_no_further_than_it_matters():
    assert count_records(append_input(*[b"x"] * 7), 1000) == 7
    assert count_records(b"\x0a\x00" * MIB, 1000) == 1001
    assert count_records(b"\x10\x05" + b"\x0a\x00" * 3 + b"\x1a\x01x", 1000) == 3
    assert count_records(b"\x0a\xff", 1000) == 0
    for data in (b"\x20\x00" * MIB, b"\x23\x24" * MIB, b"\x80" * 20):
        with pytest.raises(ProtocolError):
            count_records(data, 1000)


def test_no_batch_of_too_many_fields_is_made():
    with pytest.raises(BadValueError, match="1001"):
        parse_proto(b"\x0a\x00" * MIB)
    with pytest.raises(ApiError, match="64 fields"):
        parse_proto(b"\x20\x00" * MIB)
    # Unknown ones are passed over, as protobuf does.
    assert parse_proto(append_input(b"x") + b"\x20\x05" * 60).bodies == [b"x"]


def many_headers(count=349_522):
    record = b"\x12\x03\x0a\x01a" * count
    size = len(record)
    return b"\x0a" + bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 | 0x80, size >> 21)) + record


def test_as_many_headers_as_a_record_may_have_are_taken_in_steps(shared_server, basin):
    shared_server.create_stream(basin)
    data = many_headers()
    taken = sum(1 for _ in proto_steps(data))
    assert taken > 100
    batch = in_one_go(proto_steps(data))
    assert (batch.count, batch.metered_bytes) == (1, 8 + 3 * 349_522)
    headers = {"content-type": "application/protobuf", "content-encoding": "gzip"}
    path = "/v1/streams/stream/records"
    body = gzip.compress(data)
    assert len(body) < LARGE_BYTES
    assert shared_server.request("POST", path, basin=basin, body=body, headers=headers).status == 200
    with open_append(shared_server, basin) as session:
        for compression in ("zstd", "gzip"):
            session.send_bytes(encode_frame(data, compression))
        assert [session.ack()[1] for _ in range(2)] == [2, 3]
    answer = shared_server.request(
        "GET", f"{path}?seq_num=1&count=1", basin=basin, headers={"accept": "application/protobuf"}
    )
    (record,) = ReadBatch.FromString(answer.body).records
    assert (record.seq_num, len(record.headers), record.headers[349_521].name) == (1, 349_522, b"a")
    too_many = gzip.compress(many_headers(349_523))
    assert shared_server.request("POST", path, basin=basin, body=too_many, headers=headers).status == 422


@pytest.mark.parametrize("count", [2, 3000])
def test_headers_are_stored_as_they_came(shared_server, basin, count):
    shared_server.create_stream(basin)
    pairs = [(b"name %d" % number, bytes(number % 300)) for number in range(count)]
    records = [(5, pairs, b"body"), (None, [], b""), (None, [(b"", b"fence")], b"token")]
    path = "/v1/streams/stream/records"
    proto = {"content-type": "application/protobuf", "accept": "application/protobuf"}
    sent = shared_server.request("POST", path, basin=basin, body=append_input(*records), headers=proto)
    assert sent.status == 200
    answer = shared_server.request("GET", f"{path}?seq_num=0&count=9", basin=basin, headers=proto)
    got = [
        ([(header.name, header.value) for header in record.headers], record.body)
        for record in ReadBatch.FromString(answer.body).records
    ]
    assert got == [(headers, body) for _, headers, body in records]
    batch = parse_json(
        json.dumps({"records": [{"headers": [[name.decode(), "v"] for name, _ in pairs]}]}).encode(), as_base64=False
    )
    assert batch.records == parse_proto(append_input((None, [(name, b"v") for name, _ in pairs], b""))).records
