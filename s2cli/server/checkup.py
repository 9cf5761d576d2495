"""Checks a data directory, in a process of its own. A server may run on the directory; if none does, none can start.

The rows are read here, in slices. A child process checks the pages of the file meanwhile, in one long read. A long read
keeps the server's write-ahead log from being emptied, so the child is killed if the log grows too much.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from s2cli.errors import NotFoundError, S2Error, describe
from s2cli.server.data_directory import lock_unless_served
from s2cli.server.store.findings import Findings
from s2cli.server.store.sqlite import check, loss, place
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES, open_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How much the write-ahead log of a running server may grow during the long read.
MAX_LOG_BYTES = 32 * 1024 * 1024
TELL_S = 0.2


class Checkup:
    """The result of a check. `unchecked`: what could not be checked, and why; None if all was. `accepted`: the
    directory was a plain copy, and a server may use it from now on."""

    def __init__(self, findings: Findings, *, is_running: bool) -> None:
        self.findings = findings
        self.is_running = is_running
        self.unchecked: str | None = None
        self.accepted = False

    @property
    def is_whole(self) -> bool:
        return not self.findings.problems and self.unchecked is None


def check_directory(directory: Path, tell: Callable[[int, int], None]) -> Checkup:
    """Checks everything in a data directory. `tell` is called now and then with the bytes that were checked and those
    of the file. Raises NotFoundError if there is no data, S2Error if it cannot be opened."""
    path = directory / FILE_NAME
    if not path.exists():
        raise NotFoundError(f"there is no data in {directory}")
    with lock_unless_served(directory) as is_running:
        # Before SQLite opens the files, and drops what it cannot use. A running server has done this itself.
        try:
            missing = loss.read(path) if is_running else loss.known(path, PAGE_BYTES)
        except OSError as error:
            raise S2Error(f"cannot read {error.filename or path}: {describe(error)}") from error
        lost_ends = {} if missing is None else missing.ends
        checkup = check_locked(directory, is_running=is_running, tell=tell, lost_ends=lost_ends)
        if missing is not None:
            reason = f"records that were confirmed are missing: {missing.reason}: see s2 lite repair"
            checkup.findings.add(FILE_NAME, reason)
        if checkup.is_whole and not is_running and place.is_copy(path):
            open_writer(directory, durable=True, accepts_copy=True).close()
            checkup.accepted = True
    return checkup


def check_locked(
    directory: Path,
    *,
    is_running: bool,
    tell: Callable[[int, int], None],
    lost_ends: Mapping[int, int] = MappingProxyType({}),
) -> Checkup:
    """As check_directory(), for a directory that the caller has locked or, if `is_running`, that a server runs on.
    `lost_ends`: stream id -> where the stream ended, by a part of the log that is lost."""
    findings = Findings()
    checkup = Checkup(findings, is_running=is_running)
    size_bytes = (directory / FILE_NAME).stat().st_size
    told_s = 0.0
    with check.opened_for_check(directory, is_alone=not is_running) as connection:
        structure = _Structure(directory)
        try:
            begun_s = time.thread_time()
            for _ in check.walk(connection, findings, lost_ends):
                now_s = time.monotonic()
                if now_s - told_s > TELL_S:
                    tell(min(findings.checked_bytes, size_bytes), size_bytes)
                    told_s = now_s
                if is_running:
                    structure.watch()
                    # Half as long as the slice took, but for its waiting for a processor: so a checkpoint of the server
                    # finds a moment without a reader.
                    time.sleep((time.thread_time() - begun_s) / 2)
                    begun_s = time.thread_time()
            checkup.unchecked = structure.finish(findings, watched=is_running)
        finally:
            structure.close()
    return checkup


class _Structure:
    """The child process that checks the pages of the file and the indexes: SQLite cannot be interrupted in that."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / f"{FILE_NAME}-wal"
        self._most_bytes = self._log_bytes() + MAX_LOG_BYTES
        self._given_up = False
        command = [sys.executable, "-P", "-m", check.__name__, str(directory)]
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: S603 - our own

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def watch(self) -> None:
        """Kill the child if the log has grown too much."""
        if self._log_bytes() > self._most_bytes and self._child.poll() is None:
            self._given_up = True
            self._child.kill()

    def finish(self, findings: Findings, *, watched: bool) -> str | None:
        """Waits for the child and adds what it found. Returns why it could not check everything; None if it did."""
        while watched:
            try:
                self._child.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                self.watch()
        said, _ = self._child.communicate()
        if self._given_up:
            return "how the pages of the file belong together: the server writes too much for so long a read"
        for line in said.decode("utf-8", "replace").splitlines():
            findings.add(FILE_NAME, line)
        if self._child.returncode:
            return f"how the pages of the file belong together: the check ended with {self._child.returncode}"
        return None

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
