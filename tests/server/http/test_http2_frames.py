"""Frames of HTTP/2 that pass the relay, in whatever pieces they come."""

from hypothesis import given
from hypothesis import strategies as st

from s2cli.server.http.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE_BYTES,
    RST_STREAM,
    RequestFrames,
    ResponseFrames,
    reset,
)


class Seen:
    def __init__(self):
        self.seen = []

    def on_request(self, stream):
        self.seen.append(("request", stream))

    def on_request_data(self, stream, size_bytes):
        self.seen.append(("in", stream, size_bytes))

    def on_response_data(self, stream, size_bytes):
        self.seen.append(("out", stream, size_bytes))

    def on_closed(self, stream):
        self.seen.append(("closed", stream))


def frame(kind, flags, stream, contents):
    return len(contents).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + contents


FRAMES = st.lists(
    st.tuples(st.sampled_from([DATA, HEADERS, RST_STREAM, CONTINUATION, 4, 8]), st.integers(0, 255), st.integers(0, 9))
    .flatmap(lambda head: st.tuples(st.just(head), st.integers(0, 60)))
    .map(lambda one: frame(*one[0], bytes(one[1])))
)

CUTS = st.lists(st.integers(0, 500), max_size=20)


def pieces_of(wire, cuts):
    ends = [*sorted(end for end in cuts if end < len(wire)), len(wire)]
    return [wire[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


@given(FRAMES, CUTS)
def test_what_the_server_sends_passes_unchanged_in_any_pieces(frames, cuts):
    wire = b"".join(frames)
    whole, cut = Seen(), Seen()
    assert ResponseFrames(whole).observe(wire) == wire
    passing = ResponseFrames(cut)
    assert b"".join(passing.observe(piece) for piece in pieces_of(wire, cuts)) == wire
    assert cut.seen == whole.seen
    sizes = [len(one) - 9 for one in frames if one[3] == DATA]
    assert [event[2] for event in whole.seen if event[0] == "out"] == sizes


@given(FRAMES, CUTS)
def test_what_the_client_sends_passes_in_any_pieces(frames, cuts):
    wire = bytes(PREFACE_BYTES) + b"".join(frames)
    whole, cut = Seen(), Seen()
    expected = RequestFrames(b"7", whole).passed(wire)
    passing = RequestFrames(b"7", cut)
    assert b"".join(passing.passed(piece) for piece in pieces_of(wire, cuts)) == expected
    assert cut.seen == whole.seen


def test_each_new_stream_gets_its_header_in_a_frame_of_its_own():
    passing = RequestFrames(b"12", Seen())
    head = frame(HEADERS, END_STREAM, 5, b"abc")
    out = passing.passed(bytes(PREFACE_BYTES) + head + frame(CONTINUATION, END_HEADERS, 5, b"de"))
    value = b"12.5"
    header = b"\0\x0cs2-h2-stream" + bytes((len(value),)) + value
    continued = frame(CONTINUATION, 0, 5, b"de") + frame(CONTINUATION, END_HEADERS, 5, header)
    assert out == bytes(PREFACE_BYTES) + head + continued
    assert passing.at_boundary
    # Trailers of a stream that is open, and what is neither.
    for other in frame(HEADERS, END_HEADERS, 5, b"x"), frame(DATA, 0, 5, b"x"), reset(5):
        assert passing.passed(other) == other
