"""A bucket that does not answer, databases that fail, and what is stored in another format."""

import asyncio

import pytest
from support.stores import BASIN, BucketStores, Watched, with_store
from support.waiting import TIMEOUT_S, until_async

from s2cli.errors import ApiError
from s2cli.server.store.bucket import binding, bucket_store, database, open_basin
from s2cli.server.store.bucket.database import Database, DatabaseLostError
from s2cli.server.store.interface import Lane, StreamRow


class HeldWrites:
    """Writes to databases, which wait as long as the bucket is said not to answer, or fail."""

    def __init__(self, patch):
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.failure = None
        write = Database.write
        held = self

        async def held_write(self, changes):
            await held._may_write.wait()
            if held.failure is not None:
                raise held.failure
            await write(self, changes)

        patch.setattr(Database, "write", held_write)

    def hold(self):
        self._may_write.clear()

    def go_on(self):
        self._may_write.set()


def test_a_bucket_that_does_not_answer_is_told_and_what_was_queued_still_becomes_durable(monkeypatch):
    for module in (bucket_store, database, open_basin):
        monkeypatch.setattr(module, "UNREACHABLE_S", 0.1)

    async def run(watched):
        store = watched.store
        stalled = asyncio.Event()
        store.on_stall = stalled.set
        lane = Lane(await watched.stream())
        writes = HeldWrites(monkeypatch)
        writes.hold()
        watched.append(lane, 0)
        change = asyncio.ensure_future(store.insert_stream(StreamRow(BASIN, "other", {}, 1)))
        await stalled.wait()
        assert store.stall == store.failure is not None
        assert store.failing_since_ms is not None
        with pytest.raises(ApiError) as caught:
            await change
        assert (caught.value.code, caught.value.no_side_effect) == ("unavailable", False)
        assert watched.resolved == []
        writes.go_on()
        await watched.wait(1)
        assert watched.errors == [None]

        async def is_well():
            return store.stall is None

        await until_async(is_well)
        assert store.failing_since_ms is None
        assert await store.get_stream(BASIN, "other") is not None  # whoever had asked for it was told to ask again

    with_store(BucketStores(), run)


def test_after_a_write_that_failed_the_basin_is_opened_again_and_says_what_became_of_it(monkeypatch):
    async def run(watched):
        lane = Lane(await watched.stream())
        watched.append(lane, 0)
        await watched.wait(1)
        writes = HeldWrites(monkeypatch)
        writes.failure = DatabaseLostError("a background task of the library has died")
        watched.append(lane, 1)
        watched.append(lane, 2)
        change = asyncio.ensure_future(watched.store.get_stream(BASIN, "stream"))
        await watched.wait(3)
        with pytest.raises(ApiError) as caught:
            await change
        assert caught.value.retryable
        assert watched.errors[1:] == [writes.failure] * 2
        writes.failure = None
        again = Lane(await watched.id_of())
        assert (await watched.store.tail(again.stream_id)).next_seq_num == 1
        watched.append(again, 1)
        await watched.wait(4)
        assert watched.errors[3] is None

    with_store(BucketStores(), run)


def test_an_operation_that_fails_changes_nothing_and_disturbs_nobody():
    async def run(watched):
        store = watched.store
        lane = Lane(await watched.stream())
        watched.append(lane, 0)
        with pytest.raises(ApiError) as caught:
            await store.insert_stream(StreamRow(BASIN, "stream-2", {"not": {"JSON"}}, 1))
        assert caught.value.code == "other"
        watched.append(lane, 1)
        await watched.wait(2)
        assert watched.errors == [None, None]
        assert await store.get_stream(BASIN, "stream-2") is None
        await watched.stream("stream-2")

    with_store(BucketStores(), run)


def test_a_newer_format_is_refused(monkeypatch):
    stores = BucketStores()

    async def write(watched):
        await watched.stream()

    async def read(watched):
        with pytest.raises(ApiError, match="newer version of s2: format 2") as caught:
            await watched.store.get_stream(BASIN, "stream")
        assert caught.value.code == "storage"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_basin, "FORMAT", 2)
        with_store(stores, write)
    with_store(stores, read)


def test_a_stream_marked_before_a_restart_is_told_when_its_basin_is_opened():
    stores = BucketStores()

    async def write(watched):
        await watched.stream()
        row = await watched.store.get_stream(BASIN, "stream")
        row.deleted_at_ms = 5
        await watched.store.update_stream(row)

    async def read(watched):
        told = []
        watched.store.on_deleting = lambda: told.append(1)
        assert await watched.store.deleting_streams(5) == []
        await watched.store.get_stream(BASIN, "other")
        assert told == [1]
        assert [row.name for row in await watched.store.deleting_streams(5)] == ["stream"]

    with_store(stores, write)
    with_store(stores, read)


def test_all_that_waits_is_written_in_one_turn(monkeypatch):
    """One upload at a time, and what comes meanwhile goes together with the next."""

    async def run(watched):
        lanes = [Lane(await watched.stream(name)) for name in "abc"]
        writes = HeldWrites(monkeypatch)
        turns = []
        write = Database.write

        async def counted(self, changes):
            turns.append(len(changes))
            await write(self, changes)

        monkeypatch.setattr(Database, "write", counted)
        writes.hold()
        for number in range(20):
            for lane in lanes:
                watched.append(lane, number)
            await asyncio.sleep(0)
        writes.go_on()
        await watched.wait(60)
        assert len(turns) == 2
        assert sum(turns) == 60

    with_store(BucketStores(), run)


def test_a_store_that_is_closed_while_the_bucket_does_not_answer_ends(monkeypatch):
    for module in (bucket_store, database, open_basin):
        monkeypatch.setattr(module, "UNREACHABLE_S", 0.1)

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            watched = Watched(await BucketStores().open())
            lane = Lane(await watched.stream())
            HeldWrites(monkeypatch).hold()
            watched.append(lane, 0)
            await watched.store.close()
            assert [error.code for error in watched.errors] == ["unavailable"]

    asyncio.run(main())


class RecordedNumbers:
    """Numbers from 1 on, and those that were taken."""

    def __init__(self):
        self.taken = []

    def __iter__(self):
        return self

    def __next__(self):
        self.taken.append(len(self.taken) + 1)
        return self.taken[-1]


def test_basins_share_memory_for_what_they_read_and_nothing_else(monkeypatch):
    """What is in the memory is found by the number of the opening, the table and the place in it: with one number for
    all, tables with the same name in two databases would be taken for each other."""
    stores = BucketStores()
    stores.place.numbers = RecordedNumbers()
    library = binding.load()
    shared = []
    with_db_cache = library.DbBuilder.with_db_cache

    def recorded(self, cache, number):
        shared.append((cache, number))
        with_db_cache(self, cache, number)

    monkeypatch.setattr(library.DbBuilder, "with_db_cache", recorded)

    basins = ("basin-1", "basin-2", "basin-3")

    async def write(watched):
        for basin in basins:
            watched.append(Lane(await watched.stream(basin=basin)), 0)
        await watched.wait(len(basins))

    async def read(watched):
        for basin in basins:
            assert len(await watched.store.read(await watched.id_of(basin=basin), 0, 1, 1000)) == 1

    with_store(stores, write)
    with_store(stores, read)
    assert [number for _, number in shared] == [1, 2, 3, 4, 5, 6]
    assert {id(cache) for cache, _ in shared} == {id(stores.place.cache)}
