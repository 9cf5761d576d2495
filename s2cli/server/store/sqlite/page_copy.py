"""Copies the whole database, page by page, while it is written to. The connection that writes makes the copy: then
SQLite applies each change to the pages that were copied before. Any other connection would have to begin again at each
write, or to hold a snapshot, which keeps the write-ahead log from being emptied.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from asyncio import Future
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2cli.errors import ApiError, S2Error, describe
from s2cli.private_files import open_own
from s2cli.server.store.interface import CopyProgress
from s2cli.server.store.sqlite import place
from s2cli.server.store.sqlite.schema import PAGE_BYTES

# Appends are written between two slices. A slice is 256 KiB, and takes about 0.3 ms.
SLICE_PAGES = 16
# So many times as many pages are copied as the database has grown by meanwhile: else a copy beside large appends would
# never end.
LEAD = 2


class CancelledError(S2Error):
    """The copy was cancelled by whoever asked for it."""


class PageCopy:
    """A request for a copy. `path`: of the new file. `future` gets the result, on the loop."""

    __slots__ = ("future", "path", "progress")

    def __init__(self, path: Path, progress: CopyProgress, future: Future[Any]) -> None:
        self.path = path
        self.progress = progress
        self.future = future


def make(connection: sqlite3.Connection, item: PageCopy, between: Callable[[float], None]) -> BaseException | None:
    """Makes the copy that was asked for, as copy() does. Returns why it could not be made, or None. Raises what
    `between` raises, except for CancelledError."""
    failure: BaseException | None = None

    def passing(pause_s: float) -> None:
        nonlocal failure
        try:
            between(pause_s)
        except CancelledError:
            raise
        except BaseException as error:
            failure = error
            raise

    try:
        copy(connection, item.path, item.progress, passing)
    except BaseException as error:  # noqa: BLE001 - whoever asked for it gets it
        if failure is not None:
            raise failure from None
        return error
    return None


def copy(connection: sqlite3.Connection, path: Path, progress: CopyProgress, between: Callable[[float], None]) -> None:
    """Copies the database to a new private file, without a sync. `between` is called between slices, and may use the
    connection. It gets the time in seconds that the slices took since its last call: where others wait, they should
    have as much. Raises S2Error, and what `between` raises; the file is deleted then."""
    known_pages = copied_pages = 0
    begun_s = time.thread_time()  # without the time in which it waits for a processor

    def on_slice(_: int, left_pages: int, all_pages: int) -> None:
        nonlocal known_pages, copied_pages, begun_s
        progress.copied_bytes = (all_pages - left_pages) * PAGE_BYTES
        progress.total_bytes = all_pages * PAGE_BYTES
        if progress.is_cancelled:
            raise CancelledError("the copy was cancelled")
        copied_pages += SLICE_PAGES
        if copied_pages >= LEAD * (all_pages - known_pages) or not known_pages:
            between(time.thread_time() - begun_s)
            begun_s = time.thread_time()
            known_pages, copied_pages = all_pages, 0

    try:
        os.close(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except OSError as error:
        raise ApiError("storage", f"cannot write {path}: {describe(error)}") from error
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            # Fast and unsafe: an incomplete copy is deleted anyway.
            for setting in "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-2048":
                target.execute(f"PRAGMA {setting}").fetchall()
            connection.backup(target, pages=SLICE_PAGES, progress=on_slice, sleep=0.001)
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, sqlite3.Error):
            raise ApiError("storage", f"cannot copy the database to {path}: {error}") from error
        raise


def make_portable(path: Path) -> None:
    """Lets a server start on a complete copy wherever it lies (place.py). Raises S2Error."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            place.forget(connection)
    except sqlite3.Error as error:
        raise S2Error(f"cannot complete {path}: {error}", hint="is the disk full?") from error
