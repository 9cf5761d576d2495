"""Heads of HTTP/2: which are requests, which end the connection, and those of responses."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from s2cli.server.http.http2_frames import ConnectionFaultError, ErrorCode
from s2cli.server.http.http2_head import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_FRAMES,
    NO_TABLE,
    HeadDecoder,
    MalformedError,
    encode_header,
    encode_status,
)

MAX_BYTES, MAX_HEADERS = 16 * 1024, 100
PSEUDO = [(":method", "GET"), (":scheme", "http"), (":authority", "s2"), (":path", "/a?b=c")]


@pytest.fixture
def decoder():
    return HeadDecoder(MAX_BYTES, MAX_HEADERS)


def encoded(*fields, pseudo=PSEUDO):
    return Encoder().encode([*pseudo, *fields])


def without(name):
    return [(one, value) for one, value in PSEUDO if one != name]


def test_a_head_becomes_a_request(decoder):
    head = decoder.request(encoded(("accept", "x"), ("content-length", "12"), ("accept", "y")))
    assert (head.method, head.path, head.query, head.length, head.refusal) == ("GET", b"/a", b"b=c", 12, 0)
    assert head.headers == [(b"host", b"s2"), (b"accept", b"x"), (b"content-length", b"12"), (b"accept", b"y")]


@pytest.mark.parametrize(
    ("hosts", "kept"), [(["s2"], 1), (["S2"], 1), (["s2:80"], 1), (["other"], 2), (["s2:81"], 2), (["s2", "s2"], 1)]
)
def test_a_host_beside_the_authority_is_kept_where_it_is_another_one(decoder, hosts, kept):
    head = decoder.request(encoded(*(("host", host) for host in hosts)))
    assert len([name for name, _ in head.headers if name == b"host"]) == kept
    assert head.headers[0] == (b"host", b"s2")


@pytest.mark.parametrize(
    "block",
    [
        encoded(("Accept", "x")),
        encoded(("a b", "x")),
        encoded(("", "x")),
        encoded(("accept", "a\r\nb: c")),
        encoded(("accept", "a\0")),
        encoded(("accept", " a")),
        encoded(("accept", "a\t")),
        encoded(("connection", "close")),
        encoded(("keep-alive", "1")),
        encoded(("proxy-connection", "close")),
        encoded(("transfer-encoding", "chunked")),
        encoded(("upgrade", "h2c")),
        encoded(("te", "gzip")),
        encoded(("content-length", "-1")),
        encoded(("content-length", "1"), ("content-length", "2")),
        encoded(("content-length", "9" * 20)),
        encoded(("accept", "x"), (":path", "/")),
        encoded((":status", "200")),
        encoded((":protocol", "websocket")),
        *(encoded(pseudo=without(name)) for name in (":method", ":scheme", ":path")),
        *(encoded(pseudo=[one, *PSEUDO]) for one in PSEUDO),
        encoded(pseudo=[(":path", ""), *without(":path")]),
        encoded(pseudo=[(":path", "a"), *without(":path")]),
        encoded(pseudo=[(":path", "http://s2/"), *without(":path")]),
        encoded(pseudo=[(":path", "/#a"), *without(":path")]),
        encoded(pseudo=[(":path", "/a b"), *without(":path")]),
        encoded(pseudo=[(":method", "G T"), *without(":method")]),
        encoded(pseudo=[(":method", "CONNECT"), *without(":method")]),
    ],
)
def test_what_is_no_request_is_malformed_and_what_follows_is_read(decoder, block):
    with pytest.raises(MalformedError):
        decoder.request(block)
    assert decoder.request(encoded(("te", "trailers"))).path == b"/a"


def test_other_requests_are_refused(decoder):
    connect = [(":method", "CONNECT"), (":authority", "x:1")]
    assert decoder.request(encoded(pseudo=connect)).refusal == 400
    assert decoder.request(encoded(*[("a", "b")] * MAX_HEADERS)).refusal == 431
    assert decoder.request(encoded(("a", "b" * MAX_BYTES))).refusal == 431
    assert decoder.request(encoded(("a", "b" * (MAX_BYTES - 500)), *[("a", "b")] * 5)).refusal == 0


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # the index 0
        b"\xff\xff\xff\x03",  # an index that is in no table
        b"\x40\x81\x1a",  # cut off
        b"\x00\x01a\x85\xff\xff\xff\xff\xff",  # the end of a string in Huffman's code
        b"\x82\x20",  # a size of the table behind a header
        b"\x3f\xe2\x1f",  # a table larger than it may be
        b"\x7f" * 30,  # a number without end
        encoded(("a", "b" * MAX_BLOCK_BYTES)),  # a list beyond its limit
        encoded(*[("x-a", "b" * 3000)] * 30),  # the same by reference
    ],
)
def test_a_block_that_cannot_be_decoded_ends_the_connection(decoder, block):
    with pytest.raises(ConnectionFaultError) as caught:
        decoder.request(block)
    assert caught.value.code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)


@given(st.binary(max_size=200))
def test_no_block_raises_anything_else(block):
    try:
        HeadDecoder(MAX_BYTES, MAX_HEADERS).request(block)
    except (MalformedError, ConnectionFaultError):
        pass


def test_blocks_that_are_known_mean_what_they_meant_as_long_as_the_table_is_the_same(decoder):
    encoder = Encoder()
    for value in ("one", "one", "one", "two", "two", "two", "one", "one"):
        block = encoder.encode([*PSEUDO, ("x-a", value)])
        assert (b"x-a", value.encode()) in decoder.request(block).headers
    # The same byte, another header: what is behind an index changes with each one that is added.
    for value in "abcd":
        decoder.request(encoder.encode([*PSEUDO, ("x-b", value)]))
        assert decoder.request(encoder.encode([*PSEUDO, ("x-b", value)])).headers[-1] == (b"x-b", value.encode())


def test_a_block_in_frames_is_bounded(decoder):
    block = encoded(("accept", "x"))
    decoder.begin(1, block[:3], is_end=True)
    assert decoder.is_in_block
    assert decoder.go_on(1, block[3:5], is_last=False) is None
    assert decoder.go_on(1, block[5:], is_last=True) == (block, True)
    assert not decoder.is_in_block
    decoder.begin(1, b"", is_end=False)
    with pytest.raises(ConnectionFaultError) as caught:
        decoder.go_on(3, b"", is_last=True)
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    for part, most in ((b"", MAX_BLOCK_FRAMES), (bytes(10_000), 6)):
        decoder.begin(1, part, is_end=False)
        for _ in range(most - 1):
            decoder.go_on(1, part, is_last=False)
        with pytest.raises(ConnectionFaultError) as caught:
            decoder.go_on(1, part, is_last=False)
        assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300)


@given(st.sampled_from([200, 204, 400, 404, 418, 429, 499, 503, 599]), st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_heads_of_responses_are_read_as_they_are_meant(status, fields):
    fields = [*fields, ("content-type", "application/json"), ("content-length", "1"), ("www-authenticate", "x")]
    block = NO_TABLE + encode_status(status)
    block += b"".join(encode_header(name.encode(), value.encode()) for name, value in fields)
    decoder = Decoder()
    assert decoder.decode(block) == [(":status", str(status)), *fields]
    assert decoder.header_table_size == 0
