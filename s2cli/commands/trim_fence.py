"""`s2 trim` and `s2 fence`: one command record (protocol section 4.3), appended as carefully as any other."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.append_loop import AppendLoop, AppendOptions, Stopped
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient, is_forbidden, keep_trying
from s2cli.commands.append import fencing_token_bytes, inflight_bytes, max_outage_s, name_condition
from s2cli.commands.append_report import OUTCOMES
from s2cli.commands.connect import open_stream
from s2cli.errors import ExitCode, FencingTokenMismatchError, PreconditionError, S2Error, UndecidedError
from s2cli.formats.input import open_input
from s2cli.values import parse_u64
from s2cli.wire.append_input import encode_headers, encode_record, encoded_records
from s2cli.wire.append_session import AppendSession
from s2cli.wire.names import check_fencing_token
from s2cli.wire.record_rules import FENCE, TRIM, encode_trim_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.record_args import CommandArgs, FenceArgs, TrimArgs
    from s2cli.values import StreamUri


def trim(args: TrimArgs) -> int:
    """Deletes the records before a sequence number. A person at a terminal is asked before."""
    point = parse_u64(args.value or "", args.value_name)
    uri, stream = _open(args)
    if not args.force:
        _refuse_beyond_tail(args, uri, stream, point)
    if not args.yes and point and console.can_ask():
        if not console.confirm(f"delete the records of {uri} before sequence number {point}?"):
            return ExitCode.FAILURE
        stream.close()  # a person may take longer than a server keeps an idle connection
    return _append(args, uri, stream, TRIM, encode_trim_point(point), "trim_point", point)


def fence(args: FenceArgs) -> int:
    """Sets the fencing token that appends must name."""
    token = args.value or ""
    check_fencing_token(token)
    uri, stream = _open(args)
    try:
        return _append(args, uri, stream, FENCE, token.encode(), "fencing_token", token)
    except FencingTokenMismatchError as error:
        if error.token != token:
            raise
        # The token is the new one already: somebody, perhaps we before a loss, has set it.
        return _report(args, uri, None, "fencing_token", token)


def _open(args: CommandArgs) -> tuple[StreamUri, StreamClient]:
    settings, uri = open_stream(args)
    key = settings.encryption_key(args.encryption_key_file)
    return uri, StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s, key)


def _refuse_beyond_tail(args: TrimArgs, uri: StreamUri, stream: StreamClient, point: int) -> None:
    retry = RetryPolicy(max_outage_s(args), console.notice)
    try:
        tail, _ = keep_trying(stream, Waiter(Interrupts()), retry, stream.check_tail)
    except S2Error as error:
        if is_forbidden(error):
            hint = "the token needs the operation check-tail; --force trims without checking the tail"
            raise error.reworded(hint=hint) from error
        raise
    if point > tail:
        raise PreconditionError(
            f"{uri} ends at sequence number {tail}: a trim to {point} would delete every record of it",
            hint=f"a trim to {tail} deletes what is there now; --force does the one to {point}",
        )


def _append(
    args: CommandArgs, uri: StreamUri, stream: StreamClient, command: bytes, body: bytes, name: str, value: object
) -> int:
    """Appends the record and says so; `name` and `value` are what it sets, for people and in JSON."""
    session = AppendSession(fencing_token=fencing_token_bytes(args), demanded=args.match_seq_num)
    options = AppendOptions(inflight_bytes=inflight_bytes(stream), max_outage_s=max_outage_s(args))
    record = encode_record(body, encode_headers([(b"", command)]))
    with Interrupts() as interrupts:
        loop = AppendLoop(
            stream, session, open_input("text", b"\n", []), None, options, interrupts, console.notice, console.detail
        )
        loop.add(encoded_records([record], len(body)))
        try:
            loop.run()
        except Stopped:
            if session.unknown:
                console.warn(f"{uri}: it is undecided whether the {command.decode()} was appended")
            return interrupts.exit_code
        except UndecidedError as error:
            raise UndecidedError(f"the {command.decode()} was appended", error.reason) from error
        except S2Error as error:
            raise name_condition(error, args, str(uri), 0) from error
    return _report(args, uri, session, name, value)


def _report(args: CommandArgs, uri: StreamUri, session: AppendSession | None, name: str, value: object) -> int:
    """`session` is None where the value was in effect already."""
    seq_num, tail = (session.last_seq_num, session.tail) if session is not None else (None, None)
    shown = f'"{value}"' if isinstance(value, str) else value
    what = f"{name.replace('_', ' ')} {shown}" if value != "" else "the end of the fence"
    text = f"{uri}: {what} " + ("in effect already" if seq_num is None else f"appended at {seq_num}")
    if tail is not None:
        text += f" // tail: {tail[0]} @ {tail[1]}"
    console.done(text, told=args.output is None)
    if args.output is not None:
        tail_fields = None if tail is None else {"seq_num": tail[0], "timestamp": tail[1]}
        fields = {"stream": str(uri), name: value, "seq_num": seq_num, "tail": tail_fields, "outcome": OUTCOMES[0]}
        console.print_json(fields)
    return ExitCode.OK
