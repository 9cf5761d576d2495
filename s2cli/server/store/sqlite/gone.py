"""Sequence numbers whose records are gone for a known reason other than a trim: they have expired, or a repair has
given them up. Any other gap between the chunks of a stream is damage.

Each row of the table `gone` is a range of sequence numbers of a stream. Ranges that touch are joined to one row.
"""

from __future__ import annotations

import sqlite3

from s2cli.server.store.sqlite.checksums import SEALED, is_whole, seal
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of

_GONE = SEALED["gone"]


def add(connection: sqlite3.Connection, stream_id: int, first_seq_num: int, end_seq_num: int) -> None:
    """Notes that the sequence numbers from `first_seq_num` to `end_seq_num`, exclusive, are gone."""
    before = _last(connection, chunk_id(stream_id, 0), chunk_id(stream_id, first_seq_num))
    if before is not None and seq_num_of(before[0]) + before[1] >= first_seq_num:
        first_seq_num = seq_num_of(before[0])
        end_seq_num = max(end_seq_num, first_seq_num + before[1])
    behind = _last(connection, chunk_id(stream_id, first_seq_num), chunk_id(stream_id, end_seq_num))
    if behind is not None:
        end_seq_num = max(end_seq_num, seq_num_of(behind[0]) + behind[1])
    first = chunk_id(stream_id, first_seq_num)
    connection.execute("DELETE FROM gone WHERE id > ? AND id <= ?", (first, chunk_id(stream_id, end_seq_num)))
    connection.execute("INSERT OR REPLACE INTO gone(id, n) VALUES(?,?)", (first, end_seq_num - first_seq_num))
    seal(connection, "gone", "id=?", (first,))


def _last(connection: sqlite3.Connection, first_id: int, last_id: int) -> tuple[int, int] | None:
    """Id and count of the last row with such an id; None where that is damaged, and so explains nothing."""
    row = connection.execute(
        f"SELECT crc, {_GONE} FROM gone WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (first_id, last_id),
    ).fetchone()
    if row is None or not is_whole(row[0], row[1:]):
        return None
    return row[1], row[2]


def unexplained(
    connection: sqlite3.Connection, stream_id: int, first_seq_num: int, end_seq_num: int
) -> tuple[int, int] | None:
    """The first part of a gap that has no known reason, as first sequence number and end; None if all of it has one. In
    a stream that is being deleted anything may be gone."""
    row = connection.execute(
        "SELECT trim_point, coalesce(deleted_at, (SELECT b.deleted_at FROM basin b WHERE b.name = stream.basin)),"  # noqa: S608
        f" crc, {SEALED['stream']} FROM stream WHERE id=?",
        (stream_id,),
    ).fetchone()
    if row is None:
        return None
    trim_point, deleted_at_ms, crc, *values = row
    if not is_whole(crc, values):
        return first_seq_num, end_seq_num
    if deleted_at_ms is not None:
        return None
    at = max(first_seq_num, trim_point)
    rows = connection.execute(
        f"SELECT crc, {_GONE} FROM gone WHERE id >= coalesce((SELECT max(id) FROM gone WHERE id BETWEEN ? AND ?), ?)"  # noqa: S608
        " AND id < ? ORDER BY id",
        (chunk_id(stream_id, 0), chunk_id(stream_id, at), chunk_id(stream_id, at), chunk_id(stream_id, end_seq_num)),
    )
    for crc, *values in rows:
        row_id, count = values
        if not is_whole(crc, values):
            continue  # a damaged row explains nothing
        if seq_num_of(row_id) > at:
            break
        at = max(at, seq_num_of(row_id) + count)
    rows.close()
    if at >= end_seq_num:
        return None
    following = connection.execute(
        "SELECT min(id) FROM gone WHERE id > ? AND id < ?", (chunk_id(stream_id, at), chunk_id(stream_id, end_seq_num))
    ).fetchone()[0]
    return at, end_seq_num if following is None else seq_num_of(following)
