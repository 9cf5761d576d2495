"""The file of `-O`: complete, or as it was before. What is read goes into a file beside it, which takes its place at
the end; a read that follows has no end, so it writes to the file itself."""

from __future__ import annotations

import os
import stat

from s2cli.errors import S2Error, describe, file_error

_PARTIAL = ".partial"


class OutputFile:
    """Is made with the first bytes, or by open(). `path` is what was asked for, `place` the file that is written.

    `in_place` writes to the file itself, from `kept_bytes` on; what was behind them is cut off. So does whatever is not
    a regular file: a pipe, a device."""

    __slots__ = ("_fd", "_kept_bytes", "path", "place")

    def __init__(self, path: str, *, in_place: bool, kept_bytes: int = 0) -> None:
        self.path = path
        self._kept_bytes = kept_bytes
        self._fd = -1
        # Where a link leads is replaced, not the link.
        self.place = path if in_place or _is_special(path) else os.path.realpath(path) + _PARTIAL

    @property
    def is_partial(self) -> bool:
        return self.place != self.path

    def open(self) -> None:
        """Raises S2Error."""
        if self._fd >= 0:
            return
        try:
            self._fd = os.open(self.place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                self._claim()
        except OSError as error:
            raise file_error(f"cannot write to {self.place}", error) from error

    def _claim(self) -> None:
        """Empties the file, as far as it is to be; one that another read is writing stays as it is."""
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
        """All of it. Raises S2Error."""
        self.open()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise S2Error(f"cannot write to {self.place}: {describe(error)}") from error

    def sync(self) -> int:
        """Waits until what was written is on the disk; how long the file is. Raises S2Error."""
        self.open()
        try:
            os.fsync(self._fd)
            return os.fstat(self._fd).st_size
        except OSError as error:
            raise S2Error(f"cannot write to {self.place}: {describe(error)}") from error

    def complete(self) -> None:
        """The file has all that it is to have: it takes its name. Raises S2Error."""
        self.open()
        if not self.is_partial:
            return
        try:
            os.rename(self.place, os.path.realpath(self.path))
        except OSError as error:
            raise S2Error(f"cannot rename {self.place} to {self.path}: {describe(error)}") from error


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
