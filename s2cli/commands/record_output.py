"""Where the records of `read` and `tail` go, and in which form."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.client.sockets import describe
from s2cli.errors import S2Error
from s2cli.formats import text_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.read_session import Delivered


class RecordWriter:
    """Writes batches to stdout, or to a file that is made (and emptied) when the first comes or at the end."""

    def __init__(self, record_format: str, separator: bytes, path: str | None) -> None:
        self._format = record_format
        self._separator = separator
        self._path = None if path == "-" else path
        self._file_fd = -1
        self.bytes = 0  # written

    @property
    def bodies_only(self) -> bool:
        """Whether the form shows bodies and nothing else."""
        return self._format == "text"

    @property
    def fd(self) -> int:
        """What to watch for a reader that goes away; -1 for a file."""
        return 1 if self._path is None else -1

    def write(self, batches: list[Delivered]) -> None:
        """All in one write. Raises console.ClosedOutput."""
        self._put(self._format_text(batches) if self._format == "text" else self._format_json(batches))

    def _format_text(self, batches: list[Delivered]) -> bytes:
        parts: list[bytes] = []
        bodies: list[bytes] = []
        for batch in batches:
            if batch.bodies is not None:
                bodies += batch.bodies
                continue
            if bodies:
                parts.append(text_output.format_bodies(bodies, self._separator))
                bodies = []
            parts.append(text_output.format_records(batch.records, self._separator, console.notice))
        if bodies:
            parts.append(text_output.format_bodies(bodies, self._separator))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _format_json(self, batches: list[Delivered]) -> bytes:
        from s2cli.formats.json_output import format_records

        base64, separator = self._format == "json-base64", self._separator.decode()
        return b"".join(format_records(batch.records, separator, base64=base64) for batch in batches)

    def _put(self, data: bytes) -> None:
        self.bytes += len(data)
        if self._path is None:
            console.write(data)
            return
        self.open()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file_fd, view) :]
        except OSError as error:
            raise S2Error(f"cannot write to {self._path}: {describe(error)}") from error

    def open(self) -> None:
        """Makes the file, where one is wanted and not there yet."""
        if self._path is None or self._file_fd >= 0:
            return
        try:
            self._file_fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise S2Error(f"cannot write to {self._path}: {describe(error)}") from error
