import asyncio
import sqlite3

import pytest
from support.holding import hold
from support.sqlite_engine import uid_of, with_engine
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, Lane, Tail
from s2cli.server.store.sqlite import chunks as sqlite_chunks
from s2cli.server.store.sqlite import cleaner as sqlite_cleaner
from s2cli.server.store.sqlite import lanes, write_log
from s2cli.server.store.sqlite.engine import TOGETHER
from s2cli.server.store.sqlite.schema import FILE_NAME

MIB = 1024 * 1024


def test_small_appends_never_starve_a_bulk_load(tmp_path, monkeypatch):
    """However soon the small ones continue after their acks, and however often there is a checkpoint."""
    monkeypatch.setattr(write_log, "CHECKPOINT_BYTES", 1)

    async def run(engine):
        small, bulk = Lane(await engine.stream("small")), Lane(await engine.stream("bulk"))
        loop = asyncio.get_running_loop()
        insert = sqlite_chunks.insert
        groups = []

        def insert_and_go_on(connection, group, tails):
            insert(connection, group, tails)
            groups.append(group[0].lane)
            if bulk not in groups and len(groups) < 100:
                loop.call_soon_threadsafe(engine.append, small, len(groups))

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


def test_small_appends_of_one_turn_of_the_loop_are_one_group_up_to_a_bound(tmp_path, monkeypatch):
    async def run(engine):
        streams = [Lane(await engine.stream(name)) for name in "abc"]
        insert = sqlite_chunks.insert
        groups = []

        def note(connection, group, tails):
            groups.append(len(group))
            insert(connection, group, tails)

        monkeypatch.setattr(sqlite_chunks, "insert", note)
        for number in range(5):
            for lane in streams:
                engine.append(lane, number)
        await engine.wait(15)
        assert groups == [15]
        groups.clear()
        for number in range(5, 5 + TOGETHER):
            engine.append(streams[0], number)
        engine.append(streams[1], 5)
        await engine.wait(15 + TOGETHER + 1)
        assert groups in ([TOGETHER, 1], [TOGETHER + 1])

    with_engine(tmp_path, run)


@pytest.mark.parametrize(("streams", "appends", "most_checkpoints"), [(1, 400, 5), (64, 20, 2), (300, 2, 4)])
def test_a_checkpoint_waits_for_what_it_would_copy_not_for_what_was_written(
    tmp_path, monkeypatch, streams, appends, most_checkpoints
):
    """The last pages of streams that grow by small appends stand in the log many times, and are copied once."""
    checkpoints = []
    checkpoint = write_log.WriteLog.checkpoint

    def note(log):
        checkpoints.append(log)
        checkpoint(log)

    async def run(engine):
        monkeypatch.setattr("s2cli.server.store.sqlite.writer.IDLE_S", TIMEOUT_S)
        every = [Lane(await engine.stream(f"stream-{number}")) for number in range(streams)]
        monkeypatch.setattr(write_log.WriteLog, "checkpoint", note)
        resolved = 0
        for number in range(appends):
            for lane in every:
                engine.append(lane, number)
            resolved += streams
            await engine.wait(resolved)
        assert 1 <= len(checkpoints) <= most_checkpoints
        assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 2 * write_log.MOST_LOG_BYTES

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
        for number in 2, 3:
            await store.remove_stream(number, await uid_of(store, number))
        assert [await engine.stream(name) for name in "efg"] == [2, 3, 5]
        assert await store.tail(2) == Tail(0, 0)
        assert await store.tail(6) is None
        row = await store.get_stream("some-basin", "e")
        assert (row.next_seq_num, row.trim_point, row.fencing_token) == (0, 0, "")

    with_engine(tmp_path, run)


def test_deletion_goes_in_slices_and_after_what_is_queued(tmp_path):
    async def run(engine):
        lane = Lane(await engine.stream())
        uid = await uid_of(engine.store, lane.stream_id)
        go_on = await hold(engine.store)
        for first in range(20):
            engine.append(lane, first, size=MIB)
        deletion = asyncio.ensure_future(engine.store.delete_chunks(lane.stream_id, uid))
        await asyncio.sleep(0)
        await go_on()
        assert await deletion
        assert len(engine.resolved) == 20
        slices = 1
        while await engine.store.delete_chunks(lane.stream_id, uid):
            slices += 1
        assert slices >= 4
        assert (await engine.store.tail(lane.stream_id))[:2] == (20, 1019)

    with_engine(tmp_path, run)


def test_a_basin_whose_row_is_damaged_is_not_taken_for_deleted(tmp_path):
    async def run(engine):
        for name in ("basin-a", "basin-b"):
            await engine.store.insert_basin(BasinRow(name, {}, 5, 9))
        await engine.execute("UPDATE basin SET deleted_at = 8 WHERE name = CAST('basin-a' AS BLOB)")
        assert await engine.store.deleting_basins() == ["basin-b"]

    with_engine(tmp_path, run)
