"""The input of an append that follows a growing file, as `tail -F` does: through rotation and truncation."""

from __future__ import annotations

import os
import threading
import time

from s2cli.client.input_files import INPUT_BYTES, InputFiles
from s2cli.errors import S2Error, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.wire.append_input import Records

    # Device and inode of the file that has the name now (None: there is none), and the size of the open file
    Sight = tuple[tuple[int, int] | None, int]

LOOK_S = 0.1  # between two looks at a file that has nothing new


class FollowedFile(InputFiles):
    """`fd` is readable when the file has grown, was truncated, or was replaced by another one of its name. The input
    never ends by itself. `notice` tells a person that the file was replaced or truncated."""

    __slots__ = ("_file_fd", "_notice", "_offset", "_seen", "_wake_fd", "_watch_for")

    def __init__(self, name: str, notice: Callable[[str], None]) -> None:
        super().__init__((name,))
        if not os.path.isfile(name):
            raise UsageError(f"--follow-file: {name} is not a regular file")
        self._file_fd = self.fd
        self._notice = notice
        self._offset = 0
        self._seen: Sight = self._look()
        self._watch_for = threading.Event()
        self.fd, self._wake_fd = os.pipe()
        os.write(self._wake_fd, b"!")
        threading.Thread(target=self._watch_file, daemon=True).start()

    def read(self) -> list[Records]:
        os.read(self.fd, 1)
        self._seen = self._look()
        batches: list[Records] | None
        try:
            data = os.read(self._file_fd, INPUT_BYTES)
            self._offset += len(data)
            batches = self.source.feed(data) if data else self._at_end()
        except OSError as error:
            self.source.error = S2Error(f"cannot read {self.name}: {describe(error)}")
            self.ended = True
            return []
        if batches is not None:
            os.write(self._wake_fd, b"!")  # there may be more
            return batches
        self._watch_for.set()
        return []

    def _at_end(self) -> list[Records] | None:
        """At the end of the file: None if there is nothing else to read yet. If the file was replaced or truncated, a
        last line without a newline counts as a line."""
        there, _ = self._seen
        ours = os.fstat(self._file_fd)
        if there is not None and there != (ours.st_dev, ours.st_ino):
            fd = os.open(self.names[0], os.O_RDONLY | os.O_CLOEXEC)
            batches = self.source.finish()
            os.dup2(fd, self._file_fd, inheritable=False)
            os.close(fd)
            self._offset = 0
            self._notice(f"{self.name} was replaced: continuing at the start of the new one")
            return batches
        if ours.st_size < self._offset:
            batches = self.source.finish()
            os.lseek(self._file_fd, 0, os.SEEK_SET)
            self._offset = 0
            self._notice(f"{self.name} was truncated: continuing at its start")
            return batches
        return None

    def _look(self) -> Sight:
        try:
            facts = os.stat(self.names[0])
            there = facts.st_dev, facts.st_ino
        except OSError:
            there = None  # moved away, and not replaced yet
        return there, os.fstat(self._file_fd).st_size

    def _watch_file(self) -> None:
        """In a thread of its own: whenever the reader has found nothing, polls the file until it changes."""
        while True:
            self._watch_for.wait()
            self._watch_for.clear()
            while self._look() == self._seen:
                time.sleep(LOOK_S)
            os.write(self._wake_fd, b"!")
