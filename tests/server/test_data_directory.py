"""The data directory is for one server; what that opens or makes in it is a file of our own, for nobody else, and never
behind a link that somebody has put there."""

import asyncio
import errno
import os
import stat

import pytest

from s2cli import private_files
from s2cli.client import local_start
from s2cli.errors import BadValueError, S2Error, UnreachableError, UsageError
from s2cli.server import data_directory as directory_module
from s2cli.server.core.auth import Secrets
from s2cli.server.data_directory import DirectoryInUseError, LockedDirectory, lock_directory, network_file_system
from s2cli.server.logfile import MAX_LOG_BYTES, LogFile
from s2cli.server.store.sqlite.disk import Ballast
from s2cli.server.store.sqlite.engine import SqliteStore

MIB = 1024 * 1024
PRECIOUS = b"do not touch"


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_bytes(PRECIOUS)
    path.chmod(0o644)
    yield path
    assert path.read_bytes() == PRECIOUS
    assert mode(path) == 0o644


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def open_store(data):
    async def run():
        lock = LockedDirectory(data)
        try:
            store = await SqliteStore.open(data)
            try:
                Secrets(data).hash("x")
            finally:
                await store.close()
        finally:
            lock.release()

    asyncio.run(run())


NAMES = ("LOCK", "s2.db", "s2.db-wal", "s2.db-shm", "s2.db-journal", "token.key")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_not_followed(data, victim, tmp_path, name, dangling):
    target = tmp_path / "not there yet" if dangling else victim
    (data / name).symlink_to(target)
    with pytest.raises(S2Error, match=rf"{name}.*it is a symbolic link"):
        open_store(data)
    assert dangling != target.exists()
    assert (data / name).is_symlink()


@pytest.mark.parametrize("name", NAMES)
def test_a_named_pipe_is_no_file(data, name):
    os.mkfifo(data / name)
    with pytest.raises(S2Error, match=rf"{name}.*it is not a regular file"):
        open_store(data)


@pytest.mark.parametrize("name", ["ballast", "token.key.new"])
def test_what_is_written_anew_replaces_a_link(data, victim, name):
    (data / name).symlink_to(victim)
    open_store(data)
    assert not (data / name).is_symlink()
    assert (data / "ballast").stat().st_size >= MIB


def test_a_link_is_no_ballast_however_large(data, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(4 * MIB))
    (data / "ballast").symlink_to(large)
    ballast = Ballast(data, 3 * MIB)
    assert not ballast.is_present
    assert ballast.restore()
    assert ballast.release()
    assert large.stat().st_size == 4 * MIB


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_the_umask_does_not_matter(data, mask):
    before = os.umask(mask)
    try:
        open_store(data)
        lock = LockedDirectory(data)
        found = {path.name: mode(path) for path in data.iterdir()}
        lock.release()
    finally:
        os.umask(before)
    assert {"LOCK", "s2.db", "ballast", "token.key"} <= found.keys()
    assert set(found.values()) == {0o600}


def test_what_others_could_read_before_they_cannot_any_more(data):
    open_store(data)
    for path in data.iterdir():
        path.chmod(0o644)
    open_store(data)
    assert {mode(path) for path in data.iterdir()} == {0o600}


def test_a_file_of_somebody_else_is_refused_but_to_root(data, monkeypatch):
    open_store(data)
    owner = (data / "LOCK").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1000)
    with pytest.raises(S2Error, match=r"LOCK: it belongs to another user"):
        open_store(data)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    os.close(private_files.open_own(data / "LOCK", os.O_RDONLY))


def test_the_log_of_the_local_server_is_no_link(home, victim):
    directory = home / ".local/share/s2/lite"
    directory.mkdir(parents=True)
    log = directory.with_suffix(".log")
    log.symlink_to(victim)
    with pytest.raises((S2Error, UnreachableError), match="it is a symbolic link"):
        local_start.start_server(str(directory))
    log.unlink()
    (directory / "LOCK").symlink_to(victim)
    with pytest.raises(S2Error, match="it is a symbolic link"):
        local_start.is_locked(str(directory))
    (directory / "LOCK").unlink()


