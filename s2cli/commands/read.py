"""`s2 read`: the records of a stream, from its beginning to its current end unless told otherwise; and `s2 tail`: the
last of them."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import DEFAULT_LIMIT_S, Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient
from s2cli.commands.connect import open_settings, stream_config_header
from s2cli.commands.read_formats import choose_format
from s2cli.commands.read_output import CommandWriter, RecordWriter, open_output
from s2cli.commands.read_plan import ReadPlan, find_tail, plan_read, plan_tail
from s2cli.commands.read_report import NEVER, ReadReport, terminate_as_interrupt, watch_signals
from s2cli.config.settings import Settings
from s2cli.errors import ApiError, ExitCode, UnreachableError
from s2cli.positions import Position
from s2cli.values import parse_option, parse_uri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.cli.read_args import PrintArgs, ReadArgs, TailArgs
    from s2cli.commands.read_cursor import ReadCursor
    from s2cli.commands.read_report import Stepper
    from s2cli.values import StreamUri


def read(args: ReadArgs) -> int:
    plan, config = plan_read(args), stream_config_header(args)
    if args.exec is not None:
        return _run_commands(args, args.exec, plan, config)
    return _print_records(args, plan, config, args.speed)


def tail(args: TailArgs) -> int:
    return _print_records(args, plan_tail(args))


def _print_records(args: PrintArgs, plan: ReadPlan, config: str | None = None, speed: float | None = None) -> int:
    if len(args.uris) > 1 or any(uri.endswith("*") for uri in args.uris):
        from s2cli.commands.read_many import print_merged

        return print_merged(args, plan, config, speed)
    return _print_stream(args, plan, config, speed)


def _print_stream(args: PrintArgs, plan: ReadPlan, config: str | None, speed: float | None) -> int:
    uri = Settings(args).stream_uri(args.uri, args.stream)
    selection = stepper = None
    if args.chooses and plan.count != 0:
        from s2cli.commands.read_selection import choose_selection

        selection, plan.count = choose_selection(args, plan.count), None
    record_format = choose_format(args, str(uri))
    settings = open_settings(args)
    cursor = _open_cursor(args, settings, str(uri), plan)
    file = open_output(
        args.output_file,
        in_place=args.follow or cursor is not None,
        kept_bytes=0 if cursor is None else cursor.output_bytes,
    )
    writer = RecordWriter(record_format, selection, file)
    if speed is not None and speed < NEVER:
        from s2cli.commands.read_pace import Pacer

        stepper = Pacer(speed, writer.fd)
    return _read_stream(args, settings, uri, plan, config, writer, stepper, cursor)


def _open_cursor(args: PrintArgs, settings: Settings, uri: str, plan: ReadPlan) -> ReadCursor | None:
    """The cursor of `--state`; None without that option. If it has a position, the plan starts there."""
    name = getattr(args, "state", None)
    if name is None:
        return None
    from s2cli.commands.read_cursor import ReadCursor

    cursor = ReadCursor(name, uri, settings.target(), args.output_file)
    if cursor.position is not None:
        plan.start = Position("seq_num", cursor.position)
    return cursor


def _run_commands(args: ReadArgs, command: str, plan: ReadPlan, config: str | None) -> int:
    from s2cli.commands.read_exec import CommandRunner
    from s2cli.commands.read_selection import choose_selection

    uri = Settings(args).stream_uri(args.uri, args.stream)
    selection = choose_selection(args, plan.count)
    if plan.count != 0:
        plan.count = None
    dead_letter = parse_option("--dead-letter", parse_uri, args.dead_letter) if args.dead_letter is not None else None
    settings = open_settings(args)
    cursor = _open_cursor(args, settings, str(uri), plan)
    runner = CommandRunner(
        command,
        str(uri),
        selection,
        parallel=args.parallel,
        retries=args.exec_retries,
        dead_letter=None if dead_letter is None else _open_client(args, settings, dead_letter, None),
    )
    return _read_stream(args, settings, uri, plan, config, CommandWriter(selection), runner, cursor)


def _open_client(args: PrintArgs, settings: Settings, uri: StreamUri, config: str | None) -> StreamClient:
    key, codings = settings.encryption_key(args.encryption_key_file), settings.codings(args.compression)
    return StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s, key, config, codings)


def _read_stream(
    args: PrintArgs,
    settings: Settings,
    uri: StreamUri,
    plan: ReadPlan,
    config: str | None,
    writer: RecordWriter,
    stepper: Stepper | None,
    cursor: ReadCursor | None = None,
) -> int:
    """Reads what the plan says, and writes or runs it. Returns the exit code."""
    stream = _open_client(args, settings, uri, config)
    waiter = Waiter(Interrupts())  # never entered: there is nothing to clean up, so signals end a read at once
    limit_s = DEFAULT_LIMIT_S if args.max_outage_s is None and not args.follow else args.max_outage_s
    retry = RetryPolicy(limit_s, console.notice)
    session = plan.open(stream, waiter, retry, bodies_only=writer.bodies_only and stepper is None)
    if session.tail is None and console.stderr_is_terminal():
        session.tail = find_tail(stream, waiter, retry)  # to show how far behind the read is
    on_written: Callable[[int], None] | None = None
    if cursor is not None:
        kept = cursor

        def on_written(position: int) -> None:
            kept.note(position, writer)

        terminate_as_interrupt()
    report = ReadReport(args, settings.target().command, str(uri), session, writer, stepper, on_written)
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
        watch_signals(report.tell_status)
        loop.run()
    except KeyboardInterrupt as interrupt:
        report.interrupted()
        return ExitCode.TERMINATED if interrupt.args else ExitCode.INTERRUPTED
    except UnreachableError as error:
        command = report.resume_command() if error.hint is None and session.delivered else None
        if command is None:
            raise
        raise error.reworded(hint=f"to resume: {command}") from error
    except ApiError as error:
        if error.damaged is None:
            raise
        raise error.reworded(hint="--skip-damaged leaves them out, and reads what comes behind them") from error
    finally:
        if cursor is not None:
            cursor.save(report.position, writer)
    writer.complete()
    report.close()
    if writer.selection is not None:
        writer.selection.check()
    loop.check_complete()
    return ExitCode.OK
