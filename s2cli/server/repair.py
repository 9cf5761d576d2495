"""How is a data directory repaired after records were lost? While no server runs on it."""

from __future__ import annotations

from pathlib import Path

from s2cli.errors import NotFoundError, PreconditionError
from s2cli.server.data_directory import DirectoryInUseError, LockedDirectory
from s2cli.server.store.sqlite.resume import Repaired, resume
from s2cli.server.store.sqlite.schema import FILE_NAME

__all__ = ["Repaired", "repair_directory"]


def repair_directory(directory: Path) -> tuple[str | None, list[Repaired]]:
    """Why records were known to be missing, and what became of the streams. Raises NotFoundError where there is no
    data, PreconditionError while a server runs, S2Error where the database cannot be opened."""
    if not (directory / FILE_NAME).exists():
        raise NotFoundError(f"there is no data in {directory}")
    try:
        locked = LockedDirectory(directory, allow_network=True)
    except DirectoryInUseError as error:
        raise PreconditionError(
            f"a server runs on {directory}", hint="stop it (s2 lite stop, or Ctrl-C), then repair"
        ) from error
    try:
        return resume(directory)
    finally:
        locked.release()