def test_a_full_log_is_replaced_by_a_file_of_our_own(tmp_path, victim, monkeypatch):
    log = tmp_path / "log"
    (tmp_path / "log.1").symlink_to(victim)
    stderr = os.dup(2)
    before = os.umask(0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.ftruncate(descriptor, MAX_LOG_BYTES)
        os.dup2(descriptor, 2)
        LogFile(str(log))
        assert (mode(log), log.stat().st_size) == (0o600, 0)
        assert not (tmp_path / "log.1").is_symlink()
    finally:
        os.dup2(stderr, 2)
        os.close(descriptor)
        os.close(stderr)
        os.umask(before)


# Whose the directory is.


def test_a_directory_is_locked_against_others(tmp_path):
    held = LockedDirectory(tmp_path / "new" / "data")
    held.write_note(b"about me")
    with pytest.raises(DirectoryInUseError, match="in use by another server") as caught:
        LockedDirectory(tmp_path / "new" / "data")
    assert caught.value.note == b"about me"
    assert held.path.stat().st_mode & 0o077 == 0
    held.release()
    LockedDirectory(tmp_path / "new" / "data").release()


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "data" / "LOCK").mkdir(parents=True)
    for name, why in (
        ("file", "it is a file"),
        ("file/data", f"{tmp_path}/file is a file"),
        ("data", f"{tmp_path}/data/LOCK: is a directory"),
    ):
        with pytest.raises(UsageError) as caught:
            LockedDirectory(tmp_path / name)
        assert caught.value.message == f"cannot use {tmp_path / name} as a data directory: {why}"


def test_a_full_disk_is_no_usage_error(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(directory_module, "open_own", full)
    with pytest.raises(S2Error, match="no space left on device") as caught:
        LockedDirectory(tmp_path)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("ext4", None), ("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("fuse.portal", None), ("nfsd", None)],
)
def test_the_file_system_of_a_directory_is_known(tmp_path, monkeypatch, kind, expected):
    device = os.stat(tmp_path).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 0:999 / / rw,relatime shared:1 - nfs server:/ rw\n"
        f"36 22 {os.major(device)}:{os.minor(device)} / /data rw shared:2 master:3 - {kind} server:/data rw,x=y\n"
    )
    monkeypatch.setattr(directory_module, "MOUNTS", str(mounts))
    assert network_file_system(tmp_path) == expected
    if expected:
        with pytest.raises(S2Error, match=rf"network file system \({expected}\)"):
            LockedDirectory(tmp_path / "data")
        LockedDirectory(tmp_path / "data", allow_network=True).release()


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(None, False), ("", False), ("0", False), ("false", False), ("no", False), ("1", True), ("yes", True)],
)
def test_a_network_file_system_is_allowed_by_a_variable_that_the_refusal_names(tmp_path, monkeypatch, value, allowed):
    monkeypatch.setattr(directory_module, "network_file_system", lambda path: "nfs4")
    monkeypatch.delenv("S2_LITE_NETWORK_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("S2_LITE_NETWORK_DATA", value)
    if allowed:
        asyncio.run(lock_directory(str(tmp_path))).release()
    else:
        with pytest.raises(S2Error, match="network file system") as refusal:
            asyncio.run(lock_directory(str(tmp_path)))
        assert "set S2_LITE_NETWORK_DATA=1" in refusal.value.hint


def test_a_variable_that_says_neither_yes_nor_no_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("S2_LITE_NETWORK_DATA", "perhaps")
    with pytest.raises(BadValueError, match='must be 1 or 0, not "perhaps"'):
        asyncio.run(lock_directory(str(tmp_path)))


def test_a_directory_whose_file_system_nobody_tells_may_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_module, "MOUNTS", str(tmp_path / "none"))
    assert network_file_system(tmp_path) is None


def test_the_names_of_a_new_directory_are_synced_up_to_one_that_was_there(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def note(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    LockedDirectory(tmp_path / "a" / "b").release()
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]
    synced.clear()
    LockedDirectory(tmp_path / "a" / "b").release()
    assert not synced


def test_a_full_disk_is_told_and_leaves_no_lock(data, monkeypatch):
    def full(descriptor, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    killed = LockedDirectory(data)
    killed.write_note(b"of a server")
    with monkeypatch.context() as patch:
        patch.setattr(directory_module.os, "ftruncate", full)
        killed.release()
        with pytest.raises(S2Error, match="LOCK: no space left") as refused:
            LockedDirectory(data)
        assert not isinstance(refused.value, DirectoryInUseError)
        assert "ballast" in refused.value.hint
    LockedDirectory(data).release()
