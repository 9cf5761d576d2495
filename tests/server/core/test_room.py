"""How much may be pending in a stream and in the server, and who waits for room."""

import asyncio
from types import SimpleNamespace

import pytest
from support.stream_fakes import MAX_PENDING_BYTES, FakeOwner, batch, one_waiting_for_room, with_stream
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.core.stream import (
    CROWDED_S,
    MAX_PENDING_BYTES_CROWDED,
    MAX_PENDING_BYTES_SMALL,
    MAX_PENDING_BYTES_TOTAL,
    SMALL_BATCH_BYTES,
    Admission,
)


def test_beside_small_appends_a_bulk_one_has_less_room(monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr("s2cli.server.core.stream.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    async def run(server, stream):
        server.add("other")
        other = await server.streams.open("basin", "other", None)
        other.admit(batch(b"small"), FakeOwner())
        while stream.pending_bytes < MAX_PENDING_BYTES_CROWDED:
            assert stream.has_room
            stream.admit(batch(bytes(300_000)), FakeOwner())
        assert stream.has_room
        server.store.write(1)
        assert not stream.has_room
        waiting = asyncio.ensure_future(stream.room(300_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        server.store.write(1)
        await asyncio.wait_for(waiting, TIMEOUT_S)
        stream.admit(batch(bytes(300_000)), FakeOwner())
        assert not stream.has_room
        now_s[0] += CROWDED_S
        assert stream.has_room

    with_stream(run)


def test_a_bulk_append_waits_for_room():
    async def run(server, stream):
        waiting = await one_waiting_for_room(stream)
        assert MAX_PENDING_BYTES <= stream.pending_bytes < MAX_PENDING_BYTES + 310_000
        # Others have room.
        server.add("other")
        assert (await server.streams.open("basin", "other", None)).has_room
        server.store.write(3)
        await asyncio.wait_for(waiting, TIMEOUT_S)

    with_stream(run)


def test_a_small_append_does_not_stand_in_the_line_of_bulk_ones():
    async def run(server, stream):
        bulk = await one_waiting_for_room(stream)
        assert stream.has_room_for(SMALL_BATCH_BYTES)
        assert not stream.has_room_for(SMALL_BATCH_BYTES + 1)
        # But they do not continue for ever.
        small = batch(bytes(SMALL_BATCH_BYTES - 8))
        while stream.has_room_for(small.metered_bytes):
            stream.admit(small, FakeOwner())
        assert stream.pending_bytes < MAX_PENDING_BYTES + MAX_PENDING_BYTES_SMALL + 2 * SMALL_BATCH_BYTES
        server.store.write(100_000)
        await asyncio.wait_for(bulk, TIMEOUT_S)

    with_stream(run)


def test_the_bounds_of_room_to_the_byte():
    async def run(server, stream):
        context = server.streams.context
        bounds = (
            (stream, MAX_PENDING_BYTES, SMALL_BATCH_BYTES + 1),
            (context, MAX_PENDING_BYTES_TOTAL, SMALL_BATCH_BYTES + 1),
            (stream, MAX_PENDING_BYTES + MAX_PENDING_BYTES_SMALL, SMALL_BATCH_BYTES),
            (context, MAX_PENDING_BYTES_TOTAL + MAX_PENDING_BYTES_SMALL, 1),
        )
        for counted, bound, batch_bytes in bounds:
            for pending_bytes, has_room in ((bound - 1, True), (bound, False), (bound + 1, False)):
                counted.pending_bytes = pending_bytes
                assert stream.has_room_for(batch_bytes) is has_room, (bound, pending_bytes)
            counted.pending_bytes = 0

    with_stream(run)


def test_the_server_has_one_bound_for_all_streams(monkeypatch):
    async def run(server, stream):
        monkeypatch.setattr("s2cli.server.core.stream.MAX_PENDING_BYTES_TOTAL", 1000)
        monkeypatch.setattr("s2cli.server.core.registry.MAX_PENDING_BYTES_TOTAL", 1000)
        server.add("other")
        other = await server.streams.open("basin", "other", None)
        stream.admit(batch(bytes(1000)), FakeOwner())
        waiting = asyncio.ensure_future(other.room(300_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        server.store.write()
        await asyncio.wait_for(waiting, TIMEOUT_S)

    with_stream(run)


def test_whoever_waits_for_room_goes_on_when_the_stream_is_closed():
    async def run(server, stream):
        waiting = await one_waiting_for_room(stream)
        stream.end(Admission.CLOSED, ApiError("server_draining", "the end"))
        await asyncio.wait_for(waiting, TIMEOUT_S)
        await asyncio.wait_for(stream.room(300_000), TIMEOUT_S)
        with pytest.raises(ApiError, match="the end"):
            stream.admit(batch(b"a"), FakeOwner())

    with_stream(run)


def test_while_the_disk_does_not_answer_nothing_is_admitted_and_nobody_waits_for_room():
    async def run(server, stream):
        waiting = await one_waiting_for_room(stream)
        server.store.stall = "the disk has not answered for 10 s"
        server.store.on_stall()
        await asyncio.wait_for(waiting, TIMEOUT_S)
        with pytest.raises(ApiError, match="has not answered") as refused:
            stream.admit(batch(b"y"), FakeOwner())
        assert (refused.value.code, refused.value.without_effect) == ("unavailable", True)

    with_stream(run)
