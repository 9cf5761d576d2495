"""Input bytes to records: lines in any split, the formats, and where a line cannot be a record."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.formats.input import open_input
from s2cli.wire.protobuf import MAX_BATCH_BYTES
from s2cli.wire.s2_pb2 import AppendInput

LIMIT = MAX_BATCH_BYTES - 8


def read(source, pieces):
    """The records of all batches."""
    batches = [batch for piece in pieces for batch in source.feed(piece)] + source.finish()
    if source.has_rest:
        batches.append(source.take_rest())
    return [record for batch in batches for record in AppendInput.FromString(b"".join(batch.parts)).records]


def bodies(source, *pieces):
    return [record.body for record in read(source, pieces)]


def text(separator=b"\n", headers=()):
    return open_input("text", separator, list(headers))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\n", [b"a"]),
        (b"a", [b"a"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\nb\r", [b"a\r", b"b\r"]),
        (b"a\0b\xff\n", [b"a\0b\xff"]),
    ],
)
def test_a_line_is_a_record_byte_for_byte(data, expected):
    source = text()
    assert bodies(source, data) == expected
    assert source.lines == len(expected)
    assert bodies(text(), *(data[at : at + 1] for at in range(len(data)))) == expected


def test_nul_separates_records_where_that_is_asked():
    assert bodies(text(b"\0"), b"a\nb\0\0c") == [b"a\nb", b"", b"c"]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_split_gives_the_same_lines(pieces):
    data = b"".join(pieces)
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert bodies(text(), *pieces) == expected
    assert bodies(text(headers=[(b"n", b"v")]), *pieces) == expected


def test_headers_go_on_every_record():
    records = read(text(headers=[(b"a", b"1"), (b"b", b"")]), [b"x\ny\n"])
    assert [[(header.name, header.value) for header in record.headers] for record in records] == [
        [(b"a", b"1"), (b"b", b"")]
    ] * 2


@pytest.mark.parametrize("piece_bytes", [1000, 64 * 1024, LIMIT + 10])
def test_a_line_of_the_largest_size_passes_and_one_byte_more_does_not(piece_bytes):
    def pieces(data):
        return [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]

    source = text()
    assert bodies(source, *pieces(b"x" * LIMIT + b"\ny\n")) == [b"x" * LIMIT, b"y"]
    assert source.error is None
    source = text()
    assert bodies(source, *pieces(b"y\n" + b"x" * (LIMIT + 1) + b"\nz\n"))[:1] == [b"y"]
    assert source.lines == 1
    assert str(source.error).startswith("line 2: the record has ")
    assert source.error.line == 2
    assert source.error.exit_code == 7


def test_a_line_that_never_ends_is_refused_before_it_fills_the_memory():
    source = text()
    for _ in range(20):
        source.feed(b"x" * 100_000)
        if source.error is not None:
            break
    assert "at least 1100000 bytes" in str(source.error)


def test_headers_count_towards_the_limit_of_a_line():
    source = text(headers=[(b"n" * 100, b"")])
    assert bodies(source, b"x" * (LIMIT - 102) + b"\n") == [b"x" * (LIMIT - 102)]
    assert source.error is None
    source = text(headers=[(b"n" * 100, b"")])
    assert bodies(source, b"x" * (LIMIT - 101) + b"\n") == []
    assert source.error.line == 1


@pytest.mark.parametrize("name", ["json", "json-base64"])
def test_json_lines_become_records(name):
    def put(value):
        return base64.b64encode(value.encode()).decode() if name == "json-base64" else value

    lines = [
        {"body": put("plain")},
        {"seq_num": 4, "timestamp": 7, "headers": [[put("n"), put("vä")], [put("m"), ""]], "body": put("höhe\n")},
        {},
        {"body": None, "headers": None, "timestamp": None},
        {"headers": [["", put("fence")]], "body": put("token")},
    ]
    source = open_input(name, b"\n", [])
    records = read(source, ["".join(json.dumps(line) + "\n" for line in lines).encode()])
    assert [record.body for record in records] == [b"plain", "höhe\n".encode(), b"", b"", b"token"]
    assert [(header.name, header.value) for header in records[1].headers] == [(b"n", "vä".encode()), (b"m", b"")]
    assert [record.timestamp for record in records if record.HasField("timestamp")] == [7]
    assert source.lines == 5


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON: .* column 2"),
        (b'{"bodi":"a","seq_num":1}', "the object has no"),
        (b"[]", "a record is an object"),
        (b'"text"', "a record is an object"),
        (b'{"body":1}', "body must be a string"),
        (b'{"body":"\\ud800"}', "surrogate"),
        (b'{"body":"\xff"}', "byte 10 is not UTF-8"),
        (b'{"headers":{}}', "array of pairs"),
        (b'{"headers":[["a"]]}', "array of pairs"),
        (b'{"headers":[["a",1]]}', "a header's value must be a string"),
        (b'{"headers":[["","x"]]}', "unknown command"),
        (b'{"headers":[["","trim"]],"body":"short"}', "must be 8"),
        (b'{"timestamp":-1}', "whole number"),
        (b'{"timestamp":true}', "whole number"),
        (b'{"timestamp":1.5}', "whole number"),
        (b'{"timestamp":18446744073709551616}', "whole number"),
        (b"[" * 100_000, "cannot decode|not valid JSON"),
        (b'{"body":"' + b"x" * LIMIT + b'x"}', "exceeds 1 MiB"),
    ],
)
def test_a_bad_line_comes_after_the_records_before_it(line, text):
    source = open_input("json", b"\n", [])
    records = read(source, [b'{"body":"good"}\n' + line + b'\n{"body":"after"}\n'])
    assert [record.body for record in records] == [b"good"]
    assert source.error.line == 2
    assert source.lines == 1
    import re

    assert re.search(text, source.error.message)


@pytest.mark.parametrize("body", ["a", "YQ", "YQ==\n", "Y Q==", "YQ==YQ==", "ä"])
def test_bad_base64_is_refused(body):
    source = open_input("json-base64", b"\n", [])
    assert read(source, [json.dumps({"body": body}).encode() + b"\n"]) == []
    assert "Base64" in source.error.message


def test_escapes_may_make_a_line_longer_than_a_record():
    body = "\0" * 900_000
    assert bodies(open_input("json", b"\n", []), json.dumps({"body": body}).encode()) == [body.encode()]


def test_lines_that_are_left_out_are_in_no_batch_and_counted():
    command, record = b'{"headers":[["","fence"]],"body":"x"}\n', b'{"body":"r"}\n'

    def lines_of(data, step):
        source = open_input("json", b"\n", [], skip_commands=True)
        batches = []
        for at in range(0, len(data), step):
            batches += source.feed(data[at : at + step])
            if source.has_rest:
                batches.append(source.take_rest())
        batches += source.finish()
        if source.has_rest:
            batches.append(source.take_rest())
        assert source.lines == data.count(b"\n")
        assert source.skipped == data.count(b"fence")
        followed = 0
        found = []
        for batch in batches:
            ranges = batch.lines or [(followed + 1, followed + batch.count)]
            assert sum(last - first + 1 for first, last in ranges) == batch.count
            followed = ranges[-1][1]
            found += [line for first, last in ranges for line in range(first, last + 1)]
        return found

    @given(st.lists(st.booleans(), max_size=30), st.integers(1, 200))
    def check(kinds, step):
        data = b"".join(record if kind else command for kind in kinds)
        assert lines_of(data, step) == [line for line, kind in enumerate(kinds, 1) if kind]

    check()


def test_a_last_line_of_one_input_does_not_join_the_first_of_the_next():
    source = text()
    assert [source.feed(b"a1\na2"), source.finish(), source.feed(b"b1\n"), source.feed(b"b2")] == [[]] * 4
    assert bodies(source) == [b"a1", b"a2", b"b1", b"b2"]
    assert source.lines == 4


def test_the_size_of_a_last_line_does_not_count_for_the_next_input():
    source = text()
    source.feed(b"x" * 700_000)
    source.finish()
    source.feed(b"y" * 700_000)
    assert source.error is None
