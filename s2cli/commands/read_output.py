"""Writes the records of `read` and `tail`, chosen and formatted, to stdout or to a file."""

from __future__ import annotations

import os
import stat

from s2cli.cli import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.commands.output_file import OutputFile
    from s2cli.commands.read_formats import RecordFormat
    from s2cli.commands.read_selection import Selection
    from s2cli.wire.read_session import Delivered


class RecordWriter:
    """Writes batches to `file`, or to stdout if that is None. `selection` is None if all records are wanted."""

    def __init__(self, record_format: RecordFormat, selection: Selection | None, file: OutputFile | None) -> None:
        self._format = record_format
        self.selection = selection
        self.file = file
        self.bytes = 0  # written
        self.ends_line = True  # what was written last

    @property
    def wants_account(self) -> bool:
        """Whether a read ends with a line that says how much was read: if nobody sees the records, or some were left
        out."""
        return goes_to_file(None if self.file is None else self.file.path) or self.chooses

    @property
    def chooses(self) -> bool:
        """Whether records may be left out."""
        return self.selection is not None and self.selection.chooses

    @property
    def bodies_only(self) -> bool:
        """Whether only the bodies of records are needed."""
        return self._format.bodies_only and (self.selection is None or self.selection.bodies_only)

    @property
    def fd(self) -> int:
        """The descriptor whose reader may go away; -1 for a file."""
        return 1 if self.file is None else -1

    def write(self, batches: list[Delivered]) -> None:
        """Writes the chosen records at once. Raises console.ClosedOutput if the reader of stdout has gone, S2Error."""
        if self.selection is not None:
            batches = self.selection.choose(batches)
            if not batches:
                return
        data = self._format.format(batches)
        self.bytes += len(data)
        self.ends_line = data.endswith(b"\n")
        if self.file is None:
            console.write(data)
        else:
            self.file.write(data)

    def sync(self) -> int:
        """Waits until what was written to a file is on the disk. Returns the length of the file; 0 for stdout."""
        if self.file is not None:
            return self.file.sync()
        if goes_to_file(None):
            os.fsync(1)
        return 0

    def complete(self) -> None:
        """To be called at the end of the read. The file then exists, even if nothing was read."""
        if self.file is not None:
            self.file.complete()


class CommandWriter(RecordWriter):
    """For `--exec`, which passes the records to commands: nothing is written."""

    bodies_only = False
    fd = -1
    wants_account = True

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.file = None
        self.bytes = 0
        self.ends_line = True

    def write(self, batches: list[Delivered]) -> None:
        """Does nothing: the commands have had the records."""


def open_output(path: str | None, *, in_place: bool, kept_bytes: int = 0) -> OutputFile | None:
    """The file that `-O` names; None for stdout. The other arguments are those of OutputFile."""
    if path is None or path == "-":
        return None
    from s2cli.commands.output_file import OutputFile

    return OutputFile(path, in_place=in_place, kept_bytes=kept_bytes)


def goes_to_file(output_file: str | None) -> bool:
    """Whether nobody sees the records as they come: they go to a file. (What reads a pipe may show them.)"""
    if output_file not in (None, "-"):
        return True
    try:
        return stat.S_ISREG(os.fstat(1).st_mode)
    except OSError:
        return False
