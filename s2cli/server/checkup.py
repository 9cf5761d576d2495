"""How is a data directory checked? In a process of its own, beside a server that runs on it or while none can.

The rows are read here in slices; the pages of the file are looked at by a child meanwhile, in one long read. A read
keeps the server's write-ahead log from being emptied, so the child is ended where the log grows too much.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from s2cli.errors import NotFoundError
from s2cli.server.data_directory import lock_unless_served
from s2cli.server.store.sqlite import check, loss, place
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES, open_writer

if TYPE_CHECKING:
    from collections.abc import Callable

# So much may the write-ahead log of a running server grow by the long read.
MAX_LOG_BYTES = 32 * 1024 * 1024
TELL_S = 0.2


class Checkup:
    """What was found. `unchecked` says what could not be looked at, and why; `accepted`: it was a plain copy, and is
    a data directory from now on."""

    def __init__(self, findings: check.Findings, *, is_running: bool) -> None:
        self.findings = findings
        self.is_running = is_running
        self.unchecked: str | None = None
        self.accepted = False

    @property
    def is_whole(self) -> bool:
        return not self.findings.problems and self.unchecked is None


def check_directory(directory: Path, tell: Callable[[int, int], None]) -> Checkup:
    """Looks at everything. `tell` hears at times how many bytes were looked at, of how many. Raises NotFoundError where
    there is no data, S2Error where it cannot be opened at all."""
    path = directory / FILE_NAME
    if not path.exists():
        raise NotFoundError(f"there is no data in {directory}")
    with lock_unless_served(directory) as is_running:
        # Before SQLite opens it, and drops what it cannot use. A server that runs has looked itself.
        missing = None if is_running else loss.known(path, PAGE_BYTES)
        checkup = check_locked(directory, is_running=is_running, tell=tell)
        if missing is not None:
            checkup.findings.add(FILE_NAME, f"records that were confirmed are missing: {missing}: see s2 lite repair")
        if checkup.is_whole and not is_running and place.is_copy(path):
            open_writer(directory, durable=True, accepts_copy=True).close()
            checkup.accepted = True
    return checkup


def check_locked(directory: Path, *, is_running: bool, tell: Callable[[int, int], None]) -> Checkup:
    """Check a directory that the caller has locked, or (`is_running`) that a server runs on. `tell` gets the bytes that
    were checked and those of the file, every now and then. Raises S2Error if it cannot be opened."""
    findings = check.Findings()
    checkup = Checkup(findings, is_running=is_running)
    size_bytes = (directory / FILE_NAME).stat().st_size
    told_s = 0.0
    with check.opened_for_check(directory, is_alone=not is_running) as connection:
        structure = _Structure(directory)
        try:
            begun_s = time.monotonic()
            for _ in check.walk(connection, findings):
                now_s = time.monotonic()
                if now_s - told_s > TELL_S:
                    tell(min(findings.checked_bytes, size_bytes), size_bytes)
                    told_s = now_s
                if is_running:
                    structure.watch()
                    # As long as it took: a checkpoint of the server finds a moment without a reader.
                    time.sleep(now_s - begun_s)
                    begun_s = time.monotonic()
            checkup.unchecked = structure.finish(findings, watched=is_running)
        finally:
            structure.close()
    return checkup


class _Structure:
    """The child that looks at the pages of the file, and the indexes. SQLite cannot be stopped in that."""

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
        """End the child if the log has grown too much meanwhile."""
        if self._log_bytes() > self._most_bytes and self._child.poll() is None:
            self._given_up = True
            self._child.kill()

    def finish(self, findings: check.Findings, *, watched: bool) -> str | None:
        """Waits for what it found; why it could not look at everything, if it could not."""
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
