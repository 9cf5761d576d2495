"""Chunks in a bucket that are missing, damaged, or do not join: each is named, and none is passed over in silence."""

import asyncio

import pytest
from support.stores import BASIN, BucketStores, Watched, with_store

from s2cli.errors import ApiError
from s2cli.server.store.bucket.key_layout import CHUNK, CHUNK_HEAD, HOLE, numbered
from s2cli.server.store.interface import Append, Chunk, Lane, StreamRow, Tail

MIB = 1024 * 1024
BATCHES = 10
PER_BATCH = 3
END = BATCHES * PER_BATCH
SECOND_MS = 1000


def key_of(last_seq_num):
    return numbered(CHUNK, 1, last_seq_num)


def changed(number):
    """Another value in one of the columns of a chunk; behind the last one its data begins."""

    def change(value):
        columns = list(CHUNK_HEAD.unpack_from(value))
        if number < len(columns):
            columns[number] ^= 1
            return CHUNK_HEAD.pack(*columns) + value[CHUNK_HEAD.size :]
        return value[:-1] + bytes([value[-1] ^ 1])

    return change


DAMAGES = {
    "count": changed(0),
    "size": changed(1),
    "timestamp": changed(2),
    "expiry": changed(3),
    "kind": changed(4),
    "checksum": changed(5),
    "data": changed(6),
    "short": lambda value: value[:5],
    "missing": lambda _value: None,
}


@pytest.fixture
def stored():
    """Stores with a stream of ten batches of three records."""
    stores = BucketStores()

    async def write(watched):
        lane = Lane(await watched.stream())
        for first in range(0, END, PER_BATCH):
            watched.append(lane, first, count=PER_BATCH)
        await watched.wait(BATCHES)

    with_store(stores, write)
    return stores


def damage(stores, *last_seq_nums, change=DAMAGES["missing"], basin=BASIN):
    async def main():
        async with stores.database(basin) as database:
            keys = [key_of(last) for last in last_seq_nums]
            await database.write({key: change(await database.get(key)) for key in keys})

    asyncio.run(main())


async def damaged_in(awaitable):
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert caught.value.code == "storage"
    return caught.value.damaged


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_what_lies_before_the_damage_is_read_and_then_it_is_named(stored, change):
    damage(stored, 11, change=change)

    async def read(watched):
        stream_id = await watched.id_of()
        page = await watched.store.read(stream_id, 0, END, MIB)
        assert [chunk.first_seq_num for chunk in page] == [0, 3, 6]
        for first in (9, 10):
            assert await damaged_in(watched.store.read(stream_id, first, END, MIB)) == (first, 11)
        page = await watched.store.read(stream_id, 12, END, MIB)
        assert [chunk.first_seq_num for chunk in page] == list(range(12, END, PER_BATCH))
        assert await watched.store.tail(stream_id) == Tail(END, 1000 + END - PER_BATCH)

    with_store(stored, read)


def test_what_is_missing_at_the_end_of_what_was_asked_for_is_named(stored):
    damage(stored, 26, 29)

    async def read(watched):
        stream_id = await watched.id_of()
        assert len(await watched.store.read(stream_id, 0, END, MIB)) == BATCHES - 2
        assert await damaged_in(watched.store.read(stream_id, 24, END, MIB)) == (24, 29)

    with_store(stored, read)


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_a_time_is_not_looked_for_where_it_cannot_be_found(stored, change):
    damage(stored, *range(5, END - 1, PER_BATCH), change=change)

    async def find(watched):
        stream_id = await watched.id_of()
        first, last = await damaged_in(watched.store.find_timestamp(stream_id, 1010, 0, END))
        assert 3 <= first <= last <= 26
        assert await watched.store.find_timestamp(stream_id, 0, 0, PER_BATCH) == 0

    with_store(stored, find)


def test_a_stream_whose_last_batch_is_damaged_takes_no_more(stored):
    damage(stored, END - 1, change=DAMAGES["data"])

    async def ask(watched):
        tail = await watched.store.tail(await watched.id_of())
        assert tail.next_seq_num == END
        assert "up to sequence number 29, are damaged" in tail.doubt

    with_store(stored, ask)


def test_what_was_trimmed_is_not_missing(stored):
    async def trim(watched):
        lane = Lane(await watched.id_of())
        watched.append(lane, END, trim_point=16)
        await watched.wait(1)
        for first in (0, 14, 16):
            page = await watched.store.read(lane.stream_id, first, END + 1, MIB)
            assert page[-1].end_seq_num == END + 1

    with_store(stored, trim)
    damage(stored, 20)

    async def read(watched):
        stream_id = await watched.id_of()
        assert await damaged_in(watched.store.read(stream_id, 18, END, MIB)) == (18, 20)

    with_store(stored, read)


