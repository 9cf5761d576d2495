"""Deletes what was trimmed or has expired, and shrinks the file. The writer calls it between two groups of appends, one
step at a time; a step takes a millisecond or two."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

from s2cli.errors import ApiError
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.expiry import expire_slice

# Runs statements in a transaction. Raises ApiError if the disk has no space even for a deletion.
Run = Callable[[Callable[[sqlite3.Connection], bool]], bool]


class Cleaner:
    """Keeps what is to be deleted, and whether the file may have free pages. Only step() changes the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._trims: dict[int, int] = {}  # stream id -> trim point: chunks below it are to be deleted
        self._expired_ms: int | None = None  # what expires until then is to be deleted
        self._vacuuming = True  # there may be free pages

    def trim(self, trim_points: Iterable[tuple[int, int]]) -> None:
        """Note what to delete: for each pair of a stream id and a trim point, the chunks that end at or before that."""
        self._trims.update(trim_points)

    def expire(self, now_ms: int) -> None:
        """Note that what has expired by `now_ms` (since the epoch) is to be deleted."""
        self._expired_ms = now_ms

    def vacuum(self) -> None:
        """Note that the file may have free pages, which `step` is to give back to the file system."""
        self._vacuuming = True

    def stop_vacuuming(self) -> None:
        """Give back no more pages for now: the disk has no room even for that. The next deletion resumes it."""
        self._vacuuming = False

    def drop(self) -> None:
        """Forget what step() tried last, because it cannot be done. The next sweep or start finds it again."""
        if self._trims:
            del self._trims[next(iter(self._trims))]
        elif self._expired_ms is not None:
            self._expired_ms = None
        self._vacuuming = False

    @property
    def _deleting(self) -> bool:
        return bool(self._trims) or self._expired_ms is not None

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return self._vacuuming or self._deleting

    def step(self, run: Run) -> int:
        """Delete one slice, or give some free pages back to the file system. Returns how many pages were given back."""
        deleting = self._deleting
        if self._vacuuming and not (deleting and chunks.free_pages(self._connection) < chunks.MANY_FREE_PAGES):
            pages = chunks.vacuum(self._connection)
            self._vacuuming = pages > 0
            return pages
        if deleting:
            try:
                self._delete_some(run)
            except ApiError:
                # A later round takes it up again.
                self._trims.clear()
                self._expired_ms = None
            self._vacuuming = True
        return 0

    def _delete_some(self, run: Run) -> None:
        if self._trims:
            stream_id, trim_point = next(iter(self._trims.items()))
            if not run(lambda connection: chunks.delete_slice(connection, stream_id, trim_point)):
                del self._trims[stream_id]
            return
        now_ms = self._expired_ms or 0
        if not run(lambda connection: expire_slice(connection, now_ms)):
            self._expired_ms = None
