"""What server-sent events may hold."""

import json

import pytest

from s2cli.client.event_reader import MAX_EVENT_BYTES
from s2cli.errors import ProtocolError
from s2cli.wire.sse import decode_batch, decode_ping


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
    with pytest.raises(ProtocolError, match="no ping"):
        decode_ping(data)
