"""Finds where the body of an HTTP/1.1 request ends, so that the parser does not get what follows.

The parser consumes all that it is given: a piece with the end of a body and thousands of requests behind it would
become thousands of requests at once. So a piece is cut where the body ends. This module only decides where to cut,
never what the bytes mean: if it is wrong, the input is parsed in smaller or larger pieces, with the same result.
"""

from __future__ import annotations

# What is given to the parser at once where the end may be near, and between bodies: not more requests than fit in it
# wait for the answer to the first.
SMALL_PIECE_BYTES = 2048
# Of chunks in one piece: each costs the parser a call.
MAX_CHUNKS = 1000
# Of the line before a chunk, which has its size.
MAX_LINE_BYTES = 64
# Of what is taken for a size.
_MAX_CHUNK_BYTES = 1 << 60


class FixedBody:
    """A body whose length is known."""

    __slots__ = ("_left_bytes",)

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def cut(self, data: bytes) -> int:
        """How much of `data`, which comes next, may be in one piece. It is taken to be parsed then."""
        size = min(self._left_bytes, len(data)) or len(data)
        self._left_bytes -= size
        return size


class ChunkedBody:
    """A body in chunks, from the line before the first of them."""

    __slots__ = ("_left_bytes", "_line")

    def __init__(self) -> None:
        self._left_bytes = 0  # to the next line with a size; below 0: the end may be anywhere
        self._line = b""  # what has come of it

    def cut(self, data: bytes) -> int:
        """See FixedBody. Stops behind MAX_CHUNKS, too."""
        at, end, line = self._left_bytes, len(data), self._line
        if at < 0:
            return min(SMALL_PIECE_BYTES, end)
        for _ in range(MAX_CHUNKS):
            if at >= end:
                break
            line_end = data.find(b"\n", at, at + MAX_LINE_BYTES)
            line += data[at : end if line_end < 0 else line_end]
            if line_end < 0 and len(line) < MAX_LINE_BYTES:
                self._left_bytes, self._line = 0, line
                return end
            size = None if line_end < 0 else _size(line)
            if not size:
                self._left_bytes = -1  # the last one, whose trailers follow, or none that we understand
                return min(max(at, SMALL_PIECE_BYTES), end)
            at, line = line_end + 1 + size + 2, b""
        self._left_bytes, self._line = max(0, at - end), b""
        return min(at, end)


def body_begun_in(head: bytes, length: int | None, taken_bytes: int) -> FixedBody | ChunkedBody:
    """The body that has begun in a piece that has the end of a head. A `length` of None says that it is in chunks; of
    one that has a length so much has been taken."""
    if length is not None:
        return FixedBody(length - taken_bytes)
    body = ChunkedBody()
    end = head.find(b"\r\n\r\n")
    rest = head[end + 4 :]
    if end < 0 or (rest and body.cut(rest) != len(rest)):
        body._left_bytes = -1
    return body


def _size(line: bytes) -> int | None:
    """What a line says of the size of its chunk; None where it is not plain."""
    if b";" in line:
        line = line.partition(b";")[0]
    try:
        size = int(line, 16)
    except ValueError:
        return None
    return size if 0 <= size <= _MAX_CHUNK_BYTES else None
