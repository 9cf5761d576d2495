"""`s2 read`: the records of a stream, from its beginning to its current end unless told otherwise; and `s2 tail`: the
last of them."""

from __future__ import annotations

import time

from s2cli.amounts import format_count
from s2cli.cli import console
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import DEFAULT_LIMIT_S, Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient, is_forbidden, keep_trying
from s2cli.commands.connect import open_settings, stream_config_header
from s2cli.commands.read_formats import choose_format
from s2cli.commands.read_output import RecordWriter, open_output
from s2cli.commands.read_pace import MAX_SPEED, Pacer
from s2cli.commands.read_report import NEVER, ReadReport
from s2cli.commands.read_selection import choose_selection
from s2cli.config.settings import Settings
from s2cli.errors import ApiError, ExitCode, IncompleteError, S2Error, UnreachableError, UsageError
from s2cli.values import Position, parse_duration_ms, parse_option, parse_position
from s2cli.wire.read_session import FIRST_LIKELY_TIME, ReadSession, beyond_tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.read_args import PrintArgs, ReadArgs, TailArgs


def read(args: ReadArgs) -> int:
    now_ms = time.time_ns() // 1_000_000
    start = _start(args, now_ms)
    end = _position("--to", args.to, now_ms) if args.to is not None else None
    if args.until is not None:
        if end is not None:
            raise UsageError("--to and --until name two ends: give one of them")
        end = Position("timestamp", args.until)
    if end is not None:
        _refuse_backwards(start, end)
    return _print_records(
        args,
        start,
        end,
        clamp=args.clamp,
        count=args.count,
        bytes_limit=args.bytes,
        config=stream_config_header(args),
        speed=MAX_SPEED if args.speed is None else args.speed,
    )


def tail(args: TailArgs) -> int:
    return _print_records(args, Position("tail_offset", args.lines), None, clamp=True)


def _start(args: ReadArgs, now_ms: int) -> Position:
    given: list[tuple[str, Position]] = []
    if args.from_ is not None:
        given.append(("--from", _position("--from", args.from_, now_ms)))
    if args.seq_num is not None:
        given.append(("--seq-num", Position("seq_num", args.seq_num)))
    if args.timestamp is not None:
        given.append(("--timestamp", Position("timestamp", args.timestamp)))
    if args.ago is not None:
        ago_ms = parse_option("--ago", parse_duration_ms, args.ago)
        given.append(("--ago", Position("timestamp", max(0, now_ms - ago_ms))))
    if args.tail_offset is not None:
        given.append(("--tail-offset", Position("tail_offset", args.tail_offset)))
    if len(given) > 1:
        raise UsageError(f"{given[0][0]} and {given[1][0]} name two starts: give one of them")
    return given[0][1] if given else Position("start", 0)


def _position(option: str, text: str, now_ms: int) -> Position:
    return parse_option(option, lambda text: parse_position(text, now_ms), text)


def _refuse_backwards(start: Position, end: Position) -> None:
    """Raises UsageError where the end lies before the start, as far as that can be told without the stream."""
    (kind, first), (end_kind, last) = map(_counted, (start, end))
    if kind != end_kind:
        backwards = (end_kind, last) == ("seq_num", 0)  # before which nothing is
    elif kind == "tail_offset":  # counted backwards
        backwards = first < last
    else:
        backwards = first > last
    if backwards:
        raise UsageError("the read would end before it starts", hint="give the earlier position to --from")


def _counted(position: Position) -> tuple[str, int]:
    """`start` and `end` as what they are counted from."""
    kind = {"start": "seq_num", "end": "tail_offset"}.get(position.kind, position.kind)
    return kind, position.value


