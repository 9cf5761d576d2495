"""`s2 lite repair`: after records were lost, makes the streams resume after all sequence numbers that were ever
given."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.client import local
from s2cli.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.other_args import LiteArgs
    from s2cli.server.repair import Repaired


def repair(args: LiteArgs) -> int:
    from pathlib import Path

    from s2cli.server.repair import repair_directory

    directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
    reason, streams, found_again, hidden = repair_directory(Path(directory))
    repaired = [found for found in streams if found.resumes_at is not None]
    damaged = [found for found in streams if found.resumes_at is None]
    if args.output in ("json", "jsonl"):
        console.print_json(
            {
                "data": directory,
                "reason": reason,
                "repaired": [found._asdict() for found in repaired],
                "damaged": [{"basin": found.basin, "stream": found.stream} for found in damaged],
                "found_again": found_again,
                "hidden": hidden,
            }
        )
    else:
        table = console.Table(["STREAM", "WHOLE BEFORE", "RESUMES AT"], show_headers=bool(repaired))
        table.add([(_uri(found), str(found.first_lost), str(found.resumes_at)) for found in repaired])
    if reason is not None:
        console.notice(f"in {directory} {reason}")
    for found in damaged:
        console.warn(f"{_uri(found)} cannot be repaired: its row is damaged; restore a backup, or delete {directory}")
    for place in found_again:
        console.notice(f"{place} is found by its name again")
    for place in hidden:
        console.warn(f"{place} cannot be repaired: its entry is damaged; restore a backup, or delete {directory}")
    if repaired:
        console.notice(f"{len(repaired)} streams repaired")
    elif not found_again:
        console.notice("there was nothing to repair" if not hidden else "nothing was repaired")
    return ExitCode.UNDECIDED if damaged or hidden else ExitCode.OK


def _uri(found: Repaired) -> str:
    return f"s2://{found.basin}/{found.stream}"
