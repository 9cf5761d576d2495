"""Lines of an append that cannot be records, where `--on-error` says to go on without them."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.errors import BadInputError, S2Error, UsageError, describe, file_error
from s2cli.wire.ranges import Ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.input_files import InputFiles

# After so many warnings the account has to do.
MAX_WARNINGS = 20


class Rejects:
    """Warns of each line, and writes it to `path`, where one is given, with the `separator` behind it: a file of what
    is to be corrected and appended."""

    __slots__ = ("_count", "_fd", "_inputs", "_path", "_separator", "lines")

    def __init__(self, path: str | None, separator: bytes | None, inputs: InputFiles) -> None:
        """Makes the file, and empties it. Raises UsageError where that cannot be."""
        self._path = path
        self._separator = separator or b""
        self._inputs = inputs
        self._count = 0
        self.lines = Ranges()
        self._fd = -1
        if path is None:
            return
        try:
            there = [name for name in (path, *inputs.names) if os.path.exists(name)]
            if path in there and any(os.path.samefile(name, path) for name in there[1:]):
                raise UsageError(f"--on-error {path} would empty an input")
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise file_error(f"--on-error: cannot write to {path}", error) from error

    def reject(self, line: bytes, error: BadInputError) -> None:
        """Takes a line, whose number the error has. Raises S2Error where it cannot be written."""
        assert error.line is not None
        self._count += 1
        self.lines.add(error.line, error.line)
        if self._count <= MAX_WARNINGS:
            console.warn(self._inputs.name_line(error).message + "; left out")
        if self._count == MAX_WARNINGS:
            console.warn("more lines that cannot be records are only counted")
        if self._fd < 0:
            return
        view = memoryview(line + self._separator)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as failure:
            raise S2Error(f"cannot write to {self._path}: {describe(failure)}") from failure

    def error(self) -> BadInputError | None:
        """What an append that did all else ends with."""
        if not self._count:
            return None
        are = "line is no record, and was" if self._count == 1 else "lines are no records, and were"
        hint = f"correct and append what is in {self._path}" if self._path is not None else None
        return BadInputError(f"{self._count} {are} left out", hint=hint)

    def summary(self) -> str:
        """Which lines they are."""
        more = f" and {self.lines.more} more ranges" if self.lines.more else ""
        return f"left out since they are no records: {self._inputs.describe(self.lines.kept)}{more}"
