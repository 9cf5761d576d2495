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
from support.holding import hold
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.interface import Append, BasinRow, Chunk, Lane, StreamRow, Tail
from s2cli.server.store.sqlite import chunks as sqlite_chunks
from s2cli.server.store.sqlite import cleaner as sqlite_cleaner
from s2cli.server.store.sqlite import lanes, reader, schema, write_log
from s2cli.server.store.sqlite.disk import Ballast
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.schema import FILE_NAME

MIB = 1024 * 1024


class Engine:
    """A store, and what it has settled."""

    def __init__(self, store):
        self.store = store
        self.settled = []
        self.changed = asyncio.Event()
        store.on_written = self._on_written

    def _on_written(self, group, error):
        self.settled += [(append, error) for append in group]
        self.changed.set()

    async def stream(self, name="stream"):
        row = StreamRow("some-basin", name, {}, 1)
        assert await self.store.insert_stream(row) is None
        return row.id

    def append(self, lane, first, count=1, size=10, **changes):
        data = random.Random(first).randbytes(size)
        self.store.append(Append(lane, Chunk(first, count, size, 1000 + first, data), 0, **changes))
        return data

    async def wait(self, count):
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.settled) < count:
                self.changed.clear()
                await self.changed.wait()

    async def execute(self, statement):
        return await self.store.change(lambda connection: connection.execute(statement).fetchall())


def with_engine(tmp_path, run):
    async def main():
        store = await SqliteStore.open(tmp_path)
        try:
            return await run(Engine(store))
        finally:
            await store.close()

    return asyncio.run(main())


def test_chunks_come_back_after_reopening(tmp_path):
    async def write(engine):
        lane = Lane(await engine.stream())
        # One row, a small group, and a large one.
        sizes = [10, *[20] * 30, *[50_000] * 20, MIB, 0, *[700] * 200]
        data, first = [], 0
        for size in sizes:
            data.append(engine.append(lane, first, count=3, size=size))
            first += 3
            if size == 10:
                await engine.wait(1)
        await engine.wait(len(sizes))
        assert all(error is None for _, error in engine.settled)
        assert [append.chunk.first_seq_num for append, _ in engine.settled] == list(range(0, first, 3))
        return data

    async def read(engine):
        assert await engine.store.tail(1) == Tail(len(written) * 3, 1000 + len(written) * 3 - 3)
        chunks, first = [], 0
        while page := await engine.store.read(1, first, len(written) * 3, 300_000):
            assert sum(len(chunk.data) for chunk in page[:-1]) < 300_000
            chunks += page
            first = page[-1].end_seq_num
        return chunks

    written = with_engine(tmp_path, write)
    chunks = with_engine(tmp_path, read)
    assert [chunk.data for chunk in chunks] == written
    assert [chunk.first_seq_num for chunk in chunks] == list(range(0, len(written) * 3, 3))
    assert {chunk.count for chunk in chunks} == {3}
    assert [chunk.last_timestamp for chunk in chunks] == [1000 + chunk.first_seq_num for chunk in chunks]


