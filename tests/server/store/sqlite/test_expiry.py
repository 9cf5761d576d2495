"""Retention and delete-on-empty (protocol sections 13.3 and 13.4), by a clock that the tests turn."""

import asyncio
import os

import pytest
from support.waiting import TIMEOUT_S, until_async

from s2cli.errors import ApiError
from s2cli.server.api.append_body import parse_proto
from s2cli.server.api.server import Server
from s2cli.server.store.interface import BasinRow, StreamRow
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.configs import resolve_stream_config
from s2cli.wire.messages import decode_read
from s2cli.wire.s2_pb2 import AppendInput

START_MS = 4_000_000_000_000  # far ahead: a store that is opened reads the real clock first
DAY_S = 24 * 3600
MIB = 1024 * 1024


class Owner:
    def on_written(self, admitted, error):
        return False

    def flush(self): ...


class Scene:
    """A server without its sockets, and its clock."""

    def __init__(self, store, now_ms):
        self.now_ms = now_ms
        self.store = store
        self.server = Server(store)
        self.server.clock_ms = lambda: self.now_ms

    async def create(self, name="stream", **config):
        await self.store.insert_basin(BasinRow("some-basin", {}, self.now_ms))
        row = StreamRow("some-basin", name, resolve_stream_config(config, {}), self.now_ms)
        assert await self.store.insert_stream(row) is None
        return row

    async def configure(self, row, **config):
        row.config = resolve_stream_config(config, {})
        await self.store.update_stream(row)
        self.server.streams.config_changed(row)

    async def append(self, *records, name="stream"):
        message = AppendInput()
        for record in records:
            body, timestamp = record if isinstance(record, tuple) else (record, None)
            message.records.add(body=body, timestamp=timestamp)
        stream = await self.server.streams.open("some-basin", name, None)
        stream.admit(parse_proto(message.SerializeToString()), Owner())
        await stream.until_durable(stream.next_seq_num)
        return stream

    async def trim(self, seq_num, name="stream"):
        message = AppendInput()
        message.records.add(body=seq_num.to_bytes(8, "big")).headers.add(value=b"trim")
        stream = await self.server.streams.open("some-basin", name, None)
        stream.admit(parse_proto(message.SerializeToString()), Owner())
        await stream.until_durable(stream.next_seq_num)

    async def bodies(self, name="stream"):
        stream = await self.server.streams.open("some-basin", name, None)
        chunks = await self.store.read(stream.id, stream.trim_point, stream.tail_seq_num, 64 * MIB)
        return [record.body for chunk in chunks for record in decode_read(chunk.data).records]

    async def query(self, statement):
        return await self.store.ask(lambda connection: connection.execute(statement).fetchall())

    async def until(self, statement, *rows):
        async def holds():
            return await self.query(statement) == [*rows]

        await until_async(holds)

    async def exists(self, name="stream"):
        row = await self.store.get_stream("some-basin", name)
        return row is not None and row.deleted_at_ms is None

    async def later(self, seconds):
        """Time passes, and a sweep comes by."""
        self.now_ms += seconds * 1000
        await self.server.cleanup.sweep()


def play(run, directory=None, now_ms=START_MS):
    async def main():
        store = await SqliteStore.open(directory)
        try:
            scene = Scene(store, now_ms)
            await run(scene)
            return scene.now_ms
        finally:
            await store.close()

    return asyncio.run(main())


def age(seconds):
    return {"retention_policy": {"age": seconds}}


FOR_EVER = {"retention_policy": {"infinite": {}}}


def test_records_vanish_when_their_time_has_come_and_the_tail_stays():
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
        await scene.until("SELECT count(*) FROM chunk", (0,))
        stream = await scene.append(b"d")
        assert (stream.tail_seq_num, await scene.bodies()) == (4, [b"d"])
        await scene.later(60)
        await scene.until("SELECT count(*) FROM chunk", (0,))

    play(run)


def test_expiry_counts_from_arrival_not_from_timestamps():
    async def run(scene):
        await scene.create(**age(60), timestamping={"uncapped": True})
        await scene.append((b"of long ago", 1), (b"of the future", START_MS * 2))
        await scene.later(59)
        assert await scene.bodies() == [b"of long ago", b"of the future"]
        await scene.later(1)
        assert await scene.bodies() == []

    play(run)


