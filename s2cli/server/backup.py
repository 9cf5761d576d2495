"""Makes and restores backups of a data directory. A backup is a directory with a copy of the database, the key of the
access tokens, and a manifest, which lists the files and is written last.

A restore is prepared and checked in a directory within the data directory. One rename then decides that it takes
effect. If it is interrupted after that, whoever locks the data directory next finishes it (data_directory.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2cli import __version__
from s2cli.errors import IncompleteError, NotFoundError, PreconditionError, S2Error, UsageError, describe
from s2cli.private_files import open_own, sync_directory
from s2cli.server.checkup import Checkup, check_locked
from s2cli.server.core.auth import KEY_NAME
from s2cli.server.data_directory import RESTORED_NAME, LockedDirectory, lock_unless_served
from s2cli.server.store.interface import CopyProgress
from s2cli.server.store.sqlite import check, loss, page_copy, place
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[int, int], None]

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 64 * 1024
# What a backup may have, beside the manifest.
LOSS_NAME = f"{FILE_NAME}{loss.SUFFIX}"
PARTS = (FILE_NAME, KEY_NAME, LOSS_NAME)
STAGING_NAME = "restoring"
BLOCK_BYTES = 1024 * 1024


class DamagedBackupError(IncompleteError):
    """A file of the backup does not match the manifest, or its data is damaged."""


def back_up(directory: Path, destination: Path, ask_server: Callable[[Path], None], tell: Tell) -> dict[str, Any]:
    """Makes a backup in a new or empty directory, and returns its manifest. If a server runs, `ask_server` must make it
    copy the database to the path that it gets. `tell` is called with the bytes copied and those of the database. Raises
    S2Error; the incomplete backup is deleted then."""
    if not (directory / FILE_NAME).exists():
        raise NotFoundError(f"there is no data in {directory}")
    with _new_directory(destination):
        copied = destination / FILE_NAME
        with lock_unless_served(directory) as is_served:
            # Before SQLite opens the files. A server that runs has done this itself.
            missing = loss.read(directory / FILE_NAME) if is_served else loss.known(directory / FILE_NAME, PAGE_BYTES)
            if is_served:
                ask_server(copied)
            else:
                _copy_database(directory, copied, tell)
        page_copy.make_portable(copied)
        parts = {FILE_NAME: _summary(copied)}
        if missing is not None:
            loss.write(copied, missing)
            parts[LOSS_NAME] = _summary(destination / LOSS_NAME)
        with contextlib.suppress(FileNotFoundError):
            # After the database: the key is there before the first token, and never changes.
            parts[KEY_NAME] = _copy_file(directory / KEY_NAME, destination / KEY_NAME)
        manifest = {
            "format": MANIFEST_FORMAT,
            "version": __version__,
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": parts,
        }
        sync_directory(destination)
        _write(destination / MANIFEST_NAME, json.dumps(manifest, indent=2).encode() + b"\n")
        sync_directory(destination)
        sync_directory(destination.parent)
    return manifest


@contextlib.contextmanager
def _new_directory(path: Path) -> Iterator[None]:
    """Creates an empty private directory. If the block fails, the directory is as it was before."""
    was_there = path.exists()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if any(path.iterdir()):
            raise PreconditionError(f"{path} is not empty", hint="a backup is made in a new directory, or an empty one")
        path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"cannot make a backup in {path}: {describe(error)}") from error
    try:
        yield
    except BaseException as error:
        for name in (*PARTS, MANIFEST_NAME):
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    (path / f"{name}{suffix}").unlink()
        if not was_there:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise S2Error(f"cannot write {error.filename or path}: {describe(error)}") from error
        raise


def _copy_database(directory: Path, copied: Path, tell: Tell) -> None:
    path = directory / FILE_NAME
    if place.is_copy(path):
        raise place.CopiedError(directory)
    progress = CopyProgress()
    with check.opened_for_check(directory, is_alone=True) as connection:
        page_copy.copy(connection, copied, progress, lambda _: tell(progress.copied_bytes, progress.total_bytes))


def read_manifest(source: Path) -> dict[str, Any]:
    """The manifest of a backup. Raises NotFoundError if there is none, DamagedBackupError if it is not valid."""
    path = source / MANIFEST_NAME
    try:
        with open(open_own(path, os.O_RDONLY), "rb") as file:
            manifest = json.loads(file.read(MAX_MANIFEST_BYTES))
        files = manifest["files"]
        is_known = manifest["format"] == MANIFEST_FORMAT and FILE_NAME in files and set(files) <= set(PARTS)
        is_known = is_known and all(isinstance(part["bytes"], int) and part["sha256"] for part in files.values())
    except FileNotFoundError as error:
        raise NotFoundError(f"{source} is not a backup: it has no {MANIFEST_NAME}") from error
    except OSError as error:
        raise S2Error(f"cannot read {path}: {describe(error)}") from error
    except (ValueError, LookupError, TypeError, AttributeError):
        is_known = False
    if not is_known:
        raise DamagedBackupError(f"{path} is damaged, or of a newer version of s2")
    return manifest  # type: ignore[no-any-return]


def has_data(directory: Path) -> bool:
    return (directory / FILE_NAME).exists()


def restore(source: Path, directory: Path, *, replaces: bool, tell: Tell) -> Checkup:
    """Puts the data of a backup into a data directory; with `replaces` in place of the data that is there. Returns the
    result of its check, which has found nothing wrong. Raises S2Error (DamagedBackupError is one): nothing has changed
    then."""
    manifest = read_manifest(source)
    locked = LockedDirectory(directory)
    try:
        if has_data(directory) and not replaces:
            raise PreconditionError(f"there is data in {directory}", hint="--yes replaces it")
        staging = directory / STAGING_NAME
        _remove(staging)
        try:
            staging.mkdir(mode=0o700)
            for name, part in manifest["files"].items():
                copied = _copy_file(source / name, staging / name)
                if copied != {"bytes": part["bytes"], "sha256": part["sha256"]}:
                    raise DamagedBackupError(f"{source / name} is not what {MANIFEST_NAME} says: it has changed")
            checkup = check_locked(staging, is_running=False, tell=tell)
            if not checkup.is_whole:
                problem = checkup.findings.problems[:1]
                what = f": {problem[0].place}: {problem[0].problem}" if problem else ""
                raise DamagedBackupError(f"the data in {source} is damaged{what}")
            sync_directory(staging)
            staging.rename(directory / RESTORED_NAME)
        except OSError as error:
            raise S2Error(f"cannot restore to {directory}: {error.filename}: {describe(error)}") from error
        finally:
            _remove(staging)
        sync_directory(directory)
        locked.finish_restore()
    finally:
        locked.release()
    return checkup


def _remove(staging: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(staging)


def _summary(path: Path) -> dict[str, Any]:
    """The entry of a file in the manifest. Syncs the file."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _copy_file(source: Path, target: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with (
        open(open_own(source, os.O_RDONLY), "rb", buffering=0) as read,
        open(open_own(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as written,
    ):
        while block := read.read(BLOCK_BYTES):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
        return {"bytes": written.tell(), "sha256": digest.hexdigest()}


def _write(path: Path, data: bytes) -> None:
    with open(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
