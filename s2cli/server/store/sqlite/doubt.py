"""Which streams end where they should not, and which do not say in their rows where they end?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from s2cli.server.store.interface import MAX_STREAMS
from s2cli.server.store.sqlite import gone, reader
from s2cli.server.store.sqlite.keys import seq_num_of
from s2cli.server.store.sqlite.resource_rows import escaped

# In one look, some milliseconds.
STREAMS_IN_A_ROW = 1000


class Doubt(NamedTuple):
    """A stream whose records from `first` up to, and without, `end` are missing or damaged."""

    place: str
    first: int
    end: int
    problem: str


def find(
    connection: sqlite3.Connection, lost_ends: Mapping[int, int], note_tails: Callable[[set[int]], None]
) -> reader.Slices[list[Doubt]]:
    """Looks at the ends of all streams. `lost_ends`: stream id -> where the stream ended, by a part of the log that is
    lost. `note_tails` is called with the ids of streams whose rows do not say yet where they end, as after a crash."""
    doubts = [*beyond(connection, lost_ends)]
    after_id = 0
    while True:
        rows = connection.execute(
            "SELECT id, next_seq, (SELECT max(c.id) FROM chunk c WHERE c.id BETWEEN stream.id << 40"
            " AND (stream.id + 1 << 40) - 1) FROM stream WHERE id > ? ORDER BY id LIMIT ?",
            (after_id, STREAMS_IN_A_ROW),
        ).fetchall()
        grown: set[int] = set()
        for stream_id, next_seq_num, last_id in rows:
            end_seq_num = 0 if last_id is None else seq_num_of(last_id) + 1
            if end_seq_num > next_seq_num:
                grown.add(stream_id)
            elif end_seq_num < next_seq_num:
                gap = gone.unexplained(connection, stream_id, end_seq_num, next_seq_num)
                if gap is not None:
                    doubts.append(Doubt(_place(connection, stream_id), *gap, "its last records are missing"))
        if grown:
            note_tails(grown)
        if len(rows) < STREAMS_IN_A_ROW:
            return doubts
        after_id = rows[-1][0]
        yield


def beyond(connection: sqlite3.Connection, lost_ends: Mapping[int, int]) -> Iterator[Doubt]:
    """The streams that do not reach as far as the lost part says."""
    for stream_id, lost_end_seq_num in lost_ends.items():
        if not 0 < stream_id < MAX_STREAMS:
            continue  # of a damaged page
        tail = reader.tail(connection, stream_id)
        if tail is None:
            yield Doubt(f"stream number {stream_id}", 0, lost_end_seq_num, "its creation is lost")
        elif tail.next_seq_num < lost_end_seq_num:
            problem = "its last records are lost, as far as the write-ahead log can still be read"
            yield Doubt(_place(connection, stream_id), tail.next_seq_num, lost_end_seq_num, problem)


def _place(connection: sqlite3.Connection, stream_id: int) -> str:
    basin, name = connection.execute("SELECT basin, name FROM stream WHERE id=?", (stream_id,)).fetchone()
    return f"s2://{escaped(basin)}/{escaped(name)}"
