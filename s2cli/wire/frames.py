"""S2S frames (protocol section 6.1): three bytes of length, one byte of flags, a message or a terminal error.

`encode_*` make the bytes of a frame; FrameReader takes bytes in any pieces. Both sides use them; there is no I/O.
"""

from __future__ import annotations

from s2cli.errors import FrameError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES = 4
MAX_LENGTH = 2 * 1024 * 1024  # of flags and body, as the length field counts
MAX_MESSAGE_BYTES = MAX_LENGTH - 1  # of a body, and of what it inflates to
COMPRESSION_THRESHOLD_BYTES = 1024  # smaller messages go as they are: they would hardly shrink
GZIP_LEVEL = 4  # of a megabyte of text: 38 % in 12 ms; the default, 6, takes 61 ms for 37 %

TERMINAL = 0x80
COMPRESSION_MASK = 0x60
ZSTD = 0x20
GZIP = 0x40
RECONNECT_ADVISED = 0x10
FLAG_BY_COMPRESSION = {"zstd": ZSTD, "gzip": GZIP}
ENCODING_BY_FLAG = {ZSTD: "zstd", GZIP: "gzip"}

# Of an incomplete frame. Each takes some 60 bytes beside its own, and a peer may send two at a time.
MAX_PIECES = 1024


class Frame:
    """One frame: `message` inflated, or still to be inflated where it has an `encoding` ("gzip" or "zstd"); `status` is
    None, or the HTTP status of a terminal frame with its JSON in `message`; `reconnect_advised` says that the server is
    about to go (section 6.5)."""

    __slots__ = ("encoding", "message", "reconnect_advised", "status")

    def __init__(
        self, message: bytes, status: int | None = None, reconnect_advised: bool = False, encoding: str | None = None
    ) -> None:
        self.encoding = encoding
        self.message = message
        self.status = status
        self.reconnect_advised = reconnect_advised


def frame_header(message_bytes: int, flag: int = 0) -> bytes:
    """The four bytes before a body of that many bytes."""
    return ((message_bytes + 1) << 8 | flag).to_bytes(4, "big")


def encode_frame(message: bytes, compression: str | None = None, advise_reconnect: bool = False) -> bytes:
    """A regular frame; `compression` ("zstd" or "gzip") is applied from COMPRESSION_THRESHOLD_BYTES on.

    Raises FrameError for a message beyond MAX_MESSAGE_BYTES.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise FrameError(f"a message of {len(message)} bytes does not fit in a frame")
    flag = RECONNECT_ADVISED if advise_reconnect else 0
    if compression is not None and len(message) >= COMPRESSION_THRESHOLD_BYTES:
        compressed = compress(message, compression)
        # What does not shrink, encrypted bodies for one, goes as it is.
        if len(compressed) < len(message):
            message = compressed
            flag |= FLAG_BY_COMPRESSION[compression]
    return frame_header(len(message), flag) + message


def encode_terminal(status: int, body: bytes) -> bytes:
    """The frame that ends a session with an HTTP status and its JSON text."""
    return frame_header(len(body) + 2, TERMINAL) + status.to_bytes(2, "big") + body


def only_message(data: bytes) -> bytes | None:
    """The message in `data` if that is one whole frame without any flag, else None."""
    if len(data) >= HEADER_BYTES and not data[3] and int.from_bytes(data[:3], "big") == len(data) - 3:
        return data[HEADER_BYTES:]
    return None


class FrameReader:
    """Takes bytes in any pieces and gives the frames that are complete in them. With `inflates` False it leaves it to
    the caller to inflate their messages."""

    __slots__ = ("_inflates", "_pieces", "_size", "_wanted")

    def __init__(self, *, inflates: bool = True) -> None:
        self._inflates = inflates
        self._pieces: list[bytes] = []  # an incomplete frame, joined when it is whole: appending in place is quadratic
        self._size = 0
        self._wanted = HEADER_BYTES

    @property
    def at_boundary(self) -> bool:
        """Whether no part of a frame is waiting for the rest."""
        return self._size == 0

    @property
    def size_bytes(self) -> int:
        """How much of a frame is here and waits for the rest."""
        return self._size

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises FrameError, after which the reader is of no more use."""
        return list(self.frames(data))

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, one by one, to be walked to the end: none is inflated before it is asked
        for, since what the frames in one piece of a body inflate to has no bound. Raises FrameError where the bad one
        stands."""
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                if len(self._pieces) >= MAX_PIECES:
                    self._pieces = [b"".join(self._pieces)]
                return
            if self._wanted > HEADER_BYTES:
                data = data[len(data) - (self._size - self._wanted) :]
                yield _decode(*self._whole(), self._inflates)
            else:
                data = b"".join(self._pieces)
        at, end = 0, len(data)
        wanted = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if not 0 < length <= MAX_LENGTH:
                raise FrameError(f"a frame says that it has {length} bytes, the limits are 1 and {MAX_LENGTH}")
            after = at + 3 + length
            if after > end:
                wanted = 3 + length
                break
            yield _decode(data[at + 3], data[at + 4 : after], self._inflates)
            at = after
        self._pieces = [data[at:]] if at < end else []
        self._size = end - at
        self._wanted = wanted

    def _whole(self) -> tuple[int, bytes]:
        """Flag and body of the frame that the last piece completes, copied once: most large frames come in pieces."""
        views = [memoryview(piece) for piece in self._pieces]
        flag = views[0][HEADER_BYTES - 1]  # a header is never apart
        views[0] = views[0][HEADER_BYTES:]
        surplus = self._size - self._wanted
        if surplus:
            views[-1] = views[-1][:-surplus]
        return flag, b"".join(views)


def _decode(flag: int, body: bytes, inflates: bool) -> Frame:
    if flag & TERMINAL:
        if len(body) < 2:
            raise FrameError("a terminal frame without a status")
        return Frame(body[2:], status=body[0] << 8 | body[1])
    encoding = None
    if compression := flag & COMPRESSION_MASK:
        encoding = ENCODING_BY_FLAG.get(compression)
        if encoding is None:
            raise FrameError("a frame is compressed in a way that does not exist")
        if inflates:
            body, encoding = _inflate(body, encoding), None
    return Frame(body, reconnect_advised=bool(flag & RECONNECT_ADVISED), encoding=encoding)


def compress(data: bytes, compression: str) -> bytes:
    """`data` by "zstd" or "gzip"."""
    if compression == "zstd":
        import zstandard

        return zstandard.compress(data)
    import zlib

    gzip = zlib.compressobj(GZIP_LEVEL, wbits=31)
    return gzip.compress(data) + gzip.flush()


def _inflate(body: bytes, encoding: str) -> bytes:
    """Never makes more than MAX_MESSAGE_BYTES and a little, whatever the body says."""
    from s2cli.wire.bodies import ContentError, inflate_content

    try:
        return inflate_content(body, encoding, MAX_MESSAGE_BYTES)
    except ContentError as error:
        raise not_inflated(error) from error


def not_inflated(error: S2Error) -> FrameError:
    """What a frame is that cannot be inflated, for the reason `error`."""
    return FrameError(f"a compressed frame cannot be read: {error.message}")
