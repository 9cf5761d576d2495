"""Retention and delete-on-empty (protocol sections 13.3 and 13.4), by a clock that the tests turn."""

import asyncio

import pytest
from support.clock_scene import START_MS, play

from s2cli.errors import ApiError

DAY_S = 24 * 3600


def age(seconds):
    return {"retention_policy": {"age": seconds}}


FOR_EVER = {"retention_policy": {"infinite": {}}}


def test_records_vanish_when_their_time_has_come_and_the_tail_stays(stores):
    async def run(scene):
        await scene.create(**age(60))
        await scene.append(b"a", b"b")
        scene.now_ms += 30_000
        await scene.append(b"c")
        scene.now_ms += 29_999
        assert await scene.bodies() == [b"a", b"b", b"c"]
        scene.now_ms += 1
        assert await scene.bodies() == [b"c"]  # at once, whether or not a sweep has come by
        await scene.later(30)
        assert await scene.bodies() == []
        await scene.until_stored()
        stream = await scene.append(b"d")
        assert (stream.tail_seq_num, await scene.bodies()) == (4, [b"d"])
        await scene.later(60)
        await scene.until_stored()

    play(stores, run)


def test_expiry_counts_from_arrival_not_from_timestamps(stores):
    async def run(scene):
        await scene.create(**age(60), timestamping={"uncapped": True})
        await scene.append((b"of long ago", 1), (b"of the future", START_MS * 2))
        await scene.later(59)
        assert await scene.bodies() == [b"of long ago", b"of the future"]
        await scene.later(1)
        assert await scene.bodies() == []

    play(stores, run)


def test_another_retention_is_for_what_comes_after(stores):
    async def run(scene):
        row = await scene.create(**FOR_EVER)
        await scene.append(b"kept")
        await scene.configure(row, **age(10))
        await scene.append(b"short")
        await scene.configure(row, **age(1000))
        await scene.append(b"long")
        await scene.configure(row, **FOR_EVER)
        await scene.append(b"kept too")
        await scene.later(10)
        assert await scene.bodies() == [b"kept", b"long", b"kept too"]
        await scene.until_stored(b"kept", b"long", b"kept too")
        await scene.later(990)
        assert await scene.bodies() == [b"kept", b"kept too"]
        await scene.until_stored(b"kept", b"kept too")

    play(stores, run)


def test_the_last_record_may_go_before_older_ones(stores):
    async def run(scene):
        row = await scene.create(**FOR_EVER)
        await scene.append(b"kept")
        await scene.configure(row, **age(10))
        await scene.append(b"short", b"short")
        await scene.later(10)
        await scene.until_stored(b"kept")
        async with scene.server.streams.closed(row):
            pass
        stream = await scene.append(b"next")
        assert stream.tail_seq_num == 4
        assert await scene.bodies() == [b"kept", b"next"]

    play(stores, run)


def test_a_record_never_expires_before_the_one_in_front_of_it(stores):
    async def run(scene):
        row = await scene.create(**age(20))
        await scene.append(b"first")
        scene.now_ms -= 15_000  # the clock is set back
        await scene.append(b"second")
        async with scene.server.streams.closed(row):
            pass
        await scene.append(b"third")  # to the stream as it is loaded from the disk
        scene.now_ms += 34_999
        assert await scene.bodies() == [b"first", b"second", b"third"]
        scene.now_ms += 1
        assert await scene.bodies() == []
        await scene.append(b"fourth")
        await scene.configure(row, **age(10))
        await scene.append(b"fifth")  # another retention
        scene.now_ms += 10_000
        assert await scene.bodies() == [b"fourth"]

    play(stores, run)


