"""The registry: each stream is open once, and forgotten when it is idle."""

import asyncio
import gc

import pytest
from support.holding import hold, let_queue
from support.stream_fakes import FakeOwner, FakeServer, batch, trim
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError, S2Error
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


class Asked(FakeOwner):
    """The owner of an append to a stream that is to be created, and whether there was one."""

    def __init__(self):
        super().__init__()
        self.told = asyncio.Event()
        self.was_present = False

    def on_written(self, admitted, error):
        self.told.set()
        return super().on_written(admitted, error)

    def on_present(self):
        self.was_present = True
        self.told.set()

    def append_to_new(self, server, name="stream", *records, **conditions):
        found = batch(*records or (b"a",), **conditions)
        return server.streams.append_to_new("basin", name, {}, found, self, self.on_present)


def with_new(directory, run):
    """`run(server)` where the last append was to a stream that it created."""

    async def main(server):
        await server.streams.open("basin", "first", "append")
        assert server.streams.expects_new
        return await run(server)

    asyncio.run(with_basin(directory, main))


def test_an_append_that_creates_its_stream_goes_ahead_of_those_that_wait_for_it(tmp_path):
    async def run(server):
        go_on = await hold(server.streams.context.store)
        owner, other = Asked(), Asked()
        assert owner.append_to_new(server)
        assert not other.append_to_new(server)  # somebody is at it
        opening = asyncio.ensure_future(server.streams.open("basin", "stream", "append"))
        reading = asyncio.ensure_future(server.streams.open("basin", "stream", None))
        await asyncio.sleep(0)
        assert server.streams.find("basin", "stream") is None
        await go_on()
        stream = await opening
        assert stream is await reading is server.streams.find("basin", "stream")
        ((admitted, error),) = owner.resolved
        assert (error, admitted.stream, admitted.chunk.first_seq_num) == (None, stream, 0)
        row = await server.streams.context.store.get_stream("basin", "stream")
        assert (stream.id, stream.uid, stream.lane.stream_id, stream.tail_seq_num) == (row.id, row.uid, row.id, 1)
        stream.admit(batch(b"b"), other)
        await other.told.wait()
        assert [chunk.first_seq_num for chunk in await server.streams.context.store.read(row.id, 0, 9, 100)] == [0, 1]

    with_new(tmp_path, run)


def test_nobody_waits_for_a_stream_that_is_created_while_the_disk_does_not_answer(tmp_path):
    async def run(server):
        store = server.streams.context.store
        go_on = await hold(store)
        owner = Asked()
        assert owner.append_to_new(server)
        openings = [asyncio.ensure_future(server.streams.open("basin", "stream", use)) for use in ("append", None)]
        await asyncio.sleep(0)
        store.stall = "the disk has not answered"
        store.on_stall()
        openings.append(asyncio.ensure_future(server.streams.open("basin", "stream", None)))
        done, _ = await asyncio.wait(openings, timeout=TIMEOUT_S)
        assert len(done) == len(openings)
        assert [await code_of(opening) for opening in openings] == ["unavailable"] * 3
        store.stall = None
        await go_on()
        await owner.told.wait()
        ((admitted, error),) = owner.resolved
        assert error is None
        assert await server.streams.open("basin", "stream", None) is admitted.stream

    with_new(tmp_path, run)


def test_an_append_to_a_stream_that_is_there_after_all_is_not_made(tmp_path):
    async def run(server):
        go_on = await hold(server.streams.context.store)
        making = asyncio.ensure_future(server.resources.create_stream("basin", "stream", {}, nothing))
        owner = Asked()
        await asyncio.sleep(0)
        assert owner.append_to_new(server)
        await go_on()
        await owner.told.wait()
        assert (owner.was_present, owner.resolved) == (True, [])
        assert (await making)[1]
        assert server.streams.context.pending_bytes == 0
        assert not server.streams.expects_new
        stream = await server.streams.open("basin", "stream", None)
        assert (stream.next_seq_num, stream.tail_seq_num) == (0, 0)

    with_new(tmp_path, run)


