"""`s2 append`: lines of the input into records of a stream."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.client.append_loop import AppendLoop, AppendOptions, Stopped
from s2cli.client.retry import DEFAULT_LIMIT_S, SIGTERM, Interrupts
from s2cli.client.stream_client import StreamClient
from s2cli.commands.append_inputs import AppendInput
from s2cli.commands.append_report import Account
from s2cli.commands.connect import open_stream, stream_config_header
from s2cli.config.settings import Settings
from s2cli.endpoints import is_loopback
from s2cli.errors import (
    BadInputError,
    FencingTokenMismatchError,
    MissingTimestampError,
    S2Error,
    SeqNumMismatchError,
    UsageError,
)
from s2cli.wire.append_session import AppendSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.cli.record_args import AppendArgs, ConditionArgs, RecordArgs
    from s2cli.client.append_position import Creation
    from s2cli.client.checkpoint import Checkpoint
    from s2cli.client.input_files import InputFiles
    from s2cli.client.program_input import ProgramInput
    from s2cli.client.rate_limiter import RateLimiter
    from s2cli.endpoints import Target
    from s2cli.formats.input import TextInput

# Two MiB less cost a bulk load 10 %, four more make the neighbours on the same server wait twice as long.
NEARBY_INFLIGHT_BYTES = 4 * 1024 * 1024
# 100 MiB/s at a round trip of 80 ms
FAR_INFLIGHT_BYTES = 8 * 1024 * 1024


def append(args: AppendArgs) -> int:
    if args.inflight_bytes == 0:
        raise UsageError("--inflight 0 would never send anything", hint="give a size, for example --inflight 4MiB")
    config = stream_config_header(args)
    no_stream = f"{args.inputs[0]} is taken for a file: a stream begins with s2://" if args.inputs else None
    if args.dry_run:
        return _dry_run(args, no_stream)
    settings, uri = open_stream(args, hint=no_stream)
    target = settings.target()
    key, codings = settings.encryption_key(args.encryption_key_file), settings.codings(args.compression)
    stream = StreamClient(target, uri.basin, uri.stream, settings.timeout_s, key, config, codings)
    rate_limiter = _rate_limiter(args)
    opened = AppendInput(args, rate_limiter)
    inputs, source, rejects = opened.files, opened.source, opened.rejects
    checkpoint = None if args.state is None else _open_checkpoint(args.state, str(uri), target, opened)
    session = _open_session(args, stream, inputs)
    options = _loop_options(args, stream, rate_limiter)
    # Where lines are typed, a live line would stand where the next one is, and there is no file to resume with.
    resumes = not opened.typed and not args.program and not args.follow_file
    account = Account(args, None if not resumes else target.command, str(uri), session, source, inputs, rejects)
    tick = account.show_progress if console.stderr_is_terminal() and not opened.typed else None
    code = 0
    failure: S2Error | None = None
    whole = False
    with _interrupts(opened.program) as interrupts:
        try:
            if opened.program is not None:
                opened.program.start()
            _run(stream, session, source, inputs, options, interrupts, tick, checkpoint)
            if interrupts.count:
                raise Stopped
            failure = source.error
            whole = failure is None
            if isinstance(failure, BadInputError):
                failure = inputs.name_line(failure)
            elif whole and rejects is not None:
                failure = rejects.error()
        except Stopped:
            code = interrupts.exit_code
        except S2Error as error:
            failure = _explain(error, args, str(uri), session.durable)
    if failure is not None:
        code = failure.exit_code
    console.status("")
    account.show(code, whole=whole, as_json=args.output is not None)
    if failure is not None:
        if opened.program is not None:
            opened.program.send_signal(SIGTERM)
        raise failure
    return code if code or opened.program is None else opened.program.exit_code


def _dry_run(args: AppendArgs, hint: str | None) -> int:
    from s2cli.commands.append_dry_run import dry_run

    uri = Settings(args).stream_uri(args.uri, args.stream, hint=hint)
    opened = AppendInput(args)
    return dry_run(str(uri), opened.source, opened.files, opened.rejects, as_json=args.output is not None)


def _loop_options(args: AppendArgs, stream: StreamClient, rate_limiter: RateLimiter | None) -> AppendOptions:
    return AppendOptions(
        inflight_bytes=inflight_bytes(stream) if args.inflight_bytes is None else args.inflight_bytes,
        linger_ms=args.linger_ms,
        max_outage_s=max_outage_s(args),
        create=_creation(args),
        create_on_append=True,
        transport=args.transport,
        rate_limiter=rate_limiter,
    )


def _interrupts(program: ProgramInput | None) -> Interrupts:
    if program is None:
        return Interrupts()
    from s2cli.client.program_input import PassedOnInterrupts

    return PassedOnInterrupts(program, has_terminal=console.stdin_is_terminal())


def _open_session(args: AppendArgs, stream: StreamClient, inputs: InputFiles) -> AppendSession:
    fencing_token, compression = fencing_token_bytes(args), next(iter(stream.codings), None)
    if args.exactly_once:
        from s2cli.wire.exact_session import ExactSession

        return ExactSession(
            fencing_token=fencing_token,
            demanded=args.match_seq_num,
            compression=compression,
            describe_lines=inputs.describe,
        )
    return AppendSession(
        fencing_token=fencing_token,
        demanded=args.match_seq_num,
        policy=args.on_lost_ack,
        compression=compression,
        describe_lines=inputs.describe,
    )


def _open_checkpoint(state: str, uri: str, target: Target, opened: AppendInput) -> Checkpoint:
    from s2cli.client.state_file import StateFile

    place: dict[str, object] = {"command": "append", "stream": uri, "server": target.server}
    if opened.followed is not None:
        from s2cli.client.followed_checkpoint import FollowedCheckpoint

        place.update({"command": "append --follow-file", "file name": os.path.abspath(opened.followed.name)})
        return FollowedCheckpoint(StateFile(state), place, opened.followed)
    from s2cli.client.checkpoint import Checkpoint

    checkpoint = Checkpoint(StateFile(state), place)
    opened.files.watch = checkpoint.see
    return checkpoint


def _run(
    stream: StreamClient,
    session: AppendSession,
    source: TextInput,
    inputs: InputFiles,
    options: AppendOptions,
    interrupts: Interrupts,
    tick: Callable[[], None] | None,
    checkpoint: Checkpoint | None,
) -> None:
    """Raises as AppendLoop.run() does."""
    notice, detail = console.notice, console.detail
    if type(session) is AppendSession:
        AppendLoop(stream, session, source, inputs, options, interrupts, notice, detail, tick).run()
        return
    from s2cli.client.exact_append import ExactAppendLoop
    from s2cli.wire.exact_session import ExactSession

    assert isinstance(session, ExactSession)
    if checkpoint is not None:
        checkpoint.resume(session, source)
        if checkpoint.resumed_line > 1:
            notice(f"{checkpoint.resumed_line - 1} lines are durable since an earlier run: resuming after them")
    loop = ExactAppendLoop(
        stream, session, source, inputs, options, interrupts, notice, detail, tick, checkpoint=checkpoint
    )
    whole = False
    try:
        loop.run()
        if checkpoint is not None and source.error is None and not interrupts.count:
            checkpoint.end_of_input(source.lines)
            whole = True
    finally:
        if checkpoint is not None and loop.has_begun:
            checkpoint.finish(session, whole=whole)


def inflight_bytes(stream: StreamClient) -> int:
    """How many bytes may be sent but not acked, unless an option says so: more for a server that is far away."""
    peer = stream.peer
    nearby = peer.socket_path is not None or is_loopback(peer.host)
    return NEARBY_INFLIGHT_BYTES if nearby else FAR_INFLIGHT_BYTES


def max_outage_s(args: RecordArgs) -> float:
    """How long an append keeps trying without a server, in seconds."""
    return DEFAULT_LIMIT_S if args.max_outage_s is None else args.max_outage_s


def fencing_token_bytes(args: ConditionArgs) -> bytes | None:
    """The fencing token that every batch names; None if none was given. Raises BadValueError."""
    if args.fencing_token is None:
        return None
    from s2cli.wire.names import check_fencing_token

    check_fencing_token(args.fencing_token)
    return args.fencing_token.encode()


def _rate_limiter(args: AppendArgs) -> RateLimiter | None:
    if args.rate is None:
        return None
    from s2cli.client.rate_limiter import RateLimiter

    return RateLimiter(args.rate)


def _creation(args: AppendArgs) -> Creation | None:
    if not args.create:
        return None
    from s2cli.commands.resource_options import new_request_token, stream_config

    return stream_config(args), new_request_token()


def name_condition(error: S2Error, args: ConditionArgs, uri: str, durable: int) -> S2Error:
    """A condition that failed, with the name of the stream and what was demanded; other errors as they are.
    `durable`: how many records of this command are in the stream already."""
    if isinstance(error, SeqNumMismatchError) and args.match_seq_num is not None:
        demanded = args.match_seq_num + durable
        return error.reworded(
            f"the next sequence number of {uri} is {error.expected}, not {demanded} as --match-seq-num demands"
        )
    if isinstance(error, FencingTokenMismatchError):
        fenced = f'is fenced by "{error.token}"' if error.token else "is not fenced"
        given = "no token" if args.fencing_token is None else f'"{args.fencing_token}"'
        return error.reworded(f"{uri} {fenced}, and {given} was given")
    return error


def _explain(error: S2Error, args: AppendArgs, uri: str, durable: int) -> S2Error:
    """A stream may demand what the format `text` cannot give."""
    if isinstance(error, MissingTimestampError):
        if args.format == "text":
            wanted = 'timestamps: --format json, with lines like {"timestamp":1767225600000,"body":"…"}'
        else:
            wanted = 'a "timestamp", in milliseconds, in every record'
        return error.reworded(hint=f"this stream needs {wanted}")
    return name_condition(error, args, uri, durable)
