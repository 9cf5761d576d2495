"""What every engine promises of records: durable, in order, found by number and by time."""

import asyncio
import random

from support.stores import BASIN, with_store
from support.waiting import until_async

from s2cli.server.store.interface import Append, Chunk, Lane, Reply, Tail

MIB = 1024 * 1024


def test_chunks_come_back_after_reopening(stores):
    async def write(watched):
        lane = Lane(await watched.stream())
        # One row, a small group, and a large one.
        sizes = [10, *[20] * 30, *[50_000] * 20, MIB, 0, *[700] * 200]
        data, first = [], 0
        for size in sizes:
            data.append(watched.append(lane, first, count=3, size=size))
            first += 3
            if size == 10:
                await watched.wait(1)
        await watched.wait(len(sizes))
        assert all(error is None for error in watched.errors)
        assert [append.chunk.first_seq_num for append, _ in watched.resolved] == list(range(0, first, 3))
        return data

    async def read(watched):
        stream_id = await watched.id_of()
        assert await watched.store.tail(stream_id) == Tail(len(written) * 3, 1000 + len(written) * 3 - 3)
        chunks, first = [], 0
        while page := await watched.store.read(stream_id, first, len(written) * 3, 300_000):
            assert sum(len(chunk.data) for chunk in page[:-1]) < 300_000
            chunks += page
            first = page[-1].end_seq_num
        return chunks

    written = with_store(stores, write)
    chunks = with_store(stores, read)
    assert [chunk.data for chunk in chunks] == written
    assert [chunk.first_seq_num for chunk in chunks] == list(range(0, len(written) * 3, 3))
    assert {(chunk.count, chunk.kind) for chunk in chunks} == {(3, 0)}
    assert [chunk.last_timestamp for chunk in chunks] == [1000 + chunk.first_seq_num for chunk in chunks]


def test_a_chunk_comes_back_with_all_that_is_known_of_it(stores):
    async def run(watched):
        lane = Lane(await watched.stream())
        chunk = Chunk(0, 1000, 2**40, 2**64 - 1, b"sealed", 2)
        watched.store.append(Append(lane, chunk, 2**62))
        await watched.wait(1)
        (found,) = await watched.store.read(lane.stream_id, 0, 1000, MIB)
        members = [getattr(found, name) for name in Chunk.__slots__]
        assert members == [getattr(chunk, name) for name in Chunk.__slots__]
        assert await watched.store.tail(lane.stream_id) == Tail(1000, 2**64 - 1, None, 2**62)

    with_store(stores, run)


def test_a_read_starts_with_the_chunk_that_holds_the_number(stores):
    async def run(watched):
        lane = Lane(await watched.stream())
        other = Lane(await watched.stream("other"))
        for first in range(0, 50, 5):
            watched.append(lane, first, count=5)
            watched.append(other, first, count=5)
        await watched.wait(20)
        for first in range(50):
            page = await watched.store.read(lane.stream_id, first, 50, MIB)
            assert page[0].first_seq_num == first // 5 * 5
            assert page[-1].end_seq_num == 50
        assert (await watched.store.read(lane.stream_id, 0, 20, MIB))[-1].end_seq_num == 20
        assert await watched.store.read(lane.stream_id, 50, 50, MIB) == []

    with_store(stores, run)


def test_records_are_found_by_time(stores):
    async def run(watched):
        lane = Lane(await watched.stream())
        generator = random.Random(7)
        # Gaps, equal ones, and those beyond 2^63.
        timestamps = sorted(
            generator.choice([5, 100, 100 + generator.randrange(50), 2**63 + 7, 2**64 - 1]) for _ in range(60)
        )
        for number, timestamp in enumerate(timestamps):
            watched.store.append(Append(lane, Chunk(number * 2, 2, 10, timestamp, b"x"), 0))
        await watched.wait(60)
        for wanted in {0, 2**62, 2**64 - 1, *timestamps, *[timestamp + 1 for timestamp in timestamps]}:
            for first in (0, 30):
                expected = next(
                    (at * 2 for at, timestamp in enumerate(timestamps) if at * 2 >= first and timestamp >= wanted), None
                )
                assert await watched.store.find_timestamp(lane.stream_id, wanted, first, 120) == expected

    with_store(stores, run)


def test_what_an_append_changes_is_durable_with_it(stores):
    async def write(watched):
        lane = Lane(await watched.stream())
        reply = Reply(b"k" * 32, b"request", 200, b"application/json", b"\x00\xff", [(b"name", b"value")], 50)
        watched.append(lane, 0, fencing_token="mine", trim_point=0, keep_ms=7000, expires_at_ms=2**50, reply=reply)
        watched.append(lane, 1, fencing_token="")
        await watched.wait(2)
        assert reply.saved

    async def read(watched):
        row = await watched.store.get_stream(BASIN, "stream")
        assert (row.fencing_token, row.trim_point, row.keep_ms) == ("", 0, 7000)
        reply = await watched.store.get_reply(BASIN, b"k" * 32, 60)
        assert (reply.request, reply.status, reply.content_type) == (b"request", 200, b"application/json")
        assert (reply.body, reply.headers, reply.stored_at_ms) == (b"\x00\xff", [(b"name", b"value")], 50)
        assert reply.saved
        assert await watched.store.get_reply(BASIN, b"other", 60) is None
        assert await watched.store.get_reply(BASIN, b"k" * 32, 60 + 10 * 60 * 1000) is None

    with_store(stores, write)
    with_store(stores, read)


def test_trimmed_chunks_go_and_the_stream_goes_on_where_it_was(stores):
    async def write(watched):
        lane = Lane(await watched.stream())
        for first in range(20):
            watched.append(lane, first)
        watched.append(lane, 20, trim_point=15)
        await watched.wait(21)
        await until_first(watched, lane.stream_id, 15)
        watched.append(lane, 21, trim_point=22)
        await watched.wait(22)

    async def read(watched):
        stream_id = await watched.id_of()
        await until_first(watched, stream_id, None)
        assert await watched.store.tail(stream_id) == Tail(22, 1021)
        lane = Lane(stream_id)
        watched.append(lane, 22)
        await watched.wait(1)
        assert await watched.store.tail(stream_id) == Tail(23, 1022)

    async def until_first(watched, stream_id, expected):
        async def holds():
            page = await watched.store.read(stream_id, 0, 22, MIB)
            return (page[0].first_seq_num if page else None) == expected

        await until_async(holds)

    with_store(stores, write)
    with_store(stores, read)


def test_a_change_comes_after_what_was_queued_for_its_stream(stores):
    async def run(watched):
        lane = Lane(await watched.stream("stream"))
        uid = (await watched.store.get_stream(BASIN, "stream")).uid
        for first in range(20):
            watched.append(lane, first, size=MIB)
        deletion = asyncio.ensure_future(watched.store.delete_chunks(lane.stream_id, uid))
        assert await deletion
        assert len(watched.resolved) == 20
        slices = 1
        while await watched.store.delete_chunks(lane.stream_id, uid):
            slices += 1
        assert slices >= 4
        assert (await watched.store.tail(lane.stream_id))[:2] == (20, 1019)

    with_store(stores, run)


def test_closing_writes_what_is_queued(stores):
    appends = []

    async def write(watched):
        lane = Lane(await watched.stream())
        appends.extend(watched.append(lane, first) for first in range(100))

    async def read(watched):
        assert (await watched.store.tail(await watched.id_of())).next_seq_num == 100

    with_store(stores, write)
    with_store(stores, read)
