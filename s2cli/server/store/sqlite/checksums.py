"""The checksums of rows: of chunks, and of all rows whose change or loss nobody would notice. SQLite has none.

The column `crc` of a chunk says by its upper half which checksum it has. Today's has two parts: one over the columns
before `data` alone, so that what a chunk says of itself (where it stands, when it expires) is checked without reading
its bytes, and one over everything. Older ones stay readable: 1 covers all columns in one, 0 covers `data` alone.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from typing import Any
from zlib import crc32

_HALF_BITS = 32
_DATA, _ROW = 0, 1
# The upper half of today's: this, and 30 bits over the columns.
_PARTS = 1 << 30
# id, n, size, ts, exp, kind
_encode_columns = struct.Struct(">6q").pack

# What a statement must select for `complaint` and `columns_complaint`, in this order.
COLUMNS = "crc, id, n, size, ts, exp, kind"

# Table -> the columns that the checksum of its rows covers: all but itself.
SEALED = {
    "basin": "name, config, created_at, deleted_at, request_key",
    "stream": "id, basin, name, config, cipher, created_at, deleted_at, request_key, trim_point, fencing_token,"
    " next_seq, last_ts, keep, written, look_at, uid",
    "token": "id, selector, hash, scope, auto_prefix, expires, expires_ms",
    "reply": "id, key, request, status, content_type, headers, body, stored_at",
    "gone": "id, n",
}


def checksum(row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes) -> int:
    """The column `crc` of a chunk that is to be written; the values are those of its other columns."""
    of_columns = crc32(_encode_columns(row_id, count, size, timestamp, expires_at_ms, kind))
    return (_PARTS | of_columns & _PARTS - 1) << _HALF_BITS | crc32(data, of_columns)


def complaint(
    crc: int, row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes
) -> str | None:
    """What is wrong with a chunk that was read; None for one that is whole."""
    try:
        which = crc >> _HALF_BITS
        if which >= _PARTS:
            whole = crc == checksum(row_id, count, size, timestamp, expires_at_ms, kind, data)
        elif which == _ROW:
            columns = _encode_columns(row_id, count, size, timestamp, expires_at_ms, kind)
            whole = crc == _ROW << _HALF_BITS | crc32(data, crc32(columns))
        elif which == _DATA:
            whole = crc == crc32(data)
        else:
            return f"a checksum of kind {which}, which only a newer version of s2 may know"
    except (TypeError, struct.error):
        whole = False  # a column is not even of its type
    return None if whole else "wrong checksum"


def columns_complaint(
    connection: sqlite3.Connection,
    crc: int,
    row_id: int,
    count: int,
    size: int,
    timestamp: int,
    expires_at_ms: int,
    kind: int,
    *,
    may_read: bool = True,
) -> str | None:
    """The same without the bytes, for what is decided by the columns alone. With an older checksum they are read, or
    nothing is checked."""
    try:
        which = crc >> _HALF_BITS
        if which >= _PARTS:
            of_columns = crc32(_encode_columns(row_id, count, size, timestamp, expires_at_ms, kind))
            return None if which == _PARTS | of_columns & _PARTS - 1 else "wrong checksum"
    except (TypeError, struct.error):
        return "wrong checksum"
    if not may_read:
        return None
    row = connection.execute("SELECT data FROM chunk WHERE id=?", (row_id,)).fetchone()
    return complaint(crc, row_id, count, size, timestamp, expires_at_ms, kind, row[0] if row else b"")


def row_checksum(*values: Any) -> int:
    """The column `crc` of a row of another table, from its columns as SEALED lists them."""
    # What `ascii` makes of the values of SQLite is the same in every version of Python.
    return crc32(ascii(values).encode())


def is_whole(crc: object, values: Sequence[Any]) -> bool:
    return crc == row_checksum(*values)


def seal(connection: sqlite3.Connection, table: str, where: str, values: Sequence[Any]) -> None:
    """Give rows their checksums, after a change and in its transaction."""
    connection.execute(f"UPDATE {table} SET crc=row_checksum({SEALED[table]}) WHERE {where}", values)  # noqa: S608


def insert_sealed(connection: sqlite3.Connection, table: str, values: Sequence[Any]) -> None:
    """Insert a row with its checksum; the values are those of the columns that SEALED lists, of the types that they are
    stored with."""
    places = ",".join("?" * (len(values) + 1))
    connection.execute(
        f"INSERT INTO {table}({SEALED[table]}, crc) VALUES({places})",
        (*values, row_checksum(*values)),
    )


def register(connection: sqlite3.Connection) -> None:
    """What `seal` needs."""
    connection.create_function("row_checksum", -1, row_checksum, deterministic=True)
