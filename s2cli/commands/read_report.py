"""What `read` and `tail` report beside the records: the status line on a terminal, the answer to a status signal, the
last line, and how to resume."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` costs each start 3 ms; typeshed does not describe it
import time

from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.cli import console
from s2cli.commands.progress import with_share
from s2cli.commands.read_output import goes_to_file
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from s2cli.cli.read_args import PrintArgs
    from s2cli.commands.read_output import RecordWriter
    from s2cli.wire.read_session import Delivered, ReadSession

    class Stepper(Protocol):
        """Lets records through in parts: when their time has come, or their commands are done."""

        def parts(self, batches: list[Delivered]) -> Iterator[tuple[list[Delivered], int]]:
            """Yields the parts in order, each with the sequence number after its last record."""


TICK_S = 0.2
# After so long without a record the terminal shows what the read waits for.
QUIET_S = 2.0
NEVER = float("inf")
# The signals that ask for the status. Ctrl-T sends SIGINFO, where the system has it.
STATUS_SIGNALS = ("SIGUSR1", "SIGINFO")


class ReadReport:
    """Passes deliveries on to the writer, and reports on them. `position`: the sequence number before which everything
    was written, without an interrupted write; None if it is not known yet. `command`: how a command line for the same
    server begins. A `stepper` lets the records through in parts. `on_written` is called with the position after each
    write."""

    def __init__(
        self,
        args: PrintArgs,
        command: str,
        uri: str,
        session: ReadSession,
        writer: RecordWriter,
        stepper: Stepper | None = None,
        on_written: Callable[[int], None] | None = None,
    ) -> None:
        self._args = args
        self._command = command
        self._uri = uri
        self._session = session
        self._writer = writer
        self._stepper = stepper
        self._on_written = on_written
        self._to_file = goes_to_file(args.output_file)
        self._live = self._to_file and console.stderr_is_terminal()
        self._hints = args.follow and console.stderr_is_terminal()
        self._shown = False  # a live line is on the terminal
        self._started = time.monotonic()
        self._next_tick = 0.0
        self._first: int | None = None
        self._last: int | None = None  # the last record that the read can reach, if that is known
        self._written: int | None = None
        self._read = 0  # records, whether they were chosen or not
        # When on_idle() is to be called, if nothing comes until then: monotonic seconds
        self.due = self._started + QUIET_S if self._hints else NEVER

    def write(self, batches: list[Delivered]) -> None:
        """Writes a delivery. Raises console.ClosedOutput if the reader of stdout has gone, and what the stepper
        raises."""
        session, selection = self._session, self._writer.selection
        if self._first is None:
            self._first = self._written = batches[0].first_seq_num
            self._last = session.last_seq_num(self._first)
        if self._shown and not self._to_file:
            self._clear()  # records come onto the same terminal
        if self._stepper is None:
            self._write(batches, session.cursor)
        else:
            for part, position in self._stepper.parts(batches):
                self._write(part, position)
                if selection is not None and selection.end is not None and position >= selection.end:
                    break

    def _write(self, batches: list[Delivered], position: int | None) -> None:
        selection = self._writer.selection
        self._writer.write(batches)
        if selection is not None and selection.end is not None:
            self._session.stop(selection.end)
            position = selection.end if position is None else min(position, selection.end)
        self._read += sum(map(len, batches))
        self._written = position
        if self._on_written is not None and position is not None:
            self._on_written(position)
        if self._hints:
            self.due = time.monotonic() + QUIET_S
        if self._live and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_S
            self._show(*self._progress(), *self._place())

    def on_idle(self) -> None:
        """Nothing has come for QUIET_S: shows what the read waits for."""
        self.due = time.monotonic() + QUIET_S
        if self._writer.ends_line:
            self._show(*self._waiting())

    def tell_status(self) -> None:
        """Prints where the read is, as a notice."""
        console.notice(f"{self._uri}: {', '.join([*self._progress(), *self._place()])}")

    @property
    def position(self) -> int | None:
        return self._session.cursor if self._written is None else self._written

    @property
    def _count(self) -> int:
        """How many records were chosen."""
        selection = self._writer.selection
        return self._read if selection is None else selection.chosen

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _progress(self) -> list[str]:
        """How far the read is, the most important first."""
        parts = [format_count(self._count, "record", "records")]
        if self._first is not None and self._written is not None and self._last is not None:
            parts = with_share(parts, self._written - self._first, self._last + 1 - self._first, self._seconds())
        parts += [format_bytes(self._writer.bytes), format_rate(self._read, self._seconds(), "records")]
        return parts

    def _place(self) -> list[str]:
        """The position of the read and the tail of the stream, as far as they are known."""
        place = [] if self.position is None else [f"next {self.position}"]
        tail = self._session.tail
        if tail is not None:
            place += [f"tail {max(tail, self.position or 0)}", f"{self._lag()} behind"]
        return place

    def _lag(self) -> int:
        """How many records the read is behind the tail; 0 if that is not known."""
        tail, position = self._session.tail, self.position
        return 0 if tail is None or position is None else max(0, tail - position)

    def _waiting(self) -> list[str]:
        """What the status line says while nothing comes."""
        position, tail = self.position, self._session.tail
        if position is None or (tail is not None and position < tail):
            return ["waiting for the server"]
        parts = [f"waiting for record {position}", "the stream's next"]
        if self._first is None and position:
            parts.append("nothing before it was asked for (--from start)")
        elif self._writer.selection is not None and self._writer.selection.skipped:
            parts.append(f"{self._writer.selection.skipped} skipped")
        return parts

    def _show(self, *parts: str) -> None:
        self._shown = True
        console.status(*parts, self._uri)

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            console.status("")

    def close(self) -> None:
        """To be called at the end of the read: removes the status line, and says how much was read if that is
        wanted."""
        self._clear()
        self._tell_amount()

    def _tell_amount(self) -> None:
        if self._writer.wants_account:
            console.notice(self._amount())

    def _amount(self) -> str:
        seconds, selection = self._seconds(), self._writer.selection
        rate = format_rate(self._read, seconds, "records")
        file = self._args.output_file
        to = f" to {file}" if file not in (None, "-") else ""
        skipped = f", {selection.skipped} skipped" if selection is not None and selection.chooses else ""
        amount = f"{format_bytes(self._writer.bytes)}, {format_seconds(seconds)}, {rate}"
        return f"{self._uri}: {format_count(self._count, 'record', 'records')} read{to}{skipped} ({amount})"

    def interrupted(self) -> None:
        """To be called instead of close() if the read was interrupted: says where, and how to resume."""
        console.begin_row(after_line=self._writer.ends_line)
        self.close()
        command = self.resume_command()
        if command is not None:
            console.notice(f"stopped before sequence number {self.position}; to resume: {command}")

    def resume_command(self) -> str | None:
        """The command line that reads the rest; None if there is none, because the position is not known or the key
        came through a pipe."""
        args, session, position = self._args, self._session, self.position
        key_file = args.encryption_key_file or ""
        if position is None or key_file.startswith(("/dev/", "/proc/")) or key_file == "-":
            return None
        words = ["read", self._uri, "--from", str(position)]
        limits = session.limits()
        if self._writer.selection is not None and self._writer.selection.left is not None:
            limits["count"] = self._writer.selection.left
        words += [word for name, value in limits.items() for word in (f"--{name}", str(value))]
        words += args.words_to_resume()
        line = " ".join([self._command, *map(shell_word, words)])
        file = self._writer.file
        if file is not None:
            line += f" >> {shell_word(file.place)}"
            if file.is_partial:
                line += f" && mv {shell_word(file.place)} {shell_word(file.path)}"
        return line


def watch_signals(tell_status: Callable[[], None]) -> None:
    """Calls `tell_status` at each of STATUS_SIGNALS from now on."""

    def on_signal(number: int, frame: object) -> None:
        tell_status()

    for name in STATUS_SIGNALS:
        number = getattr(_signal, name, None)
        if number is not None:
            _signal.signal(number, on_signal)


def terminate_as_interrupt() -> None:
    """From now on SIGTERM raises a KeyboardInterrupt with arguments: like Ctrl-C, it leaves time to clean up."""

    def on_signal(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    _signal.signal(_signal.SIGTERM, on_signal)
