"""The inputs of an append, one after the other: files, and `-` for standard input."""

from __future__ import annotations

import os
import stat

from s2cli.errors import BadInputError, S2Error, UsageError, describe, file_error
from s2cli.wire.ranges import format_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from s2cli.wire.append_input import Records
    from s2cli.wire.ranges import Range

    class LineInput(Protocol):
        """See formats/input.py."""

        error: S2Error | None

        @property
        def lines(self) -> int: ...
        @property
        def unended_bytes(self) -> int: ...
        def feed(self, data: bytes) -> list[Records]: ...
        def finish(self) -> list[Records]: ...


STDIN = "-"
# Of one read. More is not faster, and split into lines it takes ten times as much memory.
INPUT_BYTES = 64 * 1024


class InputFiles:
    """All inputs are read through the one descriptor `fd`, so that a poll of it stays valid when the next file begins.
    What is read goes to `source`, which the caller sets. Lines are numbered from 1 through all inputs; with `whole`
    each input is one line."""

    __slots__ = ("_first_lines", "_whole", "ended", "fd", "names", "read_bytes", "source", "watch")

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        whole: bool = False,
        fd: int | None = None,
    ) -> None:
        """Opens the first input, unless it is open as `fd`. `watch` is called with all that is read. Raises UsageError
        if one of the inputs cannot be read."""
        self.names = names
        self.source: LineInput
        self.ended = False
        self.read_bytes = 0
        self._whole = whole
        self.watch: Callable[[bytes], None] | None = None  # is called with all that is read
        self._first_lines = [1]  # of each input that has begun
        if fd is not None:
            self.fd = fd
            return
        if names.count(STDIN) > 1:
            raise UsageError("standard input (-) was given twice")
        try:
            for name in names[1:]:
                _check(name)
            self.fd = _open(names[0], 0)
            os.read(self.fd, 0)  # a directory can be opened, but not read
        except OSError as error:
            raise file_error(f"cannot read {error.filename or self.name}", error) from error

    @property
    def name(self) -> str:
        """The input that is being read, as a person calls it."""
        name = self.names[len(self._first_lines) - 1]
        return "standard input" if name == STDIN else name

    def read(self) -> list[Records]:
        """Reads once, and returns the batches that are complete now. `ended` is True after the last. If the input
        cannot be read, `source.error` says why."""
        source = self.source
        try:
            data = os.read(self.fd, INPUT_BYTES)
        except BlockingIOError:  # whoever shares it with us was faster
            return []
        except OSError as error:
            source.error = S2Error(f"cannot read {self.name}: {describe(error)}")
            self.ended = True
            return []
        if data:
            self.read_bytes += len(data)
            if self.watch is not None:
                self.watch(data)
            return source.feed(data)
        batches = source.finish()
        self.ended = source.error is not None or not self._open_next(source)
        return batches

    def size_bytes(self) -> int | None:
        """How many bytes are to be read, those that were read included; None if that cannot be known."""
        total = 0
        for name in self.names:
            try:
                facts = os.fstat(0) if name == STDIN else os.stat(name)
            except OSError:
                return None
            if not stat.S_ISREG(facts.st_mode):
                return None
            total += facts.st_size
        return total

    def _open_next(self, source: LineInput) -> bool:
        """Opens the next input; False if there is none. If it cannot be opened, that is `source.error`, and what was
        read before is appended."""
        if len(self._first_lines) == len(self.names):
            return False
        lines = source.lines
        self._first_lines.append(lines + 1)
        try:
            # Without waiting for the writer of a named pipe: acks and signals come meanwhile.
            fd = _open(self.names[len(self._first_lines) - 1], os.O_NONBLOCK)
            os.dup2(fd, self.fd, inheritable=False)
        except OSError as error:
            source.error = S2Error(f"cannot read {self.name}: {describe(error)}")
            return False
        if fd:
            os.close(fd)
        return True

    def place(self, line: int) -> tuple[int, int]:
        """The index of the input that has this line, and the number of the line in it. The line after the last belongs
        to the last input."""
        if self._whole:
            return min(line, len(self.names)) - 1, 1
        at = len(self._first_lines) - 1
        while self._first_lines[at] > line:
            at -= 1
        return at, line - self._first_lines[at] + 1

    def name_line(self, error: BadInputError) -> BadInputError:
        """`error`, worded with the name of the input and the number that its line has there."""
        if error.line is None or (self.names == (STDIN,) and not self._whole):
            return error
        at, line = self.place(error.line)
        name = self.names[at] if self._whole else f"{self.names[at]}: line {line}"
        return BadInputError(f"{name}: {error.reason}", hint=error.hint)

    def counts(self, lines: int) -> list[tuple[str, int]]:
        """For each input that has begun, its name and how many of the first `lines` lines it has."""
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
    """Raises OSError if the file cannot be read. It is not opened: the other end of a pipe would notice."""
    if name == STDIN:
        return
    os.stat(name)
    if os.path.isdir(name):
        raise IsADirectoryError(21, os.strerror(21), name)
    if not os.access(name, os.R_OK):
        raise PermissionError(13, os.strerror(13), name)
