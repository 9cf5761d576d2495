"""A file of no use but its size: let go of when the disk is full, so that deletion, which writes first, can go on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BALLAST_BYTES = 8 * 1024 * 1024
_BLOCK = bytes(1024 * 1024)


class Ballast:
    """A `size_bytes` of 0 is no ballast at all."""

    def __init__(self, directory: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._directory = directory
        self._path = directory / "ballast"
        self._size_bytes = size_bytes

    def release(self) -> bool:
        """Whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> None:
        """Take it aboard again, if it is gone and there is room for several of it."""
        try:
            if self._path.exists():
                return
            disk = os.statvfs(self._directory)
            if disk.f_bavail * disk.f_frsize < 4 * self._size_bytes:
                return
            with open(self._path, "wb") as file:
                file.writelines(_BLOCK for _ in range(0, self._size_bytes, len(_BLOCK)))
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
