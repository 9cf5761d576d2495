"""`s2 tail`: the last records of a stream, and with --follow what comes after them."""

from __future__ import annotations

from s2cli.commands.read import print_records
from s2cli.values import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args


def run(args: Args) -> int:
    return print_records(args, Position("tail_offset", args.lines), None, clamp=True, count=None)
