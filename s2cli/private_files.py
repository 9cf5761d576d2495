"""Files that are ours alone, in places where somebody else may have put something under their names, and which a power
failure does not take back."""

from __future__ import annotations

import errno
import os
import stat

_MODE = 0o600


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """The descriptor of a regular file of our own, opened or made (O_CREAT), which nobody else may read or write
    whatever the umask says. Raises OSError for anything else in its place; a link is not followed."""
    try:
        # Without O_NONBLOCK a named pipe would have us wait for ever; to files it means nothing.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", os.fspath(path)) from error
        raise
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EPERM, "it is not a regular file", os.fspath(path))
        # Root may take care of the files of others.
        if facts.st_uid != os.geteuid() != 0:
            raise OSError(errno.EPERM, "it belongs to another user", os.fspath(path))
        if stat.S_IMODE(facts.st_mode) != _MODE:
            os.fchmod(descriptor, _MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Waits until the names in a directory are on the disk: a file that is synced can still lose its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