def test_a_stream_created_by_an_append_behind_the_deletion_of_its_basin_is_not_open(tmp_path):
    async def run(server):
        go_on = await hold(server.streams.context.store)
        deletion = asyncio.ensure_future(server.resources.delete_basin("basin", nothing, nothing))
        await asyncio.sleep(0)
        owner = Asked()
        assert owner.append_to_new(server)
        opening = asyncio.ensure_future(server.streams.open("basin", "stream", "append"))
        await go_on()
        await deletion
        await owner.told.wait()
        assert await code_of(opening) == "stream_deletion_pending"
        ((admitted, _),) = owner.resolved
        with pytest.raises(ApiError):
            admitted.stream.admit(batch(b"b"), owner)

    with_new(tmp_path, run)


def test_a_stream_created_right_behind_the_removal_of_one_of_its_name_stays_open(tmp_path):
    async def run(server):
        store = server.streams.context.store
        await server.streams.open("basin", "stream", "append")
        await server.resources.delete_stream("basin", "stream", nothing, nothing)
        remove_stream = store.remove_stream
        owner, later = Asked(), Asked()

        async def remove(stream_id, uid):
            await remove_stream(stream_id, uid)
            # Whoever waited for the removal may hear of it behind what was written next.
            assert owner.append_to_new(server)
            await owner.told.wait()

        store.remove_stream = remove
        await server.cleanup.start()
        await owner.told.wait()
        await let_queue(store)
        await server.cleanup.stop()
        ((admitted, error),) = owner.resolved
        assert error is None
        assert server.streams.find("basin", "stream") is admitted.stream
        admitted.stream.admit(batch(b"b"), later)
        await later.told.wait()
        assert [admitted.chunk.first_seq_num for admitted, _ in later.resolved] == [1]

    with_new(tmp_path, run)


@pytest.mark.parametrize("conditions", [{"match_seq_num": 1}, {"fencing_token": "other"}], ids=str)
def test_an_append_that_is_refused_creates_nothing(tmp_path, conditions):
    async def run(server):
        with pytest.raises(S2Error):
            Asked().append_to_new(server, "stream", b"a", **conditions)
        assert await server.streams.context.store.get_stream("basin", "stream") is None
        owner = Asked()
        assert owner.append_to_new(server, "stream", b"a", match_seq_num=0, fencing_token="")
        await owner.told.wait()
        assert len(owner.resolved) == 1
        # Nobody is in the way of the removal of the basin.
        await server.resources.delete_basin("basin", nothing, nothing)
        await server.cleanup.start()
        while await server.streams.context.store.get_basin("basin") is not None:
            await asyncio.sleep(0)
        await server.cleanup.stop()

    with_new(tmp_path, run)


def test_what_cannot_be_said_at_once_is_not_tried(tmp_path):
    async def run(server):
        owner = Asked()
        assert not owner.append_to_new(server, "stream", trim(0))
        config = {"default_stream_config": {}, "stream_cipher": "aes-256-gcm", "create_stream_on_append": True}
        for change in {"create_stream_on_append": False}, {"stream_cipher": "aes-256-gcm"}:
            await server.resources.reconfigure_basin(
                "basin", lambda _, change=change: {**config, "stream_cipher": None, **change}, nothing, nothing
            )
            assert not owner.append_to_new(server)  # the basin was changed
            await server.resources.basin("basin")
            assert not owner.append_to_new(server)
        await server.resources.reconfigure_basin("basin", lambda _: {**config, "stream_cipher": None}, nothing, nothing)
        await server.resources.basin("basin")
        server.streams.expects_new = False
        assert not owner.append_to_new(server)
        server.streams.expects_new = True
        assert owner.append_to_new(server)
        await owner.told.wait()

    with_new(tmp_path, run)


def test_a_stream_that_cannot_be_created_is_told_to_its_owner(tmp_path, monkeypatch):
    async def run(server):
        def refuse(*_):
            raise ApiError("quota_exhausted", "no more of these")

        owner = Asked()
        with monkeypatch.context() as patch:
            patch.setattr("s2cli.server.store.sqlite.resource_rows.insert_stream", refuse)
            assert owner.append_to_new(server)
            await owner.told.wait()
        ((_, error),) = owner.resolved
        assert error.code == "quota_exhausted"
        assert server.streams.context.pending_bytes == 0
        stream = await server.streams.open("basin", "stream", "append")
        assert stream.tail_seq_num == 0

    with_new(tmp_path, run)