def _print_records(
    args: PrintArgs,
    start: Position,
    end: Position | None,
    *,
    clamp: bool,
    count: int | None = None,
    bytes_limit: int | None = None,
    config: str | None = None,
    speed: float = MAX_SPEED,
) -> int:
    """Reads from `start` to `end`, or to the tail of this moment; with `args.follow`, on and on."""
    uri = Settings(args).stream_uri(args.uri, args.stream)
    selection = choose_selection(args, count) if count != 0 else None
    if selection is not None:
        count = None
    writer = RecordWriter(choose_format(args, str(uri)), selection, open_output(args.output_file, follow=args.follow))
    settings = open_settings(args)
    target, key = settings.target(), settings.encryption_key(args.encryption_key_file)
    codings = settings.codings(args.compression)
    stream = StreamClient(target, uri.basin, uri.stream, settings.timeout_s, key, config, codings)
    waiter = Waiter(Interrupts())  # never entered: there is nothing to tidy up, so signals end a read as they are
    limit_s = args.max_outage_s
    if limit_s is None and not args.follow:
        limit_s = DEFAULT_LIMIT_S
    retry = RetryPolicy(limit_s, console.notice)
    tail = None
    if not args.follow or _needs_tail(start) or (end is not None and _needs_tail(end)):
        tail = _find_tail(stream, waiter, retry)
    session = _plan(
        start,
        end,
        tail,
        follow=args.follow,
        clamp=clamp,
        count=count,
        bytes_limit=bytes_limit,
        bodies_only=writer.bodies_only and speed == MAX_SPEED,
    )
    pacer = Pacer(speed, writer.fd) if speed < MAX_SPEED else None
    report = ReadReport(args, target.command, str(uri), session, writer, pacer)
    try:
        loop = ReadLoop(
            stream,
            session,
            report.write,
            writer.fd,
            waiter,
            retry,
            console.notice,
            args.transport,
            skips_damaged=args.skip_damaged,
            idle=report if report.due < NEVER else None,
        )
        report.watch_signals()
        loop.run()
    except KeyboardInterrupt:
        report.interrupted()
        return ExitCode.INTERRUPTED
    except UnreachableError as error:
        command = report.resume_command() if error.hint is None and session.delivered else None
        if command is None:
            raise
        raise error.reworded(hint=f"to resume: {command}") from error
    except ApiError as error:
        if error.damaged is None:
            raise
        raise error.reworded(hint="--skip-damaged leaves them out, and reads what comes behind them") from error
    writer.complete()
    report.close()
    if selection is not None and selection.failed:
        raise IncompleteError(f"the jq filter failed on {format_count(selection.failed, 'record', 'records')}")
    if loop.skipped:
        ranges = ", ".join(f"{first} to {last}" for first, last in loop.skipped)
        raise IncompleteError(f"damaged records were left out: {ranges}")
    return ExitCode.OK


def _needs_tail(position: Position) -> bool:
    return position.kind in ("tail_offset", "end")


def _find_tail(stream: StreamClient, waiter: Waiter, retry: RetryPolicy) -> int | None:
    """None where the token does not allow to ask: then the server decides where the tail is."""
    try:
        return keep_trying(stream, waiter, retry, stream.check_tail)[0]
    except S2Error as error:
        if is_forbidden(error):
            return None
        raise


def _plan(
    start: Position,
    end: Position | None,
    tail: int | None,
    *,
    follow: bool,
    clamp: bool,
    count: int | None,
    bytes_limit: int | None,
    bodies_only: bool,
) -> ReadSession:
    """Everything that depends on the tail is settled here, once: a reconnect must not move it."""
    name, value = _counted(start)
    if name == "tail_offset" and tail is not None:
        name, value = "seq_num", max(0, tail - value)
    if name == "seq_num" and tail is not None and value > tail:
        if not clamp:
            raise beyond_tail(value, tail)
        value = tail
    until = end.value if end is not None and end.kind == "timestamp" else None
    end_seq_num = None if follow else tail
    if end is not None and end.kind != "timestamp":
        wanted = _end_seq_num(end, tail)
        if tail is not None and wanted > tail and wanted >= FIRST_LIKELY_TIME:
            console.notice(f"--to {wanted} is a sequence number, far beyond the tail; a time is written --to @{wanted}")
        end_seq_num = wanted if end_seq_num is None else min(wanted, end_seq_num)
    if name == "timestamp" and until is not None and value >= until:
        count = 0  # the server would refuse a range that is empty
    return ReadSession(
        (name, value),
        follow=follow,
        # A start at a time after the last record is a start at the tail.
        clamp=(clamp and tail is None) or name == "timestamp",
        count=count,
        bytes_limit=bytes_limit,
        until=until,
        end_seq_num=end_seq_num,
        bodies_only=bodies_only,
    )


def _end_seq_num(end: Position, tail: int | None) -> int:
    if end.kind == "start":
        return 0
    if end.kind == "seq_num":
        return end.value
    if tail is None:
        raise UsageError("--to counts from the tail, but the access token does not allow check-tail")
    return max(0, tail - end.value)
