"""Opens private files where another user may have put something else under the same name, and syncs directories, so
that a power failure does not undo what was created."""

from __future__ import annotations

import errno
import os
import stat

_MODE = 0o600


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """Opens a regular file of our own, or creates it (O_CREAT), with mode 0600 whatever the umask. Returns its
    descriptor. Raises OSError if it is anything else: a link, which is not followed, a directory, a file of another
    user."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for ever; for files it changes nothing.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", os.fspath(path)) from error
        raise
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EPERM, "it is not a regular file", os.fspath(path))
        # Root may use the files of others.
        if facts.st_uid != os.geteuid() != 0:
            raise OSError(errno.EPERM, "it belongs to another user", os.fspath(path))
        if stat.S_IMODE(facts.st_mode) != _MODE:
            os.fchmod(descriptor, _MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Waits until the names in a directory are on the disk: a synced file can still lose its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
