"""What files tell, before a database is opened, of records that are missing."""

import asyncio
import errno
import shutil
import subprocess
import sys

import pytest

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.interface import BasinRow
from s2cli.server.store.sqlite import loss, mark, wal
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES, open_writer

FRAME_BYTES = wal.FRAME_HEADER_BYTES + PAGE_BYTES

# Each creation is a transaction that is confirmed; then it is killed.
WRITE = """
import asyncio, os, pathlib, signal, sys
from s2cli.server.store.interface import BasinRow
from s2cli.server.store.sqlite.engine import SqliteStore

async def main():
    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        await store.insert_basin(BasinRow(f"{sys.argv[3]}-{number:03}", {}, 1))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def write(directory, count=10, prefix="basin"):
    """Leaves `count` confirmed transactions in the log."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", WRITE, directory, str(count), prefix], timeout=60)
    assert done.returncode == -9


@pytest.fixture
def directory(tmp_path):
    write(tmp_path / "data")
    return tmp_path / "data"


def test_a_start_that_finds_no_room_for_the_mark_is_no_loss(directory, monkeypatch):
    def full(path, life):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mark, "begin", full)
        with pytest.raises(S2Error, match="No space left"):
            open_writer(directory, durable=True)
    found, failure = names(directory)
    assert failure is None
    assert len(found) == 10


def names(directory):
    """What is there, and why records are known to be missing."""

    async def main():
        store = await SqliteStore.open(directory)
        try:
            rows, _ = await store.list_basins("", "", 1000)
            return [row.name for row in rows], store.failure
        finally:
            await store.close()

    return asyncio.run(main())


ALL = [f"basin-{number:03}" for number in range(10)]


def wal_path(directory):
    return directory / f"{FILE_NAME}-wal"


def flip(path, at, bit=0):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def without_mark(directory):
    (directory / f"{FILE_NAME}{mark.SUFFIX}").unlink()


def test_a_whole_log_misses_nothing(directory):
    for _ in range(3):
        assert names(directory) == (ALL, None)
    write(directory, 5, "other")
    assert names(directory) == (ALL + [f"other-{number:03}" for number in range(5)], None)


@pytest.mark.parametrize("has_mark", [True, False])
@pytest.mark.parametrize("part", ["frame", "page"])
def test_a_bad_frame_is_no_end(directory, part, has_mark):
    found = wal.scan(wal_path(directory), PAGE_BYTES)
    assert found.committed == len(found.sums) >= 10
    if not has_mark:
        without_mark(directory)
    middle = wal.HEADER_BYTES + len(found.sums) // 2 * FRAME_BYTES
    flip(wal_path(directory), middle + (17 if part == "frame" else 5000))
    there, failure = names(directory)
    assert there == ALL[: len(there)] != ALL
    assert "records that were confirmed are missing: the write-ahead log is damaged" in failure
    # Until a repair.
    assert names(directory) == (there, failure)


@pytest.mark.parametrize("has_mark", [True, False])
def test_a_damaged_header_hides_no_log(directory, has_mark):
    if not has_mark:
        without_mark(directory)
    flip(wal_path(directory), 20)
    assert "write-ahead log" in names(directory)[1]


def test_of_the_youngest_transaction_only_the_mark_can_tell(directory):
    found = wal.scan(wal_path(directory), PAGE_BYTES)
    youngest = wal.HEADER_BYTES + (len(found.sums) - 1) * FRAME_BYTES
    flip(wal_path(directory), youngest + 5000)
    there, failure = names(directory)
    assert there == ALL[:-1]
    assert "the write-ahead log is damaged" in failure


def test_without_the_mark_a_torn_end_looks_like_one_that_rotted(directory):
    found = wal.scan(wal_path(directory), PAGE_BYTES)
    youngest = wal.HEADER_BYTES + (len(found.sums) - 1) * FRAME_BYTES
    flip(wal_path(directory), youngest + 5000)
    without_mark(directory)
    assert names(directory) == (ALL[:-1], None)


def cut(path, size_bytes):
    with open(path, "r+b") as file:
        file.truncate(size_bytes)


