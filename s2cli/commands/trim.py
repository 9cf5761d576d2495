"""`s2 trim`: deletes the records before a sequence number."""

from __future__ import annotations

from s2cli.commands.command_record import append_command
from s2cli.wire.records import TRIM, encode_trim_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.args import Args


def run(args: Args) -> int:
    fact = ("trim_point", args.trim_point)
    return append_command(args, TRIM, encode_trim_point(args.trim_point), fact, lambda error: False)