def test_a_read_starts_with_the_chunk_that_holds_the_number(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        other = Lane(await engine.stream("other"))
        for first in range(0, 50, 5):
            engine.append(lane, first, count=5)
            engine.append(other, first, count=5)
        await engine.wait(20)
        for first in range(50):
            page = await engine.store.read(lane.stream_id, first, 50, MIB)
            assert page[0].first_seq_num == first // 5 * 5
            assert page[-1].end_seq_num == 50
        assert (await engine.store.read(lane.stream_id, 0, 20, MIB))[-1].end_seq_num == 20
        assert await engine.store.read(lane.stream_id, 50, 50, MIB) == []

    with_engine(tmp_path, run)


def test_timestamps_are_found_by_bisection(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        generator = random.Random(7)
        # Gaps, equal ones, and those beyond 2^63, which SQLite sees as negative.
        timestamps = sorted(
            generator.choice([5, 100, 100 + generator.randrange(50), 2**63 + 7, 2**64 - 1]) for _ in range(60)
        )
        for number, timestamp in enumerate(timestamps):
            engine.store.append(Append(lane, Chunk(number * 2, 2, 10, timestamp, b"x"), 0))
        await engine.wait(60)
        for wanted in {0, 2**62, 2**64 - 1, *timestamps, *[timestamp + 1 for timestamp in timestamps]}:
            for first in (0, 30):
                expected = next(
                    (at * 2 for at, timestamp in enumerate(timestamps) if at * 2 >= first and timestamp >= wanted), None
                )
                assert await engine.store.find_timestamp(lane.stream_id, wanted, first, 120) == expected

    with_engine(tmp_path, run)


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


def test_a_full_disk_refuses_and_a_trim_makes_room(tmp_path):
    async def run(engine):
        store = engine.store
        lane = Lane(await engine.stream())
        for first in range(10):
            engine.append(lane, first, size=MIB)
        await engine.wait(10)
        assert store.failure is None
        pages = (await engine.execute("PRAGMA page_count"))[0][0]
        await engine.execute(f"PRAGMA max_page_count={pages + 20}")
        for first in range(10, 14):
            engine.append(lane, first, size=MIB)
        await engine.wait(14)
        refused = [error for _, error in engine.settled[10:]]
        assert all(isinstance(error, ApiError) and error.code == "storage" for error in refused)
        assert "disk is full" in refused[0].message
        assert "disk is full" in store.failure
        assert lane.broken
        # What is behind them in that lane has no place; the next lane goes on where the disk stands.
        engine.append(lane, 14, size=10)
        await engine.wait(15)
        assert engine.settled[14][1] is not None
        assert (await store.tail(lane.stream_id))[0] == 10
        lane = Lane(lane.stream_id)
        engine.append(lane, 10, size=10)
        await engine.wait(16)
        assert engine.settled[15][1] is None
        assert store.failure is None
        engine.append(lane, 11, size=10, trim_point=9)
        await engine.wait(17)
        await engine.execute("SELECT 1")
        for first in range(12, 17):
            engine.append(lane, first, size=MIB)
        await engine.wait(22)
        assert [error for _, error in engine.settled[16:]] == [None] * 6
        assert [chunk.first_seq_num for chunk in await store.read(lane.stream_id, 0, 17, 100 * MIB)] == list(
            range(9, 17)
        )

    with_engine(tmp_path, run)


def test_a_full_disk_lets_small_appends_of_other_streams_pass(tmp_path):
    async def run(engine):
        large, small = Lane(await engine.stream()), Lane(await engine.stream("small"))
        engine.append(small, 0)
        await engine.wait(1)
        pages = (await engine.execute("PRAGMA page_count"))[0][0]
        await engine.execute(f"PRAGMA max_page_count={pages + 2}")
        # Both in one group.
        go_on = await hold(engine.store)
        engine.append(large, 0, size=60_000)
        engine.append(small, 1)
        await go_on()
        await engine.wait(3)
        outcome = {append.lane: error for append, error in engine.settled[1:]}
        assert outcome[small] is None
        assert outcome[large].code == "storage"

    with_engine(tmp_path, run)


def test_without_ballast_only_what_makes_room_is_written(tmp_path, monkeypatch):
    """What a full disk has left is for deletion: appends that took it would leave a disk that stays full for ever."""

    async def run(engine):
        lane, other_id = Lane(await engine.stream()), await engine.stream("other")
        for first in range(4):
            engine.append(lane, first)
        await engine.wait(4)
        with monkeypatch.context() as crowded:
            crowded.setattr(Ballast, "restore", lambda self: self.is_present)
            assert engine.store.room.make()
            engine.append(lane, 4)
            await engine.wait(5)
            assert engine.settled[4][1].code == "storage"
            assert "disk is full" in engine.store.failure
            lane = Lane(lane.stream_id)
            # In one group with it, another stream gets nothing of the room either.
            other = Lane(other_id)
            go_on = await hold(engine.store)
            engine.append(lane, 4, trim_point=3)
            engine.append(other, 0)
            await go_on()
            await engine.wait(7)
            outcome = {append.lane: error for append, error in engine.settled[5:]}
            assert outcome[lane] is None
            assert outcome[other].code == "storage"
            for grows in engine.stream("another"), engine.store.insert_basin(BasinRow("another-basin", {}, 1)):
                with pytest.raises(ApiError, match="disk is full"):
                    await grows
            await engine.store.remove_stream(other.stream_id)
        engine.append(lane, 5)
        await engine.wait(8)
        assert engine.settled[7][1] is None
        assert (tmp_path / "ballast").exists()

    with_engine(tmp_path, run)


def test_small_appends_never_starve_a_bulk_load(tmp_path, monkeypatch):
    """However soon the small ones go on after their acks, and however often there is a checkpoint."""
    monkeypatch.setattr(write_log, "CHECKPOINT_BYTES", 1)

    async def run(engine):
        small, bulk = Lane(await engine.stream("small")), Lane(await engine.stream("bulk"))
        insert = sqlite_chunks.insert
        groups = []

        def insert_and_go_on(connection, group, tails):
            insert(connection, group, tails)
            groups.append(group[0].lane)
            if bulk not in groups and len(groups) < 100:
                engine.append(small, len(groups))

        monkeypatch.setattr(sqlite_chunks, "insert", insert_and_go_on)
        go_on = await hold(engine.store)
        engine.append(bulk, 0, size=MIB)
        engine.append(small, 0)
        await go_on()
        await engine.wait(2)
        async with asyncio.timeout(TIMEOUT_S):
            while bulk not in groups:
                await asyncio.sleep(0)
        assert groups.index(bulk) <= lanes.SMALL_GROUPS_IN_A_ROW + 1

    with_engine(tmp_path, run)


def test_an_io_error_stops_all_writes(tmp_path, monkeypatch):
    def fail(*_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    check_that_nothing_is_written_after(tmp_path, monkeypatch, fail, "disk I/O error")


def test_a_dead_writer_leaves_nobody_waiting(tmp_path, monkeypatch):
    def die(*_):
        raise SystemExit("gone")

    check_that_nothing_is_written_after(tmp_path, monkeypatch, die, "SystemExit: gone")


def check_that_nothing_is_written_after(tmp_path, monkeypatch, insert, reason):
    async def run(engine):
        lane, other = Lane(await engine.stream()), Lane(await engine.stream("other"))
        engine.append(other, 0)
        await engine.wait(1)
        monkeypatch.setattr(sqlite_chunks, "insert", insert)
        go_on = await hold(engine.store)
        engine.append(lane, 0, size=MIB)
        engine.append(lane, 1, size=MIB)
        engine.append(other, 1)
        last = asyncio.ensure_future(engine.store.change(lambda _: None))
        await asyncio.sleep(0)
        await go_on()
        await asyncio.wait_for(asyncio.wait([last]), TIMEOUT_S)
        await engine.wait(4)
        monkeypatch.undo()
        engine.append(Lane(lane.stream_id), 0)
        await engine.wait(5)
        for _, error in engine.settled[1:]:
            assert isinstance(error, ApiError)
            assert error.code == "storage"
            assert reason in error.message
        with pytest.raises(ApiError, match="storage has failed"):
            await engine.store.insert_basin(BasinRow("some-basin", {}, 1))
        assert reason in engine.store.failure
        # Reading goes on.
        assert await engine.store.tail(other.stream_id) == Tail(1, 1000)
        assert await engine.store.tail(lane.stream_id) == Tail(0, 0)

    with_engine(tmp_path, run)


def test_damage_is_noticed_when_read(tmp_path):
    async def write(engine):
        lane = Lane(await engine.stream())
        engine.append(lane, 0)
        engine.append(lane, 1)
        await engine.wait(2)

    async def read(engine):
        assert len(await engine.store.read(1, 0, 2, MIB)) == 1  # what lies before the damage
        with pytest.raises(ApiError, match="from sequence number 1 to 1 are damaged") as caught:
            await engine.store.read(1, 1, 2, MIB)
        assert caught.value.code == "storage"

    with_engine(tmp_path, write)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE chunk SET data = CAST('0123456789' AS BLOB) WHERE id & 255 = 1")
    connection.close()
    with_engine(tmp_path, read)


def test_an_emptied_stream_goes_on_where_it_was(tmp_path):
    async def write(engine):
        lane = Lane(await engine.stream())
        engine.append(lane, 0, count=7)
        engine.append(lane, 7, count=3, fencing_token="mine", trim_point=10)
        await engine.wait(2)
        while await engine.store.read(lane.stream_id, 0, 10, MIB):
            pass

    async def read(engine):
        assert await engine.store.tail(1) == Tail(10, 1007)
        row = await engine.store.get_stream("some-basin", "stream")
        assert (row.fencing_token, row.trim_point) == ("mine", 10)

    with_engine(tmp_path, write)
    with_engine(tmp_path, read)


def test_a_trim_that_was_cut_short_goes_on_after_a_restart(tmp_path, monkeypatch):
    async def write(engine):
        lane = Lane(await engine.stream())
        for first in range(20):
            engine.append(lane, first)
        engine.append(lane, 20, trim_point=15)
        await engine.wait(21)
        return await engine.store.read(lane.stream_id, 0, 21, MIB)

    async def read(engine):
        async with asyncio.timeout(TIMEOUT_S):
            while (page := await engine.store.read(1, 0, 21, MIB))[0].first_seq_num != 15:
                pass
        assert len(page) == 6

    monkeypatch.setattr(sqlite_cleaner.Cleaner, "trim", lambda cleaner, trim_points: None)
    assert len(with_engine(tmp_path, write)) == 21
    monkeypatch.undo()
    with_engine(tmp_path, read)


def test_a_trim_deletes_in_slices_and_the_file_shrinks(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        for first in range(40):
            engine.append(lane, first, size=MIB)
        await engine.wait(40)
        engine.append(lane, 40, trim_point=39)
        await engine.wait(41)
        async with asyncio.timeout(TIMEOUT_S):
            while len(await engine.store.read(lane.stream_id, 0, 41, 100 * MIB)) != 2:
                pass
        pages, free = [(await engine.execute(f"PRAGMA {name}"))[0][0] for name in ("page_count", "freelist_count")]
        assert pages < 40 * 64
        assert free > 0

    with_engine(tmp_path, run)


def test_the_log_stays_short(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        for first in range(100):
            engine.append(lane, first, size=MIB)
            if first % 8 == 7:
                await engine.wait(first)
        await engine.wait(100)
        assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 16 * MIB

    with_engine(tmp_path, run)


def test_ids_of_removed_streams_are_used_again(tmp_path):
    async def run(engine):
        store = engine.store
        assert [await engine.stream(name) for name in "abcd"] == [1, 2, 3, 4]
        lane = Lane(2)
        for first in range(3):
            engine.append(lane, first)
        await engine.wait(3)
        await store.remove_stream(2)
        await store.remove_stream(3)
        assert [await engine.stream(name) for name in "efg"] == [2, 3, 5]
        assert await store.tail(2) == Tail(0, 0)
        assert await store.tail(6) is None
        row = await store.get_stream("some-basin", "e")
        assert (row.next_seq_num, row.trim_point, row.fencing_token) == (0, 0, "")

    with_engine(tmp_path, run)


def test_deletion_goes_in_slices_and_after_what_is_queued(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        go_on = await hold(engine.store)
        for first in range(20):
            engine.append(lane, first, size=MIB)
        deletion = asyncio.ensure_future(engine.store.delete_chunks(lane.stream_id))
        await asyncio.sleep(0)
        await go_on()
        assert await deletion
        assert len(engine.settled) == 20
        slices = 1
        while await engine.store.delete_chunks(lane.stream_id):
            slices += 1
        assert slices >= 4
        assert (await engine.store.tail(lane.stream_id))[:2] == (20, 1019)

    with_engine(tmp_path, run)


def test_rows_of_basins_and_streams(tmp_path):
    async def run(engine):
        store = engine.store
        names = ["basin-a", "basin-b", "basin-ba", "basin-c", "other-a"]
        for name in names:
            assert await store.insert_basin(BasinRow(name, {"x": name}, 5, None, b"key")) is None
        assert (await store.insert_basin(BasinRow("basin-b", {}, 6))).config == {"x": "basin-b"}
        rows, more = await store.list_basins("basin-", "", 3)
        assert ([row.name for row in rows], more) == (["basin-a", "basin-b", "basin-ba"], True)
        rows, more = await store.list_basins("basin-", "basin-ba", 3)
        assert ([row.name for row in rows], more) == (["basin-c"], False)
        assert await store.list_basins("", "other-a", 3) == ([], False)
        row = await store.get_basin("basin-a")
        assert row == BasinRow("basin-a", {"x": "basin-a"}, 5, None, b"key")
        row.deleted_at_ms = 9
        await store.update_basin(row)
        for name in ("\U0010ffff\U0010ffff", "\U0010ffff", "é", "a/b", "a"):
            await store.insert_stream(StreamRow("basin-b", name, {"y": 1}, 7))
        await store.insert_stream(StreamRow("basin-c", "a", {}, 7))
        rows, more = await store.list_streams("basin-b", "", "", 10)
        assert [row.name for row in rows] == ["a", "a/b", "é", "\U0010ffff", "\U0010ffff\U0010ffff"]
        rows, more = await store.list_streams("basin-b", "\U0010ffff", "a", 10)
        assert [row.name for row in rows] == ["\U0010ffff", "\U0010ffff\U0010ffff"]
        stream = await store.get_stream("basin-b", "é")
        stream.deleted_at_ms, stream.config = 11, {"y": 2}
        await store.update_stream(stream)
        assert await store.get_stream("basin-b", "é") == stream
        assert await store.deleting_basins() == ["basin-a"]
        assert await store.deleting_streams(5) == [stream]
        await store.remove_stream(stream.id)
        await store.remove_basin("basin-a")
        assert (await store.deleting_basins(), await store.deleting_streams(5)) == ([], [])
        assert await store.get_basin("basin-a") is None

    with_engine(tmp_path, run)


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