def test_another_retention_is_for_what_comes_after():
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
        await scene.until("SELECT count(*) FROM chunk", (3,))
        await scene.later(990)
        assert await scene.bodies() == [b"kept", b"kept too"]
        await scene.until("SELECT count(*) FROM chunk", (2,))
        await scene.until("SELECT due FROM run", (None,), (None,))

    play(run)


def test_the_last_record_may_go_before_older_ones():
    async def run(scene):
        row = await scene.create(**FOR_EVER)
        await scene.append(b"kept")
        await scene.configure(row, **age(10))
        await scene.append(b"short", b"short")
        await scene.later(10)
        await scene.until("SELECT count(*) FROM chunk", (1,))
        async with scene.server.streams.closed(row):
            pass
        stream = await scene.append(b"next")
        assert stream.tail_seq_num == 4
        assert await scene.bodies() == [b"kept", b"next"]

    play(run)


def test_a_record_never_expires_before_the_one_in_front_of_it():
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

    play(run)


def test_retention_goes_on_after_a_restart(tmp_path):
    async def before(scene):
        await scene.create(**age(60))
        await scene.append(b"a")
        scene.now_ms += 30_000
        await scene.append(b"b")

    async def after(scene):
        scene.now_ms += 30_000
        assert await scene.bodies() == [b"b"]
        await scene.server.cleanup.sweep()
        await scene.until("SELECT count(*) FROM chunk", (1,))
        stream = await scene.append(b"c")
        assert stream.tail_seq_num == 3
        assert await scene.query("SELECT count(*) FROM run") == [(1,)]  # the retention is the same
        await scene.later(60)
        await scene.until("SELECT count(*) FROM chunk", (0,))

    async def at_last(scene):
        assert (await scene.append(b"d")).tail_seq_num == 4

    now_ms = play(before, tmp_path)
    now_ms = play(after, tmp_path, now_ms)
    play(at_last, tmp_path, now_ms)


def test_an_age_without_end():
    async def run(scene):
        await scene.create(**age((1 << 64) - 1), delete_on_empty={"min_age_secs": (1 << 64) - 1})
        await scene.append(b"a")
        await scene.later(1000 * 365 * DAY_S)
        assert await scene.bodies() == [b"a"]

    play(run)


def test_many_chunks_expire_in_slices_and_the_file_shrinks(tmp_path):
    async def run(scene):
        await scene.create(**age(60))
        await scene.create("other", **FOR_EVER)
        for _ in range(64):
            await scene.append(os.urandom(MIB - 100))
        await scene.append(b"stays", name="other")
        await scene.later(60)
        await scene.until("SELECT count(*) FROM chunk", (1,))
        async with asyncio.timeout(TIMEOUT_S):
            while os.path.getsize(tmp_path / "s2.db") > 8 * MIB:
                await scene.append(b"moves the log on", name="other")
        assert (await scene.bodies("other"))[0] == b"stays"

    play(run, tmp_path)


# Delete-on-empty


def empty_after(seconds):
    return {"delete_on_empty": {"min_age_secs": seconds}}


def test_an_empty_stream_is_deleted_in_time():
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

    play(run)


def test_a_stream_with_records_is_not_deleted_until_they_have_expired():
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

    play(run)


def test_an_empty_stream_waits_until_its_last_write_is_old_enough():
    async def run(scene):
        await scene.create(**empty_after(3600), **age(1))
        await scene.later(3590)
        await scene.append(b"a")
        await scene.later(10)
        await scene.until("SELECT count(*) FROM chunk", (0,))
        assert await scene.exists()
        await scene.later(3589)
        assert await scene.exists()
        await scene.later(1)
        assert not await scene.exists()

    play(run)


def test_a_record_that_stays_for_ever_waits_for_a_trim(tmp_path):
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

    play(after, tmp_path, play(before, tmp_path))


def test_the_min_age_may_change():
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

    play(run)


def test_whoever_comes_while_a_stream_is_looked_at_waits():
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

    play(run)
