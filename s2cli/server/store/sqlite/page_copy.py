"""A copy of the whole database while it is written to, page by page: by the connection that writes, for SQLite then
carries each change over into what was copied before. Any other connection would have to begin again at each write, or
to hold a snapshot that keeps the write-ahead log from being emptied.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from asyncio import Future
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2cli.errors import ApiError, S2Error, describe
from s2cli.private_files import open_own
from s2cli.server.store.interface import CopyProgress
from s2cli.server.store.sqlite import place
from s2cli.server.store.sqlite.schema import PAGE_BYTES

# Between two slices appends go: 1 MiB takes one or two milliseconds.
SLICE_PAGES = 64


class CancelledError(S2Error):
    """Nobody wants the copy any more."""


class PageCopy:
    """A copy that was asked for. `path` is that of the new file; `future` gets the result, on the loop."""

    __slots__ = ("future", "path", "progress")

    def __init__(self, path: Path, progress: CopyProgress, future: Future[Any]) -> None:
        self.path = path
        self.progress = progress
        self.future = future


def copy(connection: sqlite3.Connection, path: Path, progress: CopyProgress, between: Callable[[], None]) -> None:
    """Copies the database into a new file, which is ours alone and not synced yet. `between` is called after each
    slice, and may use the connection. Raises S2Error, or what `between` raises; then there is no file."""

    def on_slice(_: int, left_pages: int, all_pages: int) -> None:
        progress.copied_bytes = (all_pages - left_pages) * PAGE_BYTES
        progress.total_bytes = all_pages * PAGE_BYTES
        if progress.is_cancelled:
            raise CancelledError("the copy was cancelled")
        between()

    try:
        os.close(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except OSError as error:
        raise ApiError("storage", f"cannot write {path}: {describe(error)}") from error
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            # Worth nothing until it is complete.
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
    """Have a copy that is complete begin anywhere. Raises S2Error."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            place.forget(connection)
    except sqlite3.Error as error:
        raise S2Error(f"the copy {path} is no database: {error}") from error
