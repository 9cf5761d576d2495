"""Metrics of basins that another server has: counting takes a basin from nobody, and no count is lost."""

import asyncio

from support.stores import BASIN, Watched
from support.waiting import TIMEOUT_S, until_async

from s2cli.errors import ApiError
from s2cli.server.store.bucket import count_objects
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.interface import BasinRow, Lane, Point

HOUR = 60  # minutes
NOW = 500_000 * HOUR


def names(stores, folder):
    return [name for name in stores.names() if name.startswith(folder)]


def points(value, basin=BASIN, minute=NOW):
    return [Point(basin, stream, "stored", minute, value) for stream in ("stream", "")]


def with_two(stores, run):
    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            first, second = Watched(await stores.open()), Watched(await stores.open())
            try:
                for watched in first, second:
                    watched.store.clock_ms = lambda: NOW * 60_000
                await run(first, second)
            finally:
                await first.store.close()
                await second.store.close()

    asyncio.run(main())


async def counted(watched, stream="stream", **times):
    times = {"first": 0, "end": 2 * NOW, "interval": 1} | times
    return await watched.store.counted(BASIN, stream, ["stored"], *times.values())


def test_counts_of_a_basin_that_another_server_has_leave_it_there_and_are_not_lost(stores):
    async def run(first, second):
        lane = Lane(await first.stream())
        first.append(lane, 0)
        await first.wait(1)
        taken = Lane(await second.id_of())
        await first.store.add_counts([*points(10), Point("", "", "op:list-basins", NOW, 1)])
        await second.store.add_counts(points(20))
        await first.store.add_counts(points(3, minute=NOW + 1))
        second.append(taken, 1)
        await second.wait(1)
        assert (second.errors, second.lost) == ([None], [])
        assert await counted(second) == {"stored": {NOW: 30, NOW + 1: 3}}
        assert await counted(second, "") == {"stored": {NOW: 30, NOW + 1: 3}}
        assert await counted(second, end=NOW + 1) == {"stored": {NOW: 30}}
        assert second.lost == []

    with_two(stores, run)


def test_counts_of_basins_that_are_nowhere_open_open_none(stores):
    async def run(first, second):
        await first.store.insert_basin(BasinRow(BASIN, {}, 1))
        await first.store.add_counts(points(1) + points(1, basin="no-such-basin"))
        await second.store.add_counts(points(2))
        assert not names(stores, "data/")
        assert await counted(first) == {"stored": {NOW: 3}}
        assert await first.store.counted("no-such-basin", "", ["stored"], 0, 2 * NOW, 1) == {}

    with_two(stores, run)


def test_who_opens_a_basin_takes_over_what_was_counted_elsewhere(stores):
    async def run(first, second):
        await first.store.insert_basin(BasinRow(BASIN, {}, 1))
        await second.store.add_counts(points(5))
        later = NOW + HOUR * (count_objects.SETTLED_HOURS + 1)
        second.store.clock_ms = first.store.clock_ms = lambda: later * 60_000
        await second.store.add_counts(points(7))
        assert len(names(stores, "counts/")) == 2
        assert await counted(first) == {"stored": {NOW: 12}}

        async def is_folded():
            return len(names(stores, "counts/")) == 1

        await until_async(is_folded)
        assert await counted(first) == {"stored": {NOW: 12}}
        assert await counted(second) == {"stored": {NOW: 12}}  # which opens it

    with_two(stores, run)


def test_what_was_folded_and_not_yet_deleted_counts_once(stores, monkeypatch):
    async def run(first, second):
        await first.store.insert_basin(BasinRow(BASIN, {}, 1))
        await second.store.add_counts(points(5))
        later = NOW + HOUR * (count_objects.SETTLED_HOURS + 1)
        second.store.clock_ms = first.store.clock_ms = lambda: later * 60_000
        tried = asyncio.Event()

        async def delete(_objects, name):
            tried.set()
            raise ApiError("unavailable", f"{name} cannot be deleted")

        with monkeypatch.context() as patch:
            patch.setattr(Objects, "delete", delete)
            assert await counted(first) == {"stored": {NOW: 5}}
            await tried.wait()
        assert len(names(stores, "counts/")) == 1
        assert await counted(first) == {"stored": {NOW: 5}}
        assert await counted(second) == {"stored": {NOW: 5}}

        async def is_deleted():
            return not names(stores, "counts/")

        await until_async(is_deleted)
        assert await counted(second) == {"stored": {NOW: 5}}

    with_two(stores, run)
