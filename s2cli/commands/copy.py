"""`s2 copy`: copies the records of streams to other streams, each record once."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client import api
from s2cli.client.append_loop import AppendOptions, Stopped
from s2cli.client.checkpoint import Checkpoint
from s2cli.client.copy_source import CopySource
from s2cli.client.exact_append import ExactAppendLoop
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import DEFAULT_LIMIT_S, Interrupts, RetryPolicy, Waiter
from s2cli.client.state_file import StateFile
from s2cli.client.stream_client import StreamClient, keep_trying
from s2cli.commands.append import inflight_bytes
from s2cli.commands.copy_report import CopyReport
from s2cli.config.settings import Settings
from s2cli.errors import ExitCode, PreconditionError, S2Error, UsageError
from s2cli.positions import parse_position
from s2cli.values import S2Uri, StreamUri, parse_option, parse_resource
from s2cli.wire.copied_records import Copier, CopySession
from s2cli.wire.exact_session import ExactSession
from s2cli.wire.names import check_basin_name, check_stream_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from s2cli.cli.copy_args import CopyArgs
    from s2cli.client.append_position import Creation
    from s2cli.client.connection import Connection
    from s2cli.client.copy_source import Write
    from s2cli.positions import Position

    Answer = TypeVar("Answer")


def copy(args: CopyArgs) -> int:
    source, target = _parse(args.source), _parse(args.target)
    many = _names_many(source)
    if many != _names_many(target):
        raise UsageError(
            f"{args.source} and {args.target} are not of a kind: copy a stream to a stream, or all below a basin or a "
            "name with a slash at its end to such a place"
        )
    if many and args.follow:
        raise UsageError("--follow copies one stream, not all below a name")
    now_ms = time.time_ns() // 1_000_000
    start = _position("--from", args.from_, now_ms)
    end = _position("--to", args.to, now_ms)
    source_settings, target_settings = _settings(args, args.src_profile), _settings(args, args.dst_profile)
    with Interrupts() as interrupts:
        for source_uri, target_uri in _pairs(source, target, source_settings):
            one = _Copy(args, source_uri, target_uri, source_settings, target_settings)
            code = one.run(start, end, interrupts)
            if code != ExitCode.OK:
                return code
    return ExitCode.OK


def _parse(text: str) -> S2Uri:
    uri = parse_resource(text)
    check_basin_name(uri.basin)
    if uri.stream is not None and not uri.stream.endswith("/"):
        check_stream_name(uri.stream)
    return uri


def _names_many(uri: S2Uri) -> bool:
    return uri.stream is None or uri.stream.endswith("/")


def _position(option: str, text: str | None, now_ms: int) -> Position | None:
    return None if text is None else parse_option(option, lambda text: parse_position(text, now_ms), text)


def _settings(args: CopyArgs, profile: str | None) -> Settings:
    """The settings of the source or the target. A profile of its own replaces every option that says where to
    connect."""
    if profile is None:
        return Settings(args)
    side = type(args)(args.command)
    vars(side).update(vars(args))
    side.profile, side.local = profile, False
    side.account_endpoint = side.basin_endpoint = side.access_token_file = None
    return Settings(side)


def _pairs(source: S2Uri, target: S2Uri, settings: Settings) -> Iterator[tuple[StreamUri, StreamUri]]:
    """Each stream to copy, with the stream to copy it to."""
    if not _names_many(source):
        assert source.stream is not None
        assert target.stream is not None
        yield StreamUri(source.basin, source.stream), StreamUri(target.basin, target.stream)
        return
    prefix, new_prefix = source.stream or "", target.stream or ""
    client = api.ApiClient(settings.target(), settings.timeout_s, console.notice)
    found = False
    for page in api.pages(lambda after, limit: api.list_streams(client, source.basin, prefix, after, limit), "", None):
        for item in page:
            name = str(item.get("name"))
            if item.get("deleted_at") is None:
                found = True
                new_name = new_prefix + name.removeprefix(prefix)
                check_stream_name(new_name)
                yield StreamUri(source.basin, name), StreamUri(target.basin, new_name)
    client.close()
    if not found:
        console.notice(f"no stream is below {source}")


class _Copy:
    """Copies one stream to another."""

    def __init__(
        self,
        args: CopyArgs,
        source_uri: StreamUri,
        target_uri: StreamUri,
        source_settings: Settings,
        target_settings: Settings,
    ) -> None:
        self._args = args
        self._source_uri = source_uri
        self._target_uri = target_uri
        self._source_target = source_settings.target()
        self._target_target = target_settings.target()
        self._source = _client(source_settings, source_uri, args.src_key_file, args.compression)
        self._target = _client(target_settings, target_uri, args.dst_key_file, args.compression)
        self._waiter = Waiter(Interrupts())  # for the read; signals reach the append
        self._retry = RetryPolicy(None if args.follow else self._max_outage_s, console.notice)

    @property
    def _max_outage_s(self) -> float:
        return DEFAULT_LIMIT_S if self._args.max_outage_s is None else self._args.max_outage_s

    def run(self, start: Position | None, end: Position | None, interrupts: Interrupts) -> int:
        args = self._args
        session = ExactSession(compression=next(iter(self._target.codings), None), describe_lines=_describe)
        checkpoint = self._open_checkpoint()
        checkpoint.resume(session)
        reading = self._plan(start, end, checkpoint)
        session.lines = reading.cursor or 0
        copier = Copier(with_commands=args.commands == "send")
        source = CopySource(reading, copier, self._read)
        report = CopyReport(self._source_uri, self._target_uri, session, copier, reading)
        options = AppendOptions(
            inflight_bytes=inflight_bytes(self._target),
            max_outage_s=self._max_outage_s,
            create=_creation() if args.create else None,
            create_on_append=True,
        )
        tick = report.show_progress if console.stderr_is_terminal() else None
        append = ExactAppendLoop(
            self._target, session, source, source, options, interrupts, console.notice, console.detail, tick, checkpoint
        )
        code = ExitCode.OK
        failure: S2Error | None = None
        source.start()
        try:
            append.run()
            if interrupts.count:
                raise Stopped
            failure = source.error
        except Stopped:
            code = interrupts.exit_code
        except S2Error as error:
            failure = error
        finally:
            if append.has_begun:
                checkpoint.finish(session)
        if failure is not None:
            code = failure.exit_code
        console.status("")
        report.show(code, as_json=args.output is not None)
        if failure is not None:
            raise failure
        return code

    def _read(self, session: CopySession, write: Write) -> None:
        ReadLoop(self._source, session, write, -1, self._waiter, self._retry, console.notice).run()

    def _open_checkpoint(self) -> Checkpoint:
        args = self._args
        place: dict[str, object] = {
            "command": "copy",
            "source": str(self._source_uri),
            "source server": self._source_target.server,
            "stream": str(self._target_uri),
            "server": self._target_target.server,
        }
        how = [*map(str, place.values()), args.from_ or "", args.commands]
        name = args.state or _own_name(self._source_uri, how)
        return Checkpoint(StateFile(name), place)

    def _plan(self, start: Position | None, end: Position | None, checkpoint: Checkpoint) -> CopySession:
        """Where the read starts and ends, as sequence numbers: a tail or a time is looked up here, once."""
        tail = self._ask(self._source.check_tail)[0]
        if checkpoint.has_resumed:
            first = checkpoint.resumed_line - 1
        else:
            first = 0 if start is None else self._seq_num(start, tail)
        if first > tail:
            again = ": it was deleted and created again" if checkpoint.has_resumed else ""
            raise PreconditionError(
                f"{self._source_uri} ends at sequence number {tail}, before {first}, where the copy is to start{again}"
            )
        if self._args.follow:
            return CopySession(("seq_num", first), follow=True)
        last = tail if end is None else min(tail, self._seq_num(end, tail))
        return CopySession(("seq_num", first), end_seq_num=max(first, last))

    def _seq_num(self, position: Position, tail: int) -> int:
        if position.kind == "timestamp":
            return self._ask(lambda connection, waiter: self._source.find_time(connection, waiter, position.value))
        if position.kind == "tail_offset":
            return max(0, tail - position.value)
        return {"start": 0, "end": tail}.get(position.kind, position.value)

    def _ask(self, ask: Callable[[Connection, Waiter], Answer]) -> Answer:
        return keep_trying(self._source, self._waiter, self._retry, ask)


def _client(settings: Settings, uri: StreamUri, key_file: str | None, compression: str | None) -> StreamClient:
    key, codings = settings.encryption_key(key_file), settings.codings(compression)
    return StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s, key, None, codings)


def _creation() -> Creation:
    from s2cli.commands.resource_options import new_request_token

    return {}, new_request_token()


def _own_name(source: StreamUri, how: list[str]) -> str:
    """The name of the state where --state gives none: the same each time that the same copy is run."""
    import hashlib

    digest = hashlib.blake2b("\0".join(how).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"copy-{source.basin}-{digest}"


def _describe(ranges: list[tuple[int, int]]) -> str:
    from s2cli.wire.ranges import format_lines

    numbers = [(first - 1, last - 1) for first, last in ranges]
    return format_lines(numbers).replace("line", "record", 1)
