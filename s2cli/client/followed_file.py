"""The input of an append that follows a growing file, as `tail -F` does: through rotation and truncation."""

from __future__ import annotations

import os
import threading
import time

from s2cli.client import rotated_files
from s2cli.client.input_files import INPUT_BYTES, InputFiles
from s2cli.errors import S2Error, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.rotated_files import FileId, FilePosition
    from s2cli.wire.append_input import Records

    # Device and inode of the file that has the name now (None: there is none), and the size of the open file
    Sight = tuple[FileId | None, int]

LOOK_S = 0.1  # between two checks of a file that has nothing new


class _Stretch:
    """What is read of one file: from its first line on, or from where an earlier run was, until it is replaced or
    truncated. `first_line` is the number in the input that line 1 of the file has, or would have."""

    __slots__ = ("file_id", "first_line", "head", "marks")

    def __init__(self, file_id: FileId, first_line: int, mark: tuple[int, int]) -> None:
        self.file_id = file_id
        self.first_line = first_line
        self.head = b""
        self.marks = [mark]  # line numbers in the input, and the offsets at which these lines begin


class FollowedFile(InputFiles):
    """`fd` is readable when the file has grown, was truncated, or was replaced by another one of its name. The input
    never ends by itself. `notice` tells a person that the file was replaced or truncated.

    What was rotated while nobody read it is read before the file that has the name now."""

    __slots__ = (
        "_file_fd", "_keeps_positions", "_notice", "_offset", "_seen", "_separator", "_stretches", "_wake_fd",
        "_was_read", "_watch_for",
    )  # fmt: skip

    def __init__(
        self, name: str, notice: Callable[[str], None], separator: bytes = b"\n", *, keeps_positions: bool = False
    ) -> None:
        """With `keeps_positions`, position() is called now and then."""
        super().__init__((name,))
        if not os.path.isfile(name):
            raise UsageError(f"--follow-file: {name} is not a regular file")
        self._file_fd = self.fd
        self._notice = notice
        self._separator = separator
        self._keeps_positions = keeps_positions
        self._offset = 0
        self._was_read: set[FileId] = set()
        self._stretches: list[_Stretch] = []
        self._begin_stretch(1, (1, 0))
        self._seen: Sight = self._look()
        self._watch_for = threading.Event()
        self.fd, self._wake_fd = os.pipe()
        os.write(self._wake_fd, b"!")
        threading.Thread(target=self._watch_file, daemon=True).start()

    def _begin_stretch(self, first_line: int, mark: tuple[int, int]) -> None:
        facts = os.fstat(self._file_fd)
        file_id = facts.st_dev, facts.st_ino
        self._was_read.add(file_id)
        if not self._keeps_positions:
            self._stretches.clear()
        self._stretches.append(_Stretch(file_id, first_line, mark))
        self._offset = mark[1]
        os.lseek(self._file_fd, self._offset, os.SEEK_SET)

    # Where a run ends, and the next one begins

    def position(self, line: int) -> tuple[int, FilePosition]:
        """Where this line of the input is: its number in its file, and a place in that file at or before it. Forgets
        what is before."""
        stretches = self._stretches
        while len(stretches) > 1 and stretches[1].first_line <= line:
            del stretches[0]
        stretch = stretches[0]
        marks = stretch.marks
        while len(marks) > 1 and marks[1][0] <= line:
            del marks[0]
        before = stretch.first_line - 1
        mark_line, offset = marks[0]
        place = rotated_files.FilePosition(
            stretch.file_id, rotated_files.describe_head(stretch.head), mark_line - before, offset
        )
        return line - before, place

    def go_to(self, position: FilePosition) -> bool:
        """Begins at this place of an earlier run, whatever the file is called now; False if it is gone. Before
        anything was read."""
        fd = rotated_files.find(self.names[0], position, self._separator)
        if fd is None:
            return False
        os.dup2(fd, self._file_fd, inheritable=False)
        os.close(fd)
        self._stretches.clear()
        self._was_read.clear()
        self._begin_stretch(1, (position.line, position.offset))
        return True

    # Reading

    def size_bytes(self) -> None:
        """The file has no end."""

    def read(self) -> list[Records]:
        os.read(self.fd, 1)
        self._seen = self._look()
        batches: list[Records] | None
        try:
            data = os.read(self._file_fd, INPUT_BYTES)
            batches = self._take(data) if data else self._at_end()
        except OSError as error:
            self.source.error = S2Error(f"cannot read {self.name}: {describe(error)}")
            self.ended = True
            return []
        except UsageError as error:
            self.source.error = error
            self.ended = True
            return []
        if batches is not None:
            os.write(self._wake_fd, b"!")  # there may be more
            return batches
        self._watch_for.set()
        return []

    def _take(self, data: bytes) -> list[Records]:
        source, stretch = self.source, self._stretches[-1]
        self._offset += len(data)
        batches = source.feed(data)
        if self._keeps_positions:
            if len(stretch.head) < rotated_files.HEAD_BYTES:
                stretch.head = os.pread(self._file_fd, rotated_files.HEAD_BYTES, 0)
            stretch.marks.append((source.lines + 1, self._offset - source.unended_bytes))
        return batches

    def _at_end(self) -> list[Records] | None:
        """At the end of the file: None if there is nothing else to read yet. If the file was replaced or truncated, a
        last line without a newline counts as a line."""
        there, _ = self._seen
        ours = os.fstat(self._file_fd)
        if there is not None and there != (ours.st_dev, ours.st_ino):
            path = rotated_files.successor(self.names[0], ours, self._was_read)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            batches = self.source.finish()
            os.dup2(fd, self._file_fd, inheritable=False)
            os.close(fd)
            self._notice(f"{self.name} was replaced: continuing at the start of {_new(path, self.names[0])}")
        elif ours.st_size < self._offset:
            batches = self.source.finish()
            self._notice(f"{self.name} was truncated: continuing at its start")
        else:
            return None
        first = self.source.lines + 1
        self._begin_stretch(first, (first, 0))
        return batches

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


def _new(path: str, name: str) -> str:
    return "the new one" if path == name else path
