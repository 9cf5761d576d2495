"""Server-sent events: bytes in any pieces, and what they may hold."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.client import sse
from s2cli.client.sse import MAX_EVENT_BYTES, EventReader, decode_batch, decode_ping
from s2cli.errors import ProtocolError

STREAM = (
    b": hello\n\nevent: ping\ndata: {}\n\nid: 1,2,3\nevent:batch\ndata:one\ndata: two\n\nretry: 5\nevent: lost\n\n"
    b"data\n\ndata: [DONE]\n\ndata: incomplete\n"
)
EVENTS = [("ping", b"{}"), ("batch", b"one\ntwo"), ("message", b"[DONE]")]


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200)))
def test_events_come_out_in_any_split_and_with_any_line_ends(line_end, cuts):
    stream = STREAM.replace(b"\n", line_end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = EventReader()
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert [event for piece in pieces for event in reader.events(piece)] == EVENTS
    assert reader.pending_bytes == len(b"data: incomplete\n")


@pytest.mark.parametrize("piece", [b": comment\n", b"data: x\n", b"x" * 1000, b"\n", b"\r\n", b"event: batch\n\n"])
def test_what_ends_in_no_event_is_bounded(piece, monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100_000)
    reader = EventReader()
    found = (event for _ in range(200_000) for event in reader.events(piece))
    with pytest.raises(ProtocolError, match="more than 100000 bytes"):
        next(found)


def test_many_events_are_no_long_one(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    reader = EventReader()
    assert len(list(reader.events(b"data: x\n\n" * 1000))) == 1000


def test_data_are_bytes_as_they_came():
    reader = EventReader()
    data = bytes(byte for byte in range(256) if byte not in b"\r\n")
    assert list(reader.events(b"event: \xc3\xa4\ndata: " + data + b"\n\n")) == [("\u00e4", data)]


def test_the_largest_batch_there_is():
    headers = [["YQ==", ""]] * 349_522
    data = json.dumps({"records": [{"seq_num": 1, "timestamp": 2, "headers": headers}]}, separators=(",", ":")).encode()
    assert len(data) < MAX_EVENT_BYTES
    assert len(decode_batch(data).records[0].headers) == 349_522


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"5",
        b'"x"',
        b"{}",
        b'{"tail":5}',
        b'{"tail":{"seq_num":-1}}',
        b'{"tail":{"seq_num":1e999}}',
        b"\xff",
    ],
)
def test_a_ping_that_is_none(data):
    if data == b"{}":
        assert decode_ping(data) is None
        return
    with pytest.raises(ProtocolError, match="not a ping"):
        decode_ping(data)
