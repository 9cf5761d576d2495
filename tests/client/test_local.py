"""The `local` profile: the server that starts itself."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support.waiting import TIMEOUT_S, until

from s2cli import __version__
from s2cli.client import local, local_start
from s2cli.errors import S2Error, UnreachableError
from s2cli.wire.lock_file import LOCK_FILE, encode_note

ENSURE = "from s2cli.client.local_start import ensure_server; print(ensure_server())"


@pytest.fixture
def place():
    """A directory with a path short enough for a socket, wherever pytest keeps its own."""
    with tempfile.TemporaryDirectory(prefix="s2-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def directory(home):
    """The data directory of this test's own local server."""
    assert local.data_dir() == str(home / ".local/share/s2/lite")
    return local.data_dir()


def ensure():
    """ensure_server() in a process of its own, as a command calls it."""
    ended = subprocess.run([sys.executable, "-c", ENSURE], capture_output=True, timeout=TIMEOUT_S, check=True)
    return ended.stdout.decode().strip()


def note():
    found = local.read_note(local.data_dir())
    assert found is not None
    return found


def alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    # One that has ended and waits for the system to notice has a state of Z.
    status = Path(f"/proc/{int(pid)}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return not Path("/proc/self").exists()


def await_end(pid):
    until(lambda: not alive(pid))


def health(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        return connection.recv(4096).split(b"\r\n")[0]


def test_the_first_use_starts_it_and_the_next_ones_find_it(directory):
    path = ensure()
    assert health(path) == b"HTTP/1.1 200 OK"
    facts = os.stat(path)
    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    pid = note()["pid"]
    assert note() == {"version": __version__, "pid": pid, "started": "itself", "socket": path}
    assert ensure() == path
    assert local_start.ensure_server() == path
    assert note()["pid"] == pid


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not show environments")
def test_it_gets_nothing_of_the_environment_that_may_be_secret(monkeypatch, home):
    names = ("S2_ACCESS_TOKEN", "S2_ENCRYPTION_KEY", "S2_ROOT_TOKEN", "AWS_SECRET_ACCESS_KEY", "ANYTHING_ELSE")
    for name in names:
        monkeypatch.setenv(name, "do-not-tell")
    ensure()
    process = Path("/proc", note()["pid"])
    variables = dict(item.split(b"=", 1) for item in (process / "environ").read_bytes().split(b"\0") if item)
    assert variables[b"HOME"] == os.fsencode(home)
    assert {name.decode() for name in variables} <= local_start.INHERITED_VARIABLES
    assert b"do-not-tell" not in (process / "cmdline").read_bytes() + b"".join(variables.values())


def test_commands_that_race_start_one_server():
    commands = [
        subprocess.Popen([sys.executable, "-c", ENSURE], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    said = [command.communicate(timeout=TIMEOUT_S) for command in commands]
    assert {out for out, _ in said} == {(note()["socket"] + "\n").encode()}
    assert {error for _, error in said} == {b""}
    log = Path(local_start.local_log_path(local.data_dir())).read_text()
    assert log.count(" serves ") == 1


def test_it_comes_back_after_a_crash():
    path = ensure()
    first = note()["pid"]
    os.kill(int(first), signal.SIGKILL)
    # Its threads end one after the other, and until the last has ended the socket is open.
    until(lambda: not local_start.is_locked(local.data_dir()))
    assert os.path.exists(path), "the stale socket is what this test is about"
    assert ensure() == path
    assert health(path) == b"HTTP/1.1 200 OK"
    assert note()["pid"] != first


def test_it_is_nobodys_child_and_keeps_nothing_of_ours():
    # A pipe that the command inherits, as in `x=$(s2 --local …)`: at its end the shell continues.
    read_end, write_end = os.pipe()
    command = [sys.executable, "-c", ENSURE]
    with subprocess.Popen(command, stdout=write_end, stderr=write_end, stdin=subprocess.PIPE, pass_fds=[write_end]):
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            finished = threading.Event()
            threading.Thread(target=lambda: (pipe.read(), finished.set()), daemon=True).start()
            assert finished.wait(TIMEOUT_S), "the server holds the pipe of the command that started it"
    pid = int(note()["pid"])
    assert os.getsid(pid) not in (os.getsid(0), os.getpgid(0))
    assert os.getpgid(pid) != os.getpgid(0)
    assert alive(pid)


def test_it_ends_by_itself_when_idle(directory):
    path = local_start.local_socket_path(directory)
    command = [sys.executable, "-P", "-m", "s2cli.commands.lite", "--started-by", "itself", "--idle-exit", "0.2"]
    read_end, write_end = os.pipe()
    command += ["--data", directory, "--socket", path, "--log", directory + ".log", "--ready", str(write_end)]
    os.makedirs(directory)
    with open(directory + ".log", "ab") as log:
        subprocess.run(command, pass_fds=[write_end], stderr=log, timeout=TIMEOUT_S, check=True)
    os.close(write_end)
    with open(read_end, "rb") as ready:
        # The end of the pipe is not the end of the server: it closes it once it is ready.
        said = ready.read()
    assert said.endswith(b"ready\n")
    await_end(said.split()[1])
    assert not os.path.exists(path)
    assert not local_start.is_locked(directory)
    assert "without a request" in Path(directory + ".log").read_text()


def test_a_newer_client_replaces_an_older_server(monkeypatch):
    ensure()
    first = note()["pid"]
    monkeypatch.setattr(local, "__version__", "999.0.0")
    path = local_start.ensure_server()
    assert health(path) == b"HTTP/1.1 200 OK"
    assert note()["pid"] != first
    await_end(first)


def test_an_older_client_uses_a_newer_server(monkeypatch):
    path = ensure()
    first = note()["pid"]
    monkeypatch.setattr(local, "__version__", "0.0.1")
    assert local_start.ensure_server() == path
    assert note()["pid"] == first


@pytest.mark.parametrize(
    ("theirs", "started", "outdated"),
    [
        ("0.0.9", "itself", True),
        ("0.0.9", "user", False),
        (__version__, "itself", False),
        ("999.1", "itself", False),
        ("", "itself", True),
    ],
)
def test_who_makes_room(theirs, started, outdated):
    assert local.is_outdated({"version": theirs, "started": started}) is outdated


class Lite:
    """`s2 lite` in the foreground, as a person runs it."""

    def __init__(self, **options):
        code = (
            "import sys; from s2cli.cli.other_args import LiteArgs; from s2cli.commands import lite; "
            "sys.exit(lite.lite(LiteArgs(**{!r})))"
        ).format({"port": 0, **options})
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.lines = [self.process.stdout.readline() for _ in range(3)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        _, self.said = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0


def test_lite_takes_over_from_a_server_that_started_itself():
    path = ensure()
    first = note()["pid"]
    with Lite() as lite:
        assert note()["pid"] == str(lite.process.pid)
        await_end(first)
        assert note()["started"] == "user"
        # The profile finds it, and leaves it alone.
        assert ensure() == path
        assert local_start.is_locked(local.data_dir())
    assert b"took over" in lite.said
    assert ensure() == path
    assert note()["started"] == "itself"


def test_lite_on_the_same_directory_by_name_is_found_too(directory):
    with Lite(data=directory) as lite:
        assert health(ensure()) == b"HTTP/1.1 200 OK"
        assert note()["pid"] == str(lite.process.pid)


def test_a_server_without_a_socket_for_us_is_found_by_its_address(make_server, directory):
    server = make_server(data=Path(directory))
    assert local_start.ensure_server() == server.url


def test_a_server_whose_socket_was_removed_is_replaced():
    path = ensure()
    first = note()["pid"]
    os.unlink(path)
    assert health(ensure()) == b"HTTP/1.1 200 OK"
    await_end(first)


def test_a_server_whose_socket_was_removed_ends_by_itself():
    path = ensure()
    pid = note()["pid"]
    os.unlink(path)
    await_end(pid)


def test_a_lock_without_a_server_is_an_error_in_time(monkeypatch, directory):
    monkeypatch.setattr(local_start, "START_TIMEOUT_S", 0.2)
    os.makedirs(directory)
    with open(os.path.join(directory, LOCK_FILE), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnreachableError, match="does not start"):
            local_start.ensure_server()


def test_a_server_that_does_not_answer_is_an_error_in_time(directory, tmp_path):
    os.makedirs(directory)
    with open(os.path.join(directory, LOCK_FILE), "wb", buffering=0) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(encode_note({"version": __version__, "pid": "1", "started": "user", "socket": str(tmp_path / "x")}))
        with pytest.raises(UnreachableError, match="does not answer"):
            local_start.ensure_server()


def test_a_starter_that_hangs_is_an_error_in_time(monkeypatch, directory):
    monkeypatch.setattr(local_start, "START_TIMEOUT_S", 0.1)
    monkeypatch.setattr(local_start, "STOP_TIMEOUT_S", 0.1)
    with local_start.start_lock(directory), pytest.raises(UnreachableError, match="another command has been starting"):
        local_start.ensure_server()


def test_what_a_server_cannot_start_with_is_said(directory):
    os.makedirs(directory)
    Path(directory, "s2.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UnreachableError, match="cannot start the local server: cannot open"):
        local_start.ensure_server()
    assert not local_start.is_locked(directory)


def test_a_server_that_dies_while_it_starts_is_said(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UnreachableError, match="ended while it was starting: no such luck"):
        local_start.ensure_server()


def test_a_server_that_does_not_get_ready_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(local_start, "START_TIMEOUT_S", 3)
    python = tmp_path / "python"
    # Continues in the background, says who it is, and no more.
    python.write_text(
        '#!/bin/sh\nfor ready; do :; done\nsleep 36000 &\necho $! >"$0.pid"\necho pid $! >/dev/fd/$ready\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UnreachableError, match="did not start within"):
        local_start.ensure_server()
    await_end((tmp_path / "python.pid").read_text())


def test_a_full_disk_is_said(monkeypatch, directory):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    os.makedirs(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(S2Error, match="the disk is full"):
            local_start.start_server(directory)


def test_a_directory_that_cannot_be_is_said(monkeypatch, home):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "file"))
    with pytest.raises(S2Error, match="cannot use"):
        local_start.ensure_server()


def test_stop(directory):
    ensure()
    pid = note()["pid"]
    assert local_start.stop_server(directory) is True
    assert not local_start.is_locked(directory)
    await_end(pid)
    assert local_start.stop_server(directory) is False


def test_a_process_that_is_no_server_of_ours_is_never_signalled(directory, tmp_path):
    os.makedirs(directory)
    with open(os.path.join(directory, LOCK_FILE), "wb", buffering=0) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(encode_note({"version": "0.0.1", "pid": "1", "started": "itself", "socket": str(tmp_path / "x")}))
        with pytest.raises(S2Error, match="another container"):
            local_start.stop_server(directory)


def test_where_the_data_lies(monkeypatch, home, tmp_path):
    assert local.data_dir() == str(home / ".local/share/s2/lite")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/to/be/ignored")
    assert local.data_dir() == str(home / ".local/share/s2/lite")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert local.data_dir() == str(tmp_path / "s2/lite")


def test_where_the_socket_lies(monkeypatch, directory, home, place):
    assert local_start.local_socket_path(directory).startswith(str(home / ".local/state/s2/lite-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    path = local_start.local_socket_path(directory)
    assert path.startswith(str(place / "s2/lite-"))
    assert local_start.local_socket_path(directory + "2") != path


def test_a_place_that_is_too_deep_or_not_ours_is_passed_over(monkeypatch, directory, place):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / ("x" * 100)))
    (place / "elsewhere").mkdir()
    (place / "state").mkdir()
    (place / "state" / "s2").symlink_to(place / "elsewhere")
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    (place / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place / "t"))
    path = local_start.local_socket_path(directory)
    assert path.startswith(str(place / "t" / f"s2-{os.geteuid()}/lite-"))
    monkeypatch.setattr("tempfile.tempdir", str(place / ("y" * 100)))
    with pytest.raises(S2Error, match="no place for the socket") as caught:
        local_start.local_socket_path(directory)
    assert "too long" in caught.value.message
    assert "not a directory of our own" in caught.value.message


def test_a_directory_that_others_can_enter_is_closed(monkeypatch, directory, place):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    (place / "s2").mkdir(mode=0o755)
    local_start.local_socket_path(directory)
    assert stat.S_IMODE(os.stat(place / "s2").st_mode) == 0o700


def test_the_way_to_a_running_server_imports_next_to_nothing():
    ensure()
    code = (
        "import sys, os, time, errno, _socket; before = set(sys.modules); from s2cli.client.local import find_server;"
        " assert find_server(); print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=TIMEOUT_S, check=True)
    ours = {
        "__future__",
        "s2cli",
        "s2cli.client",
        "s2cli.client.local",
        "s2cli.wire",
        "s2cli.wire.lock_file",
    }
    assert set(loaded.stdout.decode().split()) <= ours


def test_the_log_is_bounded(tmp_path):
    path = tmp_path / "lite.log"
    code = (
        "import logging, sys; from s2cli.server.logfile import log_to_file; log_to_file(sys.argv[1])\n"
        "for number in range(30000): logging.info('%0100d', number)\n"
        "print('a last word', file=sys.stderr, flush=True)"
    )
    with open(path, "ab") as log:
        subprocess.run([sys.executable, "-c", code, path], stderr=log, timeout=TIMEOUT_S, check=True)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["lite.log", "lite.log.1"]
    assert all(found.stat().st_size < 1_100_000 for found in tmp_path.iterdir())
    assert path.read_text().endswith("a last word\n")
