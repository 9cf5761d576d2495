"""Streams that are created by their first append: the row and the records are written in one transaction, together with
all else that waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from operator import attrgetter

from s2cli.server.store.interface import Append, StreamRow
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.keys import chunk_id
from s2cli.server.store.sqlite.resource_rows import Beginning
from s2cli.server.store.sqlite.schema import to_signed

# Inserts the rows, and gives them ids; returns for each the row that has its name already, or None.
InsertStreams = Callable[[sqlite3.Connection, list[StreamRow], list[Beginning]], list[StreamRow | None]]

_CREATES = attrgetter("creates")


def creates_any(group: Sequence[Append]) -> bool:
    """Whether one of them creates its stream."""
    return any(map(_CREATES, group))


def insert(
    connection: sqlite3.Connection, group: list[Append], tails: chunks.Ends | None, insert_streams: InsertStreams
) -> None:
    """As chunks.insert(), for a group in which some appends may create their streams."""
    if not creates_any(group):
        chunks.insert(connection, group, tails)
        return

    def run(connection: sqlite3.Connection) -> None:
        creating = [(append, append.creates) for append in group if append.creates is not None]
        rows = [row for _, row in creating]
        present = insert_streams(connection, rows, [_beginning(append) for append, _ in creating])
        runs = []
        for (append, row), other in zip(creating, present, strict=True):
            if other is not None:
                row.id = 0
            append.lane.stream_id = row.id
            if row.id and append.keep_ms is not None:
                runs.append((chunk_id(row.id, append.chunk.end_seq_num - 1), append.keep_ms, append.expires_at_ms))
        chunks.insert_rows(connection, [append for append in group if append.lane.stream_id], tails)
        chunks.begin_runs(connection, runs)

    chunks.in_transaction(connection, run)


def _beginning(append: Append) -> Beginning:
    return Beginning(append.chunk.end_seq_num, to_signed(append.chunk.last_timestamp), append.keep_ms)
