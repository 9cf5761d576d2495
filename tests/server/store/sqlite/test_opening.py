"""What a store finds when it is opened: files that are not its own, and what a killed server left."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from support.sqlite_engine import with_engine
from support.waiting import TIMEOUT_S

from s2cli.errors import S2Error
from s2cli.server.store.interface import BasinRow
from s2cli.server.store.sqlite import reader, schema
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.schema import FILE_NAME

MIB = 1024 * 1024

WRITER = """
import asyncio, pathlib, sys
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.interface import Append, Chunk, Lane, StreamRow, Tail

async def main():
    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))
    lanes = []
    for name in "abc":
        row = StreamRow("some-basin", name, {}, 1)
        row = await store.insert_stream(row) or row
        lanes.append((Lane(row.id), (await store.tail(row.id) or (0, 0))[0]))
    def on_written(group, error):
        assert error is None
        for append in group:
            chunk = append.chunk
            sys.stdout.write(f"{append.lane.stream_id} {chunk.end_seq_num}\\n")
        sys.stdout.flush()
    store.on_written = on_written
    number = 0
    while True:
        number += 1
        for at, (lane, next_seq_num) in enumerate(lanes):
            count = 1 + number % 7
            size = (20, 3000, 200_000)[at]
            store.append(Append(lane, Chunk(next_seq_num, count, size, number, b"%d:" % next_seq_num + bytes(size)), 0))
            lanes[at] = lane, next_seq_num + count
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_what_was_acked_survives_kill_9(tmp_path):
    generator = random.Random(3)
    acked = {}
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
        lines = [process.stdout.readline() for _ in range(generator.randrange(20, 400))]
        process.send_signal(signal.SIGKILL)
        lines += process.communicate(timeout=TIMEOUT_S)[0].splitlines(keepends=True)
        for line in lines:
            if line.endswith(b"\n"):
                stream_id, end = map(int, line.split())
                acked[stream_id] = end

        async def check(engine):
            for stream_id, end in acked.items():
                tail = (await engine.store.tail(stream_id)).next_seq_num
                assert tail >= end
                first = 0
                while page := await engine.store.read(stream_id, first, tail, MIB):
                    for chunk in page:
                        assert chunk.first_seq_num == first
                        assert chunk.data.startswith(b"%d:" % first)
                        first = chunk.end_seq_num
                assert first == tail

        with_engine(tmp_path, check)
    assert len(acked) == 3


def test_a_newer_format_is_refused(tmp_path):
    with_engine(tmp_path, lambda engine: engine.stream())
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version=4")
    connection.close()
    with pytest.raises(S2Error, match=r"newer version of s2 \(format 4") as caught:
        with_engine(tmp_path, None)
    assert "upgrade" in caught.value.hint


def test_a_database_of_another_program_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(S2Error, match="of another program"):
        with_engine(tmp_path, None)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"text" * 5000)
    with pytest.raises(S2Error, match="cannot open"):
        with_engine(tmp_path, None)


def test_a_temporary_store_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def run():
        store = await SqliteStore.open(None)
        assert [path.parent.parent for path in tmp_path.rglob(FILE_NAME)] == [tmp_path]
        await store.close()

    asyncio.run(run())
    assert [*tmp_path.iterdir()] == []


def test_the_database_is_for_our_own_user(tmp_path):
    async def run(engine):
        await engine.stream()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{FILE_NAME}*")}
        assert modes == dict.fromkeys((FILE_NAME, *(f"{FILE_NAME}-{end}" for end in ("wal", "shm", "mark"))), 0o600)

    umask = os.umask(0)
    try:
        with_engine(tmp_path, run)
    finally:
        os.umask(umask)


def test_what_a_killed_server_left_in_its_log_is_in_the_database_before_it_is_served(tmp_path):
    """It may never have waited for the disk: what is served is what a copy of the database alone has."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    log = tmp_path / "s2.db-wal"
    assert log.stat().st_size

    async def check(engine):
        assert not log.stat().st_size
        ends = [await engine.store.tail(stream_id) for stream_id in (1, 2, 3)]
        copy = tmp_path / "copy"
        copy.mkdir()
        shutil.copy(tmp_path / "s2.db", copy / "s2.db")
        with contextlib.closing(sqlite3.connect(copy / "s2.db")) as database:
            assert ends == [reader.tail(database, stream_id) for stream_id in (1, 2, 3)]
        assert all(ends)

    with_engine(tmp_path, check)


def test_a_log_that_another_program_keeps_is_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_MS", 10)
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    with contextlib.closing(sqlite3.connect(tmp_path / "s2.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM chunk").fetchone()
        with pytest.raises(S2Error, match="another program has locked the database"):
            asyncio.run(SqliteStore.open(tmp_path))


def test_a_log_is_written_again_before_it_is_used(tmp_path, monkeypatch):
    """The system may take pages of it for written that a failed sync has not written."""
    connection = schema.open_writer(tmp_path, durable=True)
    connection.execute("CREATE TABLE many(data)")
    connection.execute("INSERT INTO many VALUES(zeroblob(3000000))")
    shutil.copytree(tmp_path, tmp_path / "killed")
    connection.close()
    log = tmp_path / "killed" / f"{FILE_NAME}-wal"
    data = log.read_bytes()
    assert len(data) > 3_000_000
    written, events = {}, []
    pwrite, fsync, connect = os.pwrite, os.fsync, sqlite3.connect

    def is_log(descriptor):
        return os.path.sameopenfile(descriptor, opened)

    def note_write(descriptor, block, at):
        if is_log(descriptor):
            written[at] = bytes(block)
        return pwrite(descriptor, block, at)

    def note_sync(descriptor):
        fsync(descriptor)
        if is_log(descriptor):
            events.append(b"".join(written[at] for at in sorted(written)))

    def note_connect(*arguments, **options):
        if "uri" not in options:  # those only look
            events.append("connect")
        return connect(*arguments, **options)

    opened = os.open(log, os.O_RDONLY)
    try:
        monkeypatch.setattr(os, "pwrite", note_write)
        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(sqlite3, "connect", note_connect)
        schema.open_writer(tmp_path / "killed", durable=True, accepts_copy=True).close()
    finally:
        os.close(opened)
    assert events[:2] == [data, "connect"]


def test_a_database_whose_creation_was_interrupted_before_it_had_a_log_is_used(tmp_path):
    """The power may fail between its first transaction and the switch to a write-ahead log."""

    async def do_nothing(engine):
        pass

    with_engine(tmp_path, do_nothing)
    (tmp_path / f"{FILE_NAME}-mark").unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)

    async def use(engine):
        await engine.store.insert_basin(BasinRow("some-basin", {}, 1))

    with_engine(tmp_path, use)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT count(*) FROM basin").fetchone() == (1,)
