"""`s2 lite check`: checks all data of a directory or a bucket, and prints what is wrong."""

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
    from s2cli.server.store.findings import Findings


def check(args: LiteArgs) -> int:
    return _check_directory(args) if args.bucket is None else _check_bucket(args, args.bucket)


def _check_directory(args: LiteArgs) -> int:
    from pathlib import Path

    from s2cli.server.checkup import check_directory

    directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
    begun_s = time.monotonic()

    def tell(checked_bytes: int, size_bytes: int) -> None:
        console.status(f"checked {format_bytes(checked_bytes)} of {format_bytes(size_bytes)}")

    checkup = check_directory(Path(directory), tell)
    findings = checkup.findings
    facts = {
        "data": directory,
        "whole": checkup.is_whole,
        "running": checkup.is_running,
        "accepted": checkup.accepted,
        **_found(findings),
        "unchecked": checkup.unchecked,
    }
    _print(args, facts, findings)
    _tell_checked(findings, time.monotonic() - begun_s)
    if checkup.unchecked is not None:
        console.warn(f"not checked: {checkup.unchecked}; stop it, and check again")
    _tell_problems(directory, findings, is_whole=checkup.is_whole)
    if checkup.accepted:
        console.notice(f"{directory} was a plain copy; it can be used from now on")
    return ExitCode.OK if checkup.is_whole else ExitCode.UNDECIDED


def _check_bucket(args: LiteArgs, bucket: str) -> int:
    from s2cli.server.bucket_checkup import check_everything
    from s2cli.server.store.bucket.bucket_url import parse_bucket_url

    begun_s = time.monotonic()
    findings = check_everything(
        parse_bucket_url(bucket), lambda checked_bytes: console.status(f"checked {format_bytes(checked_bytes)}")
    )
    is_whole = not findings.problems
    _print(args, {"bucket": bucket, "whole": is_whole, **_found(findings)}, findings)
    _tell_checked(findings, time.monotonic() - begun_s)
    _tell_problems(bucket, findings, is_whole=is_whole)
    return ExitCode.OK if is_whole else ExitCode.UNDECIDED


def _found(findings: Findings) -> dict[str, object]:
    return {
        "basins": findings.basins,
        "streams": findings.streams,
        "tokens": findings.tokens,
        "batches": findings.batches,
        "records": findings.records,
        "bytes": findings.checked_bytes,
        "problems": [problem._asdict() for problem in findings.problems],
        "more_problems": findings.more_problems,
    }


def _print(args: LiteArgs, facts: dict[str, object], findings: Findings) -> None:
    console.status("")
    if args.output in ("json", "jsonl"):
        console.print_json(facts)
    else:
        table = console.Table(["PLACE", "RECORDS", "PROBLEM"], show_headers=bool(findings.problems))
        table.add([(place, _span(first, last), problem) for place, problem, first, last in findings.problems])


def _span(first: int | None, last: int | None) -> str:
    if first is None and last is None:
        return "-"
    return f"{'' if first is None else first}-{'' if last is None else last}" if first != last else str(first)


def _tell_checked(findings: Findings, took_s: float) -> None:
    what = f"{findings.streams} streams, {findings.records} records, {format_bytes(findings.checked_bytes)}"
    console.notice(f"checked {what} in {format_seconds(took_s)}")


def _tell_problems(where: str, findings: Findings, *, is_whole: bool) -> None:
    if findings.problems:
        count = len(findings.problems) + findings.more_problems
        console.warn(f"{count} problems in {where}" + (", not all shown" if findings.more_problems else ""))
    elif is_whole:
        console.notice("nothing is wrong")
