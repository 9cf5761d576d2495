"""A full disk: what is refused, what is still written, and that nobody waits for it."""

import asyncio
import sqlite3

import pytest
from support.holding import hold
from support.sqlite_engine import uid_of, with_engine
from support.store_bench import with_bench
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, Lane
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.disk import Ballast

MIB = 1024 * 1024


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
        refused = [error for _, error in engine.resolved[10:]]
        assert all(isinstance(error, ApiError) and error.code == "storage" for error in refused)
        assert "disk is full" in refused[0].message
        assert "disk is full" in store.failure
        assert lane.broken
        # What is behind them in that lane has no place; the next lane continues where the disk stands.
        engine.append(lane, 14, size=10)
        await engine.wait(15)
        assert engine.resolved[14][1] is not None
        assert (await store.tail(lane.stream_id))[0] == 10
        lane = Lane(lane.stream_id)
        engine.append(lane, 10, size=10)
        await engine.wait(16)
        assert engine.resolved[15][1] is None
        assert store.failure is None
        engine.append(lane, 11, size=10, trim_point=9)
        await engine.wait(17)
        await engine.execute("SELECT 1")
        for first in range(12, 17):
            engine.append(lane, first, size=MIB)
        await engine.wait(22)
        assert [error for _, error in engine.resolved[16:]] == [None] * 6
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
        outcome = {append.lane: error for append, error in engine.resolved[1:]}
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
            assert engine.resolved[4][1].code == "storage"
            assert "disk is full" in engine.store.failure
            lane = Lane(lane.stream_id)
            # In one group with it, another stream gets nothing of the room either.
            other = Lane(other_id)
            go_on = await hold(engine.store)
            engine.append(lane, 4, trim_point=3)
            engine.append(other, 0)
            await go_on()
            await engine.wait(7)
            outcome = {append.lane: error for append, error in engine.resolved[5:]}
            assert outcome[lane] is None
            assert outcome[other].code == "storage"
            for grows in engine.stream("another"), engine.store.insert_basin(BasinRow("another-basin", {}, 1)):
                with pytest.raises(ApiError, match="disk is full"):
                    await grows
            await engine.store.remove_stream(other.stream_id, await uid_of(engine.store, other.stream_id))
        engine.append(lane, 5)
        await engine.wait(8)
        assert engine.resolved[7][1] is None
        assert (tmp_path / "ballast").exists()

    with_engine(tmp_path, run)


def test_what_was_written_on_a_full_disk_is_told_once_though_the_disk_fails_then(tmp_path, monkeypatch):
    insert = chunks.insert
    told = []

    def fail(connection, group, tails):
        if group[0].lane.stream_id == 1:
            error = sqlite3.OperationalError("of the disk")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        insert(connection, group, tails)

    async def run(bench):
        lanes = [await bench.lane(name) for name in "ab"]
        monkeypatch.setattr(chunks, "insert", fail)
        monkeypatch.setattr(bench.store.room, "may_grow", lambda: False)
        on_written = bench.store.on_written
        bench.store.on_written = lambda group, error: (told.extend(group), on_written(group, error))
        go_on = await hold(bench.store)
        # Each by itself may be written without the room that is kept aside.
        appends = [bench.append(lane, 0, trim_point=1) for lane in reversed(lanes)]
        await go_on()
        errors = await bench.resolved(*appends)
        assert [error is None for error in errors] == [True, False]
        with pytest.raises(ApiError, match="the storage has failed"):
            await bench.store.remove_basin("some-basin")
        assert len(told) == 2

    with_bench(tmp_path, run)


def test_nobody_waits_for_an_append_when_the_disk_is_full_and_cannot_be_looked_at(tmp_path, monkeypatch):
    def full(connection, group, tails):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    def gone(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    async def run(bench):
        lane = await bench.lane("stream")
        with monkeypatch.context() as patch:
            patch.setattr(chunks, "insert", full)
            patch.setattr("s2cli.server.store.sqlite.disk.os.statvfs", gone)
            (error,) = await bench.resolved(bench.append(lane, 0))
        assert "0.0 MiB are" in error.message
        async with asyncio.timeout(TIMEOUT_S):
            while bench.store.failure is not None:
                await bench.store.change(lambda _: bench.store.room.check())

    with_bench(tmp_path, run)
