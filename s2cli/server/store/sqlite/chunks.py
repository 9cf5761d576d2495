"""Statements over chunks, for the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from s2cli.errors import ApiError
from s2cli.server.store.interface import Append
from s2cli.server.store.sqlite import metric_rows, reply_rows
from s2cli.server.store.sqlite.checksums import COLUMNS, change_sealed, checksum, columns_complaint
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of
from s2cli.server.store.sqlite.schema import to_signed

Result = TypeVar("Result")
# Stream -> where it ends: its next sequence number and its last timestamp as it is stored; None where that is in its
# last chunk alone.
Ends = dict[int, "tuple[int, int] | None"]

# Rows a statement may have. A group of no more rows and bytes than these is one statement that is its own transaction:
# a third cheaper than BEGIN and COMMIT around it. A cached statement keeps its last values, so larger groups go through
# three of them only. executemany would take the interpreter's lock once a row: 27 times slower beside a busy loop.
STATEMENT_ROWS = 64
STATEMENT_BYTES = 256 * 1024
_SIZES = (STATEMENT_ROWS, 8, 1)

# A slice is so much of a long deletion as one transaction takes, between two groups: some milliseconds.
SLICE_BYTES = 4 * 1024 * 1024
SLICE_ROWS = 1000
# Pages that are given back to the file system in one step: a millisecond, as each costs the move of another one.
VACUUM_PAGES = 64
# So many may be free: a stream that is trimmed as fast as it grows fills them again.
FREE_PAGES = 256
# With so many, no more are freed before some are given back, for that gets slower the more there are.
MANY_FREE_PAGES = 4096

_INSERT = "INSERT INTO chunk(id, n, size, ts, exp, crc, kind, data) VALUES"
_INSERTS = [_INSERT + ",".join(["(?,?,?,?,?,?,?,?)"] * rows) for rows in range(STATEMENT_ROWS + 1)]


def in_transaction(connection: sqlite3.Connection, run: Callable[[sqlite3.Connection], Result]) -> Result:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = run(connection)
        connection.execute("COMMIT")
    except BaseException:
        # Some errors have rolled back by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def insert(connection: sqlite3.Connection, group: list[Append], tails: Ends | None = None) -> None:
    """Make a group durable, all or nothing; with `tails`, together with where these streams end and its own."""
    changes = tails is not None or any(
        append.keep_ms is not None
        or append.fencing_token is not None
        or append.trim_point is not None
        or append.reply is not None
        for append in group
    )
    if (
        not changes
        and len(group) <= STATEMENT_ROWS
        and sum([len(append.chunk.data) for append in group]) <= STATEMENT_BYTES
    ):
        connection.execute(_INSERTS[len(group)], _values(group))
    else:
        in_transaction(connection, lambda connection: insert_rows(connection, group, tails))


def insert_rows(connection: sqlite3.Connection, group: list[Append], tails: Ends | None) -> None:
    """`insert` in a transaction that has begun."""
    at = 0
    while at < len(group):
        for size in _SIZES:
            rows = group[at : at + size]
            is_all = len(rows) == len(group)
            if size == 1 or (
                (len(rows) == size or is_all) and sum([len(append.chunk.data) for append in rows]) <= STATEMENT_BYTES
            ):
                connection.execute(_INSERTS[len(rows)], _values(rows))
                at += len(rows)
                break
    for append in group:
        if append.keep_ms is not None and append.creates is None:
            first_id = chunk_id(append.lane.stream_id, append.chunk.end_seq_num - 1)
            begin_runs(connection, [(first_id, append.keep_ms, append.expires_at_ms)])
            _change_stream(connection, append, "keep=?", append.keep_ms)
        if append.fencing_token is not None:
            _change_stream(connection, append, "fencing_token=?", append.fencing_token)
        if append.trim_point is not None:
            changes = "trim_point=?, written=?, look_at=coalesce(?, look_at)"
            _change_stream(connection, append, changes, append.trim_point, append.arrived_at_ms, append.look_at_ms)
        if append.reply is not None:
            reply_rows.save(connection, append.reply)
    if tails is not None:
        note_tails(connection, {**tails, **ends_of(group)})


def begin_runs(connection: sqlite3.Connection, runs: list[tuple[int, int, int]]) -> None:
    """From the chunk with this id on its stream has another retention, 0 for ever; the chunk expires then."""
    for at in range(0, len(runs), STATEMENT_ROWS):
        some = runs[at : at + STATEMENT_ROWS]
        values = [value for row_id, keep_ms, due in some for value in (row_id, keep_ms, due if keep_ms else None)]
        rows = ",".join(["(?,?,?)"] * len(some))
        connection.execute(f"INSERT OR REPLACE INTO run(id, keep, due) VALUES{rows}", values)


def _change_stream(connection: sqlite3.Connection, append: Append, changes: str, *values: Any) -> None:
    if not change_sealed(connection, "stream", append.lane.stream_id, changes, values):
        raise ApiError("storage", "the row of the stream is damaged on disk", without_effect=True)


def _values(group: list[Append]) -> list[Any]:
    values: list[Any] = []
    for append in group:
        chunk = append.chunk
        row_id = chunk_id(append.lane.stream_id, chunk.end_seq_num - 1)
        columns = row_id, chunk.count, chunk.metered_bytes, to_signed(chunk.last_timestamp), append.expires_at_ms
        values += *columns, checksum(*columns, chunk.kind, chunk.data), chunk.kind, chunk.data
    return values


def ends_of(group: Iterable[Append]) -> Ends:
    """Where the streams of a group end behind it; of those that it creates the rows say so."""
    return {
        append.lane.stream_id: (append.chunk.end_seq_num, to_signed(append.chunk.last_timestamp))
        for append in group
        if append.creates is None
    }


def note_tails(connection: sqlite3.Connection, ends: Ends) -> None:
    """Write into the rows of these streams where they end: should their last chunks be lost, it is noticed, and their
    sequence numbers are not given again."""
    for stream_id, known in ends.items():
        end = known or _last_end(connection, stream_id)
        if end is not None:
            _set_end(connection, stream_id, *end)


def _last_end(connection: sqlite3.Connection, stream_id: int) -> tuple[int, int] | None:
    """Where a stream ends by its last chunk; None without one that is whole."""
    last = connection.execute(
        f"SELECT {COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0) - 1),
    ).fetchone()
    if last is None or columns_complaint(connection, *last) is not None:
        return None
    _, row_id, _, _, timestamp, _, _ = last
    return seq_num_of(row_id) + 1, timestamp


def _set_end(connection: sqlite3.Connection, stream_id: int, end_seq_num: int, timestamp: int) -> None:
    values = end_seq_num, timestamp
    change_sealed(connection, "stream", stream_id, "next_seq=?, last_ts=?", values, "next_seq < ?", (end_seq_num,))


def delete_slice(connection: sqlite3.Connection, stream_id: int, end_seq_num: int) -> bool:
    """Delete some chunks that end at or before `end_seq_num`, the oldest first. Returns True if there are more. With
    the last chunk of all, the place where the stream continues is written into its row."""
    first, last = chunk_id(stream_id, 0), chunk_id(stream_id, end_seq_num) - 1
    size_bytes = metered_bytes = 0
    deleted: tuple[Any, ...] | None = None
    more = False
    rows = connection.execute(
        f"SELECT length(data), {COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",  # noqa: S608
        (first, last, SLICE_ROWS + 1),
    ).fetchall()
    for number, (length, *columns) in enumerate(rows):
        if number == SLICE_ROWS or size_bytes >= SLICE_BYTES:
            more = True
            break
        deleted = tuple(columns)
        size_bytes += length
        metered_bytes += columns[3]
    if deleted is None:
        return False
    _, row_id, _, _, timestamp, _, _ = deleted
    if columns_complaint(connection, *deleted) is None:
        note_end(connection, stream_id, row_id, timestamp, 0)
    connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", (first, row_id))
    metric_rows.deleted(connection, stream_id, metered_bytes)
    return more


def note_end(connection: sqlite3.Connection, stream_id: int, row_id: int, timestamp: int, arrived_at_ms: int) -> None:
    """A chunk, with all before it, is deleted: if it is the last of its stream, say in the stream's row where that
    continues."""
    behind = connection.execute(
        "SELECT 1 FROM chunk WHERE id > ? AND id < ? LIMIT 1", (row_id, chunk_id(stream_id + 1, 0))
    ).fetchone()
    if behind is None:
        change_sealed(connection, "stream", stream_id, "written=max(written, ?)", (arrived_at_ms,))
        _set_end(connection, stream_id, seq_num_of(row_id) + 1, timestamp)


def free_pages(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return count


def vacuum(connection: sqlite3.Connection) -> int:
    """Give some free pages back to the file system. Returns how many."""
    pages = min(free_pages(connection) - FREE_PAGES, VACUUM_PAGES)
    if pages <= 0:
        return 0
    # executescript, because execute takes one step, which frees one page.
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    return pages
