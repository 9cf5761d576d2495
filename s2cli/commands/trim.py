"""`s2 trim`: deletes the records before a sequence number."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import is_forbidden, keep_trying
from s2cli.commands.append import max_outage_s
from s2cli.commands.command_record import append_command
from s2cli.commands.confirm import can_ask, confirm
from s2cli.errors import PreconditionError, S2Error
from s2cli.wire.record_rules import TRIM, encode_trim_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args
    from s2cli.client.stream_client import StreamClient


def run(args: Args) -> int:
    point = args.trim_point
    return append_command(
        args,
        TRIM,
        encode_trim_point(point),
        ("trim_point", point),
        lambda error: False,
        lambda uri, stream: _is_meant(args, uri, stream),
    )


def _is_meant(args: Args, uri: str, stream: StreamClient) -> bool:
    """Whether the records before the trim point are to be deleted: a person at a terminal is asked. Raises
    PreconditionError for a point beyond the tail, which is hardly meant."""
    point = args.trim_point
    if not args.force:
        tail = _find_tail(args, stream)
        if point > tail:
            raise PreconditionError(
                f"{uri} ends at sequence number {tail}: a trim to {point} would delete every record of it",
                hint=f"a trim to {tail} deletes what is there now; --force does the one to {point}",
            )
    if args.yes or not point or not can_ask():
        return True
    meant = confirm(f"delete the records of {uri} before sequence number {point}?")
    stream.close()  # a person may take longer than a server keeps an idle connection
    return meant


def _find_tail(args: Args, stream: StreamClient) -> int:
    retry = RetryPolicy(max_outage_s(args), console.notice)
    try:
        return keep_trying(stream, Waiter(Interrupts()), retry, stream.check_tail)[0]
    except S2Error as error:
        if is_forbidden(error):
            error.hint = "the token must allow to ask for the tail, or --force trims without a look at it"
        raise
