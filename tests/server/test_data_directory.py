"""What the server opens or makes in its directories is a file of our own, for nobody else, and never behind a link that
somebody has put there."""

import asyncio
import os
import stat

import pytest

from s2cli import private_files
from s2cli.client import local_start
from s2cli.errors import S2Error, UnreachableError
from s2cli.server.core.auth import Secrets
from s2cli.server.data_directory import LockedDirectory
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
    assert not ballast.aboard
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
