"""`s2 lite check`: checks all data of a directory, and prints what is wrong."""

from __future__ import annotations

import os
import time

from s2cli.amounts import format_bytes, format_seconds
from s2cli.cli import console
from s2cli.client import local
from s2cli.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.other_args import LiteArgs
    from s2cli.server.checkup import Checkup


def check(args: LiteArgs) -> int:
    from pathlib import Path

    from s2cli.server.checkup import check_directory

    directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
    begun_s = time.monotonic()

    def tell(checked_bytes: int, size_bytes: int) -> None:
        console.status(f"checked {format_bytes(checked_bytes)} of {format_bytes(size_bytes)}")

    checkup = check_directory(Path(directory), tell)
    console.status("")
    if args.output in ("json", "jsonl"):
        console.print_json(_as_json(directory, checkup))
    else:
        table = console.Table(["PLACE", "RECORDS", "PROBLEM"], show_headers=bool(checkup.findings.problems))
        table.add([(place, _span(first, last), problem) for place, problem, first, last in checkup.findings.problems])
    _tell_result(directory, checkup, time.monotonic() - begun_s)
    return ExitCode.OK if checkup.is_whole else ExitCode.UNDECIDED


def _as_json(directory: str, checkup: Checkup) -> dict[str, object]:
    findings = checkup.findings
    return {
        "data": directory,
        "whole": checkup.is_whole,
        "running": checkup.is_running,
        "accepted": checkup.accepted,
        "basins": findings.basins,
        "streams": findings.streams,
        "tokens": findings.tokens,
        "batches": findings.batches,
        "records": findings.records,
        "bytes": findings.checked_bytes,
        "problems": [problem._asdict() for problem in findings.problems],
        "more_problems": findings.more_problems,
        "unchecked": checkup.unchecked,
    }


def _span(first: int | None, last: int | None) -> str:
    if first is None and last is None:
        return "-"
    return f"{'' if first is None else first}-{'' if last is None else last}" if first != last else str(first)


def _tell_result(directory: str, checkup: Checkup, took_s: float) -> None:
    findings = checkup.findings
    what = f"{findings.streams} streams, {findings.records} records, {format_bytes(findings.checked_bytes)}"
    console.notice(f"checked {what} in {format_seconds(took_s)}")
    if checkup.unchecked is not None:
        console.warn(f"not checked: {checkup.unchecked}; stop it, and check again")
    if findings.problems:
        count = len(findings.problems) + findings.more_problems
        console.warn(f"{count} problems in {directory}" + (", not all shown" if findings.more_problems else ""))
    elif checkup.is_whole:
        console.notice("nothing is wrong")
    if checkup.accepted:
        console.notice(f"{directory} was a plain copy; it can be used from now on")
