"""The inputs of an append, one after the other: files, and `-` for standard input."""

from __future__ import annotations

import os

from s2cli.client.sockets import describe
from s2cli.errors import S2Error, UsageError
from s2cli.wire.ranges import format_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.ranges import Range

STDIN = "-"


class InputFiles:
    """All of them are behind the one descriptor `fd`, so that a poll for it goes on when the next file takes its place.
    Lines are counted through all inputs, from 1 on."""

    __slots__ = ("_first_lines", "fd", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        """Opens the first one. Raises UsageError where one of them cannot be read."""
        self.names = names
        self._first_lines = [1]  # of each input that has begun
        if names.count(STDIN) > 1:
            raise UsageError("standard input (-) was given twice")
        try:
            for name in names[1:]:
                _check(name)
            self.fd = _open(names[0], 0)
            os.read(self.fd, 0)  # a directory can be opened, but not read
        except OSError as error:
            raise UsageError(f"cannot read {error.filename or self.name}: {describe(error)}") from error

    @property
    def name(self) -> str:
        """The one that is read now, for a person."""
        name = self.names[len(self._first_lines) - 1]
        return "standard input" if name == STDIN else name

    def open_next(self, lines: int) -> bool:
        """After the end of an input, with so many lines read of all: whether another one follows. Raises S2Error where
        it cannot be opened."""
        if len(self._first_lines) == len(self.names):
            return False
        self._first_lines.append(lines + 1)
        try:
            # Not waiting for the writer of a named pipe: acknowledgements and signals come meanwhile.
            fd = _open(self.names[len(self._first_lines) - 1], os.O_NONBLOCK)
            os.dup2(fd, self.fd, inheritable=False)
        except OSError as error:
            raise S2Error(f"cannot read {self.name}: {describe(error)}") from error
        if fd:
            os.close(fd)
        return True

    def place(self, line: int) -> tuple[int, int]:
        """Which input this line is of, and which of its lines; the line behind the last one is of the last input."""
        at = len(self._first_lines) - 1
        while self._first_lines[at] > line:
            at -= 1
        return at, line - self._first_lines[at] + 1

    def counts(self, lines: int) -> list[tuple[str, int]]:
        """How many lines of each input have come, of so many of all."""
        ends = [*(first - 1 for first in self._first_lines[1:]), lines]
        return [(name, end - first + 1) for name, first, end in zip(self.names, self._first_lines, ends, strict=False)]

    def describe(self, ranges: list[Range]) -> str:
        """`lines 3 to 5`; where there are several inputs, `a.log: lines 3 to 5; b.log: line 1`."""
        if len(self.names) == 1:
            return format_lines(ranges)
        by_input: dict[int, list[Range]] = {}
        for first, last in ranges:
            while first <= last:
                at, line = self.place(first)
                end = min(last, self._first_lines[at + 1] - 1) if at + 1 < len(self._first_lines) else last
                by_input.setdefault(at, []).append((line, line + end - first))
                first = end + 1
        return "; ".join(f"{self.names[at]}: {format_lines(lines)}" for at, lines in by_input.items())


def _open(name: str, flags: int) -> int:
    return 0 if name == STDIN else os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags)


def _check(name: str) -> None:
    """Without opening it: that would be seen at the other end of a pipe."""
    if name == STDIN:
        return
    os.stat(name)
    if os.path.isdir(name):
        raise IsADirectoryError(21, os.strerror(21), name)
    if not os.access(name, os.R_OK):
        raise PermissionError(13, os.strerror(13), name)
