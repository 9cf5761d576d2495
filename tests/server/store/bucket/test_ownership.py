"""Two servers on one bucket: who has taken a basin last has it, and the other one acknowledges nothing."""

import asyncio
from itertools import pairwise

import pytest
from support.stores import BASIN, BucketStores, Watched
from support.waiting import TIMEOUT_S, until_async

from s2cli.errors import ApiError
from s2cli.server.core.meters import Meters
from s2cli.server.core.registry import StreamRegistry
from s2cli.server.store.bucket import openings
from s2cli.server.store.interface import BasinRow, Lane, StreamRow
from s2cli.wire.configs import resolve_stream_config


def with_two(run, **settings):
    """Runs `run(first, second)` with two stores on one bucket."""

    async def main():
        stores = BucketStores(settings)
        async with asyncio.timeout(TIMEOUT_S):
            first, second = await stores.open(), await stores.open()
            try:
                await run(Watched(first), Watched(second))
            finally:
                await first.close()
                await second.close()

    asyncio.run(main())


async def refused(awaitable):
    """The error of what another server has taken from us: to be tried again."""
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    return caught.value


def test_the_former_owner_acknowledges_nothing_and_no_number_is_given_twice():
    async def run(first, second):
        lane = Lane(await first.stream())
        first.append(lane, 0)
        first.append(lane, 1)
        await first.wait(2)
        assert first.errors == [None, None]
        # The second takes the basin; what the first has in memory of it says something else from now on.
        taken = Lane(await second.id_of())
        assert (await second.store.tail(taken.stream_id)).next_seq_num == 2
        first.append(lane, 2)
        second.append(taken, 2, count=2)
        await first.wait(3)
        await second.wait(1)
        assert [error.code for error in first.errors[2:]] == ["unavailable"]
        assert second.errors == [None]
        assert lane.broken is first.errors[2]
        assert [basin for basin, _ in first.lost] == [BASIN]
        chunks = await second.store.read(taken.stream_id, 0, 4, 1000)
        assert [chunk.count for chunk in chunks] == [1, 1, 2]
        assert (await second.store.tail(taken.stream_id)).next_seq_num == 4

    with_two(run)


def test_what_belongs_to_an_opening_never_reaches_a_later_one(monkeypatch):
    monkeypatch.setattr(openings, "FIRST_BACKOFF_S", 0.0)

    async def run(first, second):
        lane = Lane(await first.stream())
        row = await first.store.get_stream(BASIN, "stream")
        await second.id_of()
        await refused(first.store.get_stream(BASIN, "stream"))
        again = await first.id_of()  # takes it back
        assert again != lane.stream_id
        first.append(lane, 0)
        await first.wait(1)
        assert first.errors[0].code == "unavailable"
        await refused(first.store.tail(lane.stream_id))
        await refused(first.store.read(lane.stream_id, 0, 1, 100))
        row.config = {"changed": 1}
        await refused(first.store.update_stream(row))
        assert not await first.store.delete_chunks(lane.stream_id, row.uid)
        await first.store.remove_stream(lane.stream_id, row.uid)
        assert (await first.store.get_stream(BASIN, "stream")).config == {}
        assert (await first.store.tail(again)).next_seq_num == 0

    with_two(run)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get_stream(BASIN, "stream"),
        lambda store: store.list_streams(BASIN, "", "", 1),
        lambda store: store.get_reply(BASIN, b"key", 1),
        lambda store: store.insert_stream(StreamRow(BASIN, "stream", {}, 1)),
    ],
)
def test_no_answer_comes_from_what_is_not_ours_any_more(ask):
    async def run(first, second):
        await first.stream()
        await ask(first.store)
        await second.store.get_stream(BASIN, "stream")
        await refused(ask(first.store))

    with_two(run, manifest_poll_interval='"60s"')


def test_an_idle_owner_notices_that_it_has_lost_the_basin():
    async def run(first, second):
        await first.stream()
        await second.id_of()

        async def is_lost():
            return bool(first.lost)

        await until_async(is_lost)
        assert [error.is_taken for _, error in first.lost] == [True]

    with_two(run, manifest_poll_interval='"100ms"')


def test_a_basin_that_was_taken_is_left_alone_for_a_while_and_longer_each_time(monkeypatch):
    async def run(first, second):
        waits = []
        await first.stream()
        for _ in range(4):
            await second.id_of()
            await refused(first.store.get_stream(BASIN, "stream"))
            waits.append((await refused(first.store.get_stream(BASIN, "stream"))).retry_after_ms)
            await asyncio.sleep(waits[-1] / 1000)
            await first.id_of()
            # So that the second one has its turn at once.
            await refused(second.store.get_stream(BASIN, "stream"))
            second.store, before = await stores.open(), second.store
            await before.close()
        assert all(later > 1.2 * sooner for sooner, later in pairwise(waits)), waits

    monkeypatch.setattr(openings, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr("random.uniform", lambda _least, most: most)
    stores = BucketStores()

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            first, second = Watched(await stores.open()), Watched(await stores.open())
            try:
                await run(first, second)
            finally:
                await first.store.close()
                await second.store.close()

    asyncio.run(main())


def test_streams_in_memory_are_dropped_with_their_basin():
    async def run(first, second):
        await first.stream("idle", config=resolve_stream_config({}, {}))
        registry = StreamRegistry(first.store, lambda: 1, Meters(first.store, lambda: 1))
        stream = await registry.open(BASIN, "idle", None)
        await second.id_of("idle")
        await refused(first.store.get_stream(BASIN, "none"))
        assert stream.failure is not None
        assert stream.reading_failure.code == "unavailable"
        assert registry.find(BASIN, "idle") is None

    with_two(run)


def test_a_basin_made_by_one_server_is_there_for_the_other():
    async def run(first, second):
        await first.store.insert_basin(BasinRow(BASIN, {"x": 1}, 1))
        assert (await second.store.get_basin(BASIN)).config == {"x": 1}
        assert (await second.store.insert_basin(BasinRow(BASIN, {}, 1))).config == {"x": 1}

    with_two(run)
