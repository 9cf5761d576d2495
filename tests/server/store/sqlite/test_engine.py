import asyncio
import random
import sqlite3

import pytest
from support.holding import hold
from support.sqlite_engine import with_engine
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.interface import Append, BasinRow, Chunk, Lane, StreamRow, Tail
from s2cli.server.store.sqlite import chunks as sqlite_chunks
from s2cli.server.store.sqlite import cleaner as sqlite_cleaner
from s2cli.server.store.sqlite import lanes, write_log
from s2cli.server.store.sqlite.engine import TOGETHER
from s2cli.server.store.sqlite.schema import FILE_NAME

MIB = 1024 * 1024


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
        assert all(error is None for _, error in engine.resolved)
        assert [append.chunk.first_seq_num for append, _ in engine.resolved] == list(range(0, first, 3))
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
        assert len(engine.resolved) == 20
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


def test_a_basin_whose_row_is_damaged_is_not_taken_for_deleted(tmp_path):
    async def run(engine):
        for name in ("basin-a", "basin-b"):
            await engine.store.insert_basin(BasinRow(name, {}, 5, 9))
        await engine.execute("UPDATE basin SET deleted_at = 8 WHERE name = CAST('basin-a' AS BLOB)")
        assert await engine.store.deleting_basins() == ["basin-b"]

    with_engine(tmp_path, run)
