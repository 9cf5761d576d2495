"""Makes a database usable again after a loss: each stream whose end is in doubt resumes far after it, so that no
sequence number is given twice. What was lost stays lost; to a read it looks like expired records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s2cli.server.store.interface import MAX_SEQ_NUM
from s2cli.server.store.sqlite import gone, hidden, loss, reader
from s2cli.server.store.sqlite.checksums import COLUMNS, SEALED, columns_complaint, is_whole, seal
from s2cli.server.store.sqlite.chunks import in_transaction
from s2cli.server.store.sqlite.hidden import Kind
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of
from s2cli.server.store.sqlite.resource_rows import escaped
from s2cli.server.store.sqlite.schema import FILE_NAME, open_writer

STREAMS_IN_A_ROW = 1000
# The tables of what has names.
NAMED = {Kind.BASIN: "basin", Kind.STREAM: "stream", Kind.TOKEN: "token", Kind.REPLY: "reply"}


class Repaired(NamedTuple):
    """A stream that resumes at `resumes_at`, and is as it was before `first_lost`. Both are None if the row of the
    stream is damaged: then nothing was changed."""

    basin: str
    stream: str
    first_lost: int | None
    resumes_at: int | None


class Repair(NamedTuple):
    """What came of a repair. `reason`: what was missing (None: nothing). `streams` were changed, or cannot be repaired.
    `found_again` are the places of names that can be found again, `hidden` of those that still cannot."""

    reason: str | None
    streams: list[Repaired]
    found_again: list[str]
    hidden: list[str]


def resume(directory: Path) -> Repair:
    """Repairs the database of a directory. Raises S2Error. After a crash it can be called again, which only leaves out
    more numbers."""
    path = directory / FILE_NAME
    connection = open_writer(directory, durable=True, accepts_copy=True, repairs=True)
    try:
        known = loss.read(path)
        found_again, hidden_still = _find_again(connection)
        repaired: list[Repaired] = []
        for stream_ids in _stream_ids(connection):
            repaired += in_transaction(
                connection,
                lambda connection, stream_ids=stream_ids: [  # type: ignore[misc]
                    found for stream_id in stream_ids if (found := _repair(connection, stream_id, known)) is not None
                ],
            )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        loss.forget(path)
    finally:
        connection.close()
    return Repair(None if known is None else known.reason, repaired, found_again, hidden_still)


def _find_again(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Makes indexes anew where names are hidden that the tables have: those that are found again, and those that still
    are not."""
    before = _hidden(connection)
    for kind, table in NAMED.items():
        is_concerned = before.names[kind] or kind in before.unknown
        # Else the index is all that is known of the names, and stays.
        if is_concerned and kind not in before.rowless and _rows_are_whole(connection, table):
            connection.execute(f"REINDEX {table}")
    after = [place for place, _ in _hidden(connection).problems()]
    return [place for place, _ in before.problems() if place not in after], after


def _hidden(connection: sqlite3.Connection) -> hidden.Hidden:
    slices = hidden.find(connection)
    while True:
        try:
            next(slices)
        except StopIteration as end:
            found: hidden.Hidden = end.value
            return found


def _rows_are_whole(connection: sqlite3.Connection, table: str) -> bool:
    query = f"SELECT count(*) FROM {table} NOT INDEXED WHERE crc IS NOT row_checksum({SEALED[table]})"  # noqa: S608
    try:
        return bool(connection.execute(query).fetchone()[0] == 0)
    except sqlite3.DatabaseError:
        return False


def _stream_ids(connection: sqlite3.Connection) -> Iterator[list[int]]:
    after = -1
    query = "SELECT id FROM stream WHERE id > ? ORDER BY id LIMIT ?"
    while rows := connection.execute(query, (after, STREAMS_IN_A_ROW)).fetchall():
        yield [row[0] for row in rows]
        after = rows[-1][0]


def _repair(connection: sqlite3.Connection, stream_id: int, known: loss.Loss | None) -> Repaired | None:
    crc, *values = connection.execute(
        f"SELECT crc, {SEALED['stream']} FROM stream WHERE id=?",  # noqa: S608
        (stream_id,),
    ).fetchone()
    basin, stream = escaped(values[1]), escaped(values[2])
    if not is_whole(crc, values):
        return Repaired(basin, stream, None, None)
    found = reader.tail(connection, stream_id)
    if found is None or (known is None and found.doubt is None):
        return None
    end_seq_num, timestamp = _end(connection, stream_id)
    records = loss.LEAST_RECORDS if known is None else known.records
    lost_end_seq_num = 0 if known is None else known.ends.get(stream_id, 0)
    resumes_at = min(max(found.next_seq_num, lost_end_seq_num) + records, MAX_SEQ_NUM - 1)
    gone.add(connection, stream_id, end_seq_num, resumes_at)
    connection.execute(
        "UPDATE stream SET next_seq=?, last_ts=CASE WHEN next_seq > ? THEN last_ts ELSE ? END WHERE id=?",
        (resumes_at, end_seq_num, timestamp, stream_id),
    )
    seal(connection, "stream", "id=?", (stream_id,))
    return Repaired(basin, stream, end_seq_num, resumes_at)


def _end(connection: sqlite3.Connection, stream_id: int) -> tuple[int, int]:
    """The end of the last chunk of a stream that is whole, and its last timestamp. Damaged chunks after it are
    deleted."""
    while True:
        last = connection.execute(
            f"SELECT {COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",  # noqa: S608
            (chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0) - 1),
        ).fetchone()
        if last is None:
            return 0, 0
        if columns_complaint(connection, *last) is None:
            return seq_num_of(last[1]) + 1, last[4]
        connection.execute("DELETE FROM chunk WHERE id=?", (last[1],))
