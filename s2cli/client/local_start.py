"""Starting, replacing and stopping the server of the profile `local`.

A lock on the data directory decides which command may start a server; the lock on the LOCK file in it, which the server
holds, shows whether one runs. Both are flocks, which end with their process, so a crash cannot block a later start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from s2cli.amounts import format_seconds
from s2cli.client.local import data_dir, find_server, is_absent, is_outdated, probe, read_note
from s2cli.errors import S2Error, UnreachableError, UsageError, describe
from s2cli.private_files import open_own
from s2cli.wire.lock_file import LOCK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

# A server is up in 0.2 s; on a very busy machine, or where a database must first be recovered, it takes longer.
START_TIMEOUT_S = 20.0
# A draining server ends within 10 s.
STOP_TIMEOUT_S = 12.0
POLL_S = 0.02
# The operating systems end the path of a Unix socket at 104 (macOS) or 108 bytes with a NUL.
MAX_SOCKET_PATH_BYTES = 103
# A server that started itself ends after this time without a request.
IDLE_EXIT_S = 900
# All that such a server gets of our environment: what Python and SQLite need to run. It outlives the command, and
# tokens and keys of whoever happened to start it (S2_ACCESS_TOKEN, AWS_SECRET_ACCESS_KEY, …) are none of its business.
INHERITED_VARIABLES = frozenset((
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TZ", "TZDIR",
    "SQLITE_TMPDIR", "S2_LITE_NETWORK_DATA",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
    "PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
))  # fmt: skip


def ensure_server() -> str:
    """The Unix socket of the running server, after starting one if there is none. Where the directory is served by a
    server without a socket for us, its origin (`http://…`). Raises S2Error; never waits for ever."""
    return find_server() or start_server(data_dir())


def start_server(directory: str) -> str:
    """The socket (or origin) of the server of `directory`, which is started, or replaced if it is older than we are."""
    with start_lock(directory):
        deadline = time.monotonic() + START_TIMEOUT_S
        while is_locked(directory):
            note = _await_note(directory, deadline)
            if note is None:
                continue
            if is_outdated(note):
                _stop_holder(directory, note)
                continue
            if "socket" not in note:
                return note["url"]
            error = probe(note["socket"])
            if error is None:
                return note["socket"]
            if is_absent(error) and note.get("started") == "itself" and time.monotonic() < deadline:
                # Its socket was removed, by whatever tidies temporary directories: nobody can reach it any more.
                _stop_holder(directory, note)
                continue
            raise UnreachableError(
                f"the local server (process id {note.get('pid', 'unknown')}) uses {directory} "
                f"but does not answer on {note['socket']}: {describe(error)}",
                hint="s2 lite stop",
            )
        return _spawn(directory)


def _await_note(directory: str, deadline: float) -> dict[str, str] | None:
    """What the holder of the lock writes once it listens; None if it went away before."""
    while is_locked(directory):
        note = read_note(directory)
        if note is not None:
            return note
        if time.monotonic() > deadline:
            raise UnreachableError(f"a server has locked {directory} but does not start", hint="s2 lite stop")
        time.sleep(POLL_S)
    return None


@contextlib.contextmanager
def start_lock(directory: str) -> Iterator[int]:
    """Holds the right to start or replace the server of `directory`, which is made if it is missing; the descriptor
    that carries it may be given to a successor."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        deadline = time.monotonic() + START_TIMEOUT_S + STOP_TIMEOUT_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"another command has been starting the local server of {directory} for too long",
                    hint="s2 lite stop",
                )
            time.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(directory: str) -> bool:
    """Whether a server is alive that serves `directory`."""
    path = os.path.join(directory, LOCK_FILE)
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        # Let go of at once; a server that starts at this moment tries again for a while.
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _spawn(directory: str) -> str:
    socket_path = local_socket_path(directory)
    log_path = local_log_path(directory)
    try:
        log = open_own(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    except OSError as error:
        raise _unusable(log_path, error) from error
    ready, ready_end = os.pipe()
    command = [sys.executable, "-P", "-m", "s2cli.commands.lite"]
    command += ["--started-by", "itself", "--data", directory, "--socket", socket_path]
    command += ["--idle-exit", str(IDLE_EXIT_S), "--log", log_path, "--ready", str(ready_end)]
    try:
        # A session of its own, so that Ctrl-C and the end of this terminal do not reach it; and none of our
        # descriptors, or `x=$(s2 --local …)` would wait for the server to end.
        child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            close_fds=True,
            pass_fds=(ready_end,),
            start_new_session=True,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name in INHERITED_VARIABLES},
        )
    except OSError as error:
        os.close(ready)
        raise S2Error(f"cannot start the local server with {sys.executable}: {describe(error)}") from error
    finally:
        os.close(ready_end)
        os.close(log)
    try:
        _await_ready(ready, log_path)
    finally:
        os.close(ready)
        # The child forks the server and ends: nobody has to wait for the server.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
    return socket_path


def _await_ready(ready: int, log_path: str) -> None:
    """Reads what the new server says: `pid N`, then `ready`, or `error MESSAGE` and perhaps `hint TEXT`."""
    said = _read_until_ready(ready)
    lines = said.decode("utf-8", "replace").split("\n")
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    if "ready" in lines:
        return
    if "error" in fields:
        raise UnreachableError(f"cannot start the local server: {fields['error']}", hint=fields.get("hint"))
    pid = fields.get("pid", "")
    if said.endswith(b"timeout\n"):
        if pid.isdigit():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        raise UnreachableError(
            f"the local server did not start within {format_seconds(START_TIMEOUT_S)}", hint=f"its log is {log_path}"
        )
    raise UnreachableError(
        f"the local server ended while it was starting: {_last_line(log_path)}", hint=f"its log is {log_path}"
    )


