"""Frames of HTTP/2 (RFC 9113, 4 and 6): cuts what comes into frames, and makes those that go out. What they mean is for
http2_connection.py."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

HEAD_BYTES = 9
# Of the contents of a frame that a client may send. It is kept until it is whole.
MAX_FRAME_BYTES = 64 * 1024
# The same of ours until the client says that it takes more.
LEAST_FRAME_BYTES = 16 * 1024
MAX_WINDOW = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

# Settings, by number.
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(2, 7)

_HEAD = Struct(">HBBBI")
_WORD = Struct(">I")
_SETTING = Struct(">HI")

Frame = tuple[int, int, int, bytes]


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFaultError(Exception):
    """What came ends the connection, with `code`."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class StreamFaultError(Exception):
    """What came ends the stream of that number, with `code`."""

    def __init__(self, stream: int, code: ErrorCode) -> None:
        super().__init__(f"stream {stream}: {code.name}")
        self.stream = stream
        self.code = code


class FrameReader:
    """Cuts what comes into frames. `feed` takes the next bytes, `next_frame` gives the frames in them one by one, and
    `keep` copies what is left, since the bytes may lie in a buffer that others use next."""

    __slots__ = ("_at", "_data", "_kept", "_needed_bytes", "kept_bytes")

    def __init__(self) -> None:
        self._data: bytes | memoryview = b""
        self._at = 0
        # The begin of a frame, in the pieces in which it came; the frame is looked at when it may be whole.
        self._kept: list[bytes] = []
        self.kept_bytes = 0
        self._needed_bytes = 0

    def feed(self, data: memoryview) -> None:
        if not self._kept:
            self._data = data
        elif self.kept_bytes + len(data) < self._needed_bytes:
            self._data = data[:0]
            self._kept.append(bytes(data))
            self.kept_bytes += len(data)
        else:
            self._data = b"".join((*self._kept, data))
            self._kept = []
            self.kept_bytes = 0
        self._at = 0

    def next_frame(self) -> Frame | None:
        """Kind, flags, stream and contents of the next frame, if it is here. Raises ConnectionFaultError for one that
        is too large."""
        data, at = self._data, self._at
        begin = at + HEAD_BYTES
        if begin > len(data):
            return None
        high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
        size = high << 8 | low
        if size > MAX_FRAME_BYTES:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        end = begin + size
        if end > len(data):
            return None
        self._at = end
        return kind, flags, stream & 0x7FFFFFFF, bytes(data[begin:end])

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of what was fed."""
        return self._at >= len(self._data)

    def keep(self) -> None:
        data, at = self._data, self._at
        self._data, self._at = b"", 0
        left_bytes = len(data) - at
        if left_bytes <= 0:
            return
        self._kept.append(bytes(data[at:]))
        self.kept_bytes += left_bytes
        self._needed_bytes = HEAD_BYTES
        if left_bytes >= HEAD_BYTES:
            high, low, *_ = _HEAD.unpack_from(data, at)
            self._needed_bytes += high << 8 | low

    @property
    def awaits_head(self) -> bool:
        """Whether the frame that has begun may be one of the head of a request."""
        return bool(self._kept) and (len(self._kept[0]) < 4 or self._kept[0][3] in (HEADERS, CONTINUATION))


# What goes out.


def frame(kind: int, flags: int, stream: int, contents: bytes = b"") -> bytes:
    size = len(contents)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + contents


def data_head(size_bytes: int, flags: int, stream: int) -> bytes:
    """What stands before so much of a body."""
    return _HEAD.pack(size_bytes >> 8, size_bytes & 0xFF, DATA, flags, stream)


def reset(stream: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last_stream: int, code: ErrorCode) -> bytes:
    return frame(GOAWAY, 0, 0, _WORD.pack(last_stream) + _WORD.pack(code))


def window_update(stream: int, size_bytes: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(size_bytes))


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in values.items()))


# What is in those that come.


def word(contents: bytes, at: int = 0) -> int:
    """The 31-bit number there."""
    number: int = _WORD.unpack_from(contents, at)[0]
    return number & 0x7FFFFFFF


def code_word(contents: bytes) -> int:
    """The 32-bit number that the contents are."""
    number: int = _WORD.unpack(contents)[0]
    return number


def settings_in(contents: bytes) -> list[tuple[int, int]]:
    return list(_SETTING.iter_unpack(contents))


def unpadded(flags: int, contents: bytes) -> bytes:
    """The contents of DATA and HEADERS without their padding."""
    if not flags & PADDED:
        return contents
    if not contents or contents[0] >= len(contents):
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
    return contents[1 : len(contents) - contents[0]]
