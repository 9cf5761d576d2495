"""Heads of HTTP/2: the blocks in which they come, compressed by HPACK (RFC 7541), which requests they are, and the
heads of responses.

A block must be decoded even if nobody wants it: later ones refer to what it has put into the table of the connection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from s2cli.server.http.authority import is_same_host
from s2cli.server.http.http2_frames import ConnectionFaultError, ErrorCode

Headers = list[tuple[bytes, bytes]]

# Of a block as it comes, and in how many frames.
MAX_BLOCK_BYTES = 64 * 1024
MAX_BLOCK_FRAMES = 16
# Of what a block says, counted as in RFC 9113, 6.5.2. Beyond that the connection ends.
MAX_LIST_BYTES = 64 * 1024
# Blocks that are known, so that they are not decoded again. Most clients send the same ones over and over.
MAX_KNOWN_BLOCKS = 64
MAX_KNOWN_BLOCK_BYTES = 512
# What decoding costs: Huffman's code takes 0.4 us a byte, a header some 7 us.
BLOCK_BYTES_PER_UNIT = 8
HEADER_UNITS = 3
# Responses have few headers, with few values.
MAX_KNOWN_LITERALS = 512

_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
# They are about one connection of HTTP/1.1 (RFC 9113, 8.2.2).
_OF_A_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_VALUE = re.compile(rb"[\0\r\n]")
_SPACES = frozenset((b" ", b"\t"))
_NO_TARGET = re.compile(rb"[\0-\x20\x7f#]")

# Our responses use no table: an encoder without one keeps nothing for a connection, and the same headers are always the
# same bytes. This says so to the client's decoder, once, before the first of them.
NO_TABLE = b"\x20"
_INDEXES = {name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_STATUS_INDEX = _INDEXES[b":status"]
_STATUSES = {
    int(value): bytes((0x80 | index,))
    for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
    if name == b":status"
}


class MalformedError(Exception):
    """What came is no request (RFC 9113, 8.1.1)."""


class Head(NamedTuple):
    """The head of a request. `length` is what it says of the length of its body; `refusal` the status of the answer to
    a request that is not for the application, else 0."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    length: int | None
    refusal: int


_TOO_LARGE = Head("", b"", b"", [], None, 431)


class Block(NamedTuple):
    """The beginning of a block that goes on in further frames."""

    stream: int
    is_end: bool  # of the request
    parts: list[bytes]


class HeadDecoder:
    """The heads that come over one connection."""

    __slots__ = ("_block", "_decoder", "_known", "_max_bytes", "_max_headers", "cost")

    def __init__(self, max_bytes: int, max_headers: int) -> None:
        """A head of more than that is refused with 431."""
        self._decoder = Decoder(MAX_LIST_BYTES)
        self._max_bytes = max_bytes
        self._max_headers = max_headers
        # What was decoded so far, in units of some microseconds.
        self.cost = 0
        # By their bytes, for as long as the table stays as it is.
        self._known: dict[bytes, Head] = {}
        self._block: Block | None = None

    # Blocks in several frames.

    @property
    def is_in_block(self) -> bool:
        return self._block is not None

    @property
    def block_bytes(self) -> int:
        return 0 if self._block is None else sum(map(len, self._block.parts))

    def begin(self, stream: int, begin: bytes, *, is_end: bool) -> None:
        self._block = Block(stream, is_end, [begin])

    def go_on(self, stream: int, part: bytes, *, is_last: bool) -> tuple[bytes, bool] | None:
        """The whole block, and whether it is all of its request; None until its last frame is here."""
        block = self._block
        if block is None or block.stream != stream:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        block.parts.append(part)
        if len(block.parts) > MAX_BLOCK_FRAMES or self.block_bytes > MAX_BLOCK_BYTES:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM)
        if not is_last:
            return None
        self._block = None
        return b"".join(block.parts), block.is_end

    # What is in a block.

    def request(self, block: bytes) -> Head:
        """Raises MalformedError, and ConnectionFaultError where the table is lost."""
        head = self._known.get(block)
        if head is None:
            table = self._decoder.header_table
            before = (
                len(table.dynamic_entries),
                table.maxsize,
                table.dynamic_entries[0] if table.dynamic_entries else None,
            )
            headers = self._decode(block)
            after = (
                len(table.dynamic_entries),
                table.maxsize,
                table.dynamic_entries[0] if table.dynamic_entries else None,
            )
            is_same = before[:2] == after[:2] and before[2] is after[2]
            if not is_same:
                self._known.clear()
            head = _request_of(headers, self._max_bytes, self._max_headers)
            if is_same and len(block) <= MAX_KNOWN_BLOCK_BYTES and len(self._known) < MAX_KNOWN_BLOCKS:
                self._known[block] = head
        return head

    def skip(self, block: bytes, *, may_have_pseudo: bool = True) -> None:
        """Takes a block that nobody wants: trailers, which have no pseudo-headers, or the head of a request that is
        refused."""
        self._known.clear()
        for name, _ in self._decode(block):
            if name[:1] == b":" and not may_have_pseudo:
                raise MalformedError

    def _decode(self, block: bytes) -> Headers:
        if len(block) > MAX_BLOCK_BYTES:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM)
        try:
            headers: Headers = list(self._decoder.decode(block, raw=True))
        except (HPACKError, IndexError) as error:
            raise ConnectionFaultError(ErrorCode.COMPRESSION_ERROR) from error
        self.cost += len(block) // BLOCK_BYTES_PER_UNIT + len(headers) * HEADER_UNITS
        return headers


