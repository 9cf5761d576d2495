"""What the owner of a data directory asks of its server, through the socket file; `s2 lite trust-clock` among it."""

from __future__ import annotations

import contextlib
import os

from s2cli.cli import console
from s2cli.client import local, local_start
from s2cli.errors import ApiError, ExitCode, NotFoundError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.other_args import LiteArgs
    from s2cli.client.api import ApiClient

# For one answer.
ANSWER_S = 10.0
DAY_MS = 24 * 3600 * 1000


@contextlib.contextmanager
def owner_client(directory: str) -> Iterator[ApiClient]:
    """A client of the server that runs on the directory. Raises S2Error if it has no socket for its owner."""
    from s2cli.client.api import ApiClient
    from s2cli.endpoints import Target

    note = local.read_note(directory) or {}
    if "socket" not in note:
        raise S2Error(
            f"the server of {directory} has no socket for its owner", hint="stop it first: s2 lite stop --data DIR"
        )
    origin = "http://localhost"
    target = Target(account_url=origin, basin_url=origin, socket_path=note["socket"], local=True)
    client = ApiClient(target, ANSWER_S, console.detail)
    try:
        yield client
    finally:
        client.close()


def trust_clock(args: LiteArgs) -> int:
    if args.bucket is not None:
        places = local_start.places_of_servers(args.bucket)
        if not places:
            raise no_server_on(args.bucket)
        for place in places:
            _trust_clock_of(args, place, {"bucket": args.bucket})
        return ExitCode.OK
    directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
    if local.read_note(directory) is None or not local_start.is_locked(directory):
        raise NotFoundError(f"no server is running for {directory}")
    _trust_clock_of(args, directory, {"data": directory})
    return ExitCode.OK


def no_server_on(bucket: str) -> NotFoundError:
    return NotFoundError(f"no server of this user on this machine serves {bucket}")


def _trust_clock_of(args: LiteArgs, directory: str, facts: dict[str, object]) -> None:
    from s2cli.client import api

    with owner_client(directory) as client:
        try:
            ahead_ms = api.trust_clock(client)["was_ahead_ms"]
        except ApiError as error:
            if error.status == 404:
                raise error.reworded(f"the server of {directory} is of an older version") from error
            raise
    if args.output in ("json", "jsonl"):
        console.print_json({**facts, "was_ahead_ms": ahead_ms})
    if isinstance(ahead_ms, int):
        console.done(f"the clock, {ahead_ms / DAY_MS:.1f} days ahead, is trusted: what has expired by it is deleted")
    else:
        console.notice("the clock is where it was expected")
