"""The mark: a small file beside the database that says up to where the write-ahead log was written.

It is written after each commit and before anybody is told of it, so that a log that is missing, cut or of another
database is noticed. It is synced at checkpoints and when the writer is idle: nobody waits for that, and what a power
failure leaves of it says less than it might, never more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import sys
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from s2cli.private_files import open_own, sync_directory

log = logging.getLogger("s2cli.server")

SUFFIX = "-mark"
_MAGIC = b"S2MARK1\n"
# What the log may be: of any salts, since nothing was confirmed yet; the one that is named, or one that follows it; the
# one that is named, or none.
OPENING, OPEN, CLOSED = 0, 1, 2
_BODY = struct.Struct(">8sIIIQ8sII")
_CRC = struct.Struct(">I")
SIZE_BYTES = _BODY.size + _CRC.size

# The head of the index of the log, the file -shm, in the order of bytes of this machine (sqlite.org/walformat.html):
# frames at 16, checksum at 24, salts at 32; and behind two of these heads, how many frames are in the database.
_INDEX_BYTES = 100
_FRAMES_AT, _SUM_AT, _SALTS_AT, _MOVED_AT = 16, 24, 32, 96
_NUMBER, _SUM = struct.Struct("=I"), struct.Struct("=II")


class DamagedMarkError(Exception):
    """The mark is not as it was written."""


class Mark(NamedTuple):
    """`frames` of the log with these salts were written, the last with that checksum, and `moved` of them are in the
    database. `life` counts the starts and ends of servers."""

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
    """The mark of the database with that path; None where there is none. Raises DamagedMarkError."""
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


def _encode(mark: Mark) -> bytes:
    body = _BODY.pack(_MAGIC, mark.state, mark.frames, mark.moved, mark.life, mark.salts, *mark.total)
    return body + _CRC.pack(crc32(body))


def begin(path: Path, life: int) -> None:
    """Everything is in the database with that path, and the log may be anything from now on."""
    descriptor = open_own(f"{path}{SUFFIX}", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(descriptor, _encode(Mark(OPENING, life=life)), 0)
        os.ftruncate(descriptor, SIZE_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


class Marker:
    """Writes the mark of an open database, for which `begin` was called; for the thread that writes."""

    def __init__(self, path: Path, life: int) -> None:
        self._life = life
        self._log_path = Path(f"{path}-wal")
        self._closed = False
        self._named = False  # the mark on the disk names the log, or one that this one follows
        self._failed = False
        self._unsynced = False
        self._file = open_own(f"{path}{SUFFIX}", os.O_RDWR)
        # Closed behind SQLite's own: closing any descriptor of it lets go of the locks of all.
        self._index = open_own(f"{path}-shm", os.O_RDONLY)

    def note(self) -> None:
        """A transaction is durable."""
        mark = self._look(OPEN)
        self._write(mark)
        if not self._named:
            # After a power failure nobody could tell this log from that of another database.
            self._named = True
            self.sync()

    def moved(self) -> None:
        """A checkpoint is done."""
        if self._named:
            self._write(self._look(OPEN))
            self.sync()

    def close_log(self, life: int) -> None:
        """A checkpoint is done, and the log is about to go, if all of it is in the database."""
        mark = self._look(CLOSED)._replace(life=life)
        if not mark.needs_log:
            self._write(mark)
            self.sync()
            self._closed = True

    def _look(self, state: int) -> Mark:
        index = os.pread(self._index, _INDEX_BYTES, 0)
        if len(index) < _INDEX_BYTES:
            return Mark(state, life=self._life)
        (frames,), (moved,) = _NUMBER.unpack_from(index, _FRAMES_AT), _NUMBER.unpack_from(index, _MOVED_AT)
        total = _SUM.unpack_from(index, _SUM_AT)
        return Mark(state, frames, moved, self._life, index[_SALTS_AT : _SALTS_AT + 8], (total[0], total[1]))

    def _write(self, mark: Mark) -> None:
        try:
            os.pwrite(self._file, _encode(mark), 0)
            self._unsynced = True
        except OSError as error:
            self._complain(error)

    def sync(self) -> None:
        """Wait until it is on the disk."""
        if self._unsynced:
            self._unsynced = False
            try:
                os.fsync(self._file) if sys.platform == "darwin" else os.fdatasync(self._file)
            except OSError as error:
                self._complain(error)

    @property
    def is_unsynced(self) -> bool:
        return self._unsynced

    def _complain(self, error: OSError) -> None:
        """An old mark says too little, never anything wrong: the records are as durable as ever."""
        if not self._failed:
            self._failed = True
            log.warning("the mark beside the database cannot be written: %s", error)

    def close(self) -> None:
        """To be called when all connections are closed: the last one deletes a log that is all in the database."""
        if not self._closed and not self._log_path.exists():
            self._write(Mark(OPENING, life=self._life))
            self.sync()
        for descriptor in self._file, self._index:
            with contextlib.suppress(OSError):
                os.close(descriptor)