def _request_of(headers: Headers, max_bytes: int, max_headers: int) -> Head:
    if len(headers) > max_headers or sum([len(name) + len(value) + 32 for name, value in headers]) > max_bytes:
        return _TOO_LARGE  # what is in it is not even looked at
    pseudo: dict[bytes, bytes] = {}
    fields: Headers = []
    length: int | None = None
    for name, value in headers:
        if _NO_VALUE.search(value) is not None or value[:1] in _SPACES or value[-1:] in _SPACES:
            raise MalformedError
        if name[:1] == b":":
            if fields or name not in _PSEUDO or name in pseudo:
                raise MalformedError
            pseudo[name] = value
            continue
        if _NAME.fullmatch(name) is None or name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
            raise MalformedError
        if name == b"content-length":
            if not (value.isdigit() and len(value) < 20) or (length is not None and length != int(value)):
                raise MalformedError
            length = int(value)
        fields.append((name, value))
    method, target, authority = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":authority")
    if _METHOD.fullmatch(method) is None:
        raise MalformedError
    refusal = 0
    if method == b"CONNECT":
        if b":path" in pseudo or b":scheme" in pseudo or not authority:
            raise MalformedError
        refusal = 400
    elif not pseudo.get(b":scheme") or not (target[:1] == b"/" or target == b"*") or _NO_TARGET.search(target):
        raise MalformedError
    if authority is not None:
        fields = _with_host(authority, fields)
    path, _, query = target.partition(b"?")
    return Head(method.decode(), path, query, fields, length, refusal)


def _with_host(authority: bytes, fields: Headers) -> Headers:
    """With the host as a header, as HTTP/1.1 has it. One that names another host is kept: the application refuses a
    request that has two."""
    others = [
        (name, value)
        for name, value in fields
        if name != b"host" or not (value.lower() == authority.lower() or is_same_host(b"http://" + authority, value))
    ]
    return [(b"host", authority), *others]


# Heads of responses.


def encode_status(status: int) -> bytes:
    return _STATUSES.get(status) or _integer(_STATUS_INDEX, 4) + _string(b"%d" % status)


@lru_cache(MAX_KNOWN_LITERALS)
def encode_header(name: bytes, value: bytes) -> bytes:
    """A header that goes into no table (RFC 7541, 6.2.2)."""
    index = _INDEXES.get(name)
    return (b"\0" + _string(name) if index is None else _integer(index, 4)) + _string(value)


def _string(data: bytes) -> bytes:
    return _integer(len(data), 7) + data


def _integer(value: int, prefix_bits: int) -> bytes:
    """RFC 7541, 5.1; the bits before the prefix are 0."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((value,))
    encoded = bytearray((most,))
    value -= most
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