def test_retention_goes_on_after_a_restart(stores):
    async def before(scene):
        await scene.create(**age(60))
        await scene.append(b"a")
        scene.now_ms += 30_000
        await scene.append(b"b")

    async def after(scene):
        scene.now_ms += 30_000
        assert await scene.bodies() == [b"b"]
        await scene.server.cleanup.sweep()
        await scene.until_stored(b"b")
        stream = await scene.append(b"c")
        assert stream.tail_seq_num == 3
        await scene.later(60)
        await scene.until_stored()

    async def at_last(scene):
        assert (await scene.append(b"d")).tail_seq_num == 4

    now_ms = play(stores, before)
    now_ms = play(stores, after, now_ms)
    play(stores, at_last, now_ms)


def test_an_age_without_end(stores):
    async def run(scene):
        await scene.create(**age((1 << 64) - 1), delete_on_empty={"min_age_secs": (1 << 64) - 1})
        await scene.append(b"a")
        await scene.later(1000 * 365 * DAY_S)
        assert await scene.bodies() == [b"a"]

    play(stores, run)


# Delete-on-empty


def empty_after(seconds):
    return {"delete_on_empty": {"min_age_secs": seconds}}


def test_an_empty_stream_is_deleted_in_time(stores):
    async def run(scene):
        await scene.create(**empty_after(100))
        await scene.create("other")
        await scene.later(99)
        assert await scene.exists()
        await scene.later(1)
        assert not await scene.exists()
        with pytest.raises(ApiError) as caught:
            await scene.append(b"too late")
        assert caught.value.code == "stream_deletion_pending"
        await scene.later(10 * DAY_S)
        assert await scene.exists("other")

    play(stores, run)


def test_a_stream_with_records_is_not_deleted_until_they_have_expired(stores):
    async def run(scene):
        await scene.create(**empty_after(100), **age(3600))
        await scene.later(50)
        stream = await scene.append(b"a")
        await scene.later(50)
        assert await scene.exists()
        assert stream.failure is None  # a look disturbs nobody
        await scene.later(3549)
        assert await scene.exists()
        await scene.later(1)
        assert not await scene.exists()

    play(stores, run)


def test_an_empty_stream_waits_until_its_last_write_is_old_enough(stores):
    async def run(scene):
        await scene.create(**empty_after(3600), **age(1))
        await scene.later(3590)
        await scene.append(b"a")
        await scene.later(10)
        await scene.until_stored()
        assert await scene.exists()
        await scene.later(3589)
        assert await scene.exists()
        await scene.later(1)
        assert not await scene.exists()

    play(stores, run)


def test_a_record_that_stays_for_ever_waits_for_a_trim(stores):
    async def before(scene):
        await scene.create(**empty_after(100), **FOR_EVER)
        await scene.append(b"a")
        await scene.later(1000 * DAY_S)
        assert await scene.exists()
        await scene.trim(2)
        await scene.later(0)
        assert await scene.exists()  # the trim was a write

    async def after(scene):
        await scene.later(599)
        assert await scene.exists()
        await scene.later(1)
        assert not await scene.exists()

    play(stores, after, play(stores, before))


def test_the_min_age_may_change(stores):
    async def run(scene):
        row = await scene.create()
        await scene.later(1000)
        await scene.configure(row, **empty_after(500))
        await scene.later(499)
        assert await scene.exists()
        await scene.configure(row)
        await scene.later(1000)
        assert await scene.exists()
        await scene.configure(row, **empty_after(5000))
        await scene.configure(row, **empty_after(10))  # changed: checked now
        await scene.later(0)
        assert not await scene.exists()

    play(stores, run)


def test_whoever_comes_while_a_stream_is_looked_at_waits(stores):
    async def run(scene):
        row = await scene.create()
        stream = await scene.append(b"a")
        async with scene.server.streams.closed(row):
            waiting = asyncio.ensure_future(scene.append(b"b"))
            for _ in range(5):
                await scene.store.get_basin("some-basin")  # behind whatever it has asked for
            assert not waiting.done()
            assert stream.failure is not None
        assert (await waiting).tail_seq_num == 2

    play(stores, run)
