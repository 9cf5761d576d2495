"""A client of HTTP/2 that sends any frame, whether a client may or not."""

import socket

from hpack import Decoder, Encoder

from s2cli.server.http.http1_connection import PREFACE
from s2cli.server.http.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    ErrorCode,
    frame,
    settings,
)

PSEUDO = ((":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/"))


class RawH2:
    """One connection; what it is told leaves at once. It begins with its settings, or with `begin`."""

    def __init__(self, connection, values=None, begin=None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._encoder, self._decoder = Encoder(), Decoder()
        self._data = b""
        self.send_bytes(PREFACE + (begin or settings(values or {})))

    def send_bytes(self, data):
        self.connection.sendall(data)

    def send(self, kind, flags=0, stream=0, contents=b""):
        self.send_bytes(frame(kind, flags, stream, contents))

    def block(self, *fields, pseudo=PSEUDO):
        return self._encoder.encode([*pseudo, *fields])

    def ask(self, stream, *fields, pseudo=PSEUDO, ends=True):
        self.send(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, self.block(*fields, pseudo=pseudo))

    def next_frame(self):
        """`(kind, flags, stream, contents)`; None where the server has closed the connection."""
        while len(self._data) < 9 or len(self._data) < 9 + int.from_bytes(self._data[:3], "big"):
            try:
                data = self.connection.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._data += data
        end = 9 + int.from_bytes(self._data[:3], "big")
        one, self._data = self._data[:end], self._data[end:]
        return one[3], one[4], int.from_bytes(one[5:9], "big"), one[9:]

    def until(self, kind, stream=None, flags=0):
        """The first frame of that kind, of that stream and with these flags."""
        while (one := self.next_frame()) is not None:
            if one[0] == kind and (stream is None or one[2] == stream) and one[1] & flags == flags:
                return one
        raise AssertionError("the server has closed the connection")

    def answer(self, stream):
        """Status and body of a response."""
        head = self.until(HEADERS, stream)
        fields = dict(self._decoder.decode(head[3]))
        body, flags = b"", head[1]
        while not flags & END_STREAM:
            _, flags, _, data = self.until(DATA, stream)
            body += data
        return int(fields[":status"]), body

    def reset_of(self, stream):
        return ErrorCode(int.from_bytes(self.until(RST_STREAM, stream)[3], "big"))

    def failure(self):
        """With which error the server ends the connection; None where it only closes it."""
        code = None
        while (one := self.next_frame()) is not None:
            if one[0] == GOAWAY:
                code = ErrorCode(int.from_bytes(one[3][4:8], "big"))
        return code

    def settings(self):
        contents = self.until(SETTINGS)[3]
        pairs = (contents[at : at + 6] for at in range(0, len(contents), 6))
        return {int.from_bytes(one[:2], "big"): int.from_bytes(one[2:], "big") for one in pairs}
