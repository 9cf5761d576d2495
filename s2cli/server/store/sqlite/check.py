"""Checks everything in a database, in slices. Between two slices no lock is held, so a server may continue to write.

Records that were deleted are not missing: the table `gone` says which (gone.py). Older formats had no such table. There
records were deleted from the front of a stream and from the front of a run (expiry.py), so they may be missing in front
of a run, and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s2cli.errors import ProtocolError, S2Error
from s2cli.server.store.findings import MAX_PROBLEMS, Findings
from s2cli.server.store.sqlite import doubt, gone, hidden
from s2cli.server.store.sqlite.checksums import SEALED, complaint, is_whole
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of, stream_of
from s2cli.server.store.sqlite.schema import FILE_NAME, lacks_files_beside, not_opened, to_unsigned
from s2cli.wire.protobuf import MAX_BATCH_RECORDS, count_records

# A slice ends after so many bytes or rows: some milliseconds.
SLICE_BYTES = 4 * 1024 * 1024
SLICE_ROWS = 1000
MAX_PAGE_PROBLEMS = 100

# Kinds of rows -> what a row is called, its columns, and which of them name it.
_ROWS = {
    "basin": ("name", "config"),
    "token": ("id", "scope"),
}


def open_for_check(directory: Path) -> sqlite3.Connection:
    """A connection that changes neither the database nor its write-ahead log, not even when it is closed. Raises
    S2Error, also where there is no room for the files that SQLite needs beside the database."""
    path = (directory / FILE_NAME).absolute()
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise not_opened(path, error) from error
    try:
        for setting in "busy_timeout=1000", "cache_size=-2048", "mmap_size=0", "schema_version":
            connection.execute(f"PRAGMA {setting}").fetchall()
    except sqlite3.DatabaseError as error:
        # If the file is not a database, or cannot be read, `walk` reports it.
        if lacks_files_beside(error):
            connection.close()
            raise not_opened(path, error) from error
    return connection


@contextlib.contextmanager
def opened_for_check(directory: Path, *, is_alone: bool) -> Iterator[sqlite3.Connection]:
    """The connection of open_for_check(), closed at the end. If `is_alone` (nobody else has the database open), the
    empty write-ahead log and its index, which SQLite creates even for reading, are deleted at the end."""
    besides = [directory / f"{FILE_NAME}{suffix}" for suffix in ("-wal", "-shm")]
    made = [path for path in besides if not path.exists()] if is_alone else []
    try:
        with contextlib.closing(open_for_check(directory)) as connection:
            yield connection
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def walk(
    connection: sqlite3.Connection, findings: Findings, lost_ends: Mapping[int, int] = MappingProxyType({})
) -> Iterator[None]:
    """Checks all rows, and yields after each slice. What cannot be read is a finding, too. `lost_ends`: see
    doubt.find()."""
    check_lost = partial(_check_lost, lost_ends=lost_ends)
    for check in _check_rows, _check_named, _check_names, _check_streams, check_lost, _check_runs, _check_chunks:
        try:
            yield from check(connection, findings)
        except sqlite3.DatabaseError as error:
            findings.add(FILE_NAME, f"it cannot be read to its end: {error}")


def _check_rows(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    """The checksums of rows that are not chunks."""
    if not _writes_down_what_goes(connection):
        return
    for table, columns in SEALED.items():
        key, *_ = columns.split(", ")
        # Most tables have a number as their key; basins, tokens and some others a name.
        after: int | bytes = -1 if key == "id" and table != "token" else b""
        query = f"SELECT crc, {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608
        while rows := connection.execute(query, (after, SLICE_ROWS)).fetchall():
            for crc, *values in rows:
                after = values[0]
                if not is_whole(crc, values):
                    findings.add(f"{table} {_text(values[2] if table == 'stream' else after)}", "wrong checksum")
            yield


def _check_named(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    for table, (name_column, json_column) in _ROWS.items():
        name = b""
        query = f"SELECT {name_column}, {json_column} FROM {table} WHERE {name_column} > ? ORDER BY 1 LIMIT ?"  # noqa: S608
        while rows := connection.execute(query, (name, SLICE_ROWS)).fetchall():
            for name, value in rows:
                if table == "basin":
                    findings.basins += 1
                else:
                    findings.tokens += 1
                if not _is_object(value):
                    findings.add(f"{table} {_text(name)}", f"its {json_column} is not a JSON object")
            yield


def _check_names(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    for place, problem in (yield from hidden.find(connection)).problems():
        findings.add(place, problem)


def _check_streams(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    """The rows of streams, and whether each agrees with the last chunk of its stream."""
    query = (
        "SELECT id, basin, name, config, trim_point, next_seq, uid, deleted_at,"
        " EXISTS (SELECT 1 FROM basin WHERE basin.name = stream.basin),"
        " (SELECT max(c.id) FROM chunk c WHERE c.id BETWEEN stream.id << 40 AND (stream.id + 1 << 40) - 1)"
        " FROM stream WHERE id > ? ORDER BY id LIMIT ?"
    )
    stream_id = 0
    while rows := connection.execute(query, (stream_id, SLICE_ROWS)).fetchall():
        for stream_id, basin, name, config, trim_point, next_seq_num, uid, deleted, has_basin, last_id in rows:
            findings.streams += 1
            place = _uri(basin, name)
            if not has_basin:
                findings.add(place, "its basin is missing")
            if not _is_object(config):
                findings.add(place, "its config is not a JSON object")
            if uid is not None and not (isinstance(uid, bytes) and len(uid) == 16):
                findings.add(place, "its id for encryption is damaged")
            tail = max(next_seq_num, seq_num_of(last_id) + 1) if last_id is not None else next_seq_num
            end = 0 if last_id is None else seq_num_of(last_id) + 1
            if _writes_down_what_goes(connection):
                gap = gone.unexplained(connection, stream_id, end, next_seq_num) if next_seq_num > end else None
            else:
                gap = (end, next_seq_num) if next_seq_num > end > 0 else None
            if gap is not None:
                findings.add(place, "its last records are missing", gap[0], gap[1] - 1)
            if trim_point > tail and deleted is None:
                findings.add(place, f"its trim point, {trim_point}, is beyond its tail, {tail}")
        yield


def _check_lost(connection: sqlite3.Connection, findings: Findings, *, lost_ends: Mapping[int, int]) -> Iterator[None]:
    """Where streams ended by a part of the log that is lost."""
    for found in doubt.beyond(connection, lost_ends):
        findings.add(found.place, found.problem, found.first, found.end - 1)
    yield


def _check_runs(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    query = (
        "SELECT id, keep, due, EXISTS (SELECT 1 FROM stream WHERE stream.id = run.id >> 40) FROM run"
        " WHERE id > ? ORDER BY id LIMIT ?"
    )
    run_id = -1
    while rows := connection.execute(query, (run_id, SLICE_ROWS)).fetchall():
        for run_id, keep_ms, due, has_stream in rows:
            if not has_stream:
                findings.add(f"retention of stream {stream_of(run_id)}", "there is no such stream")
            if (due is None) != (keep_ms == 0):
                findings.add(f"retention of stream {stream_of(run_id)}", "it does not say when its records expire")
        yield


class _Place:
    """The stream whose chunks are being checked, and where the next chunk must begin."""

    def __init__(self, stream_id: int, uri: str) -> None:
        self.stream_id = stream_id
        self.uri = uri
        self.last_id: int | None = None
        self.end_seq_num = 0
        self.timestamp = 0


def _check_chunks(connection: sqlite3.Connection, findings: Findings) -> Iterator[None]:
    after = -1
    place: _Place | None = None
    while True:
        try:
            rows = connection.execute(
                "SELECT crc, id, n, size, ts, exp, kind, data FROM chunk WHERE id > ? ORDER BY id", (after,)
            )
            taken = taken_bytes = 0
            for row in rows:
                if place is None or stream_of(row[1]) != place.stream_id:
                    place = _begin_stream(connection, findings, stream_of(row[1]))
                _check_chunk(connection, findings, place, row, continues=taken > 0)
                after = row[1]
                taken += 1
                taken_bytes += len(row[7]) if isinstance(row[7], bytes) else 0
                if taken == SLICE_ROWS or taken_bytes >= SLICE_BYTES:
                    break
            rows.close()
            findings.checked_bytes += taken_bytes
            if not taken:
                return
        except sqlite3.DatabaseError as error:
            # Nothing says how far the damage goes. The next stream may be on other pages.
            damaged = stream_of(after + 1)
            findings.add(_stream_uri(connection, damaged), f"records cannot be read: {error}", seq_num_of(after + 1))
            after = chunk_id(damaged + 1, 0) - 1
            place = None
            if len(findings.problems) == MAX_PROBLEMS:
                raise
        yield


def _begin_stream(connection: sqlite3.Connection, findings: Findings, stream_id: int) -> _Place:
    uri = _stream_uri(connection, stream_id)
    if not uri.startswith("s2://"):
        findings.add(uri, "there are records of a stream that is missing")
    return _Place(stream_id, uri)


def _check_chunk(
    connection: sqlite3.Connection, findings: Findings, place: _Place, row: tuple[Any, ...], *, continues: bool
) -> None:
    """Checks one chunk. `continues`: the chunk before was read in the same slice, so nothing was deleted between the
    two meanwhile."""
    crc, row_id, count, size, timestamp, _, kind, data = row
    last = seq_num_of(row_id)
    findings.batches += 1
    damage = complaint(*row)
    if damage is not None:
        # Where it begins is not known, as its columns may be wrong.
        findings.add(place.uri, damage, place.end_seq_num if place.last_id is not None else None, last)
    else:
        findings.records += count
        first = last + 1 - count
        # The checksums of format 1 do not cover the count. Counting takes as long as everything else.
        is_miscounted = not crc >> 32 and not kind and _count(data) != count
        if not 1 <= count <= MAX_BATCH_RECORDS or size < 0 or first < 0 or is_miscounted:
            findings.add(place.uri, f"a batch says that it has {count} records", None, last)
        elif first > place.end_seq_num:
            gap = _gap(connection, place, row_id, first, continues=continues)
            if gap is not None:
                findings.add(place.uri, "records are missing", gap[0], gap[1] - 1)
        if place.last_id is not None:
            if first < place.end_seq_num:
                findings.add(place.uri, "two batches have the same records", first, place.end_seq_num - 1)
            if to_unsigned(timestamp) < place.timestamp:
                findings.add(place.uri, "a timestamp is below the one before it", first, last)
        place.timestamp = to_unsigned(timestamp)
    place.last_id = row_id
    place.end_seq_num = last + 1


def _gap(
    connection: sqlite3.Connection, place: _Place, row_id: int, first_seq_num: int, *, continues: bool
) -> tuple[int, int] | None:
    """The records that are missing before the chunk `row_id` without a reason, as first sequence number and end; None
    if there are none."""
    if _writes_down_what_goes(connection):
        return gone.unexplained(connection, place.stream_id, place.end_seq_num, first_seq_num)
    if place.last_id is None:
        return None
    run = connection.execute("SELECT 1 FROM run WHERE id > ? AND id <= ? LIMIT 1", (place.last_id, row_id)).fetchone()
    may_be_gone = run is not None or (
        # Everything up to here may have been deleted after the slice before.
        not continues and connection.execute("SELECT 1 FROM chunk WHERE id=?", (place.last_id,)).fetchone() is None
    )
    return None if may_be_gone else (place.end_seq_num, first_seq_num)


def _writes_down_what_goes(connection: sqlite3.Connection) -> bool:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version >= 3


def _count(data: bytes) -> int:
    """The records in the bytes of a chunk; -1 if that is not a batch."""
    try:
        return count_records(data, MAX_BATCH_RECORDS)
    except ProtocolError:
        return -1


def _is_object(value: object) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except ValueError:
        return False


def _stream_uri(connection: sqlite3.Connection, stream_id: int) -> str:
    try:
        row = connection.execute("SELECT basin, name FROM stream WHERE id=?", (stream_id,)).fetchone()
    except sqlite3.DatabaseError:
        row = None
    return f"stream {stream_id}" if row is None else _uri(*row)


def _uri(basin: object, name: object) -> str:
    return f"s2://{_text(basin)}/{_text(name)}"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def structure(connection: sqlite3.Connection, tell: Callable[[str], None]) -> None:
    """Checks that all pages of the file belong together, and the indexes to their tables. `tell` is called with each
    problem. This is one long read, and no checkpoint gets beyond its beginning while it lasts."""
    try:
        for (text,) in connection.execute(f"PRAGMA integrity_check({MAX_PAGE_PROBLEMS})"):
            if text != "ok":
                for line in text.splitlines():
                    tell(line)
    except sqlite3.DatabaseError as error:
        tell(str(error))


def main(directory: str) -> None:
    """Runs `structure`, and prints a line for each problem: for a process of its own."""
    try:
        connection = open_for_check(Path(directory))
    except S2Error as error:
        sys.exit(f"error: {error}")
    with contextlib.closing(connection):
        structure(connection, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
