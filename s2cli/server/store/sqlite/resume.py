"""Makes a database usable again after a loss: each stream whose end is in doubt resumes far after it, so that no
sequence number is given twice. What was lost stays lost; to a read it looks like expired records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s2cli.server.store.interface import MAX_SEQ_NUM
from s2cli.server.store.sqlite import gone, loss, reader
from s2cli.server.store.sqlite.checksums import COLUMNS, SEALED, columns_complaint, is_whole, seal
from s2cli.server.store.sqlite.chunks import in_transaction
from s2cli.server.store.sqlite.resource_rows import escaped
from s2cli.server.store.sqlite.schema import FILE_NAME, chunk_id, open_writer, seq_num_of

STREAMS_IN_A_ROW = 1000


class Repaired(NamedTuple):
    """A stream that resumes at `resumes_at`, and is as it was before `first_lost`. Both are None if the row of the
    stream is damaged: then nothing was changed."""

    basin: str
    stream: str
    first_lost: int | None
    resumes_at: int | None


def resume(directory: Path) -> tuple[str | None, list[Repaired]]:
    """Repairs the database of a directory. Returns what was missing (None: nothing), and the streams that were changed
    or cannot be repaired. Raises S2Error. After a crash it can be called again, which only leaves out more numbers."""
    path = directory / FILE_NAME
    connection = open_writer(directory, durable=True, accepts_copy=True, repairs=True)
    try:
        known = loss.read(path)
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
    return None if known is None else known.reason, repaired


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
    resumes_at = min(found.next_seq_num + records, MAX_SEQ_NUM - 1)
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
