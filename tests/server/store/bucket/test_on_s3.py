"""The engine on an S3 server over HTTP: what the store promises, and who has a basin."""

import asyncio
import contextlib

import pytest
from obstore import get, put
from support.s3_server import S3Server, environment
from support.stores import BASIN, S3Stores, Watched, with_store

from s2cli.errors import ApiError
from s2cli.server.store.bucket import bucket_store, database, open_basin
from s2cli.server.store.interface import BasinRow, Lane, Reply, StreamRow, Tail, TokenRow

MIB = 1024 * 1024


def folders(stores):
    return {name.split("/")[0] for name in stores.names()}


def test_records_rows_and_replies_come_back(stores):
    reply = Reply(b"k" * 32, b"request", 200, b"text/plain", b"body", [], 50)

    async def write(watched):
        store = watched.store
        lane = Lane(await watched.stream())
        written = [watched.append(lane, first, size=size) for first, size in enumerate([0, 10, MIB, 1000])]
        written.append(watched.append(lane, 4, fencing_token="mine", reply=reply))
        await watched.wait(5)
        assert watched.errors == [None] * 5
        assert await store.insert_token(TokenRow("id", "0" * 16, b"hash", {}), 10)
        basin = await store.get_basin(BASIN)
        basin.config = {"x": 1}
        await store.update_basin(basin)
        return written

    async def read(watched):
        store = watched.store
        stream_id = await watched.id_of()
        assert await store.tail(stream_id) == Tail(5, 1004)
        assert [chunk.data for chunk in await store.read(stream_id, 0, 5, 10 * MIB)] == written
        assert await store.find_timestamp(stream_id, 1003, 0, 5) == 3
        assert (await store.get_stream(BASIN, "stream")).fencing_token == "mine"
        assert (await store.get_reply(BASIN, b"k" * 32, 60)).body == b"body"
        assert (await store.get_token("0" * 16)).id == "id"
        assert await store.remove_token("id", 10)
        assert await store.list_tokens("", "", 5, 10) == ([], False)
        assert await store.get_basin(BASIN) == BasinRow(BASIN, {"x": 1}, 1)
        assert (await store.list_basins("", "", 5))[0] == [BasinRow(BASIN, {"x": 1}, 1)]

    written = with_store(stores, write)
    with_store(stores, read)
    assert folders(stores) == {"basins", "data", "tokens"}


def test_a_basin_is_deleted_with_all_that_is_in_it(stores):
    async def run(watched):
        store = watched.store
        lane = Lane(await watched.stream())
        watched.append(lane, 0)
        await watched.wait(1)
        basin = await store.get_basin(BASIN)
        basin.deleted_at_ms = 9
        await store.update_basin(basin)
        assert await store.deleting_basins() == [BASIN]
        (row,) = await store.mark_streams(BASIN, 10)
        await store.remove_stream(row.id, row.uid)
        await store.remove_basin(BASIN)
        assert await store.get_basin(BASIN) is None
        assert await store.deleting_basins() == []
        assert await store.insert_basin(BasinRow(BASIN, {}, 1)) is None
        assert not [name for name in stores.names() if name.startswith("deleting/")]

    with_store(stores, run)


def test_of_two_servers_one_has_a_basin_and_nothing_is_acked_by_the_other(stores):
    async def run(first):
        other = await stores.open()
        try:
            second = Watched(other)
            lane = Lane(await first.stream())
            first.append(lane, 0)
            await first.wait(1)
            taken = Lane(await second.id_of())
            first.append(lane, 1)
            second.append(taken, 1, count=2)
            await first.wait(2)
            await second.wait(1)
            assert [error and error.code for error in first.errors] == [None, "unavailable"]
            assert second.errors == [None]
            chunks = await other.read(taken.stream_id, 0, 3, 1000)
            assert [chunk.count for chunk in chunks] == [1, 2]
        finally:
            await other.close()

    with_store(stores, run)


