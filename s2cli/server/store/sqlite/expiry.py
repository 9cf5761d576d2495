"""What expires, and streams that are deleted when empty: statements for the writer (protocol sections 13.3 and 13.4).

Chunks carry the time at which they expire. It grows along a stream as long as the retention stays the same, so that in
such a *run* of chunks those that have expired come first. A run is a row of its own, made with its first chunk: an
index over all chunks would cost each append a page more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from s2cli.server.store.sqlite import gone, metric_rows, reader
from s2cli.server.store.sqlite.checksums import COLUMNS, SEALED, change_sealed, columns_complaint, is_whole
from s2cli.server.store.sqlite.chunks import SLICE_BYTES, SLICE_ROWS, note_end
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of, stream_of

# A stream that is not to be deleted yet is checked again after this time at the earliest.
RECHECK_MS = 600_000


def expire_slice(connection: sqlite3.Connection, now_ms: int) -> bool:
    """Delete some chunks that have expired. Returns True if there may be more."""
    run = connection.execute("SELECT id, keep FROM run WHERE due <= ? ORDER BY due LIMIT 1", (now_ms,)).fetchone()
    if run is None:
        return False
    run_id, keep_ms = run
    stream_id = stream_of(run_id)
    end = chunk_id(stream_id + 1, 0)
    following = connection.execute(
        "SELECT id FROM run WHERE id > ? AND id < ? ORDER BY id LIMIT 1", (run_id, end)
    ).fetchone()
    if following is not None:
        end = following[0]
    size_bytes = metered_bytes = 0
    first_seq_num = 0
    deleted = None
    # Of an emptied run at the end of its stream: what comes will stay for so long.
    due = now_ms + keep_ms if following is None else None
    rows = connection.execute(
        f"SELECT length(data), {COLUMNS} FROM chunk WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
        (run_id, end, SLICE_ROWS + 1),
    ).fetchall()
    for number, (length, *columns) in enumerate(rows):
        _, row_id, count, metered, timestamp, expires_at_ms, _ = columns
        if expires_at_ms > now_ms or number == SLICE_ROWS or size_bytes >= SLICE_BYTES:
            due = expires_at_ms
            break
        if columns_complaint(connection, *columns) is not None:
            due = now_ms + RECHECK_MS  # who knows whether it has expired: it stays, and what is behind it in the run
            break
        if deleted is None:
            first_seq_num = seq_num_of(row_id) + 1 - count
        deleted = row_id, timestamp, expires_at_ms
        size_bytes += length
        metered_bytes += metered
    if deleted is not None:
        row_id, timestamp, expires_at_ms = deleted
        note_end(connection, stream_id, row_id, timestamp, expires_at_ms - keep_ms)
        connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", (run_id, row_id))
        gone.add(connection, stream_id, first_seq_num, seq_num_of(row_id) + 1)
        metric_rows.deleted(connection, stream_id, metered_bytes)
    if due is None:
        connection.execute("DELETE FROM run WHERE id=?", (run_id,))
    else:
        connection.execute("UPDATE run SET due=? WHERE id=?", (due, run_id))
    return True


def first_check_ms(config: Mapping[str, Any], now_ms: int, *, before: Mapping[str, Any] | None = None) -> int | None:
    """When to check whether a stream with this config is empty: for a new stream, or one whose config was `before`
    until now. None if the config has no delete_on_empty."""
    age_ms = min_age_ms(config)
    if not age_ms:
        return None
    return now_ms if before is not None and min_age_ms(before) else min(now_ms + age_ms, (1 << 63) - 1)


def min_age_ms(config: Mapping[str, Any]) -> int:
    age_s: int = config.get("delete_on_empty", {}).get("min_age_secs", 0)
    return age_s * 1000


def delete_if_empty(connection: sqlite3.Connection, stream_id: int, now_ms: int) -> bool:
    """Mark the stream as deleted if it has been empty for long enough. Returns True if so."""
    is_due = check_empty(connection, stream_id, now_ms)
    if is_due:
        change_sealed(connection, "stream", stream_id, "deleted_at=?", (now_ms,))
    return is_due


def check_empty(connection: sqlite3.Connection, stream_id: int, now_ms: int) -> bool:
    """Whether the stream has been empty for long enough to be deleted. If not, the time of its next check is stored."""
    row = connection.execute(
        f"SELECT config, trim_point, written, keep, crc, {SEALED['stream']} FROM stream"  # noqa: S608
        " WHERE id=? AND deleted_at IS NULL AND look_at <= ?",
        (stream_id, now_ms),
    ).fetchone()
    if row is None:
        return False
    config, trim_point, written_ms, keep_ms, crc, *values = row
    if not is_whole(crc, values):
        return False  # who knows whether it is to be deleted
    end = chunk_id(stream_id + 1, 0) - 1
    last = connection.execute(
        "SELECT exp FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (chunk_id(stream_id, 0), end)
    ).fetchone()
    if last is not None and last[0] and keep_ms:
        written_ms = max(written_ms, last[0] - keep_ms)
    old_enough_ms = written_ms + min_age_ms(json.loads(config))
    live = connection.execute(
        "SELECT exp FROM chunk WHERE id BETWEEN ? AND ? AND (exp = 0 OR exp > ?) ORDER BY id DESC LIMIT 1",
        (chunk_id(stream_id, trim_point), end, now_ms),
    ).fetchone()
    if live is None and (not written_ms or old_enough_ms <= now_ms):
        return _is_whole(connection, stream_id)
    look_at = None  # a record that never expires: only a trim can empty the stream
    if live is None or live[0]:
        look_at = min(max(now_ms + RECHECK_MS, old_enough_ms, live[0] if live else 0), (1 << 63) - 1)
    change_sealed(connection, "stream", stream_id, "look_at=?", (look_at,))
    return False


def _is_whole(connection: sqlite3.Connection, stream_id: int) -> bool:
    """Whether nothing of the stream is missing or damaged, so that what has expired is what it looks like. False as
    well while there is more to check than one slice: what has expired is deleted first."""
    tail = reader.tail(connection, stream_id)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",  # noqa: S608
        (chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0) - 1, SLICE_ROWS + 1),
    ).fetchall()
    is_whole = tail is not None and tail.doubt is None and len(rows) <= SLICE_ROWS
    return is_whole and all(columns_complaint(connection, *row) is None for row in rows)


def empty_streams(connection: sqlite3.Connection, now_ms: int, limit: int) -> tuple[list[int], bool]:
    """Ids of streams that have been empty for long enough to be deleted, among at most `limit` whose check is due; and
    whether more checks may be due."""
    rows = connection.execute(
        "SELECT id FROM stream WHERE look_at <= ? AND deleted_at IS NULL ORDER BY look_at LIMIT ?", (now_ms, limit)
    ).fetchall()
    found = [row[0] for row in rows if check_empty(connection, row[0], now_ms)]
    return found, len(rows) == limit
