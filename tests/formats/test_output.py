"""Records to bytes, in each of the formats."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.formats import json_output, text_output
from s2cli.wire.s2_pb2 import ReadBatch


def make(*records):
    batch = ReadBatch()
    for seq_num, (body, headers) in enumerate(records, 7):
        record = batch.records.add(seq_num=seq_num, timestamp=1000 + seq_num, body=body)
        for name, value in headers:
            record.headers.add(name=name, value=value)
    return batch.records


PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=3)


@given(st.lists(st.binary(max_size=50), min_size=1), st.sampled_from([b"\n", b"\0"]))
def test_text_is_the_bodies_and_a_separator_after_each(bodies, separator):
    assert text_output.format_bodies(list(bodies), separator) == b"".join(body + separator for body in bodies)


def test_text_shows_no_headers_and_tells_of_commands():
    told = []
    records = make(
        (b"a\xff\r", [(b"n", b"v")]),
        ((300).to_bytes(8, "big"), [(b"", b"trim")]),
        (b"token", [(b"", b"fence")]),
        (b"", [(b"", b"odd")]),
        (b"", []),
    )
    assert [record.body for record in text_output.without_commands(records, told.append)] == [b"a\xff\r", b""]
    assert told == [
        "trim to 300 // 8 @ 1008",
        'new fencing token "token" // 9 @ 1009',
        "unknown command 'odd' // 10 @ 1010",
    ]


def test_json_leaves_out_what_is_empty_and_keeps_the_order():
    records = make(("hé\n".encode(), []), (b"", [(b"n", b"")]), (b"\xff", []))
    assert json_output.format_records(records, "\n", base64=False).decode() == (
        '{"seq_num":7,"timestamp":1007,"body":"hé\\n"}\n'
        '{"seq_num":8,"timestamp":1008,"headers":[["n",""]]}\n'
        '{"seq_num":9,"timestamp":1009,"base64":true,"body":"/w=="}\n'
    )


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff", [(b"n", b"v")]),
        (b"text", [(b"n\xff", b"v")]),
        (b"text", [(b"n", b"\xed\xa0\x80")]),  # half of a surrogate pair
        (b"", [(b"a", b"b"), (b"n", b"\xc3")]),
    ],
)
def test_json_gives_a_record_that_is_no_text_in_base64_whole(body, headers):
    records = make((b"text", [(b"n", b"v")]), (body, headers))
    first, second = json_output.format_records(records, "\n", base64=False).decode().splitlines()
    assert first == '{"seq_num":7,"timestamp":1007,"headers":[["n","v"]],"body":"text"}'
    exact = json_output.format_records(records, "\n", base64=True).decode().splitlines()[1]
    assert second == exact.replace('"timestamp":1008,', '"timestamp":1008,"base64":true,')


# Each of them and its neighbours on both sides, which are harmless or escaped by JSON itself.
CONTROLS = {*range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}


@pytest.mark.parametrize("place", ["body", "header"])
@pytest.mark.parametrize("code", sorted({code + step for code in CONTROLS for step in (-1, 0, 1)}))
def test_json_escapes_what_would_drive_a_terminal(code, place):
    text = f"a{chr(code)}z"
    data = text.encode()
    records = make((data, []) if place == "body" else (b"", [(data, data)]))
    line = json_output.format_records(records, "\n", base64=False).decode()
    assert (text in line) == (code not in CONTROLS)
    fields = json.loads(line)
    assert fields.get("body") == text or fields.get("headers") == [[text, text]]


def test_json_leaves_typography_and_other_scripts_as_they_are():
    text = "“größe” — 10 °C … 日本語 العربية \u200d😀\u202f\u00a0"
    assert text in json_output.format_records(make((text.encode(), [])), "\n", base64=False).decode()


@given(st.lists(st.tuples(st.binary(max_size=50), PAIRS), min_size=1, max_size=5), st.booleans())
def test_json_is_json_and_base64_is_exact(given_records, is_base64):
    data = json_output.format_records(make(*given_records), "\n", base64=is_base64)
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    for line, (body, headers) in zip(lines, given_records, strict=True):
        fields = json.loads(line)
        if fields.pop("base64", is_base64):
            assert base64.b64decode(fields.get("body", "")) == body
            pairs = [(base64.b64decode(name), base64.b64decode(value)) for name, value in fields.get("headers", [])]
            assert pairs == headers
        else:
            assert fields.get("body", "").encode() == body
            assert [(name.encode(), value.encode()) for name, value in fields.get("headers", [])] == headers
        assert list(fields) == [name for name in ("seq_num", "timestamp", "headers", "body") if name in fields]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_json_ends_each_object_with_the_separator(separator):
    data = json_output.format_records(make((b"a", []), (b"b", [])), separator, base64=False).decode()
    assert data.count("}" + separator) == 2
