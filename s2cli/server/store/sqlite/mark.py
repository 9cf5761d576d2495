"""The mark: a small file beside the database that says up to where the write-ahead log was written.

It is written after each commit and before anybody is told of it. So a log that is missing, truncated or of another
database is noticed. It is synced at checkpoints and when the writer is idle, and nobody waits for that: after a power
failure the mark may be older than the log, but never newer.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from s2cli.private_files import open_own, sync_directory

log = logging.getLogger("s2cli.server")

SUFFIX = "-mark"
_MAGIC = b"S2MARK1\n"
# The state says which log there may be. OPENING: any, since nothing was confirmed yet. OPEN: the log with the salts of
# the mark, or a later one. CLOSED: that log, or none.
OPENING, OPEN, CLOSED = 0, 1, 2
_BODY = struct.Struct(">8sIIIQ8sII")
_CRC = struct.Struct(">I")
SIZE_BYTES = _BODY.size + _CRC.size

# The head of the index of the log, the file -shm, in the order of bytes of this machine (sqlite.org/walformat.html):
# frames at 16, checksum at 24, salts at 32; and behind two of these heads, at 96, how many frames are in the database.
_INDEX = struct.Struct("=16xI4xII8s56xI")

# The shortest time between two syncs for which nobody waits: else a stream that gets an append now and then would cost
# two syncs for each.
SYNC_PAUSE_S = 0.25


class DamagedMarkError(Exception):
    """The file has a wrong checksum, size or beginning."""


class Mark(NamedTuple):
    """The log with these `salts` has `frames` frames, the last with the checksum `total`; `moved` of them are in the
    database. `life` counts the starts and ends of servers (life.py)."""

    state: int
    frames: int = 0
    moved: int = 0
    life: int = 0
    salts: bytes = bytes(8)
    total: tuple[int, int] = (0, 0)

    @property
    def needs_log(self) -> bool:
        return self.frames > self.moved


def read(path: Path) -> Mark | None:
    """The mark of the database at `path`; None if there is no mark. Raises DamagedMarkError, OSError."""
    try:
        with open(open_own(f"{path}{SUFFIX}", os.O_RDONLY), "rb") as file:
            data = file.read(SIZE_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) != SIZE_BYTES or _CRC.unpack(data[_BODY.size :])[0] != crc32(data[: _BODY.size]):
        raise DamagedMarkError
    magic, state, frames, moved, life, salts, *total = _BODY.unpack_from(data)
    if magic != _MAGIC:
        raise DamagedMarkError
    return Mark(state, frames, moved, life, salts, (total[0], total[1]))


# As _INDEX has it: frames, both halves of the checksum, salts, and how many frames are in the database.
_Position = tuple[int, int, int, bytes, int]
_NOWHERE: _Position = (0, 0, 0, bytes(8), 0)


def _encode(state: int, life: int, position: _Position = _NOWHERE) -> bytes:
    frames, sum_1, sum_2, salts, moved = position
    body = _BODY.pack(_MAGIC, state, frames, moved, life, salts, sum_1, sum_2)
    return body + _CRC.pack(crc32(body))


def begin(path: Path, life: int) -> None:
    """Writes a mark for a database that has everything, so that any log may be there from now on. Raises OSError."""
    descriptor = open_own(f"{path}{SUFFIX}", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(descriptor, _encode(OPENING, life), 0)
        os.ftruncate(descriptor, SIZE_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


class Marker:
    """Writes the mark of an open database, after begin(). For the writer thread.

    It is read and written through mappings: a system call releases the interpreter's lock, and a busy loop takes half a
    millisecond to give it back."""

    def __init__(self, path: Path, life: int) -> None:
        self._life = life
        self._log_path = Path(f"{path}-wal")
        self._closed = False
        self._named = False  # the mark on the disk names this log or an earlier one
        self._unsynced = False
        self._synced_s = -SYNC_PAUSE_S  # when that was done last, by time.monotonic()
        self._failed = False
        self.log_pages = 0  # that are not in the database, when the mark was last written
        self._file = open_own(f"{path}{SUFFIX}", os.O_RDWR)
        self._page = mmap.mmap(self._file, SIZE_BYTES)
        # To be closed after SQLite has closed it: closing any descriptor of a file releases all locks on it.
        self._index_file = open_own(f"{path}-shm", os.O_RDONLY)
        self._index: mmap.mmap | None = None  # once SQLite has made it

    def note(self) -> None:
        """Notes that a transaction is durable."""
        self._write(OPEN, self._life, self._position())
        if not self._named:
            # Otherwise, after a power failure, this log could not be told from that of another database.
            self._named = True
            self.sync()

    def moved(self) -> None:
        """Notes that a checkpoint is done."""
        if self._named:
            self._write(OPEN, self._life, self._position())
            self.sync()

    def close_log(self, life: int) -> None:
        """Notes, after a checkpoint, that the log is about to be deleted, if all of it is in the database."""
        position = self._position()
        frames, *_, moved = position
        if frames <= moved:
            self._write(CLOSED, life, position)
            self.sync()
            self._closed = True

    def _position(self) -> _Position:
        """Where the log is now. From the mapping, without another object: this is done for each commit."""
        if self._index is None and not self._map_index():
            return _NOWHERE
        position: _Position = _INDEX.unpack_from(self._index)  # type: ignore[arg-type]
        return position

    def _map_index(self) -> bool:
        if os.fstat(self._index_file).st_size < _INDEX.size:
            return False
        try:
            self._index = mmap.mmap(self._index_file, _INDEX.size, prot=mmap.PROT_READ)
        except OSError as error:
            # The transaction is durable all the same: whoever waits for it must be told.
            self._complain(error)
            return False
        return True

    def _write(self, state: int, life: int, position: _Position) -> None:
        self._page[:] = _encode(state, life, position)
        self.log_pages = position[0] - position[-1]
        self._unsynced = True

    def sync(self) -> None:
        """Waits until the mark is on the disk. Logs the first failure, which loses nothing: the records are durable,
        and an old mark is not wrong."""
        if not self._unsynced:
            return
        self._unsynced = False
        self._synced_s = time.monotonic()
        try:
            if sys.platform == "darwin":
                self._page.flush()
                os.fsync(self._file)
            else:
                os.fdatasync(self._file)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            log.warning("the mark beside the database cannot be written: %s", error)

    @property
    def is_unsynced(self) -> bool:
        return self._unsynced

    @property
    def sync_in_s(self) -> float:
        """How long a sync for which nobody asks should wait still; at or below 0 if it need not."""
        return self._synced_s + SYNC_PAUSE_S - time.monotonic()

    def close(self) -> None:
        """To be called when all connections are closed: SQLite then has deleted a log that is all in the database."""
        if not self._closed and not self._log_path.exists():
            self._write(OPENING, self._life, _NOWHERE)
            self.sync()
        self._page.close()
        if self._index is not None:
            self._index.close()
        for descriptor in self._file, self._index_file:
            with contextlib.suppress(OSError):
                os.close(descriptor)
