"""HTTP/1.1 for one exchange at a time, without I/O: bytes to send, and what the bytes that came mean.

The two directions are independent, as an append session needs it: the response is read while the request is being sent.
"""

from __future__ import annotations

from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEAD_BYTES = 64 * 1024
MAX_CHUNK_LINE_BYTES = 1024
MAX_INFORMATIONAL = 20  # responses before the real one (100 Continue, 103 Early Hints): a few are usual
MAX_LENGTH_DIGITS = 18

# What the next byte of the response belongs to
_NONE, _HEAD, _CHUNK_LINE, _CHUNK, _CHUNK_END, _TRAILER, _LENGTH, _REST = range(8)


class Http1:
    """`status` and `headers` (lower-case names) of the response are there when its head has come, `ended` when its
    body has. `reusable` says then whether the connection can carry another request."""

    __slots__ = (
        "_authority", "_buffer", "_extra", "_left", "_open", "_state", "ended", "headers", "reusable", "status",
    )  # fmt: skip

    ping = None  # there is none
    pending = False  # nothing but the socket ever holds the body back

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._buffer = b""  # an incomplete head or chunk line
        self._left = 0  # bytes of the chunk or body that are still to come
        self._extra = 0  # informational responses before the real one, or bytes of trailers behind it
        self._open = False  # the request's body is not yet ended
        self._state = _NONE
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.ended = False
        self.reusable = True

    def request(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
        """The bytes that start a request; with None as `body` it is sent by body() and end()."""
        self.status, self.headers, self.ended = None, {}, False
        self._state = _HEAD
        self._extra = 0
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is None:
            lines.append("transfer-encoding: chunked")
        elif body or method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(body)}")
        self._open = body is None
        # A value that could end its line would be a header of its own. (Tokens and URLs come from files and options.)
        if any("\r" in line or "\n" in line for line in lines):
            raise ProtocolError("a line end in a header of the request")
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")

    def body(self, parts: list[bytes]) -> list[bytes]:
        """The bytes that send the parts, in parts too."""
        return [b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n"]

    def end(self) -> bytes:
        """The bytes that end the request."""
        self._open = False
        return b"0\r\n\r\n"

    def take(self) -> bytes:
        """Bytes that are to be sent because of what came: none, in this version of the protocol."""
        return b""

    def receive(self, data: bytes | None) -> bytes:
        """The part of the response body that is in `data`, which is None at the end of the connection.

        Raises LostError where the connection ends too early, ProtocolError for what is not HTTP.
        """
        if data is None:
            self.reusable = False
            if self._state == _REST:
                self._finish()
            if not self.ended:
                raise LostError("the server closed the connection")
            return b""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at, end = 0, len(data)
        if self._state == _CHUNK and self._left >= end:  # all of it, without a copy
            self._left -= end
            if not self._left:
                self._state = _CHUNK_END
            return data
        view = memoryview(data)
        pieces: list[memoryview] = []
        while at < end and not self.ended:
            if self._left:
                taken = min(self._left, end - at)
                pieces.append(view[at : at + taken])
                self._left -= taken
                at += taken
                if not self._left:
                    if self._state == _CHUNK:
                        self._state = _CHUNK_END
                    else:
                        self._finish()
                continue
            if self._state == _REST:
                pieces.append(view[at:])
                break
            after = self._read_line(data, at)
            if not after:
                self._buffer = data[at:]
                break
            at = after
        if self.ended and at < end:
            self.reusable = False  # nobody asked for more
        return b"".join(pieces)

    def _read_line(self, data: bytes, at: int) -> int:
        """Takes the head or the line that starts at `at`; where it ends, or 0 if it is not whole."""
        is_head = self._state == _HEAD
        mark = b"\r\n\r\n" if is_head else b"\r\n"
        found = data.find(mark, at)
        if found < 0:
            if len(data) - at > (MAX_HEAD_BYTES if is_head else MAX_CHUNK_LINE_BYTES):
                raise ProtocolError("the server's answer is not valid HTTP: a line or a head does not end")
            return 0
        text = data[at:found]
        if is_head:
            self._read_head(text)
        elif self._state == _CHUNK_LINE:
            self._read_chunk_line(text)
        elif self._state == _CHUNK_END:
            if text:
                raise ProtocolError("the server's answer is not valid HTTP: bytes after the end of a chunk")
            self._state = _CHUNK_LINE
        elif self._state == _TRAILER:
            self._extra += len(text) + len(mark)
            if self._extra > MAX_HEAD_BYTES:
                raise ProtocolError("the server's answer is not valid HTTP: its trailers do not end")
            if not text:
                self._finish()
        else:
            raise ProtocolError("the server sent bytes that answer no request")
        return found + len(mark)

    def _read_head(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise ProtocolError(f"the server's answer is not HTTP/1.1: {lines[0][:60]!r}")
        status = int(code)
        if status < 200:
            # Informational: the real one follows.
            self._extra += 1
            if status == 101:
                raise ProtocolError("the server changes to a protocol that nobody asked for (status 101)")
            if self._extra > MAX_INFORMATIONAL:
                raise ProtocolError(f"the server sends more than {MAX_INFORMATIONAL} answers before the real one")
            return
        self._extra = 0
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise ProtocolError("the server's answer is not valid HTTP: a header without a colon")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.status, self.headers = status, headers
        if version == "HTTP/1.0" or "close" in headers.get("connection", "").lower():
            self.reusable = False
        length = headers.get("content-length")
        if status in (204, 304):
            self._finish()
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._state = _CHUNK_LINE
        elif length is None:
            self._state = _REST
        elif length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS:
            self._state, self._left = _LENGTH, int(length)
            if not self._left:
                self._finish()
        else:
            raise ProtocolError(f"the server's answer is not valid HTTP: its length is {length[:40]!r}")

    def _read_chunk_line(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip()
        try:
            # int() would also take signs and underscores.
            self._left = int(size, 16) if size.isalnum() else -1
        except ValueError:
            self._left = -1
        if self._left < 0:
            raise ProtocolError(f"the server's answer is not valid HTTP: a chunk of size {size[:20]!r}")
        self._state = _CHUNK if self._left else _TRAILER

    def _finish(self) -> None:
        self.ended = True
        self._state = _NONE
        # A server that has answered is not going to read the rest of the request.
        if self._open:
            self.reusable = False
