"""The file of `-O`: complete, or as it was before. The records go to a file beside it, which replaces it at the end. A
read that follows has no end, so it writes to the file itself."""

from __future__ import annotations

import os
import stat

from s2cli.errors import S2Error, describe, file_error
from s2cli.private_files import sync_directory

_PARTIAL = ".partial"


class OutputFile:
    """Creates the file with the first write, or in open(). `path` is what was asked for, `place` the file that is
    written.

    With `in_place` they are the same: the file is truncated to `kept_bytes`, and written from there on. A pipe or a
    device is always written in place."""

    __slots__ = ("_fd", "_kept_bytes", "path", "place")

    def __init__(self, path: str, *, in_place: bool, kept_bytes: int = 0) -> None:
        self.path = path
        self._kept_bytes = kept_bytes
        self._fd = -1
        # The target of a link is replaced, not the link.
        self.place = path if in_place or _is_special(path) else os.path.realpath(path) + _PARTIAL

    @property
    def is_partial(self) -> bool:
        return self.place != self.path

    def open(self) -> None:
        """Opens the file, unless it is open. Raises S2Error, or UsageError if its path is at fault."""
        if self._fd >= 0:
            return
        try:
            self._fd = os.open(self.place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                self._claim()
        except OSError as error:
            raise file_error(f"cannot write to {self.place}", error) from error

    def _claim(self) -> None:
        """Locks the file and truncates it. Raises S2Error if another read is writing to it, and leaves it as it is."""
        import fcntl

        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise S2Error(f"another read is writing to {self.place}") from None
        except OSError:
            pass  # a file system without locks
        os.ftruncate(self._fd, self._kept_bytes)
        os.lseek(self._fd, self._kept_bytes, os.SEEK_SET)
        if self.is_partial:
            try:
                os.fchmod(self._fd, stat.S_IMODE(os.stat(self.path).st_mode))
            except FileNotFoundError:
                return

    def write(self, data: bytes) -> None:
        """Writes all of `data`. Raises S2Error."""
        self.open()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise S2Error(f"cannot write to {self.place}: {describe(error)}") from error

    def sync(self) -> int:
        """Waits until what was written is on the disk. Returns the length of the file. Raises S2Error."""
        self.open()
        try:
            os.fsync(self._fd)
            return os.fstat(self._fd).st_size
        except OSError as error:
            raise S2Error(f"cannot write to {self.place}: {describe(error)}") from error

    def complete(self) -> None:
        """To be called when all is written: gives the file its name. Whatever a power failure leaves then is all of the
        file, or what was there before. Raises S2Error."""
        self.open()
        if not self.is_partial:
            return
        self.sync()
        path = os.path.realpath(self.path)
        try:
            os.rename(self.place, path)
        except OSError as error:
            raise S2Error(f"cannot rename {self.place} to {self.path}: {describe(error)}") from error
        try:
            sync_directory(os.path.dirname(path))
        except PermissionError:
            return  # it may be written to but not opened
        except OSError as error:
            raise S2Error(f"cannot sync the directory of {self.path}: {describe(error)}") from error


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
