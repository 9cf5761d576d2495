"""Where one request ends and the next begins: whatever a client writes, no request is answered that a strict reader of
HTTP would not see there."""

import random
import re
import socket

import pytest
import uvloop
from strict_http1 import requests_in
from support.hosting import HostThread, connect, whole_body

from s2cli.server.http.host import listen_tcp

CASES = 200
HONEST = b"GET /honest HTTP/1.1\r\nhost: x\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
BROKEN = b"BROKEN OFF"
CHUNKED = b"Transfer-Encoding: chunked"
CODINGS = [
    b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: CHUNKED",
    b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: chunked\0", b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"X: y\r\n Transfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked", CHUNKED + b"\r\n" + CHUNKED, CHUNKED + b"\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: cow\r\n" + CHUNKED, b"Transfer-Encoding:", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,", b"Transfer_Encoding: chunked", b"Transfer-Encoding\0: chunked",
    b"Transfer-Encoding: chu\r\n nked", b"Transfer-Encoding: chunked \t ",
]  # fmt: skip
LENGTHS = [
    b"Content-Length:%d", b"Content-Length: %d ", b"Content-Length : %d", b"Content-Length: +%d",
    b"Content-Length: -%d", b"Content-Length: 0x%x", b"Content-Length: 0%d", b"Content-Length: %d, 1",
    b"Content-Length: 1\r\nContent-Length: %d", b"Content-Length: 1_%d", b"Content-Length: %d.0",
    b"Content-Length:", b"Content-Length: %d\r\n 1", b"Content-Length:\r\n %d", b"Content-Length: %d\0",
    b"Content-Length: 18446744073709551616", b"Content-Length: 1844674407370955162%d", b"Content-Length: \x0b%d",
    b"Content-Length: %d 1", b"Content_Length: %d", b"Content-Length: 1e%d",
]  # fmt: skip
SIZES = [
    b"%X", b"0%x", b"+%x", b"-%x", b"0x%x", b"%x ", b" %x", b"%x\t", b"1_%x", b"%x;a", b"%x;a=b", b'%x; a="b\r\nc"',
    b"%x;a\n", b"%x;\r", b"10000000000000000%x", b"", b"g", b"%x\0", b"%x,1", b"%x;a\0", b"%x;\x7f", b"%x.0",
    b"fffffffffffffff%x",
]  # fmt: skip
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n\r\n", b"\x0b\r\n", b" \r\n", b""]
TRAILERS = [
    b"a: b", b"content-length: 5", b"transfer-encoding: chunked", b"host: y", b"authorization: Bearer x", b" fold",
    b"bad", b"a : b", b"connection: close", b"upgrade: h2c", b"a: \0",
]  # fmt: skip
OTHERS = [
    b"connection: keep-alive", b"connection: close", b"connection: upgrade\r\nupgrade: h2c", b"upgrade: h2c",
    b"connection: upgrade\r\nupgrade: websocket", b"expect: 100-continue", b"te: trailers", b"a: b\x01c", b"a: \xff",
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAA", b": empty", b"a", b"a b: c",
    b"connection: transfer-encoding", b"host: y", b"Host : x",
]  # fmt: skip
TARGETS = [
    b"/early", b"http://x/a", b"http://evil/a", b"http://x:80/a?q", b"https://x/a", b"http:///a", b"*", b"//x/a",
    b"/a b", b"/\0", b"/\xff", b"/a#b", b"http://x", b"http://x\\@evil/", b"a", b"", b"/%00%2f",
]  # fmt: skip
VERSIONS = [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/1.10", b""]


class Writer:
    """Requests that are nearly right."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def _or(self, usual, others, chance=0.06):
        return self._random.choice(others) if self._random.random() < chance else usual

    def _line(self, line):
        return line + self._or(b"\r\n", LINE_ENDS)

    def _chunk(self):
        data = self._random.choice((b"abc", HIDDEN, b"0\r\n\r\n" + HIDDEN, b"\r\n"))
        size = len(data) + self._or(0, (-2, -1, 1, 2))
        return self._line(_filled(self._or(b"%x", SIZES, 0.3), size)) + self._line(data)

    def _chunks(self):
        chunks = b"".join(self._chunk() for _ in range(self._random.randrange(3)))
        trailers = b"".join(self._line(self._random.choice(TRAILERS)) for _ in range(self._or(0, (1, 2), 0.3)))
        return chunks + self._line(self._or(b"0", (b"00", b"-0", b"0;a", b"0x0", b"0 ", b""), 0.3)) + trailers + b"\r\n"

    def request(self):
        method = self._or(b"POST", (b"GET", b"M-SEARCH", b"post", b"\0GET", b"P\tST"), 0.2)
        line = b"%b %b %b" % (method, self._or(b"/a", TARGETS, 0.3), self._or(b"HTTP/1.1", VERSIONS, 0.1))
        fields, body = [self._or(b"host: x", (b"host: x\r\nhost: x", b"a: b"))], b""
        kind = self._random.choice(("none", "chunks", "length", "both"))
        if kind in ("chunks", "both"):
            fields.append(self._or(CHUNKED, CODINGS, 0.4))
            body = self._chunks()
        if kind in ("length", "both"):
            body = body or self._random.choice((b"hello", HIDDEN, b"0\r\n\r\n"))
            fields.append(_filled(self._or(b"Content-Length: %d", LENGTHS, 0.5), len(body)))
        fields += [self._random.choice(OTHERS)] * self._or(0, (1,), 0.4)
        self._random.shuffle(fields)
        head = b"".join(map(self._line, fields))
        return self._or(b"", (b"\r\n", b"\n", b"\r")) + self._line(line) + head + self._line(b"") + body

    def pieces(self, data):
        cuts = sorted(self._random.sample(range(len(data)), self._random.choice((0, 0, 1, 3, 8))))
        return [data[a:b] for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True)]


def _filled(template, number):
    return template % number if b"%" in template else template


async def mirror(exchange):
    """Answers with what it was asked, but `/early` at once."""
    body = b"" if exchange.raw_path == b"/early" else await whole_body(exchange, BROKEN)
    target = exchange.raw_path + (b"?" if exchange.query else b"") + exchange.query
    exchange.answer(
        200, None, b"<%b %b %b>" % (exchange.method.encode().hex().encode(), target.hex().encode(), body.hex().encode())
    )


@pytest.fixture(scope="module")
def listener():
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    thread = HostThread(uvloop.new_event_loop, mirror, listener)
    yield address
    thread.stop()


def answered_to(address, pieces):
    data = b""
    with connect(address) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                data += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # refused, and closed before all was sent
    assert b"HTTP/1.1 500" not in data
    found = re.findall(rb"<([0-9a-f]+) ([0-9a-f]*) ([0-9a-f]*)>", data)
    return [tuple(bytes.fromhex(part.decode()) for part in one) for one in found]


@pytest.mark.parametrize("seed", range(4))
def test_no_request_is_answered_that_was_not_sent(listener, seed):
    writer = Writer(seed)
    for _ in range(CASES):
        data = b"".join(writer.request() for _ in range(2)) + HONEST
        expected, broken = requests_in(data)
        answered = answered_to(listener, writer.pieces(data))
        for at, (method, target, body) in enumerate(answered):
            if at == len(expected):
                assert (method, target) == broken, data
            else:
                assert (method, target) == expected[at][:2], data
                assert (
                    target == b"/early"
                    or body == expected[at][2]
                    or (body.endswith(BROKEN) and at == len(answered) - 1)
                ), data
        assert len(answered) <= len(expected) + 1, data
