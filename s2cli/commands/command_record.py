"""What `trim` and `fence` share: one command record (protocol section 4.3), appended as carefully as any other."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.append_loop import AppendLoop, AppendOptions, Stopped
from s2cli.client.retry import Interrupts
from s2cli.client.stream_client import StreamClient
from s2cli.commands.append import explain_condition, fencing_token_bytes, inflight_bytes, max_outage_s
from s2cli.commands.append_report import OUTCOMES
from s2cli.commands.connect import open_settings
from s2cli.errors import ExitCode, S2Error, UndecidedError
from s2cli.formats.input import TextInput
from s2cli.wire.append_input import encode_headers, encode_record, encoded_records
from s2cli.wire.append_session import AppendSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.cli.args import Args


def append_command(
    args: Args,
    command: bytes,
    body: bytes,
    fact: tuple[str, object],
    is_done: Callable[[S2Error], bool],
    is_meant: Callable[[str, StreamClient], bool] = lambda uri, stream: True,
) -> int:
    """Appends a command record and says so; `fact` is its name and value for people and in JSON. `is_done` tells of an
    error whether the command has taken effect all the same. `is_meant` decides, before anything is appended."""
    settings = open_settings(args)
    uri = settings.stream_uri(args.uri)
    stream = StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s, settings.encryption_key())
    if not is_meant(str(uri), stream):
        return ExitCode.FAILURE
    session = AppendSession(fencing_token=fencing_token_bytes(args), demanded=args.match_seq_num)
    options = AppendOptions(inflight_bytes=inflight_bytes(stream), max_outage_s=max_outage_s(args))
    headers = [(b"", command)]
    record = encode_record(body, encode_headers(headers))
    with Interrupts() as interrupts:
        loop = AppendLoop(stream, session, TextInput(b"\n"), None, options, interrupts, console.notice, console.detail)
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
            if not is_done(error):
                raise explain_condition(error, args, str(uri), 0) from error.__cause__
    _report(args, str(uri), session, fact)
    return 0


def _report(args: Args, uri: str, session: AppendSession, fact: tuple[str, object]) -> None:
    name, value = fact
    seq_num = session.last_seq_num
    shown = f'"{value}"' if isinstance(value, str) else value
    what = f"{name.replace('_', ' ')} {shown}" if value != "" else "the end of the fence"
    where = "in effect already" if seq_num is None else f"appended at {seq_num}"
    if session.tail is not None:
        where += f" // tail: {session.tail[0]} @ {session.tail[1]}"
    text = f"{uri}: {what} {where}"
    if args.output is None:
        console.notice(text)
        return
    tail = None if session.tail is None else {"seq_num": session.tail[0], "timestamp": session.tail[1]}
    try:
        console.print_json({"stream": uri, name: value, "seq_num": seq_num, "tail": tail, "outcome": OUTCOMES[0]})
    except S2Error:
        console.notice(text)  # it is done, whoever cannot be told on stdout
        raise