async def expire(watched, first, *keeps_ms):
    """Appends batches of one record with these retentions, in turn, and deletes all that expires within a second."""
    lane = Lane(await watched.id_of())
    kept_ms = None
    for number, keep_ms in enumerate(keeps_ms, first):
        append = Append(lane, Chunk(number, 1, 10, 1000 + number, b"x"), keep_ms and SECOND_MS)
        append.keep_ms, kept_ms = None if keep_ms == kept_ms else keep_ms, keep_ms
        watched.store.append(append)
    await watched.wait(len(keeps_ms))
    watched.store.deletion_clock_ms = lambda: 2 * SECOND_MS
    watched.store.expire()
    while [number for number, keep_ms in enumerate(keeps_ms, first) if keep_ms and await left(watched, number)]:
        await asyncio.sleep(0.01)


async def left(watched, seq_num):
    page = await watched.store.read(await watched.id_of(), seq_num, seq_num + 1, 1)
    return bool(page)


def test_what_has_expired_in_the_middle_is_not_missing_and_what_is_missing_beside_it_is():
    stores = BucketStores()
    kept = [0, 7, 7, 0, 7, 0, 0]

    async def write(watched):
        await watched.stream()
        watched.store.clock_ms = lambda: 0
        await expire(watched, 0, *kept)
        stream_id = await watched.id_of()
        page = await watched.store.read(stream_id, 0, len(kept), MIB)
        assert [chunk.first_seq_num for chunk in page] == [0, 3, 5, 6]
        assert await watched.store.find_timestamp(stream_id, 1001, 0, len(kept)) == 3

    async def read(watched):
        stream_id = await watched.id_of()
        assert [chunk.first_seq_num for chunk in await watched.store.read(stream_id, 0, 7, MIB)] == [0]
        assert await damaged_in(watched.store.read(stream_id, 1, 7, MIB)) == (3, 3)
        assert [chunk.first_seq_num for chunk in await watched.store.read(stream_id, 4, 7, MIB)] == [5, 6]

    with_store(stores, write)
    damage(stores, 3)
    with_store(stores, read)


def test_a_removed_stream_leaves_no_holes():
    stores = BucketStores()

    async def run(watched):
        await watched.stream()
        watched.store.clock_ms = lambda: 0
        await expire(watched, 0, 0, 7, 0)
        row = await watched.store.get_stream(BASIN, "stream")
        row.deleted_at_ms = 5
        await watched.store.update_stream(row)
        await watched.store.remove_stream(row.id, row.uid)

    async def look():
        async with stores.database() as database:
            assert await database.scan(HOLE, b"i", 1) == []

    with_store(stores, run)
    asyncio.run(look())


def test_a_former_owner_says_nothing_about_damage():
    """It may be the new owner who has deleted what is missing."""
    stores = BucketStores({"manifest_poll_interval": '"60s"'})

    async def run(watched):
        lane = Lane(await watched.stream())
        watched.append(lane, 0)
        await watched.wait(1)
        other = Watched(await stores.open())
        try:
            await other.store.insert_stream(StreamRow(BASIN, "other", {}, 1))
            with pytest.raises(ApiError) as caught:
                await watched.store.read(lane.stream_id, 1, 2, MIB)
            assert (caught.value.code, caught.value.damaged) == ("unavailable", None)
        finally:
            await other.store.close()

    with_store(stores, run)


LINES = [b"%d" % number for number in range(600)]


@pytest.mark.parametrize("transport", ["s2s", "sse", "unary"])
def test_clients_are_told_as_they_are_of_damage_on_a_disk(make_thread_server, s2, transport):
    stores = BucketStores()

    async def open_store(_directory):
        return await stores.open()

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)
    uri = f"s2://{basin}/stream"
    for first in range(0, 600, 100):
        s2("append", uri, at=server, stdin=b"\n".join(LINES[first : first + 100]))
    server.stop()
    damage(stores, 399, change=DAMAGES["data"], basin=basin)
    damage(stores, 599, basin=basin)
    server = make_thread_server(open_store=open_store)
    done = s2("read", uri, "--transport", transport, at=server, code=8)
    assert done.stdout.split() == LINES[:300]
    assert b"from sequence number 300 to 399 are damaged in the bucket" in done.stderr
    done = s2("read", uri, "--transport", transport, "--skip-damaged", at=server, code=8)
    assert done.stdout.split() == LINES[:300] + LINES[400:500]
    answer = server.request("GET", "/v1/streams/stream/records?seq_num=350", basin=basin)
    assert (answer.status, answer.json()["damaged"]) == (500, {"first": 350, "last": 399})


def test_whatever_was_acked_is_there_for_a_read_at_once():
    """A read takes what it does not find for missing: it must see all that has been told."""

    async def run(watched):
        lane = Lane(await watched.stream())
        for number in range(300):
            watched.append(lane, number, size=1000)
            await watched.wait(number + 1)
            (chunk,) = await watched.store.read(lane.stream_id, number, number + 1, MIB)
            assert chunk.first_seq_num == number

    with_store(BucketStores(), run)
