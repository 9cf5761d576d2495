"""A file of no use but its size: let go of when the disk is full, so that deletion, which writes first, can go on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from s2cli.private_files import open_own

BALLAST_BYTES = 8 * 1024 * 1024
_BLOCK = bytes(1024 * 1024)


class Ballast:
    """A `size_bytes` of 0 is no ballast at all. While it is not `aboard`, nothing but deletion may write: else whoever
    fills the disk would take the room that was made for it, and nothing could ever be deleted again."""

    def __init__(self, directory: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._directory = directory
        self._path = directory / "ballast"
        self._size_bytes = size_bytes
        self.aboard = not size_bytes or self._is_whole()

    @property
    def needed_bytes(self) -> int:
        """So much must be free for it to come aboard: itself, and as much again for what is written then."""
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
        """Whether there was any."""
        self.aboard = not self._size_bytes
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Takes it aboard again, if it is gone and there is room for twice as much. Whether it is aboard."""
        if not self.aboard:
            try:
                disk = os.statvfs(self._directory)
                if disk.f_bavail * disk.f_frsize >= self.needed_bytes:
                    # Whatever is in its place goes, and is not written to.
                    with contextlib.suppress(FileNotFoundError):
                        self._path.unlink()
                    with open(open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                        file.writelines(_BLOCK for _ in range(0, self._size_bytes, len(_BLOCK)))
                    self.aboard = True
            except OSError:
                with contextlib.suppress(OSError):
                    self._path.unlink()
        return self.aboard
