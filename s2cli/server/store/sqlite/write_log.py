"""The write-ahead log as the writer uses it: how much is in it, when it is copied into the database, and what is
written before that to the rows of streams and to the mark."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from s2cli.server.store.interface import Append
from s2cli.server.store.sqlite import chunks, life
from s2cli.server.store.sqlite.disk import Room, is_full, is_of_the_disk
from s2cli.server.store.sqlite.mark import Marker
from s2cli.server.store.sqlite.reader import Gate
from s2cli.server.store.sqlite.schema import PAGE_BYTES

# A checkpoint of 4 MiB takes 2.5 ms, and the log stays in the page cache.
CHECKPOINT_BYTES = 4 * 1024 * 1024
IDLE_CHECKPOINT_BYTES = 2 * 1024 * 1024


class WriteLog:
    """For the writer thread. `marker` is None for a store in memory, which has no log to lose."""

    def __init__(self, connection: sqlite3.Connection, gate: Gate, room: Room, marker: Marker | None) -> None:
        self._connection = connection
        self._gate = gate
        self._room = room
        self._marker = marker
        self._size_bytes = 0  # estimate of what is in the log but not yet in the database
        self._grown: set[int] = set()  # streams whose rows do not have their tails yet

    @property
    def is_large(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._size_bytes >= CHECKPOINT_BYTES

    @property
    def is_worth_a_pause(self) -> bool:
        """Whether it is time for a checkpoint if there is nothing else to do."""
        return self._size_bytes >= IDLE_CHECKPOINT_BYTES

    @property
    def is_unsynced(self) -> bool:
        """Whether the mark was written since its last sync."""
        return self._marker is not None and self._marker.is_unsynced

    def grow(self, size_bytes: int, stream_ids: Collection[int] = ()) -> None:
        """Counts what is about to be written: about so many bytes, to these streams."""
        self._size_bytes += size_bytes
        self._grown.update(stream_ids)

    def due_tails(self, group: list[Append], size_bytes: int) -> Collection[int]:
        """Counts a group of so many bytes that is about to be written. Returns the streams whose tails must be written
        with it: all that have grown if a checkpoint follows, else none."""
        stream_ids = {append.lane.stream_id for append in group}
        # The last page of each stream is written as a whole, and the pages above it in the tree.
        self.grow(size_bytes + (len(stream_ids) + 2) * PAGE_BYTES, stream_ids)
        return self._grown if self.is_large else ()

    def committed(self, tails: Collection[int] = ()) -> None:
        """Notes that a transaction is durable, and whether `tails` were in it. To be called before anybody is told."""
        if self._marker is not None:
            self._marker.note()
        if tails:
            self._grown.clear()

    def sync_mark(self) -> None:
        if self._marker is not None:
            self._marker.sync()

    def _write_tails(self) -> None:
        """Writes the tails that no group has written. Mostly there are none: see due_tails()."""
        if self._grown:
            chunks.in_transaction(self._connection, lambda connection: chunks.note_tails(connection, self._grown))
            self._grown.clear()

    def checkpoint(self) -> None:
        try:
            self._write_tails()
        except sqlite3.Error as error:
            if is_of_the_disk(error):
                raise
        with self._gate.checkpoint():
            try:
                _, log_pages, moved_pages = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                self._room.lack()
                return
        self._size_bytes = max(0, log_pages - moved_pages) * PAGE_BYTES
        if self._marker is not None:
            self._marker.moved()

    def close(self) -> None:
        """Copies the log into the database, says so in the mark, and empties it. To be called when nobody reads."""
        self._write_tails()
        if self._marker is not None:
            number = chunks.in_transaction(self._connection, life.begin_next)
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._marker.close_log(number)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
