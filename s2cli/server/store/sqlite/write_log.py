"""The write-ahead log as the writer sees it: how much is in it, when it is copied into the database, and what is
written down before that, and beside it."""

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
    """For the thread that writes. `marker` None: there is no mark, and nothing that could be lost."""

    def __init__(self, connection: sqlite3.Connection, gate: Gate, room: Room, marker: Marker | None) -> None:
        self._connection = connection
        self._gate = gate
        self._room = room
        self._marker = marker
        self._size_bytes = 0  # about what is in the log and not yet in the database
        self._grown: set[int] = set()  # streams whose rows do not say yet where they end

    @property
    def is_large(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._size_bytes >= CHECKPOINT_BYTES

    @property
    def is_worth_a_pause(self) -> bool:
        """The same while there is nothing else to do."""
        return self._size_bytes >= IDLE_CHECKPOINT_BYTES

    @property
    def is_unsynced(self) -> bool:
        """Whether the mark is to be synced when there is time."""
        return self._marker is not None and self._marker.is_unsynced

    def grow(self, size_bytes: int, stream_ids: Collection[int] = ()) -> None:
        """So much is about to be written, of these streams."""
        self._size_bytes += size_bytes
        self._grown.update(stream_ids)

    def due_tails(self, group: list[Append], size_bytes: int) -> Collection[int]:
        """A group of so many bytes is about to be written: the streams whose tails are to be written with it, since a
        checkpoint follows."""
        stream_ids = {append.lane.stream_id for append in group}
        # The last page of each stream is written whole, and those above.
        self.grow(size_bytes + (len(stream_ids) + 2) * PAGE_BYTES, stream_ids)
        return self._grown if self.is_large else ()

    def committed(self, tails: Collection[int] = ()) -> None:
        """A transaction is durable, with these tails in it; to be called before anybody is told."""
        if self._marker is not None:
            self._marker.note()
        if tails:
            self._grown.clear()

    def sync_mark(self) -> None:
        if self._marker is not None:
            self._marker.sync()

    def _write_tails(self) -> None:
        """Mostly the group that makes the log large enough has done it."""
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
        """Empties the log, when all of it is in the database and the mark says so. To be called without readers."""
        self._write_tails()
        if self._marker is not None:
            number = chunks.in_transaction(self._connection, life.begin_next)
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._marker.close_log(number)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