@pytest.mark.parametrize("left", [0, 7, wal.HEADER_BYTES, wal.HEADER_BYTES + FRAME_BYTES, -FRAME_BYTES, -1, None])
def test_a_log_that_was_cut_or_deleted_is_missed(directory, left):
    if left is None:
        wal_path(directory).unlink()
    else:
        cut(wal_path(directory), left if left >= 0 else wal_path(directory).stat().st_size + left)
    there, failure = names(directory)
    assert there == ALL[: len(there)] != ALL
    assert "records that were confirmed are missing" in failure


def test_an_older_log_in_its_place_is_noticed(directory, tmp_path):
    shutil.copy(wal_path(directory), tmp_path / "older")
    write(directory, 3, "other")
    shutil.copyfile(tmp_path / "older", wal_path(directory))
    there, failure = names(directory)
    assert there == ALL  # they are in the database by now
    assert "write-ahead log" in failure


def test_a_log_of_another_database_is_not_applied(directory, tmp_path):
    write(tmp_path / "another", 4, "another")
    shutil.copyfile(wal_path(tmp_path / "another"), wal_path(directory))
    there, failure = names(directory)
    assert there == []
    assert "write-ahead log" in failure
    assert (directory / f"{FILE_NAME}-wal.foreign").exists()


def test_neither_is_it_beside_a_database_that_was_closed(directory, tmp_path):
    names(directory)
    write(tmp_path / "another", 4, "another")
    shutil.copyfile(wal_path(tmp_path / "another"), wal_path(directory))
    there, failure = names(directory)
    assert there == ALL
    assert "of another database" in failure


@pytest.mark.parametrize("was_closed", [True, False])
@pytest.mark.parametrize("is_empty", [True, False])
def test_without_its_database_no_server_begins_anew(directory, is_empty, was_closed):
    if was_closed:
        names(directory)
    path = directory / FILE_NAME
    path.unlink()
    if is_empty:
        path.touch()
    for _ in range(2):
        with pytest.raises(S2Error, match="empty" if is_empty else "missing") as refused:
            names(directory)
        assert "--data" in refused.value.hint


def test_an_older_database_in_its_place_is_refused(directory, tmp_path):
    names(directory)
    older = (directory / FILE_NAME).read_bytes()
    write(directory, 3, "other")
    names(directory)
    with open(directory / FILE_NAME, "r+b") as file:  # the same inode
        file.write(older)
        file.truncate()
    for _ in range(2):
        with pytest.raises(S2Error, match="an older or another one"):
            names(directory)


def test_a_damaged_mark_is_said_and_harms_nothing(directory, caplog):
    path = directory / f"{FILE_NAME}{mark.SUFFIX}"
    size_bytes = path.stat().st_size
    content = path.read_bytes()
    for at in range(size_bytes):
        path.write_bytes(content)
        flip(path, at, at % 8)
        with pytest.raises(mark.DamagedMarkError):
            mark.read(directory / FILE_NAME)
    assert names(directory) == (ALL, None)
    assert "-mark is damaged" in caplog.text


def test_after_a_loss_nothing_new_takes_the_place_of_what_is_missing(directory):
    wal_path(directory).unlink()

    async def main():
        store = await SqliteStore.open(directory)
        try:
            with pytest.raises(ApiError, match="s2 lite repair") as refused:
                await store.insert_basin(BasinRow("basin-000", {}, 1))
            return refused.value
        finally:
            await store.close()

    assert asyncio.run(main()).code == "storage"


def test_what_is_known_of_a_loss_is_kept_until_it_is_forgotten(tmp_path):
    path = tmp_path / FILE_NAME
    assert loss.read(path) is None
    loss.write(path, loss.Loss("first", 7))
    loss.write(path, loss.Loss("second", 8))
    found = loss.read(path)
    assert (found.reason, found.records) == ("first", 7)
    flip(tmp_path / f"{FILE_NAME}{loss.SUFFIX}", 0)
    assert "damaged" in loss.read(path).reason
    loss.forget(path)
    assert loss.read(path) is None
