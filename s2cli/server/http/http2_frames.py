"""Reads the frame heads of HTTP/2 (RFC 9113, 4.1) as they pass: how much was sent and received on each stream.

granian, to which our listener passes HTTP/2, does not say how much it has queued. The frames that pass show it; a
header that is added to each request says which stream belongs to which exchange of the application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE_BYTES = 24
HEAD_BYTES = 9

DATA, HEADERS, RST_STREAM, CONTINUATION = 0, 1, 3, 9
END_STREAM, END_HEADERS = 0x1, 0x4
# Why a stream is ended: the client does with it what the server cannot bear (RFC 9113, 7).
ENHANCE_YOUR_CALM = 0xB

# The header that says which stream of which connection it is. It comes last; but the header before it may claim to be
# longer than it is, and so take it in. So the connection goes by a name that its client does not know.
STREAM_HEADER = b"s2-h2-stream"


class Frames:
    """Finds the heads of the frames in what passes. Their contents are not looked at, and not copied."""

    __slots__ = ("_end", "_held", "_is_in_headers", "_left_bytes")

    def __init__(self, skip_bytes: int = 0) -> None:
        self._left_bytes = skip_bytes  # of what is no head
        self._held = b""  # a head that is not complete: it passes with the rest of it
        self._end = 0  # of what passes
        self._is_in_headers = False

    @property
    def at_boundary(self) -> bool:
        """Whether a frame may be put between what has passed and what comes."""
        return not (self._left_bytes or self._is_in_headers)

    def _with_held(self, data: bytes) -> bytes:
        return self._held + data if self._held else data

    def _go_on(self, whole: bytes) -> int:
        """Where the contents end that go on at the beginning."""
        at = min(self._left_bytes, len(whole))
        self._left_bytes -= at
        return at

    def _heads(self, whole: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
        """Each head from `at` on, and where its contents begin and end. To be walked to its end."""
        end = len(whole)
        while not self._left_bytes and end - at >= HEAD_BYTES:
            head = whole[at : at + HEAD_BYTES]
            length = head[0] << 16 | head[1] << 8 | head[2]
            begin = at + HEAD_BYTES
            at = min(begin + length, end)
            self._left_bytes = begin + length - at
            self._is_in_headers = head[3] in (HEADERS, CONTINUATION) and not head[4] & END_HEADERS
            yield head, begin, at
        self._held = b"" if self._left_bytes else whole[at:]
        self._end = end - len(self._held)


def stream_of(head: bytes) -> int:
    return int.from_bytes(head[5:9], "big") & 0x7FFFFFFF


def length_of(head: bytes) -> int:
    return int.from_bytes(head[:3], "big")


def reset(stream: int) -> bytes:
    """The frame that ends a stream."""
    return _frame(RST_STREAM, 0, stream, ENHANCE_YOUR_CALM.to_bytes(4, "big"))


def _frame(kind: int, flags: int, stream: int, contents: bytes) -> bytes:
    return len(contents).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + contents


def _stream_header(connection: bytes, stream: int) -> bytes:
    """A literal that goes into no table (RFC 7541, 6.2.2), so that both ends keep the same one."""
    value = b"%b.%d" % (connection, stream)
    return b"".join((b"\x00", bytes((len(STREAM_HEADER),)), STREAM_HEADER, bytes((len(value),)), value))


class Streams(Protocol):
    """What RequestFrames and ResponseFrames call when they see something of a stream of their connection."""

    def on_request(self, stream: int) -> None: ...

    def on_request_data(self, stream: int, size_bytes: int) -> None: ...

    def on_response_data(self, stream: int, size_bytes: int) -> None: ...

    def on_closed(self, stream: int) -> None:
        """No more of it comes from the server, or is wanted by the client."""
        ...


class RequestFrames(Frames):
    """What comes from the client, and what of it goes on: each new stream with its header."""

    __slots__ = ("_connection", "_last_stream", "_marked", "_streams")

    def __init__(self, connection: bytes, streams: Streams) -> None:
        super().__init__(PREFACE_BYTES)
        self._connection = connection
        self._streams = streams
        self._last_stream = 0
        self._marked = 0  # the stream whose header follows the frame that passes

    def passed(self, data: bytes) -> bytes:
        """What goes on for `data`."""
        whole = self._with_held(data)
        parts: list[bytes] = []
        copied = 0
        at = self._go_on(whole)
        if self._marked and not self._left_bytes:
            parts += (whole[:at], self._mark())
            copied = at
        for head, begin, end in self._heads(whole, at):
            changed = self._on_head(head)
            if changed is not head:
                parts += (whole[copied : begin - HEAD_BYTES], changed)
                copied = begin
            if self._marked and not self._left_bytes:
                parts += (whole[copied:end], self._mark())
                copied = end
        rest = whole if not copied and self._end == len(whole) else whole[copied : self._end]
        return b"".join((*parts, rest)) if parts else rest

    def _mark(self) -> bytes:
        stream, self._marked = self._marked, 0
        return _frame(CONTINUATION, END_HEADERS, stream, _stream_header(self._connection, stream))

    def _on_head(self, head: bytes) -> bytes:
        kind, flags, stream = head[3], head[4], stream_of(head)
        if kind == DATA:
            self._streams.on_request_data(stream, length_of(head))
        elif kind == RST_STREAM:
            self._streams.on_closed(stream)
        elif kind == HEADERS and stream > self._last_stream:
            # Those of a stream that is open already are trailers.
            self._last_stream = stream
            self._streams.on_request(stream)
            return self._held_open(head)
        elif kind == CONTINUATION and stream == self._last_stream and flags & END_HEADERS:
            return self._held_open(head)
        return head

    def _held_open(self, head: bytes) -> bytes:
        """The head, with the end of the headers left to the frame that is added."""
        if not head[4] & END_HEADERS:
            return head
        self._marked = stream_of(head)
        return head[:4] + bytes((head[4] & ~END_HEADERS,)) + head[5:]


class ResponseFrames(Frames):
    """What comes from the server."""

    __slots__ = ("_streams",)

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams

    def observe(self, data: bytes) -> bytes:
        """Counts, and gives back what may pass by now."""
        whole = self._with_held(data)
        streams = self._streams
        for head, _, _ in self._heads(whole, self._go_on(whole)):
            kind = head[3]
            if kind == DATA:
                streams.on_response_data(stream_of(head), length_of(head))
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and head[4] & END_STREAM):
                streams.on_closed(stream_of(head))
        return whole if self._end == len(whole) else whole[: self._end]
