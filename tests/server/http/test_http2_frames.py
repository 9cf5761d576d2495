"""Frames of HTTP/2, in whatever pieces they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.server.http.http2_frames import (
    CONTINUATION,
    DATA,
    HEADERS,
    MAX_FRAME_BYTES,
    PADDED,
    PING,
    RST_STREAM,
    ConnectionFaultError,
    ErrorCode,
    FrameReader,
    frame,
    settings,
    settings_in,
    unpadded,
)

HEADS = st.tuples(
    st.sampled_from([DATA, HEADERS, RST_STREAM, PING, CONTINUATION, 77]), st.integers(0, 255), st.integers(0, 2**31 - 1)
)
FRAMES = st.lists(st.tuples(HEADS, st.binary(max_size=300)))
CUTS = st.lists(st.integers(0, 2000), max_size=20)


def pieces_of(wire, cuts):
    ends = [*sorted(end for end in cuts if end < len(wire)), len(wire)]
    return [wire[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


@given(FRAMES, CUTS)
def test_frames_come_as_they_were_sent_in_whatever_pieces(frames, cuts):
    reader, got = FrameReader(), []
    buffer = bytearray(10_000)
    for piece in pieces_of(b"".join(frame(*head, contents) for head, contents in frames), cuts):
        buffer[: len(piece)] = piece
        reader.feed(memoryview(buffer)[: len(piece)])
        while (one := reader.next_frame()) is not None:
            got.append(one)
        reader.keep()
        buffer[:] = b"\xff" * len(buffer)  # as others use it
    assert got == [(*head, contents) for head, contents in frames]
    assert reader.kept_bytes == 0


def test_what_is_left_for_later_is_kept():
    reader = FrameReader()
    reader.feed(memoryview(frame(PING, 0, 0, b"one") + frame(PING, 0, 0, b"two") + frame(PING, 0, 0, b"three")[:5]))
    assert reader.next_frame()[3] == b"one"
    assert not reader.is_empty
    reader.keep()
    reader.feed(memoryview(b""))
    assert reader.next_frame()[3] == b"two"
    assert reader.next_frame() is None
    reader.keep()
    assert reader.kept_bytes == 5


def test_a_frame_beyond_the_limit_ends_the_connection_before_it_has_come():
    reader = FrameReader()
    reader.feed(memoryview(frame(DATA, 0, 1, bytes(MAX_FRAME_BYTES))))
    assert len(reader.next_frame()[3]) == MAX_FRAME_BYTES
    reader.feed(memoryview((MAX_FRAME_BYTES + 1).to_bytes(3, "big") + bytes(6)))
    with pytest.raises(ConnectionFaultError) as caught:
        reader.next_frame()
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize(("kind", "awaits"), [(HEADERS, True), (CONTINUATION, True), (DATA, False), (PING, False)])
def test_it_is_known_whether_a_head_is_awaited(kind, awaits):
    reader = FrameReader()
    assert not reader.awaits_head
    reader.feed(memoryview(frame(kind, 0, 1, b"some")[:-1]))
    assert reader.next_frame() is None
    reader.keep()
    assert reader.awaits_head is awaits


@given(st.binary(max_size=50), st.integers(0, 255))
def test_padding_is_taken_off(data, size):
    assert unpadded(PADDED, bytes((size,)) + data + bytes(size)) == data
    assert unpadded(0, data) == data


@pytest.mark.parametrize("contents", [b"", b"\1", b"\5abcd"])
def test_padding_that_is_longer_than_its_frame_ends_the_connection(contents):
    with pytest.raises(ConnectionFaultError):
        unpadded(PADDED, contents)


def test_settings_are_read_as_they_are_written():
    values = {1: 0, 4: 2**32 - 1, 0xFFFF: 7}
    assert settings_in(settings(values)[9:]) == list(values.items())
