"""The copy of one stream: what is read where, which batches it makes, and where it resumes."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.append_loop import AppendOptions, Stopped
from s2cli.client.checkpoint import Checkpoint
from s2cli.client.copy_source import MAX_QUEUED_BYTES, CopySource
from s2cli.client.exact_append import ExactAppendLoop
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import DEFAULT_LIMIT_S, Interrupted, Interrupts, RetryPolicy, Waiter
from s2cli.client.state_file import StateFile
from s2cli.client.stream_client import StreamClient, is_missing, keep_trying
from s2cli.commands.append import inflight_bytes
from s2cli.commands.copy_choice import choose_records, describe_choice
from s2cli.commands.copy_report import CopyReport
from s2cli.errors import ApiError, ExitCode, PreconditionError, S2Error
from s2cli.wire.copied_records import Copier, CopySession
from s2cli.wire.exact_session import ExactSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from s2cli.cli.copy_args import CopyArgs
    from s2cli.client.append_position import Creation
    from s2cli.client.connection import Connection
    from s2cli.client.copy_source import Write
    from s2cli.config.settings import Settings
    from s2cli.positions import Position
    from s2cli.values import StreamUri

    Answer = TypeVar("Answer")
    Pair = tuple[StreamUri, StreamUri]
    Keys = tuple[str | None, str | None]

# Read and not sent, and as much sent and not acknowledged, where many streams are followed at once.
FOLLOWED_BYTES = 1024 * 1024


class StreamCopy:
    """run() copies, in any thread; show() tells of it then. `pair`, `settings` and `keys` are those of the source and
    of the target; `is_one_of_many` means that what is told names the stream, and that a state is one of several."""

    def __init__(
        self, args: CopyArgs, pair: Pair, settings: tuple[Settings, Settings], keys: Keys, *, is_one_of_many: bool
    ) -> None:
        """Raises UsageError for options that choose records and cannot be understood."""
        self._args = args
        self.source_uri, self.target_uri = pair
        self._source_target, self._target_target = settings[0].target(), settings[1].target()
        self._source = _client(settings[0], self.source_uri, keys[0], args.compression)
        self._target = _client(settings[1], self.target_uri, keys[1], args.compression)
        self._is_one_of_many = is_one_of_many
        self._choice = choose_records(args)
        self._copier = Copier(
            with_commands=args.commands == "send", choose=None if self._choice is None else self._choice.choose
        )
        self._waiter = Waiter(Interrupts())  # for the read; signals reach the append
        self._retry = RetryPolicy(None if args.follow else self._max_outage_s, self._notice)
        self._session = ExactSession(compression=next(iter(self._target.codings), None), describe_lines=_describe)
        self._report: CopyReport | None = None
        self._code: int = ExitCode.OK
        self._whole = False
        self.failure: S2Error | None = None
        self.is_source_gone = False  # the failure is that the source was deleted
        self.crash: BaseException | None = None  # what else ended run(), in its thread

    @property
    def _max_outage_s(self) -> float:
        return DEFAULT_LIMIT_S if self._args.max_outage_s is None else self._args.max_outage_s

    @property
    def copied(self) -> int:
        """How many records are in the copy by this command."""
        return self._session.durable

    @property
    def copied_bytes(self) -> int:
        return self._session.bytes

    def _notice(self, text: str) -> None:
        console.notice(f"{self.source_uri}: {text}" if self._is_one_of_many else text)

    def run(self, start: Position | None, end: Position | None, interrupts: Interrupts, *, live: bool) -> None:
        """Copies until the end, or until a signal comes. What ends it early is `failure`. With `live` its live line
        stands on the terminal."""
        try:
            self._run(start, end, interrupts, live=live)
            self._whole = True
            if self._choice is not None:
                self._choice.check()
        except (Stopped, Interrupted):
            self._code = interrupts.exit_code
        except S2Error as error:
            self.failure = error
            self._code = error.exit_code

    def _run(self, start: Position | None, end: Position | None, interrupts: Interrupts, *, live: bool) -> None:
        args, session = self._args, self._session
        checkpoint = self._open_checkpoint()
        checkpoint.resume(session, _Unread())
        try:
            reading = self._plan(start, end, checkpoint, Waiter(interrupts))
        except S2Error as error:
            self.is_source_gone = _is_gone(error)
            raise
        session.lines = reading.cursor or 0

        def pass_to(seq_num: int) -> None:
            if not session.in_flight and seq_num > session.lines:
                session.lines = seq_num
                if append.has_begun:
                    checkpoint.note(session)

        most_bytes = FOLLOWED_BYTES if self._is_one_of_many and args.follow else None
        source = CopySource(reading, self._copier, self._read, pass_to, most_bytes=most_bytes or MAX_QUEUED_BYTES)
        self._report = CopyReport(self.source_uri, self.target_uri, session, self._copier, reading)
        options = AppendOptions(
            inflight_bytes=most_bytes or inflight_bytes(self._target),
            max_outage_s=self._max_outage_s,
            create=_creation() if args.create else None,
            create_on_append=True,
        )
        tick = self._report.show_progress if live else None
        append = ExactAppendLoop(
            self._target, session, source, source, options, interrupts, self._notice, console.detail, tick, checkpoint
        )
        source.start()
        whole = False
        try:
            append.run()
            if interrupts.count:
                raise Stopped
            pass_to(source.passed)
            whole = source.error is None and end is None
        finally:
            if append.has_begun:
                checkpoint.finish(session, whole=whole)
        if source.error is not None:
            self.is_source_gone = _is_gone(source.error)
            raise source.error

    def forgive(self) -> None:
        """Takes the failure for the end of the copy."""
        self.failure, self._code, self._whole = None, ExitCode.OK, True

    def show(self) -> int:
        """Tells what was copied; the exit code."""
        if self._report is not None:
            self._report.show(self._code, whole=self._whole, as_json=self._args.output is not None)
        return self._code

    def _read(self, session: CopySession, write: Write) -> None:
        ReadLoop(self._source, session, write, -1, self._waiter, self._retry, self._notice).run()

    def _open_checkpoint(self) -> Checkpoint:
        args = self._args
        place: dict[str, object] = {
            "command": "copy",
            "source": str(self.source_uri),
            "source server": self._source_target.server,
            "stream": str(self.target_uri),
            "server": self._target_target.server,
        }
        choice = describe_choice(args)
        which = [*map(str, place.values()), args.from_ or "", choice or ""]
        name = args.state or f"copy-{self.source_uri.basin}"
        if args.state is None or self._is_one_of_many:
            name += f"-{_digest(which)}"
        return Checkpoint(StateFile(name), {**place, "choice of records": choice})

    def _plan(
        self, start: Position | None, end: Position | None, checkpoint: Checkpoint, waiter: Waiter
    ) -> CopySession:
        """Where the read starts and ends, as sequence numbers: a tail or a time is looked up here, once."""
        tail = self._ask(waiter, self._source.check_tail)[0]
        if checkpoint.has_resumed:
            first = checkpoint.resumed_line - 1
        else:
            first = 0 if start is None else self._seq_num(start, tail, waiter)
        if first > tail:
            again = ": it was deleted and created again" if checkpoint.has_resumed else ""
            raise PreconditionError(
                f"{self.source_uri} ends at sequence number {tail}, before {first}, where the copy is to start{again}"
            )
        bodies_only = self._choice is None or self._choice.bodies_only
        if self._args.follow:
            return CopySession(("seq_num", first), follow=True, bodies_only=bodies_only)
        last = tail if end is None else min(tail, self._seq_num(end, tail, waiter))
        return CopySession(("seq_num", first), end_seq_num=max(first, last), bodies_only=bodies_only)

    def _seq_num(self, position: Position, tail: int, waiter: Waiter) -> int:
        if position.kind == "timestamp":
            return self._ask(
                waiter, lambda connection, waiter: self._source.find_time(connection, waiter, position.value)
            )
        if position.kind == "tail_offset":
            return max(0, tail - position.value)
        return {"start": 0, "end": tail}.get(position.kind, position.value)

    def _ask(self, waiter: Waiter, ask: Callable[[Connection, Waiter], Answer]) -> Answer:
        return keep_trying(self._source, waiter, self._retry, ask)


class _Unread:
    """A copy begins to read where the run before ended."""

    def skip(self, lines: int, *, absent: int = 0) -> None:
        """There is nothing to pass over."""


def _is_gone(error: S2Error) -> bool:
    return is_missing(error) or (isinstance(error, ApiError) and error.code == "stream_deletion_pending")


def _client(settings: Settings, uri: StreamUri, key: str | None, compression: str | None) -> StreamClient:
    codings = settings.codings(compression)
    return StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s, key, None, codings)


def _creation() -> Creation:
    from s2cli.commands.resource_options import new_request_token

    return {}, new_request_token()


def _digest(words: list[str]) -> str:
    """Names a state: the same each time that the same copy is run."""
    import hashlib

    return hashlib.blake2b("\0".join(words).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _describe(ranges: list[tuple[int, int]]) -> str:
    from s2cli.wire.ranges import format_lines

    numbers = [(first - 1, last - 1) for first, last in ranges]
    return format_lines(numbers).replace("line", "record", 1)
