"""The write-ahead log as the writer uses it: how much is in it, when it is copied into the database, and what is
written before that to the rows of streams and to the mark."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from s2cli.server.store.interface import Append
from s2cli.server.store.sqlite import chunks, life
from s2cli.server.store.sqlite.creations import creates_any
from s2cli.server.store.sqlite.disk import Room, is_full, is_of_the_disk
from s2cli.server.store.sqlite.mark import Marker
from s2cli.server.store.sqlite.reader import Gate
from s2cli.server.store.sqlite.schema import PAGE_BYTES

# A checkpoint of 4 MiB takes 2.5 ms. It copies a page once that is in the log many times, as the last page of a
# stream does that grows by small appends.
CHECKPOINT_BYTES = 4 * 1024 * 1024
IDLE_CHECKPOINT_BYTES = 2 * 1024 * 1024
# So many bytes more may be in the log for each stream that has grown, up to a bound: a sync takes longer for as long as
# the file grows, a start reads it, and it should stay in the page cache.
LOG_BYTES_A_STREAM = 256 * 1024
MOST_LOG_BYTES = 16 * 1024 * 1024
# About what operations write into the log together, and how much of that is not in it yet.
OPERATION_PAGES = 16
OPERATION_NEW_PAGES = 4
# What is written with nearly every transaction, and the same each time: the pages above the last ones, and of indexes.
COMMON_PAGES = 2


class WriteLog:
    """For the writer thread. `marker` is None for a store in memory, which has no log to lose."""

    def __init__(self, connection: sqlite3.Connection, gate: Gate, room: Room, marker: Marker | None) -> None:
        self._connection = connection
        self._gate = gate
        self._room = room
        self._marker = marker
        # Estimates of what is in the log but not yet in the database, and of what a checkpoint would copy of it.
        self._log_bytes = 0
        self._copy_bytes = 0
        # Streams whose rows do not have their tails yet, and where they end; None has to be looked up.
        self._ends: chunks.Ends = {}

    @property
    def is_large(self) -> bool:
        """Whether it is time for a checkpoint."""
        most_bytes = min(CHECKPOINT_BYTES + len(self._ends) * LOG_BYTES_A_STREAM, MOST_LOG_BYTES)
        copy_bytes = self._copy_bytes + (len(self._ends) + COMMON_PAGES) * PAGE_BYTES
        return self._log_bytes >= most_bytes or copy_bytes >= CHECKPOINT_BYTES

    @property
    def is_worth_a_pause(self) -> bool:
        """Whether it is time for a checkpoint if there is nothing else to do."""
        return self._log_bytes >= IDLE_CHECKPOINT_BYTES

    @property
    def is_unsynced(self) -> bool:
        """Whether the mark was written since its last sync."""
        return self._marker is not None and self._marker.is_unsynced

    @property
    def sync_in_s(self) -> float:
        """How long an idle writer should leave the mark unsynced still; at or below 0 if it need not."""
        return 0.0 if self._marker is None else self._marker.sync_in_s

    def grow(self, log_bytes: int, copy_bytes: int) -> None:
        """Counts what is about to be written: about so many bytes, and so many of them into pages that the log does not
        have yet."""
        self._log_bytes += log_bytes
        self._copy_bytes += copy_bytes

    def grow_by_operations(self) -> None:
        """Counts operations that are about to be made together, or the creations of a group."""
        self.grow(OPERATION_PAGES * PAGE_BYTES, OPERATION_NEW_PAGES * PAGE_BYTES)

    def note_grown(self, stream_ids: Iterable[int]) -> None:
        """Notes that the rows of these streams do not have their tails."""
        for stream_id in stream_ids:
            self._ends.setdefault(stream_id)

    def forget_end(self, stream_id: int) -> None:
        """Notes that the stream with this number may be another one by now: where it ends is looked up."""
        if stream_id in self._ends:
            self._ends[stream_id] = None

    def due_tails(self, group: list[Append], size_bytes: int) -> chunks.Ends | None:
        """Counts a group of so many bytes that is about to be written. Returns the ends of other streams, which must be
        written with it together with those of its own, if a checkpoint follows; else None."""
        # The last page of each stream is written as a whole; `_ends` counts those that the log does not have yet. New
        # streams lie side by side.
        last_pages = len({append.lane for append in group if append.creates is None})
        if creates_any(group):
            self.grow_by_operations()
        self.grow(size_bytes + (last_pages + COMMON_PAGES) * PAGE_BYTES, size_bytes)
        return self._ends if self.is_large else None

    def note_ends(self, group: list[Append], *, with_tails: bool) -> None:
        """Notes where the streams of a group end that is durable, and whether tails were in it."""
        if with_tails:
            self._ends.clear()
        else:
            self._ends.update(chunks.ends_of(group))

    def changed(self, group: list[Append]) -> None:
        """Notes that a group is durable. To be called before anybody is told."""
        if self._marker is not None:
            self._marker.note()
            if creates_any(group):
                self._look_at_size(self._marker)

    def operated(self) -> None:
        """As changed(), for a transaction of operations."""
        if self._marker is not None:
            self._marker.note()
            self._look_at_size(self._marker)

    def _look_at_size(self, marker: Marker) -> None:
        """How much a creation writes depends on its name."""
        self._log_bytes = max(self._log_bytes, marker.log_pages * PAGE_BYTES)

    def sync_mark(self) -> None:
        if self._marker is not None:
            self._marker.sync()

    def _write_tails(self) -> None:
        """Writes the tails that no group has written. Mostly there are none: see due_tails()."""
        if self._ends:
            chunks.in_transaction(self._connection, lambda connection: chunks.note_tails(connection, self._ends))
            self._ends.clear()

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
        self._log_bytes = self._copy_bytes = max(0, log_pages - moved_pages) * PAGE_BYTES
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
