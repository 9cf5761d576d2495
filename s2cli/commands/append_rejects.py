"""Lines of an append that are not valid records, if `--on-error` says to continue without them."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.errors import BadInputError, S2Error, UsageError, describe, file_error
from s2cli.wire.ranges import Ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.input_files import InputFiles

# Lines beyond this get no warning of their own.
MAX_WARNINGS = 20


class Rejects:
    """Warns of each line that is rejected. If `path` is given, it writes them to this file, each followed by the
    `separator`: there they can be corrected, and then appended."""

    __slots__ = ("_count", "_fd", "_inputs", "_path", "_separator", "lines")

    def __init__(self, path: str | None, separator: bytes | None, inputs: InputFiles) -> None:
        """Creates the file, or truncates it. Raises UsageError if that is not possible, or would truncate an input."""
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
        """Takes a line; `error` has its number. Raises S2Error if it cannot be written."""
        assert error.line is not None
        self._count += 1
        self.lines.add(error.line, error.line)
        if self._count <= MAX_WARNINGS:
            console.warn(self._inputs.name_line(error).message + "; left out")
        if self._count == MAX_WARNINGS:
            console.warn("further lines that are not valid records are only counted")
        if self._fd < 0:
            return
        view = memoryview(line + self._separator)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as failure:
            raise S2Error(f"cannot write to {self._path}: {describe(failure)}") from failure

    def error(self) -> BadInputError | None:
        """The error with which an otherwise complete append ends; None if no line was rejected."""
        if not self._count:
            return None
        are = "line is not a valid record, and was" if self._count == 1 else "lines are not valid records, and were"
        hint = f"correct and append what is in {self._path}" if self._path is not None else None
        return BadInputError(f"{self._count} {are} left out", hint=hint)

    def summary(self) -> str:
        """Which lines were left out, for the account."""
        more = f" and {self.lines.more} more ranges" if self.lines.more else ""
        return f"left out, not valid records: {self._inputs.describe(self.lines.kept)}{more}"
