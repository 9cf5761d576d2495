"""Room on the disk: how much there is, how much is needed, and when there is enough of it again."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path

from s2cli.server.store.sqlite.ballast import Ballast
from s2cli.server.store.sqlite.schema import PAGE_BYTES

log = logging.getLogger("s2cli.server")

MIB = 1024 * 1024
# A write goes into the write-ahead log first, which may have so much in it, and from there into the database.
LEAST_BYTES = 4 * MIB
# So often it is looked for while there is too little.
LOOK_S = 1.0
# And so often the log says so: on the edge it may change with every append.
TELL_S = 10.0


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
        return self._ballast.aboard or self._ballast.restore()

    def make(self) -> bool:
        """Let go of the ballast, so that deletion can go on; whether there was any."""
        return self._ballast.release()

    def restore(self) -> None:
        """Take the ballast aboard if that is possible."""
        self._ballast.restore()

    def lack(self, size_bytes: int = 0) -> None:
        """A write of about that size found no room."""
        self._needed_bytes = LEAST_BYTES + 2 * size_bytes
        if not self._ballast.aboard:
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
        if not self._ballast.aboard:
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
