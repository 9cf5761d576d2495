"""Repairs a data directory after records were lost, while no server runs on it."""

from __future__ import annotations

from pathlib import Path

from s2cli.errors import NotFoundError, PreconditionError
from s2cli.server.data_directory import DirectoryInUseError, LockedDirectory
from s2cli.server.store.sqlite.resume import Repair, Repaired, resume
from s2cli.server.store.sqlite.schema import FILE_NAME

__all__ = ["Repair", "Repaired", "repair_directory"]


def repair_directory(directory: Path) -> Repair:
    """Repairs a directory; returns what resume() does. Raises NotFoundError if there is no data, PreconditionError
    while a server runs on it, S2Error if the database cannot be opened."""
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
