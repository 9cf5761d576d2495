"""Where the records of `read` and `tail` go and in which form, and what is told beside them: the live line and the
closing line of a read into a file, and how to resume one."""

from __future__ import annotations

import os
import stat
import time

from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.cli import console
from s2cli.errors import S2Error, describe, file_error
from s2cli.formats import text_output
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.read_args import PrintArgs
    from s2cli.wire.read_session import Delivered, ReadSession

TICK_S = 0.2

# What decides what is shown, and how; what is only about speed has defaults that do.
_REPEATED = (("-o", "format", "text"), ("-k", "encryption_key_file", None))


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
            raise file_error(f"cannot write to {self._path}", error) from error


class ReadReport:
    """Passes batches on to the writer. `position` is the sequence number before which everything was written, where a
    write that was interrupted does not count; None where it is not known yet. `command` is how a command line begins
    that goes to the same place."""

    def __init__(self, args: PrintArgs, command: str, uri: str, session: ReadSession, writer: RecordWriter) -> None:
        self._args = args
        self._command = command
        self._uri = uri
        self._session = session
        self._writer = writer
        self._live = goes_to_file(args.output_file) and console.stderr_is_terminal()
        self._started = time.monotonic()
        self._next_tick = 0.0
        self._first: int | None = None
        self._last: int | None = None  # that the read can come to, as far as it is known
        self._count = 0
        self._written: int | None = None

    def write(self, batches: list[Delivered]) -> None:
        """Raises console.ClosedOutput."""
        session = self._session
        if self._first is None:
            self._first = self._written = batches[0].first_seq_num
            self._last = session.last_seq_num(self._first)
        self._writer.write(batches)
        self._written = session.cursor
        self._count = session.delivered
        if self._live and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_S
            self._show_progress()

    @property
    def position(self) -> int | None:
        return self._session.cursor if self._written is None else self._written

    def _show_progress(self) -> None:
        parts = [format_count(self._count, "record", "records")]
        if self._first is not None and self._written is not None and self._last is not None:
            whole = max(1, self._last + 1 - self._first)
            parts[0] = f"{min(100, 100 * (self._written - self._first) // whole)} %, {parts[0]}"
        rate = format_rate(self._count, time.monotonic() - self._started, "records")
        console.status(*parts, format_bytes(self._writer.bytes), rate, self._uri)

    def close(self) -> None:
        """The read has come to its end."""
        if self._live:
            console.status("")
            console.notice(self._amount())

    def _amount(self) -> str:
        seconds = time.monotonic() - self._started
        rate = format_rate(self._count, seconds, "records")
        file = self._args.output_file
        to = f" to {file}" if file not in (None, "-") else ""
        amount = f"{format_bytes(self._writer.bytes)}, {format_seconds(seconds)}, {rate}"
        return f"{self._uri}: {format_count(self._count, 'record', 'records')} read{to} ({amount})"

    def interrupted(self) -> None:
        """The read was stopped before its end: says where, and how to resume."""
        console.status("")
        if self._live:
            console.notice(self._amount())
        command = self.resume_command()
        if command is not None:
            console.notice(f"stopped before sequence number {self.position}; to resume: {command}")

    def resume_command(self) -> str | None:
        """The command line that reads the rest; None where none can: it is not known where, or a key came by a pipe."""
        args, session, position = self._args, self._session, self.position
        key_file = args.encryption_key_file or ""
        if position is None or key_file.startswith(("/dev/", "/proc/")) or key_file == "-":
            return None
        words = ["read", self._uri, "--from", str(position)]
        words += [word for name, value in session.limits().items() for word in (f"--{name}", str(value))]
        if args.follow:
            words.append("--follow")
        for option, attribute, default in _REPEATED:
            value = getattr(args, attribute)
            if value != default:
                words += [option, value]
        if args.zero:
            words.append("-0")
        if args.skip_damaged:
            words.append("--skip-damaged")
        line = " ".join([self._command, *map(shell_word, words)])
        if args.output_file not in (None, "-"):
            line += f" >> {shell_word(str(args.output_file))}"
        return line


def goes_to_file(output_file: str | None) -> bool:
    """Whether the records go where nobody sees them come: a pager or a filter shows them itself."""
    if output_file not in (None, "-"):
        return True
    try:
        return stat.S_ISREG(os.fstat(1).st_mode)
    except OSError:
        return False
