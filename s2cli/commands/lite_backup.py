"""`s2 lite backup` and `s2 lite restore`: copy all data of a directory to a backup, and back.

A running server copies its database itself; the rest is done in this process.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from s2cli.amounts import format_bytes, format_seconds
from s2cli.cli import console
from s2cli.client import local
from s2cli.commands.lite_owner import owner_client
from s2cli.errors import ApiError, ExitCode, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.cli.other_args import LiteArgs
    from s2cli.client.api import ApiClient

# So often the copy is synced: some MiB each time, for which the server's commits wait.
POLL_S = 0.02


def backup(args: LiteArgs) -> int:
    from s2cli.server.backup import back_up

    directory = _directory(args)
    destination = os.path.abspath(str(args.backup))
    begun_s = time.monotonic()
    manifest = back_up(
        Path(directory), Path(destination), lambda path: _have_copied(directory, path), _tell_progress("copied")
    )
    console.status("")
    size_bytes = sum(part["bytes"] for part in manifest["files"].values())
    if args.output in ("json", "jsonl"):
        console.print_json({"data": directory, "backup": destination, "bytes": size_bytes, **manifest})
    if any(name.endswith("-loss") for name in manifest["files"]):
        console.warn(f"{directory} has lost records that were confirmed, and the backup lacks them: see s2 lite repair")
    took_s = time.monotonic() - begun_s
    console.done(f"backed up {directory} to {destination}: {format_bytes(size_bytes)} in {format_seconds(took_s)}")
    return ExitCode.OK


def restore(args: LiteArgs) -> int:
    from s2cli.server import backup as backups

    directory = _directory(args)
    source = os.path.abspath(str(args.backup))
    manifest = backups.read_manifest(Path(source))
    replaces = backups.has_data(Path(directory))
    if replaces and not console.confirm_deletion(f"the data in {directory}", name=None, yes=args.yes):
        return ExitCode.FAILURE
    checkup = backups.restore(Path(source), Path(directory), replaces=replaces, tell=_tell_progress("checked"))
    console.status("")
    findings = checkup.findings
    if args.output in ("json", "jsonl"):
        facts = {"streams": findings.streams, "records": findings.records, "made_at": manifest["made_at"]}
        console.print_json({"data": directory, "backup": source, **facts})
    what = f"{findings.streams} streams, {findings.records} records, as of {manifest['made_at']}"
    console.done(f"restored {source} to {directory}: {what}")
    return ExitCode.OK


def _directory(args: LiteArgs) -> str:
    return local.data_dir() if args.data is None else os.path.abspath(args.data)


def _tell_progress(what: str) -> Callable[[int, int], None]:
    def tell(done_bytes: int, size_bytes: int) -> None:
        console.status(f"{what} {format_bytes(done_bytes)} of {format_bytes(size_bytes)}")

    return tell


def _have_copied(directory: str, path: Path) -> None:
    """Makes the server of the directory copy its database to `path`. Raises S2Error."""
    with owner_client(directory) as client:
        try:
            _copy(client, path)
        except ApiError as error:
            if error.status == 404:
                raise error.reworded(
                    f"the server of {directory} cannot be copied while it runs: it is of an older version",
                    hint="stop it first, or start it with this version",
                ) from error
            raise error.reworded(f"the server cannot make a copy: {error.message}") from error


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the server has not created it yet, or has given up
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(client: ApiClient, path: Path) -> None:
    from s2cli.client.api import begin_copy, cancel_copy, get_copy

    state = begin_copy(client, str(path))
    tell = _tell_progress("copied")
    try:
        while state["running"]:
            time.sleep(POLL_S)
            # A little at a time: all at once at the end, the sync would make the server's commits wait.
            _sync(path)
            state = get_copy(client)
            tell(int(str(state["copied_bytes"])), int(str(state["total_bytes"])))
    except BaseException:
        with contextlib.suppress(S2Error):
            cancel_copy(client)
        raise
    if state["error"] is not None:
        raise S2Error(f"the server could not make the copy: {state['error']}")
