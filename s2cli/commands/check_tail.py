"""`s2 check-tail`: where the next record will be (protocol section 9.2)."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter, call_policy
from s2cli.client.stream_client import StreamClient, keep_trying
from s2cli.commands.connect import open_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.record_args import CheckTailArgs


def check_tail(args: CheckTailArgs) -> int:
    settings, uri = open_stream(args)
    stream = StreamClient(settings.target(), uri.basin, uri.stream, settings.timeout_s)
    if args.max_outage_s is None:
        retry = call_policy(stream.timeout_s, console.notice)
    else:
        retry = RetryPolicy(args.max_outage_s, console.notice)
    seq_num, timestamp = keep_trying(stream, Waiter(Interrupts()), retry, stream.check_tail)
    if args.output is None:
        console.print_line(f"{seq_num} @ {timestamp}")
    else:
        console.print_line(f'{{"seq_num":{seq_num},"timestamp":{timestamp}}}')
    return 0
