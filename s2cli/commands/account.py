"""The account of an append: what was read, what is durable and where, what is undecided, and how to go on."""

from __future__ import annotations

import time

from s2cli import console
from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.errors import ExitCode
from s2cli.wire.append import format_ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.append import AppendSession

    Range = tuple[int, int]

OUTCOMES = {
    ExitCode.OK: "ok",
    ExitCode.NOT_FOUND: "not_found",
    ExitCode.AUTH: "auth",
    ExitCode.PRECONDITION: "precondition",
    ExitCode.UNREACHABLE: "unreachable",
    ExitCode.BAD_DATA: "bad_data",
    ExitCode.UNDECIDED: "undecided",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated",
}


class Account:
    def __init__(self, uri: str, session: AppendSession, command: str) -> None:
        self._uri = uri
        self._command = command  # how a command line begins that goes to the same place
        self._session = session
        self._started = time.monotonic()

    def show(self, read: int, exit_code: int, *, as_json: bool, file: str | None = None) -> None:
        """One line on stderr, or one object on stdout. `file`: what to call the input in a command line that goes on
        from where this append ended; None where there can be no such line."""
        if as_json:
            self._write_json(read, exit_code)
        else:
            console.notice(self._text(read, exit_code, file))

    def show_progress(self) -> None:
        """The live line, while it lasts."""
        session = self._session
        seconds = time.monotonic() - self._started
        under_way = session.sent - session.durable
        rate = format_rate(session.durable, seconds, "records")
        console.status(
            f"{self._uri}: {session.durable} durable, {format_bytes(session.bytes)}, {rate}, {under_way} under way"
        )

    def _text(self, read: int, exit_code: int, file: str | None) -> str:
        session = self._session
        seconds = time.monotonic() - self._started
        place = ""
        if session.first_seq_num is not None:
            first, last = session.first_seq_num, session.last_seq_num
            place = f" at {first}" if first == last else f" at {first}..{last}"
        batches = format_count(session.batches, "batch", "batches")
        amount = f"{format_bytes(session.bytes)}, {batches}, {format_seconds(seconds)}"
        if exit_code == ExitCode.OK:
            text = f"{self._uri}: {format_count(session.durable, 'record', 'records')} durable{place} ({amount})"
        else:
            text = f"{self._uri}: {read} read, {session.sent} sent, {session.durable} durable{place} ({amount})"
        if session.unknown:
            text += f"; undecided: {format_ranges(session.unknown)}"
        if session.repeated:
            text += f"; perhaps in the stream twice: {format_ranges(session.repeated)}"
        if session.recognized:
            text += f"; not acknowledged, but found there: {format_ranges(session.recognized)}"
        if exit_code != ExitCode.OK:
            text += f"; next line: {session.next_line}"
            if session.durable_beyond:
                text += f", but durable already: {format_ranges(session.durable_beyond)}"
            if file is not None and session.next_line > 1 and not session.unknown:
                text += f"; to go on: tail -n +{session.next_line} {file} | {self._command} append {self._uri}"
        return text

    def _write_json(self, read: int, exit_code: int) -> None:
        session = self._session
        fields: dict[str, object] = {
            "stream": self._uri,
            "read": read,
            "sent": session.sent,
            "durable": session.durable,
            "unknown": sum(last - first + 1 for first, last in session.unknown),
            "repeated_lines": session.repeated,
            "first_seq_num": session.first_seq_num,
            "last_seq_num": session.last_seq_num,
            "next_line": session.next_line,
            "bytes": session.bytes,
            "batches": session.batches,
            "seconds": round(time.monotonic() - self._started, 3),
            "outcome": OUTCOMES.get(exit_code, "failed"),
        }
        if session.unknown:
            fields["unknown_lines"] = session.unknown
        if session.recognized:
            fields["recognized_lines"] = session.recognized
        if session.durable_beyond:
            fields["durable_beyond_next_line"] = session.durable_beyond
        try:
            console.print_json(fields)
        except console.ClosedOutput:
            if exit_code == ExitCode.OK:
                raise  # else why the append ended matters more than who reads this
