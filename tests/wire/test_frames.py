"""S2S frames: whole, byte by byte, with leftovers; and what a hostile peer may send."""

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import FrameError
from s2cli.wire import frames
from s2cli.wire.frames import FrameReader, encode_frame, encode_terminal, only_message

MESSAGES = st.lists(
    st.tuples(
        st.binary(max_size=40) | st.integers(1000, 5000).map(lambda size: b"ab" * size),
        st.sampled_from([None, "zstd", "gzip"]),
        st.booleans(),
    ),
    max_size=6,
)


def as_tuples(read: list[frames.Frame]) -> list[tuple[bytes, int | None, bool]]:
    return [(frame.message, frame.status, frame.reconnect_advised) for frame in read]


@given(MESSAGES, st.data())
def test_the_only_message_is_that_of_one_whole_frame_without_flags(messages, data):
    wire = b"".join(encode_frame(*message) for message in messages)
    part = wire[: data.draw(st.sampled_from([len(wire), len(wire) // 2, len(wire) - 1]))]
    reader = FrameReader(inflates=False)
    read = reader.feed(part)
    plain = len(read) == 1 and reader.at_boundary and not (read[0].encoding or read[0].reconnect_advised)
    assert only_message(part) == (read[0].message if plain else None)
    assert only_message(encode_terminal(500, b"{}")) is None


@given(MESSAGES, st.data())
def test_frames_survive_any_split(messages, data):
    wire = b"".join(encode_frame(*message) for message in messages) + encode_terminal(412, b'{"a":1}')
    expected = [(message, None, advised) for message, _, advised in messages] + [(b'{"a":1}', 412, False)]
    reader, got, at = FrameReader(), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, max(8, len(wire) // 8)))
        got += reader.feed(wire[at : at + size])
        at += size
    assert as_tuples(got) == expected
    assert reader.at_boundary


def test_frames_come_one_byte_at_a_time_and_at_once():
    wire = encode_frame(b"") + encode_frame(b"one") + encode_frame(b"x" * 3000, "zstd", True)
    expected = [(b"", None, False), (b"one", None, False), (b"x" * 3000, None, True)]
    reader = FrameReader()
    assert as_tuples([frame for byte in wire for frame in reader.feed(bytes((byte,)))]) == expected
    assert as_tuples(FrameReader().feed(wire)) == expected


def test_bytes_left_over_are_kept_and_told():
    reader = FrameReader()
    assert as_tuples(reader.feed(encode_frame(b"one") + encode_frame(b"two")[:5])) == [(b"one", None, False)]
    assert not reader.at_boundary
    assert as_tuples(reader.feed(encode_frame(b"two")[5:])) == [(b"two", None, False)]
    assert reader.at_boundary


def test_the_length_counts_flag_and_body():
    assert encode_frame(b"abc") == b"\x00\x00\x04\x00abc"
    assert encode_terminal(503, b"{}") == b"\x00\x00\x05\x80\x01\xf7{}"
    assert encode_frame(b"", advise_reconnect=True) == b"\x00\x00\x01\x10"


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_small_messages_are_not_compressed(compression):
    assert encode_frame(b"x" * 1023, compression)[3] == 0
    assert encode_frame(b"x" * 1024, compression)[3] in (frames.ZSTD, frames.GZIP)


def test_the_largest_message_passes_and_one_byte_more_does_not():
    largest = b"x" * frames.MAX_MESSAGE_BYTES
    assert FrameReader().feed(encode_frame(largest))[0].message == largest
    with pytest.raises(FrameError, match="does not fit"):
        encode_frame(largest + b"x")


def raw_frame(flag: int, body: bytes) -> bytes:
    return (len(body) + 1).to_bytes(3, "big") + bytes((flag,)) + body


def zstd_without_size(message: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(message)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\0\0\0\0", id="no length"),
        pytest.param(b"\x20\0\x01\0", id="longer than the limit"),
        pytest.param(b"\xff\xff\xff\0", id="as long as can be said"),
        pytest.param(raw_frame(0x60, b"x"), id="unknown compression"),
        pytest.param(raw_frame(0x80, b"\x01"), id="terminal without status"),
        pytest.param(raw_frame(frames.GZIP, b"no gzip"), id="not gzip"),
        pytest.param(raw_frame(frames.ZSTD, b"no zstd"), id="not zstd"),
        pytest.param(raw_frame(frames.GZIP, gzip.compress(b"x" * 2000)[:-9]), id="gzip cut short"),
        pytest.param(raw_frame(frames.GZIP, gzip.compress(b"x" * 2000) + b"more"), id="bytes after gzip"),
        pytest.param(raw_frame(frames.ZSTD, zstandard.compress(b"x" * 2000)[:-3]), id="zstd cut short"),
        pytest.param(raw_frame(frames.ZSTD, zstandard.compress(b"x" * 2000) + b"more"), id="bytes after zstd"),
        pytest.param(raw_frame(frames.ZSTD, zstd_without_size(b"x" * 2000) + b"more"), id="bytes after unsized zstd"),
        pytest.param(raw_frame(frames.ZSTD, zstd_without_size(b"x" * 2000)[:-3]), id="unsized zstd cut short"),
    ],
)
def test_what_is_no_frame_is_refused(wire):
    with pytest.raises(FrameError):
        FrameReader().feed(wire)


def gzip_bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    return b"".join(compressor.compress(zeros) for _ in range(200)) + compressor.flush()


def zstd_bomb(with_size: bool) -> bytes:
    zeros = bytes(1 << 20)
    compressor = zstandard.ZstdCompressor(write_content_size=with_size).compressobj(200 << 20 if with_size else -1)
    return b"".join(compressor.compress(zeros) for _ in range(200)) + compressor.flush()


@pytest.mark.parametrize(
    ("flag", "bomb"),
    [
        pytest.param(frames.GZIP, gzip_bomb, id="gzip"),
        pytest.param(frames.ZSTD, lambda: zstd_bomb(True), id="zstd that says its size"),
        pytest.param(frames.ZSTD, lambda: zstd_bomb(False), id="zstd that does not"),
    ],
)
def test_a_decompression_bomb_is_refused_without_its_memory(flag, bomb):
    import tracemalloc

    wire = raw_frame(flag, bomb())
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            FrameReader().feed(wire)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_reserved_flag_bits_are_ignored():
    assert as_tuples(FrameReader().feed(raw_frame(0x0F, b"abc"))) == [(b"abc", None, False)]
