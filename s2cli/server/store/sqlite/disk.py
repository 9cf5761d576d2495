"""The disk: which errors are its own, how much space there is, which error says that there is too little, and the
ballast.

An error is one of four kinds: of the disk, after which nothing more is written; no space; another program has locked
the database for a moment; or of one write alone. The ballast is a file that only takes up space: it is deleted when the
disk is full, so that deletion, which must write first, is still possible.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import time
from pathlib import Path

from s2cli.errors import ApiError
from s2cli.private_files import open_own
from s2cli.server.store.sqlite.schema import PAGE_BYTES

log = logging.getLogger("s2cli.server")

MIB = 1024 * 1024
# A write goes into the write-ahead log first, which may have so much in it, and from there into the database.
LEAST_BYTES = 4 * MIB
# So often it is looked for while there is too little.
LOOK_S = 1.0
# And so often the log says so: on the edge it may change with every append.
TELL_S = 10.0
# What is wrong with single writes is logged no more often.
COMPLAINT_S = 1.0
BALLAST_BYTES = 8 * MIB
_BLOCK = bytes(MIB)

_OF_THE_DISK = frozenset(
    (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    + (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
)
_OF_THE_MOMENT = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


def is_full(error: BaseException | None) -> bool:
    """Whether the error, of SQLite or of a file, says that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _code(error) == sqlite3.SQLITE_FULL


def is_of_the_disk(error: BaseException) -> bool:
    """Whether what is on the disk can no longer be relied on. Everything else, a value that cannot be stored or a
    programming error, has changed nothing beyond its own transaction, which was rolled back."""
    return _code(error) in _OF_THE_DISK


def is_of_the_moment(error: BaseException) -> bool:
    """Whether another program has locked the database: it has nothing to do with what was to be written or read, and
    waiting helps."""
    return _code(error) in _OF_THE_MOMENT


class Complaints:
    """Logs what is wrong with single writes, but no more than one a second."""

    def __init__(self) -> None:
        self._silent_until_s = 0.0

    def log(self, what: str, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + COMPLAINT_S
            log.error("%s", what, exc_info=error)


def not_written(error: BaseException) -> ApiError:
    """The answer to a write that failed with an error that is not the disk's."""
    if isinstance(error, ApiError):
        return error
    if is_of_the_moment(error):
        return _locked(error)
    return ApiError("other", f"a value cannot be stored: {type(error).__name__}: {error}", without_effect=True)


def not_read(error: sqlite3.Error) -> ApiError:
    """The answer to a read that failed."""
    if is_of_the_moment(error):
        return _locked(error)
    return ApiError("storage", f"the database cannot be read: {error}")


def _locked(error: BaseException) -> ApiError:
    return ApiError("unavailable", f"another program has locked the database: {error}", without_effect=True)


def _code(error: BaseException | None) -> int:
    # The extended codes have the primary one in the last byte. Errors of the module itself have none.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


class Room:
    """The ballast, and what is said while the disk is full. For the writer's thread; `shortage` is for all to read."""

    def __init__(self, connection: sqlite3.Connection, directory: Path, ballast: Ballast) -> None:
        self.shortage: str | None = None  # why nothing is written for now, and what helps
        self._connection = connection
        self._directory = directory
        self._ballast = ballast
        self._needed_bytes = 0
        self._told = False  # in the log
        self._silent_until_s = 0.0
        if not self.may_grow():
            self.lack()

    def may_grow(self) -> bool:
        """Whether anything but deletion may be written: not while the ballast is gone."""
        return self._ballast.is_present or self._ballast.restore()

    def make(self) -> bool:
        """Delete the ballast, so that deletion has room. Returns False if there was none."""
        return self._ballast.release()

    def restore(self) -> None:
        """Write the ballast again if there is room for it."""
        self._ballast.restore()

    def lack(self, size_bytes: int = 0) -> None:
        """A write of about that size found no room."""
        self._needed_bytes = LEAST_BYTES + 2 * size_bytes
        if not self._ballast.is_present:
            self._needed_bytes = max(self._needed_bytes, self._ballast.needed_bytes)
        needed, free = _mib(self._needed_bytes), _mib(self._free_bytes())
        shortage = (
            f"the disk is full: {needed} must be free in {self._directory}, {free} are: trim or delete streams, "
            "or make room"
        )
        self.shortage = shortage
        now_s = time.monotonic()
        if not self._told and now_s >= self._silent_until_s:
            log.warning("no appends: %s", shortage)
            self._told = True
            self._silent_until_s = now_s + TELL_S

    def found(self) -> None:
        """A write found room. What was written without the ballast tells nothing of others."""
        if self.shortage is None:
            return
        if not self._ballast.is_present:
            self.lack()
            return
        self.shortage = None
        if self._told:
            log.warning("appends again: there is room in %s", self._directory)
            self._told = False

    def check(self) -> bool:
        """Whether there is room again, after there was too little."""
        if self.may_grow() and self._free_bytes() >= self._needed_bytes:
            self.found()
            return True
        self.lack(max(0, self._needed_bytes - LEAST_BYTES) // 2)
        return False

    def _free_bytes(self) -> int:
        """On the disk, and within the bound that the database may have; 0 where that cannot be told."""
        try:
            disk = os.statvfs(self._directory)
            pages = [
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("max_page_count", "page_count", "freelist_count")
            ]
        except (OSError, sqlite3.Error):
            return 0
        free_pages: int = pages[0] - pages[1] + pages[2]
        return min(disk.f_bavail * disk.f_frsize, free_pages * PAGE_BYTES)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB"


class Ballast:
    """A file that only takes up space. While it is not `is_present`, nothing but deletion may write: otherwise appends
    would take the room that was made for deletion, and nothing could ever be deleted again. With a `size_bytes` of 0
    there is no file, and it always counts as present."""

    def __init__(self, directory: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._directory = directory
        self._path = directory / "ballast"
        self._size_bytes = size_bytes
        self.is_present = not size_bytes or self._is_whole()

    @property
    def needed_bytes(self) -> int:
        """How much must be free before it is written again: its own size, and as much for what is written after it."""
        return 2 * self._size_bytes

    def _is_whole(self) -> bool:
        try:
            descriptor = open_own(self._path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return os.fstat(descriptor).st_size >= self._size_bytes
        finally:
            os.close(descriptor)

    def release(self) -> bool:
        """Delete the file. Returns False if there was none."""
        self.is_present = not self._size_bytes
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Write the file again, if it is gone and twice its size is free. Returns True if it is present now."""
        if not self.is_present:
            try:
                disk = os.statvfs(self._directory)
                if disk.f_bavail * disk.f_frsize >= self.needed_bytes:
                    # Whatever is in its place goes, and is not written to.
                    with contextlib.suppress(FileNotFoundError):
                        self._path.unlink()
                    with open(open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                        file.writelines(_BLOCK for _ in range(0, self._size_bytes, len(_BLOCK)))
                    self.is_present = True
            except OSError:
                with contextlib.suppress(OSError):
                    self._path.unlink()
        return self.is_present
