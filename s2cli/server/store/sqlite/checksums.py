"""The checksums of chunks, and of all other rows whose damage nobody would notice. SQLite has no checksums.

The upper half of the column `crc` of a chunk says which kind of checksum it has. Today's has two parts: one over the
columns before `data`, so that they (its position, when it expires) can be checked without reading `data`, and one over
everything. Two older kinds are still read: 1 covers all columns in one, 0 covers only `data`.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

_HALF_BITS = 32
_DATA, _ROW = 0, 1
# The upper half of today's kind: this bit, and 30 bits of the checksum over the columns.
_PARTS = 1 << 30
# id, n, size, ts, exp, kind
_encode_columns = struct.Struct(">6q").pack

# What a statement must select for `complaint` and `columns_complaint`, in this order.
COLUMNS = "crc, id, n, size, ts, exp, kind"

# Table -> the columns that the checksum of its rows covers: all but `crc` itself.
SEALED = {
    "basin": "name, config, created_at, deleted_at, request_key",
    "stream": "id, basin, name, config, cipher, created_at, deleted_at, request_key, trim_point, fencing_token,"
    " next_seq, last_ts, keep, written, look_at, uid",
    "token": "id, selector, hash, scope, auto_prefix, expires, expires_ms",
    "reply": "id, key, request, status, content_type, headers, body, stored_at",
    "gone": "id, n",
}


def checksum(row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes) -> int:
    """The column `crc` of a chunk with these columns."""
    of_columns = crc32(_encode_columns(row_id, count, size, timestamp, expires_at_ms, kind))
    return (_PARTS | of_columns & _PARTS - 1) << _HALF_BITS | crc32(data, of_columns)


def complaint(
    crc: int, row_id: int, count: int, size: int, timestamp: int, expires_at_ms: int, kind: int, data: bytes
) -> str | None:
    """What is wrong with a chunk that has these columns; None if it is whole."""
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
        whole = False  # a column has a wrong type
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
    """What is wrong with the columns of a chunk; None if nothing is. `data` is read only for the older kinds of
    checksum, and if `may_read`; else such a chunk is not checked."""
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
    """The column `crc` of a row of a table in SEALED, whose columns have these values."""
    # What `ascii` makes of the values of SQLite is the same in every version of Python.
    return crc32(ascii(values).encode())


def is_whole(crc: object, values: Sequence[Any]) -> bool:
    return crc == row_checksum(*values)


def seal(connection: sqlite3.Connection, table: str, where: str, values: Sequence[Any]) -> None:
    """Set the checksums of the rows for which `where` holds with `values`: after a change, in the same transaction."""
    connection.execute(f"UPDATE {table} SET crc=row_checksum({SEALED[table]}) WHERE {where}", values)  # noqa: S608


def change_sealed(
    connection: sqlite3.Connection,
    table: str,
    key: int | bytes,
    changes: str,
    values: Sequence[Any],
    condition: str = "1",
    condition_values: Sequence[Any] = (),
) -> bool:
    """Change the row with that key, as the SET clause `changes` says with `values`, and set its checksum; returns
    whether that was done. A damaged row stays as it is: with a new checksum nobody could tell the damage any more."""
    return connection.execute(_change(table, changes, condition), (*values, key, *condition_values)).rowcount > 0


@lru_cache(64)
def _change(table: str, changes: str, condition: str) -> str:
    """The statement of `change_sealed`. One for both, the change and the new checksum: that is over the columns as they
    are now, but for those that change."""
    numbers = itertools.count(1)
    set_clause = _numbered(changes, numbers)
    changed = dict(one.split("=", 1) for one in re.split(r", (?=\w+=)", set_clause))
    columns = SEALED[table].split(", ")
    new = ", ".join(changed.get(column, column) for column in columns)
    return (
        f"UPDATE {table} SET {set_clause}, crc=row_checksum({new}) WHERE {columns[0]}=?{next(numbers)}"  # noqa: S608
        f" AND {_numbered(condition, numbers)} AND crc IS row_checksum({SEALED[table]})"
    )


def _numbered(text: str, numbers: Iterator[int]) -> str:
    return re.sub(r"\?", lambda _: f"?{next(numbers)}", text)


def insert_sealed(
    connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]], *, unless: str | None = None
) -> int:
    """Insert rows with their checksums; returns how many. `rows`: values of the columns that SEALED lists, with the
    types that they are stored with. If `unless` is given, a row is left out whose values in these columns are there."""
    values = [value for row in rows for value in (*row, row_checksum(*row))]
    return connection.execute(_insert(table, len(rows), unless), values).rowcount


@lru_cache(64)
def _insert(table: str, count: int, unless: str | None) -> str:
    """The statement of `insert_sealed`."""
    row = ",".join("?" * (SEALED[table].count(",") + 2))
    rows = ",".join([f"({row})"] * count)
    conflict = "" if unless is None else f" ON CONFLICT({unless}) DO NOTHING"
    return f"INSERT INTO {table}({SEALED[table]}, crc) VALUES{rows}{conflict}"


def register(connection: sqlite3.Connection) -> None:
    """Define the SQL function that seal() and change_sealed() use."""
    connection.create_function("row_checksum", -1, row_checksum, deterministic=True)