def _read_until_ready(ready: int) -> bytes:
    said = b""
    deadline = time.monotonic() + START_TIMEOUT_S
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    while not said.endswith(b"ready\n"):
        wait_ms = max(0, int((deadline - time.monotonic()) * 1000))
        if not poll.poll(wait_ms):
            return said + b"timeout\n"
        piece = os.read(ready, 4096)
        if not piece:
            break
        said += piece
    return said


def _last_line(log_path: str) -> str:
    try:
        with open(open_own(log_path, os.O_RDONLY), "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return f"its log cannot be read ({describe(error)})"
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def local_log_path(directory: str) -> str:
    """The log of a server that started itself, beside its data."""
    return directory.rstrip("/") + ".log"


def local_socket_path(directory: str) -> str:
    """Where the server of `directory` listens for its own user: in a directory that nobody else can enter. Raises
    S2Error if there is no such place."""
    # One user may have several data directories, as tests do.
    name = f"lite-{_short_hash(os.path.realpath(directory))}.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [os.path.join(runtime, "s2")] if os.path.isabs(runtime) else []
    places += [_state_dir(), os.path.join(tempfile.gettempdir(), f"s2-{os.geteuid()}")]
    reasons = []
    for place in places:
        path = os.path.join(place, name)
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            reasons.append(f"{place}: the path is too long")
            continue
        try:
            _make_private(place)
        except OSError as error:
            reasons.append(f"{place}: {describe(error)}")
        else:
            return path
    raise S2Error(
        f"there is no place for the socket of the local server ({'; '.join(reasons)})",
        hint="set XDG_RUNTIME_DIR to a short path of a directory of your own",
    )


def _state_dir() -> str:
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "s2")


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]


def new_place_on(bucket: str) -> str:
    """The directory in which clients of this machine find this process, once it is a server on the bucket with that
    URL: it has a LOCK file, and nothing else. Those of processes that are gone are removed."""
    places = _places_on(bucket)
    for place in _listed(places):
        with contextlib.suppress(OSError, S2Error):
            if not _is_alive(os.path.basename(place)) and not is_locked(place):
                os.unlink(os.path.join(place, LOCK_FILE))
                os.rmdir(place)
    return os.path.join(places, str(os.getpid()))


def places_of_servers(bucket: str) -> list[str]:
    """The directories of the servers of this machine that run on the bucket."""
    return [place for place in _listed(_places_on(bucket)) if is_locked(place)]


def _places_on(bucket: str) -> str:
    return os.path.join(_state_dir(), "on-buckets", _short_hash(bucket))


def _listed(directory: str) -> list[str]:
    try:
        return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(directory, error) from error


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def _make_private(directory: str) -> None:
    """Makes sure that `directory` is ours, and that nobody else can enter it."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        os.mkdir(directory, 0o700)
    # lstat: a link that someone put there in the shared temporary directory would lead anywhere.
    facts = os.lstat(directory)
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "it is not a directory of our own")
    if facts.st_mode & 0o077:
        os.chmod(directory, 0o700)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "it is not writable")


def stop_server(directory: str) -> bool:
    """Has the server of `directory` drain and end, and waits until it has; False if there was none."""
    if not is_locked(directory):
        return False
    note = _await_note(directory, time.monotonic() + START_TIMEOUT_S)
    if note is not None:
        _stop_holder(directory, note)
    return True


def _stop_holder(directory: str, note: dict[str, str]) -> None:
    pid = _holder_pid(note)
    if pid is None:
        raise S2Error(
            f"the server of {directory} (process id {note.get('pid', 'unknown')}) is not visible from here: it may run "
            "in another container",
            hint="stop it there",
        )
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except OSError as error:
        raise S2Error(f"cannot stop the server with process id {pid}: {describe(error)}") from error
    deadline = time.monotonic() + STOP_TIMEOUT_S
    # Until the lock is free, or another server has it by now.
    while is_locked(directory) and (read_note(directory) or note).get("pid") == note.get("pid"):
        if time.monotonic() > deadline:
            raise S2Error(
                f"the server with process id {pid} did not end within {format_seconds(STOP_TIMEOUT_S)}",
                hint=f"kill -9 {pid}",
            )
        time.sleep(POLL_S)


def _holder_pid(note: dict[str, str]) -> int | None:
    """The process id of the server as this process sees it. The kernel knows it from a connection; the one in the
    note may belong to another container, and here to somebody else."""
    if "socket" in note:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2.0)
            connection.connect(note["socket"])
            return _peer_pid(connection) or None
    pid = note.get("pid", "")
    return int(pid) if pid.isdigit() and _runs_s2(int(pid)) else None


def _peer_pid(connection: socket.socket) -> int:
    if sys.platform == "darwin":
        # SOL_LOCAL and LOCAL_PEERPID of <sys/un.h>, which Python does not name.
        return connection.getsockopt(0, 2)
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _runs_s2(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return b"s2cli" in command.read()
    except FileNotFoundError:
        # No such process, or no /proc at all as on macOS.
        return not os.path.isdir("/proc/self")
    except OSError:
        return False


def _unusable(path: str, error: OSError) -> S2Error:
    if error.errno == errno.ENOSPC:
        return S2Error(f"cannot use {path} for the local server: the disk is full")
    hint = "HOME, XDG_DATA_HOME and XDG_RUNTIME_DIR say where its files are: s2 help environment"
    return UsageError(f"cannot use {path} for the local server: {describe(error)}", hint=hint)
