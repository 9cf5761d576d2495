"""`s2 lite status`: the server of a directory, whether it answers, and what is wrong with its disk."""

from __future__ import annotations

import os
import time

from s2cli.cli import console
from s2cli.client import local, local_start
from s2cli.commands.lite_owner import no_server_on
from s2cli.endpoints import split_origin
from s2cli.errors import ExitCode, NotFoundError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.other_args import LiteArgs

# A healthy server answers within milliseconds.
ANSWER_S = 2.0
DAY_MS = 24 * 3600 * 1000


def print_status(args: LiteArgs) -> int:
    if args.bucket is None:
        directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
        note = local.read_note(directory)
        if note is None or not local_start.is_locked(directory):
            raise NotFoundError(f"no server is running for {directory}")
        return _print_status_of(args, directory, note)
    servers = [
        (place, note)
        for place in local_start.places_of_servers(args.bucket)
        if (note := local.read_note(place)) is not None
    ]
    if not servers:
        raise no_server_on(args.bucket)
    codes: list[int] = []
    for place, note in servers:
        if codes and args.output not in ("json", "jsonl"):
            console.print_line("")
        codes.append(_print_status_of(args, place, note))
    return max(codes)


def _print_status_of(args: LiteArgs, directory: str, note: dict[str, str]) -> int:
    """Of one server. Returns the exit code."""
    health = _ask_health(note)
    facts = {
        "data": directory if args.bucket is None else None,
        "bucket": note.get("bucket"),
        "pid": int(note["pid"]),
        "version": note["version"],
        "started_by": note["started"],
        "socket": note.get("socket"),
        "url": note.get("url"),
        "log": local_start.local_log_path(directory) if note["started"] == "itself" else None,
        "answers": health is not None,
        "status": None if health is None else health.get("status"),
        "problem": None if health is None else health.get("reason"),
        "since": None if health is None else health.get("since"),
        "doubtful": None if health is None else health.get("doubtful_places"),
        "clock_ahead_ms": None if health is None else health.get("clock_ahead_ms"),
    }
    if args.output in ("json", "jsonl"):
        console.print_json(facts)
    else:
        ahead_ms = facts.pop("clock_ahead_ms")
        if isinstance(ahead_ms, int):
            days = ahead_ms / DAY_MS
            facts["clock"] = f"{days:.1f} days ahead of what was expected: deletion waits for an hour, or for"
            facts["clock"] = f"{facts['clock']} s2 lite trust-clock"
        console.print_lines(
            f"{name.replace('_', ' '):<11} {_word(value)}" for name, value in facts.items() if value not in (None, [])
        )
    return ExitCode.OK if facts["status"] == "ok" else ExitCode.UNREACHABLE


def _ask_health(note: dict[str, str]) -> dict[str, object] | None:
    """What the server answers to `GET /health` (protocol section 1.2); None if it does not answer."""
    from s2cli.client.connection import call, connect
    from s2cli.client.retry import Interrupts, Waiter
    from s2cli.client.sockets import Peer

    scheme, host, port = split_origin(note.get("url", "http://localhost"))
    waiter = Waiter(Interrupts())
    waiter.deadline = time.monotonic() + ANSWER_S
    try:
        connection = connect(Peer(scheme, host, port, socket_path=note.get("socket")), waiter)
        try:
            response = call(connection, waiter, "GET", "/health", [("accept", "application/json")], b"", ANSWER_S)
            health = response.json()
        finally:
            connection.close()
    except S2Error:
        return None
    return health if isinstance(health, dict) else None


def _word(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
