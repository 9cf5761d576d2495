"""Copies of the whole store, made for the owner of the data while the server runs (`s2 lite backup`)."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, S2Error, describe
from s2cli.server.store.interface import CopyProgress

if TYPE_CHECKING:
    from pathlib import Path

    from s2cli.server.store.interface import Store

log = logging.getLogger("s2cli.server")

# Whoever asked for a copy keeps asking how far it is. If nobody has asked for so long, the copy is cancelled.
PATIENCE_S = 10.0


class Copying:
    """The copy that is being made, or was made last. There is one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._progress = CopyProgress()
        self._task: asyncio.Task[None] | None = None
        self._asked_s = 0.0

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, path: Path) -> None:
        """Starts a copy to `path`. Raises ApiError if another one is being made, or `path` is not safe for one."""
        if self.is_running:
            raise ApiError("resource_already_exists", "another copy is being made")
        _check_place(path)
        loop = asyncio.get_running_loop()
        self._asked_s = loop.time()
        self._progress = CopyProgress()
        self._task = loop.create_task(self._make(path, self._progress))
        self._task.add_done_callback(_log_end)
        log.info("the database is being copied to %s", path)

    async def _make(self, path: Path, progress: CopyProgress) -> None:
        loop = asyncio.get_running_loop()
        copying = asyncio.ensure_future(self._store.copy(path, progress))
        while not (await asyncio.wait({copying}, timeout=1))[0]:
            if loop.time() - self._asked_s > PATIENCE_S:
                progress.is_cancelled = True
        await copying

    def facts(self) -> dict[str, object]:
        """The state of the copy, as JSON (protocol section 2.7). Raises ApiError if there was none yet."""
        if self._task is None:
            raise ApiError("stream_not_found", "no copy was asked for")
        self._asked_s = asyncio.get_running_loop().time()
        error = None
        if self._task.done():
            failure = self._task.exception()
            error = None if failure is None else failure.message if isinstance(failure, S2Error) else str(failure)
        progress = self._progress
        return {
            "running": self.is_running,
            "error": error,
            "copied_bytes": progress.copied_bytes,
            "total_bytes": progress.total_bytes,
        }

    def cancel(self) -> None:
        self._progress.is_cancelled = True


def _log_end(task: asyncio.Task[None]) -> None:
    """Whoever asked for the copy may no longer ask how it ended."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    log.warning("the copy of the database was not made: %s", error)


def _check_place(path: Path) -> None:
    """Raises ApiError unless `path` is new, in a directory that only our user can enter."""
    if "\0" in str(path):
        raise ApiError("invalid", "a path has no NUL")
    try:
        facts = os.lstat(path.parent)
    except OSError as error:
        raise ApiError("invalid", f"the server does not see {path.parent}: {describe(error)}") from error
    if not (path.is_absolute() and stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()):
        raise ApiError("invalid", f"{path.parent} is not a directory of the server's own user")
    if facts.st_mode & 0o077:
        raise ApiError("invalid", f"others can enter {path.parent}")
    if os.path.lexists(path):
        raise ApiError("resource_already_exists", f"{path} is there already")