def test_of_two_servers_that_make_the_same_basin_one_makes_it(stores):
    async def run(first):
        other = await stores.open()
        try:
            for name in ("basin-1", "basin-2"):
                assert await first.store.insert_basin(BasinRow(name, {"x": 1}, 1)) is None
                assert (await other.insert_basin(BasinRow(name, {"x": 2}, 2))).config == {"x": 1}
            assert await other.insert_stream(StreamRow("basin-1", "stream", {}, 1)) is None
        finally:
            await other.close()

    with_store(stores, run)


def test_what_was_sent_while_the_bucket_was_away_is_durable_when_it_is_back(tmp_path, monkeypatch):
    with contextlib.closing(S3Server(tmp_path / "s3")) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)

        async def run(watched):
            stalled = asyncio.Event()
            watched.store.on_stall = stalled.set
            lane = Lane(await watched.stream())
            watched.append(lane, 0)
            await watched.wait(1)
            for module in (bucket_store, database, open_basin):
                monkeypatch.setattr(module, "UNREACHABLE_S", 0.5)
            server.kill()
            watched.append(lane, 1)
            await stalled.wait()
            with pytest.raises(ApiError) as caught:
                await watched.store.get_basin("another-basin")
            assert caught.value.code == "unavailable"
            assert len(watched.resolved) == 1
            await asyncio.to_thread(server.start)
            await watched.wait(2)
            assert watched.errors == [None, None]
            assert (await watched.store.tail(lane.stream_id)).next_seq_num == 2

        server.start()
        with_store(S3Stores(server.url), run)


def flip(stores, folder):
    """Changes a byte in the middle of the largest object of the databases that lies in that folder."""
    sizes = {name: size for name, size in stores.names().items() if f"/{folder}/" in name}
    name = stores.prefix + max(sizes, key=sizes.get)
    data = bytearray(get(stores.bucket, name).bytes())
    data[len(data) // 2] ^= 0xFF
    put(stores.bucket, name, bytes(data))


def has_tables(stores):
    return any("/compacted/" in name for name in stores.names())


def test_a_table_that_is_damaged_in_the_bucket_costs_what_is_in_its_block(s3_server, stores):
    stores = S3Stores(s3_server.url, {"l0_sst_size_bytes": "65536", "compactor_options.poll_interval": '"60s"'})
    count = 200

    async def write(watched):
        lane = Lane(await watched.stream())
        for first in range(count):
            watched.append(lane, first, size=1000)
        await watched.wait(count)
        while not await asyncio.to_thread(has_tables, stores):
            watched.append(lane, len(watched.resolved), size=1000)
            await watched.wait(len(watched.resolved) + 1)
        return len(watched.resolved)

    async def read(watched):
        stream_id = await watched.id_of()
        found, damaged, first = [], [], 0
        while first < end:
            try:
                page = await watched.store.read(stream_id, first, end, 10_000)
            except ApiError as error:
                damaged.append(error.damaged)
                first = error.damaged[1] + 1
            else:
                found += [chunk.first_seq_num for chunk in page]
                first = page[-1].end_seq_num
        ((first, last),) = damaged
        assert found == [*range(first), *range(last + 1, end)]
        assert last - first < 8  # a block has 4 KiB

    end = with_store(stores, write)
    flip(stores, "compacted")
    with_store(stores, read)


def test_a_log_that_is_damaged_in_the_bucket_is_told(stores):
    async def run(watched):
        lane = Lane(await watched.stream())
        watched.append(lane, 0, size=MIB)
        await watched.wait(1)
        await asyncio.to_thread(flip, stores, "wal")
        # Another server takes it, and reads the log: this one has not been closed, which leaves little of it.
        other = await stores.open()
        try:
            with pytest.raises(ApiError) as caught:
                await other.get_stream(BASIN, "stream")
            assert caught.value.code == "storage"
        finally:
            await other.close()

    with_store(stores, run)
