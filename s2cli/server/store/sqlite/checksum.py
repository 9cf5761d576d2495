"""What a chunk's column `crc` holds: which checksum it is, << 32, and a crc32.

0 covers `data` alone (format 1). 1 covers the other columns (`_encode_columns`) and then `data`: SQLite has no
checksums of its own, and a changed count, timestamp or key gives wrong records as readily as changed bytes. What was
written with an older checksum stays as it is.
"""

from __future__ import annotations

import struct
from zlib import crc32

_KIND_BITS = 32
_DATA, _ROW = 0, 1

# id, n, size, ts, exp, kind
_encode_columns = struct.Struct(">6q").pack


def checksum(row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes) -> int:
    """Of a chunk that is to be written; the values are those of its columns."""
    columns = _encode_columns(row_id, count, size, timestamp, expires_at_ms, kind)
    return _ROW << _KIND_BITS | crc32(data, crc32(columns))


def complaint(
    crc: int, row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes
) -> str | None:
    """What is wrong with a chunk that was read; None for one that is whole."""
    try:
        checksum_kind = crc >> _KIND_BITS
        if checksum_kind == _ROW:
            whole = crc == checksum(row_id, count, size, timestamp, expires_at_ms, kind, data)
        elif checksum_kind == _DATA:
            whole = crc == crc32(data)
        else:
            return f"a checksum of kind {checksum_kind}, which only a newer version of s2 may know"
    except (TypeError, struct.error):
        whole = False  # a column is not even of its type
    return None if whole else "wrong checksum"
