"""The registry: each stream is open once, and forgotten when it is idle."""

import asyncio
import gc

import pytest
from support.holding import hold
from support.stream_fakes import FakeOwner, FakeServer, batch

from s2cli.errors import ApiError
from s2cli.server.api.server import Server
from s2cli.server.core import registry as registry_module
from s2cli.server.store.interface import BasinRow
from s2cli.server.store.sqlite.engine import SqliteStore


def test_a_stream_deleted_while_it_is_loaded_is_not_opened():
    async def main():
        server = FakeServer()
        row = server.add()

        def delete():
            server.store.on_load = None
            row.deleted_at_ms = 1
            server.streams.deleted(row)

        server.store.on_load = delete
        with pytest.raises(ApiError) as caught:
            await server.streams.open("basin", "stream", None)
        assert caught.value.code == "stream_deletion_pending"

    asyncio.run(main())


def test_many_who_open_a_stream_get_the_same_one():
    async def main():
        server = FakeServer()
        server.add()
        loads = []
        server.store.on_load = lambda: loads.append(1)
        opened = await asyncio.gather(*(server.streams.open("basin", "stream", None) for _ in range(10)))
        assert len(set(map(id, opened))) == 1
        assert len(loads) == 1
        with pytest.raises(ApiError) as caught:
            await server.streams.open("basin", "missing", None)
        assert caught.value.code == "basin_not_found"

    asyncio.run(main())


def test_idle_streams_are_forgotten_and_used_ones_are_not(monkeypatch):
    async def main():
        monkeypatch.setattr(registry_module, "MAX_IDLE_STREAMS", 3)
        server = FakeServer()
        for number in range(8):
            server.add(f"stream-{number}")
        used = await server.streams.open("basin", "stream-0", None)
        busy = await server.streams.open("basin", "stream-1", None)
        busy.admit(batch(b"a"), FakeOwner())
        del busy
        for number in range(2, 8):
            await server.streams.open("basin", f"stream-{number}", None)
        gc.collect()
        found = [number for number in range(8) if server.streams.find("basin", f"stream-{number}")]
        assert server.streams.find("basin", "stream-0") is used
        # What is on its way to the disk keeps its stream.
        assert server.streams.find("basin", "stream-1").next_seq_num == 1
        assert len(found) <= 5
        server.store.write()
        again = await server.streams.open("basin", "stream-1", None)
        assert (again.next_seq_num, again.tail_seq_num) == (1, 1)

    asyncio.run(main())


def test_a_stream_made_while_another_client_looks_for_it_is_found_by_who_made_it():
    async def run():
        server = FakeServer()
        store = server.store
        found_nothing, answers = asyncio.Event(), asyncio.Event()
        find = store.get_stream

        async def get_stream(basin, name):
            row = await find(basin, name)
            found_nothing.set()
            await answers.wait()
            return row

        async def get_basin(name):
            return BasinRow(name, {"default_stream_config": {}, "stream_cipher": None}, 0)

        async def insert_stream(row, reply):
            row.id = 1
            store.rows[row.basin, row.name] = row

        store.get_stream, store.get_basin, store.insert_stream = get_stream, get_basin, insert_stream
        elsewhere = asyncio.ensure_future(server.streams.open("basin", "stream", None))
        await found_nothing.wait()
        await server.resources.create_stream("basin", "stream", {}, lambda: None)
        maker = asyncio.ensure_future(server.streams.open("basin", "stream", None))
        await asyncio.sleep(0)
        answers.set()
        stream = await maker
        assert stream.key == ("basin", "stream")
        assert await elsewhere is stream

    asyncio.run(run())


async def with_basin(directory, run):
    """`run(server)` with a basin that creates streams on append; nothing is removed behind its back."""
    store = await SqliteStore.open(directory)
    try:
        server = Server(store)
        config = {"default_stream_config": {}, "stream_cipher": None, "create_stream_on_append": True}
        await server.resources.create_basin("basin", config, lambda: None)
        await server.resources.basin("basin")
        return await run(server)
    finally:
        await store.close()


def nothing(*_):
    return None


async def code_of(opening):
    with pytest.raises(ApiError) as caught:
        await opening
    return caught.value.code


def test_a_stream_made_right_behind_the_deletion_of_its_basin_is_not_open(tmp_path):
    async def run(server):
        go_on = await hold(server.streams.context.store)
        deletion = asyncio.ensure_future(server.resources.delete_basin("basin", nothing, nothing))
        await asyncio.sleep(0)
        opening = asyncio.ensure_future(server.streams.open("basin", "stream", "append"))
        await server.streams.context.store.get_stream("basin", "none")
        await server.streams.context.store.get_stream("basin", "none")  # the opener has found nothing by now
        await go_on()
        await deletion
        assert await code_of(opening) == "stream_deletion_pending"
        assert server.streams.find("basin", "stream") is None

    asyncio.run(with_basin(tmp_path, run))


@pytest.mark.parametrize("what", ["stream", "basin"])
def test_a_deletion_that_nobody_waits_for_any_more_closes_what_it_deletes(tmp_path, what):
    async def run(server):
        stream = await server.streams.open("basin", "stream", "append")
        go_on = await hold(server.streams.context.store)
        resources = server.resources
        deleting = {
            "stream": lambda: resources.delete_stream("basin", "stream", nothing, nothing),
            "basin": lambda: resources.delete_basin("basin", nothing, nothing),
        }[what]
        deletion = asyncio.ensure_future(deleting())
        await server.streams.context.store.get_stream("basin", "none")
        await server.streams.context.store.get_stream("basin", "none")  # it is queued by now
        deletion.cancel()
        await asyncio.wait([deletion])
        await go_on()
        await server.streams.context.store.expire_tokens(0)  # behind the deletion
        with pytest.raises(ApiError) as caught:
            stream.admit(batch(b"a"), FakeOwner())
        assert caught.value.code == "stream_deletion_pending"

    asyncio.run(with_basin(tmp_path, run))


def test_a_basin_that_two_have_marked_is_searched_once(tmp_path):
    async def run(server):
        store = server.streams.context.store
        go_on = await hold(store)
        first = asyncio.ensure_future(server.resources.delete_basin("basin", nothing, nothing))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.ensure_future(server.resources.delete_basin("basin", nothing, nothing))
        await asyncio.sleep(0)
        await go_on()
        await second
        removals = []
        remove_basin = store.remove_basin

        async def remove(name):
            removals.append(name)
            await remove_basin(name)

        store.remove_basin = remove
        store.deleting_basins = no_others
        await server.cleanup.start()
        while await store.get_basin("basin") is not None:
            await asyncio.sleep(0)
        await store.expire_tokens(0)
        await store.expire_tokens(0)
        await server.cleanup.stop()
        assert removals == ["basin"]

    asyncio.run(with_basin(tmp_path, run))


async def no_others():
    return []
