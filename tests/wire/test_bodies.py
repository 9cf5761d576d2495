import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from s2cli.wire.bodies import ContentError, inflate_content

LIMIT = 100_000


def zstd_stream(body):
    """Without the size in the header, as encoders of streams write it."""
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(body) + compressor.flush()


ENCODERS = [("gzip", gzip.compress), ("zstd", zstandard.compress), ("zstd", zstd_stream)]


@given(st.binary(max_size=2000))
def test_what_was_deflated_comes_back(body):
    for encoding, encode in ENCODERS:
        assert inflate_content(encode(body), encoding, LIMIT) == body


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS)
def test_the_limit_is_exact_and_holds_for_bombs(encoding, encode):
    assert len(inflate_content(encode(bytes(LIMIT)), encoding, LIMIT)) == LIMIT
    for size in LIMIT + 1, LIMIT + 2, 200_000_000:
        with pytest.raises(ContentError, match="inflates to more than"):
            inflate_content(encode(bytes(size)), encoding, LIMIT)


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS)
def test_a_body_that_is_cut_or_goes_on_is_refused(encoding, encode):
    body = encode(b"a body" * 100)
    for bad in body[:-1], body[: len(body) // 2], body + b"more", b"no such form":
        with pytest.raises(ContentError):
            inflate_content(bad, encoding, LIMIT)


def test_no_body_needs_no_form():
    assert inflate_content(b"", "gzip", LIMIT) == b""
    assert inflate_content(b"", "zstd", LIMIT) == b""


def test_zlib_without_the_gzip_header_is_refused():
    with pytest.raises(ContentError, match="gzip"):
        inflate_content(zlib.compress(b"x"), "gzip", LIMIT)
