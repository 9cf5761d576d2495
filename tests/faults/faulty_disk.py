"""A disk that fails, hangs, lies, or writes down what is done to it: steers faulty_disk.c inside a server."""

import contextlib
import errno
import functools
import mmap
import struct
import subprocess
import tempfile
import time
from enum import IntFlag
from pathlib import Path

SOURCE = Path(__file__).with_name("faulty_disk.c")
FOR_EVER = (1 << 64) - 1
_DEATH = (1 << 64) - 1

# calls, skip, count, error, failed, sync_delay_us, lies, suffix
_CONTROL = struct.Struct("=7Q40s")
_SKIP, _FAILED, _SYNC_DELAY, _LIES = 1 * 8, 4 * 8, 5 * 8, 6 * 8


class Calls(IntFlag):
    """Kinds of calls, as faulty_disk.c numbers them."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    CREATE = 8
    REMOVE = 16
    READ = 32


CHANGES = Calls.WRITE | Calls.SYNC | Calls.TRUNCATE | Calls.CREATE | Calls.REMOVE


@functools.cache
def _library() -> str:
    """The compiled library. Needs a C compiler, `cc`."""
    path = Path(tempfile.mkdtemp(prefix="s2-faulty-disk-")) / "faulty_disk.so"
    subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl", "-lpthread"],
        check=True,
    )
    return str(path)


class FaultyDisk:
    """The files below `directory`, for servers that are started with `env()`. All is well until told otherwise. With
    `log` every change is appended to that file (disk_log.py)."""

    def __init__(self, directory: Path, workplace: Path, log: Path | None = None) -> None:
        self.directory = directory.resolve()
        self.log = log
        self._path = workplace / "control"
        self._path.write_bytes(bytes(mmap.PAGESIZE))
        self._file = open(self._path, "r+b")
        self._control = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)

    def close(self) -> None:
        self._control.close()
        self._file.close()

    def env(self) -> dict[str, str]:
        env = {"LD_PRELOAD": _library(), "FAULTY_DISK_DIRECTORY": str(self.directory)}
        env["FAULTY_DISK_CONTROL"] = str(self._path)
        if self.log is not None:
            env["FAULTY_DISK_LOG"] = str(self.log)
        return env

    def fail(
        self, calls: Calls, error: int = errno.EIO, *, suffix: str = "", skip: int = 0, count: int = FOR_EVER
    ) -> None:
        """After `skip` more calls of these kinds, on files whose path ends with `suffix`, `count` of them fail."""
        self._steer(calls, skip, count, error, suffix)

    def kill(self, calls: Calls, skip: int) -> None:
        """After `skip` more calls of these kinds, whoever makes the next one is killed."""
        self._steer(calls, skip, 1, _DEATH, "")

    def count(self, calls: Calls) -> None:
        """From now on calls of these kinds are counted."""
        self._steer(calls, FOR_EVER, 0, 0, "")

    @property
    def counted(self) -> int:
        """How many calls there were since `count`."""
        left: int = struct.unpack_from("=Q", self._control, _SKIP)[0]
        return FOR_EVER - left

    def hang(self, calls: Calls) -> None:
        """From now on calls of these kinds do not return, until heal()."""
        self._steer(calls, 0, FOR_EVER, 0, "")

    def heal(self) -> None:
        self._put(0, 0)

    def slow_down(self, sync_s: float) -> None:
        """Each sync takes at least so long: whoever does not wait for it is noticed."""
        self._put(_SYNC_DELAY, round(sync_s * 1e6))

    def lie(self) -> None:
        """Syncs do nothing from now on, and succeed."""
        self._put(_LIES, 1)

    @property
    def failed(self) -> int:
        """How many calls have gone wrong since the last `fail` or `hang`."""
        count: int = struct.unpack_from("=Q", self._control, _FAILED)[0]
        return count

    def wait_until_failed(self, timeout_s: float) -> bool:
        """Whether a call went wrong within that time."""
        deadline_s = time.monotonic() + timeout_s
        while not self.failed and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return bool(self.failed)

    @property
    def log_bytes(self) -> int:
        """How long the log is: what was done before now is in it."""
        if self.log is not None:
            with contextlib.suppress(FileNotFoundError):
                return self.log.stat().st_size
        return 0

    def _steer(self, calls: Calls, skip: int, count: int, error: int, suffix: str) -> None:
        self._put(0, 0)
        delay_us, lies = struct.unpack_from("=2Q", self._control, _SYNC_DELAY)
        values = (skip, count, error, 0, delay_us, lies, suffix.encode())
        self._control[8 : _CONTROL.size] = _CONTROL.pack(0, *values)[8:]
        self._put(0, calls)  # last: from here on it counts

    def _put(self, offset: int, value: int) -> None:
        self._control[offset : offset + 8] = struct.pack("=Q", value)
