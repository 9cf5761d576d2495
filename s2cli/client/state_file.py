"""The files in which `--state` keeps how far a command has come. They are small and private, belong to one running
command at a time, and are on the disk before anything relies on them."""

from __future__ import annotations

import fcntl
import json
import os
import time

from s2cli.errors import NotFoundError, PreconditionError, S2Error, UsageError, describe
from s2cli.private_files import open_own, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    Fields = dict[str, object]

VERSION = 1
MAX_STATE_BYTES = 64 * 1024
MAX_NAME_BYTES = 100
# How often a command saves where it is, at the most. The next run finds out what came after the last save.
SAVE_S = 1.0
_SUFFIX = ".json"


def states_dir() -> str:
    """The directory of the states that were given a name rather than a path."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "s2", "states")


def list_names() -> list[str]:
    """The names of all states in states_dir(). Raises S2Error."""
    try:
        names = os.listdir(states_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise S2Error(f"cannot read {states_dir()}: {describe(error)}") from error
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and name[0] != ".")


class StateFile:
    """One state. A `name` with a slash in it is a path; any other is the name of a file in states_dir()."""

    __slots__ = ("_lock", "name", "path")

    def __init__(self, name: str) -> None:
        """Raises UsageError if `name` is not valid."""
        self.name = name
        self._lock = -1
        if "/" in name:
            self.path = os.path.abspath(name)
            return
        if not name or name[0] == "." or not name.isprintable() or len(os.fsencode(name)) > MAX_NAME_BYTES:
            raise UsageError(
                f'"{name}" cannot be the name of a state: it has 1 to {MAX_NAME_BYTES} bytes and does not begin with a '
                "dot; a file is named with a slash, as in ./load.state"
            )
        self.path = os.path.join(states_dir(), name + _SUFFIX)

    def lock(self) -> None:
        """Reserves the state for this process until it ends. Raises PreconditionError while another process has it,
        UsageError if the file cannot be created."""
        try:
            if "/" not in self.name:
                os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            self._lock = open_own(self.path + ".lock", os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreconditionError(f"another s2 is using the state {self.name} right now") from error
        except OSError as error:
            raise UsageError(f"cannot keep the state {self.name} in {self.path}: {describe(error)}") from error

    def load(self) -> Fields | None:
        """The fields that save() got; None if there are none yet. Raises S2Error if the file is not a valid state."""
        try:
            descriptor = open_own(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise S2Error(f"cannot read the state {self.name} in {self.path}: {describe(error)}") from error
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_STATE_BYTES + 1)
        try:
            fields = json.loads(data) if len(data) <= MAX_STATE_BYTES else None
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or fields.get("version") != VERSION:
            raise S2Error(
                f"{self.path} is not a state that this s2 can read",
                hint=f"s2 state reset {self.name} forgets it; the next run begins anew",
            )
        return fields

    def load_for(self, place: Fields) -> Fields | None:
        """What load() returns. Raises UsageError where another command, stream or server was given then than `place`
        says."""
        fields = self.load()
        if fields is not None:
            for name, value in place.items():
                if fields.get(name) != value:
                    before = fields.get(name) or "none"
                    raise self.mismatch(f"is of another {name}: {before}, not {value or 'none'}")
        return fields

    def mismatch(self, why: str) -> UsageError:
        """The error of a state that belongs to another command line: the state NAME `why`."""
        return UsageError(
            f"the state {self.name} {why}", hint=f"give another --state, or begin anew: s2 state reset {self.name}"
        )

    def save(self, fields: Fields) -> None:
        """Replaces what was saved before. It is on the disk when this returns. Raises S2Error."""
        data = json.dumps({"version": VERSION, **fields, "saved_ms": time.time_ns() // 1_000_000}).encode()
        new = self.path + ".new"
        try:
            descriptor = open_own(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            sync_directory(os.path.dirname(self.path))
        except OSError as error:
            raise S2Error(f"cannot save the state {self.name} in {self.path}: {describe(error)}") from error

    def remove(self) -> None:
        """Deletes the state. Raises NotFoundError if there is none, S2Error if it cannot be deleted."""
        try:
            os.unlink(self.path)
            sync_directory(os.path.dirname(self.path))
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no state {self.name}", hint="s2 state list shows them") from error
        except OSError as error:
            raise S2Error(f"cannot remove {self.path}: {describe(error)}") from error
