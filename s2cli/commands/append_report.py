"""The account of an append: what was read, what is durable and where, what is undecided, and how to resume."""

from __future__ import annotations

import time

from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.cli import console
from s2cli.client.input_files import STDIN
from s2cli.commands.progress import with_share
from s2cli.errors import BadInputError, ExitCode, S2Error
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.record_args import AppendArgs
    from s2cli.client.input_files import InputFiles
    from s2cli.commands.append_rejects import Rejects
    from s2cli.formats.input import TextInput
    from s2cli.wire.append_session import AppendSession

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
    """Reports on an append. `command`: how a command line for the same server begins; None if none could resume."""

    def __init__(
        self,
        args: AppendArgs,
        command: str | None,
        uri: str,
        session: AppendSession,
        source: TextInput,
        inputs: InputFiles,
        rejects: Rejects | None,
    ) -> None:
        self._args = args
        self._command = command
        self._uri = uri
        self._session = session
        self._source = source
        self._inputs = inputs
        self._rejects = rejects
        self._whole = False
        self._started = time.monotonic()

    def show(self, exit_code: int, *, whole: bool, as_json: bool) -> None:
        """Prints the account: a line on stderr, or a JSON object on stdout. `whole`: all valid records are durable.
        Raises S2Error if it cannot be written; if the append itself has failed, that is only a warning."""
        self._whole = whole
        text = self._text(exit_code)
        console.done(text, told=not as_json)
        if not as_json:
            return
        try:
            console.print_json(self._fields(exit_code))
        except console.ClosedOutput:
            if exit_code == ExitCode.OK:
                raise
        except S2Error as error:
            if exit_code == ExitCode.OK:
                raise
            console.warn(error.message)

    def _next_line(self) -> int:
        """The first line that is neither durable nor left out."""
        source = self._source
        if self._whole or source.error is not None:
            return source.lines + 1
        return self._session.next_line

    def show_progress(self) -> None:
        """Shows the status line on a terminal."""
        session = self._session
        seconds = time.monotonic() - self._started
        under_way = session.sent - session.durable
        rate = format_rate(session.durable, seconds, "records")
        parts = [f"{session.durable} durable", format_bytes(session.bytes), rate, f"{under_way} under way", self._uri]
        size = self._inputs.size_bytes()
        if size is not None:
            parts = with_share(parts, max(0, self._inputs.read_bytes - session.in_flight_bytes), size, seconds)
        console.status(*parts)

    def _text(self, exit_code: int) -> str:
        session, source, describe = self._session, self._source, self._inputs.describe
        seconds = time.monotonic() - self._started
        place = ""
        if session.first_seq_num is not None:
            first, last = session.first_seq_num, session.last_seq_num
            place = f" at {first}" if first == last else f" at {first}..{last}"
            if session.seq_nums.count > 1:
                place += f" in {session.seq_nums.count} ranges"
        batches = format_count(session.batches, "batch", "batches")
        amount = f"{format_bytes(session.bytes)}, {batches}, {format_seconds(seconds)}"
        if self._whole:
            text = f"{self._uri}: {format_count(session.durable, 'record', 'records')} durable{place} ({amount})"
        else:
            text = f"{self._uri}: {source.lines} read, {session.sent} sent, {session.durable} durable{place} ({amount})"
        if source.skipped:
            commands = format_count(source.skipped, "command record", "command records")
            text += f"; skipped {commands} (--commands send sends them)"
        if self._rejects is not None and source.rejected:
            text += f"; {self._rejects.summary()}"
        if session.unknown:
            text += f"; undecided: {describe(session.unknown)}"
        if session.repeated:
            text += f"; perhaps in the stream twice: {describe(session.repeated)}"
        if session.recognized:
            text += f"; not acknowledged, but found in the stream: {describe(session.recognized)}"
        if not self._whole:
            text += self._how_to_resume(exit_code)
        return text

    def _how_to_resume(self, exit_code: int) -> str:
        session = self._session
        line = self._next_line()
        at, its_line = self._inputs.place(line)
        text = f"; next line: {its_line}"
        if len(self._inputs.names) > 1:
            text += f" of {self._inputs.names[at]}"
        if self._args.state is not None:
            return f"{text}; the same command resumes there"
        if session.durable_beyond:
            return f"{text}, but durable already: {self._inputs.describe(session.durable_beyond)}"
        if session.unknown:
            return text + self._how_to_decide()
        if exit_code == ExitCode.PRECONDITION:
            return text
        if exit_code == ExitCode.BAD_DATA and isinstance(self._source.error, BadInputError):
            command = self._resume_command(line + 1)
            return text + (f"; correct it, or to resume after it: {command}" if command else "; correct it")
        command = self._resume_command(line) if line > 1 else None
        return text + (f"; to resume: {command}" if command else "")

    def _commands_by_tail(self) -> list[tuple[int, str]]:
        """What resumes if none of the undecided lines arrived, and what if all of them did: each with the sequence
        number where the stream ends then."""
        place = self._session.unknown_place
        if place is None:
            return []
        none, everything, line_after = place
        commands = (
            (none, self._resume_command(self._session.next_line, none)),
            (everything, self._resume_command(line_after, everything)),
        )
        return [(tail, command) for tail, command in commands if command is not None]

    def _how_to_decide(self) -> str:
        """How to find out what became of the undecided lines: whoever just resumes at the next line may append them
        twice."""
        commands = self._commands_by_tail()
        if len(commands) != 2:
            return ""
        (none, if_none), (everything, if_all) = commands
        uri = shell_word(self._uri)
        return (
            f"; before you resume, see where the stream ends: {self._command} check-tail {uri}"
            f"; at {none} it has none of the undecided lines: {if_none}"
            f"; at {everything} it has all of them: {if_all}"
            f"; anywhere else, see what it has: {self._command} read {uri} --from {none}"
        )

    def _resume_command(self, line: int, match_seq_num: int | None = None) -> str | None:
        """What appends the input from this line on, at that sequence number if one is given. None where no command line
        does: `-0` separates what `tail` takes for one line, and a key that came from a pipe is gone."""
        args, inputs = self._args, self._inputs
        if (
            self._command is None
            or args.separator not in (b"\n", None)
            or (args.encryption_key_file or "").startswith(("/dev/", "/proc/", STDIN))
        ):
            return None
        if args.raw and line > len(inputs.names):
            return None
        at, line = inputs.place(line)
        name, rest = inputs.names[at], list(inputs.names[at + 1 :])
        words = ["append", self._uri, *args.words_to_resume()]
        if match_seq_num is None and args.match_seq_num is not None:
            match_seq_num = args.match_seq_num + self._session.durable
        if match_seq_num is not None:
            words += ["--match-seq-num", str(match_seq_num)]
        if name == STDIN or line > 1:
            if STDIN in rest or args.raw:
                return None
            before = f"tail -n +{line} {'FILE' if name == STDIN else _quote_file(name)} | "
            operands = [STDIN, *map(_quote_file, rest)] if rest else []
        else:
            before, operands = "", [STDIN if word == STDIN else _quote_file(word) for word in (name, *rest)]
        return before + " ".join([self._command, *map(shell_word, words), *operands])

    def _fields(self, exit_code: int) -> dict[str, object]:
        session, source, inputs = self._session, self._source, self._inputs
        next_line = self._next_line()
        fields: dict[str, object] = {
            "stream": self._uri,
            "read": source.lines,
            "skipped_commands": source.skipped,
            "sent": session.sent,
            "durable": session.durable,
            "unknown": sum(last - first + 1 for first, last in session.unknown),
            "repeated_lines": session.repeated,
            "first_seq_num": session.first_seq_num,
            "last_seq_num": session.last_seq_num,
            "ranges": session.seq_nums.kept,
            "next_line": next_line,
            "bytes": session.bytes,
            "batches": session.batches,
            "seconds": round(time.monotonic() - self._started, 3),
            "outcome": OUTCOMES.get(exit_code, "failed"),
        }
        if session.seq_nums.more:
            fields["more_ranges"] = session.seq_nums.more
        if len(inputs.names) > 1:
            at, line = inputs.place(next_line)
            fields["next_input"] = {"input": inputs.names[at], "line": line}
            fields["inputs"] = [{"input": name, "lines": lines} for name, lines in inputs.counts(source.lines)]
        if self._rejects is not None:
            fields["rejected"] = source.rejected
            fields["rejected_lines"] = self._rejects.lines.kept
        if session.unknown:
            fields["unknown_lines"] = session.unknown
            fields["resume_by_tail"] = [{"tail": tail, "command": line} for tail, line in self._commands_by_tail()]
        if session.recognized:
            fields["recognized_lines"] = session.recognized
        if session.durable_beyond:
            fields["durable_beyond_next_line"] = session.durable_beyond
        return fields


def _quote_file(name: str) -> str:
    return shell_word("./" + name if name.startswith("-") else name)
