"""Finds the server of the profile `local`: its data directory, what its LOCK file says, and whether it answers.

Every `s2 --local …` runs this, so it reads one small file, connects once, and imports next to nothing; starting and
stopping are in client/local_start.py.
"""

from __future__ import annotations

import _socket  # `socket` itself would cost a plain append as much again as its other imports
import errno
import os

from s2cli import __version__
from s2cli.wire.lock_file import LOCK_FILE, MAX_NOTE_BYTES, decode_note, version_key

# A server that does not even take a connection within this time is not one to wait for.
PROBE_TIMEOUT_S = 2.0


def data_dir() -> str:
    """Where the data of the `local` profile lies; also what `s2 lite` serves without --data."""
    base = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "s2", "lite")


def find_server() -> str | None:
    """The Unix socket of a server that runs already, is not outdated and answers."""
    note = read_note(data_dir())
    if note is not None and not is_outdated(note) and "socket" in note and probe(note["socket"]) is None:
        return note["socket"]
    return None


def read_note(directory: str) -> dict[str, str] | None:
    """The fields of the LOCK file in `directory` (wire/lock_file.py); None if there are none yet. The server that wrote
    them may have crashed: see probe()."""
    try:
        # O_NONBLOCK: whatever else has this name must not hold us up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(os.path.join(directory, LOCK_FILE), flags)
    except OSError:
        return None
    try:
        return decode_note(os.read(descriptor, MAX_NOTE_BYTES))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_outdated(note: dict[str, str]) -> bool:
    """Whether the server is older than this program and was started by a command, not by the user: then it is
    replaced."""
    if note.get("started") != "itself" or note.get("version") == __version__:
        return False
    return version_key(note.get("version", "")) < version_key(__version__)


def probe(path: str) -> OSError | None:
    """Connects to a Unix socket and disconnects. The error if that fails, which is_absent() explains; else None."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(PROBE_TIMEOUT_S)
        connection.connect(path)
    except OSError as error:
        return error
    finally:
        connection.close()
    return None


def is_absent(error: OSError) -> bool:
    """Whether this error of probe() means that no server listens. With any other one there may be a server that does
    not answer."""
    return error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK)
