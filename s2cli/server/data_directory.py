"""The data directory: creates and locks it, so that only one server uses it, and finishes an interrupted restore."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from s2cli.errors import S2Error, UsageError, describe, file_error
from s2cli.private_files import open_own, sync_directory
from s2cli.values import is_true
from s2cli.wire.lock_file import decode_note

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_NAME = "LOCK"
DATA_NAMES = ("s2.db", "s2.db-wal")
MOUNTS = "/proc/self/mountinfo"
# The files in this directory replace those beside it: see finish_restore().
RESTORED_NAME = "restored"
# Set by whoever has a network file system that is as safe as a local one.
ALLOW_NETWORK_VARIABLE = "S2_LITE_NETWORK_DATA"
# A server that is just ending, or a client that tests the lock, releases it within this time.
LOCK_PATIENCE_S = 1.0
LOCK_RETRY_S = 0.02

# File systems on which `flock` and the shared memory beside the database do not reach from one machine to another.
_NETWORK_FILE_SYSTEMS = frozenset(
    ("9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs")
    + ("nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs")
)


class DirectoryInUseError(S2Error):
    """Another server holds the directory; `note` is what it wrote about itself into the LOCK file."""

    def __init__(self, path: Path, note: bytes) -> None:
        super().__init__(f"{path} is in use by another server")
        self.note = note


class LockedDirectory:
    """A data directory that is ours until release(). It is created if it is missing. Raises S2Error if that, or locking
    it, fails; DirectoryInUseError if another process has it locked."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        self.path = path
        self.last_used_ms = _last_used_ms(path)
        try:
            _make(path)
            file_system = network_file_system(path)
            if file_system is not None and not allow_network:
                raise S2Error(
                    f"{path} is on a network file system ({file_system}), where data may be lost",
                    hint="choose another directory with --data; if that file system keeps what it has confirmed, and"
                    f" no other machine uses the directory, set {ALLOW_NETWORK_VARIABLE}=1",
                )
            self._file = open_own(path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            note = os.pread(self._file, 4096, 0)
            os.close(self._file)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise DirectoryInUseError(path, note) from error
            raise S2Error(f"cannot lock {path}: {describe(error)}") from error
        try:
            self.write_note(b"")
            self.finish_restore()
        except OSError as error:
            os.close(self._file)
            raise S2Error(f"cannot finish the restore in {path}: {error.filename}: {describe(error)}") from error
        except S2Error:
            os.close(self._file)
            raise

    def finish_restore(self) -> None:
        """Puts restored files into their place. It may be interrupted anywhere and called again: the log of the old
        data is deleted first, since it must never be read with other data. The database is moved last but for a note
        of what it lacks, which would be deleted with the rest otherwise, if the move is called again."""
        restored = self.path / RESTORED_NAME
        if not restored.exists():
            return
        parts = sorted(restored.iterdir(), key=lambda part: (part.suffix.startswith(".db"), part.suffix))
        if parts:
            for beside in self.path.glob("*.db-*"):
                beside.unlink()
            sync_directory(self.path)
        for part in parts:
            part.rename(self.path / part.name)
        restored.rmdir()
        sync_directory(self.path)

    def write_note(self, note: bytes) -> None:
        """Write what clients need to know about the server into the LOCK file. It is valid while the lock is held.
        Raises S2Error."""
        if not note and not os.fstat(self._file).st_size:
            return  # whoever only tests the lock keeps the time of the last write
        try:
            os.pwrite(self._file, note, 0)
            os.ftruncate(self._file, len(note))
        except OSError as error:
            hint = "the file ballast there is only for such a case: delete it, the server makes it again"
            raise S2Error(
                f"cannot write {self.path / LOCK_NAME}: {describe(error)}",
                hint=hint if error.errno in (errno.ENOSPC, errno.EDQUOT) else None,
            ) from error

    @property
    def is_gone(self) -> bool:
        """Whether the directory was deleted: then what is written goes to files that nobody can find again."""
        return os.fstat(self._file).st_nlink == 0

    def release(self) -> None:
        """Release the lock. The file stays: if it were deleted, two servers could lock two files of that name."""
        # A note that cannot be deleted is not valid any more: the lock is not held.
        with contextlib.suppress(S2Error):
            self.write_note(b"")
        os.close(self._file)


@contextlib.contextmanager
def lock_unless_served(path: Path) -> Iterator[bool]:
    """Yields whether a server runs on the directory. If none does, none can start until the block ends."""
    try:
        locked = LockedDirectory(path, allow_network=True)
    except DirectoryInUseError:
        yield True
        return
    try:
        yield False
    finally:
        locked.release()


async def lock_directory(data: str) -> LockedDirectory:
    """Locks the data directory; waits a moment for a server that is just ending. Raises S2Error if that fails."""
    allow_network = is_true(os.environ.get(ALLOW_NETWORK_VARIABLE, ""), ALLOW_NETWORK_VARIABLE)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return LockedDirectory(Path(data), allow_network=allow_network)
        except DirectoryInUseError as error:
            if time.monotonic() > deadline:
                raise _in_use(data, decode_note(error.note) or {}) from error
        await asyncio.sleep(LOCK_RETRY_S)


def _last_used_ms(path: Path) -> int | None:
    """When a server last wrote to the directory, by the times of its files; None if there are none."""
    times_ns = []
    for name in (LOCK_NAME, *DATA_NAMES):
        with contextlib.suppress(OSError):
            times_ns.append(os.stat(path / name).st_mtime_ns)
    return max(times_ns) // 1_000_000 if times_ns else None


def _in_use(path: str, note: dict[str, str]) -> S2Error:
    holder = f"the server with process id {note['pid']}" if "pid" in note else "another server"
    where = f" at {note['url']}" if "url" in note else ""
    return S2Error(
        f"the data directory {path} is in use by {holder}{where}",
        hint="stop that server first, or choose another directory with --data",
    )


def _make(path: Path) -> None:
    """Creates the directory and its parents, where they are missing, and syncs them."""
    missing = [part for part in (path, *path.parents) if not part.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in missing:
        sync_directory(part.parent)


def _unusable(path: Path, error: OSError) -> S2Error:
    what, hint = f"cannot use {path} as a data directory", "choose another directory with --data"
    other = next((part for part in (path, *path.parents) if os.path.exists(part) and not os.path.isdir(part)), None)
    if other is not None:
        return UsageError(f"{what}: {'it' if other == path else other} is a file", hint=hint)
    where = f": {error.filename}" if error.filename not in (None, str(path)) else ""
    return file_error(what + where, error, hint=hint)


def network_file_system(path: Path) -> str | None:
    """The type of the file system of `path` if several machines can share it; None for others, and if it is unknown."""
    try:
        with open(MOUNTS, "rb") as file:
            mounts = file.read().splitlines()
    except OSError:
        return None
    device = os.stat(path).st_dev
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    for mount in mounts:
        # man 5 proc: id, parent, major:minor, root, mount point, options, optional fields, "-", type, source, options.
        fields, _, rest = mount.partition(b" - ")
        if fields.split()[2] == wanted:
            file_system = rest.split()[0].decode()
            return file_system if file_system in _NETWORK_FILE_SYSTEMS else None
    return None
