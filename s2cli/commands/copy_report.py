"""What `s2 copy` reports: the status line while it runs, and the last line or JSON object."""

from __future__ import annotations

import time

from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.cli import console
from s2cli.commands.append_report import OUTCOMES
from s2cli.commands.progress import with_share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.values import StreamUri
    from s2cli.wire.copied_records import Copier, CopySession
    from s2cli.wire.exact_session import ExactSession


class CopyReport:
    def __init__(
        self, source: StreamUri, target: StreamUri, session: ExactSession, copier: Copier, reading: CopySession
    ) -> None:
        self._source = source
        self._target = target
        self._session = session
        self._copier = copier
        self._reading = reading
        self._first = reading.cursor
        self._started = time.monotonic()

    @property
    def _next_seq_num(self) -> int:
        """The sequence number in the source at which the copy would resume."""
        return self._session.next_line - 1

    def show_progress(self) -> None:
        session = self._session
        seconds = time.monotonic() - self._started
        parts = [f"{session.durable} copied"]
        last = None if self._first is None else self._reading.last_seq_num(self._first)
        if self._first is not None and last is not None:
            parts = with_share(parts, session.next_line - 1 - self._first, last + 1 - self._first, seconds)
        if self._copier.chooses:
            parts.append(f"{self._copier.skipped} skipped")
        rate = format_rate(session.durable, seconds, "records")
        console.status(*parts, format_bytes(session.bytes), rate, f"{self._source} to {self._target}")

    def show(self, exit_code: int, *, whole: bool, as_json: bool) -> None:
        """One line on stderr, or one object on stdout; `whole`: it has come to its end."""
        session, seconds = self._session, time.monotonic() - self._started
        place = ""
        if session.first_seq_num is not None:
            first, last = session.first_seq_num, session.last_seq_num
            place = f" at {first}" if first == last else f" at {first}..{last}"
        amount = f"{format_bytes(session.bytes)}, {format_seconds(seconds)}"
        records = format_count(session.durable, "record", "records")
        skipped = f", {self._copier.skipped} skipped" if self._copier.chooses else ""
        text = f"{self._source} to {self._target}: {records} copied{place}{skipped} ({amount})"
        if self._copier.skipped_commands:
            skipped = format_count(self._copier.skipped_commands, "command record", "command records")
            text += f"; left out {skipped} (--commands send copies them)"
        if not whole:
            text += f"; the same command resumes at record {self._next_seq_num}"
        console.done(text, told=not as_json)
        if as_json:
            fields: dict[str, object] = {
                "source": str(self._source),
                "stream": str(self._target),
                "copied": session.durable,
                "skipped": self._copier.skipped,
                "skipped_commands": self._copier.skipped_commands,
                "first_seq_num": session.first_seq_num,
                "last_seq_num": session.last_seq_num,
                "next_source_seq_num": self._next_seq_num,
                "bytes": session.bytes,
                "seconds": round(seconds, 3),
                "outcome": OUTCOMES.get(exit_code, "failed"),
            }
            console.print_json(fields)
