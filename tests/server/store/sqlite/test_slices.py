"""Looks of the thread that reads whose cost a client chooses: in slices, between which others have theirs."""

import asyncio
import contextlib
import json
from unittest import mock

import pytest
from support.sqlite_steps import counting_steps

from s2cli.errors import ApiError
from s2cli.server.api import metric_handlers
from s2cli.server.api.server import Server
from s2cli.server.core import cleanup, meters
from s2cli.server.core.turnstile import in_one_go
from s2cli.server.store.interface import BasinRow, Point, StreamRow
from s2cli.server.store.sqlite import gone, metric_rows, resource_rows
from s2cli.server.store.sqlite.checksums import seal
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.keys import chunk_id
from s2cli.server.store.sqlite.reader import Reader
from s2cli.server.store.sqlite.writer import Writer

MANY = 20_000
# Instructions of SQLite's machine in one slice: a row that is passed over takes about ten to thirty.
MOST_STEPS = 100_000
HOUR = 400_000
MINUTE = HOUR * 60
NOW_MS = MINUTE * 60_000


def with_store(tmp_path, run):
    async def main():
        store = await SqliteStore.open(tmp_path)
        store.clock_ms = lambda: NOW_MS
        try:
            return await run(store)
        finally:
            await store.close()

    return asyncio.run(main())


async def watched(ask):
    """What `ask()` gives, how many slices the thread took for it, and the most steps of one."""
    slices = []
    submit = Reader.submit

    def counting(reader, run):
        def count(connection):
            with counting_steps(connection, slices):
                return run(connection)

        return submit(reader, count)

    with mock.patch.object(Reader, "submit", counting):
        return await ask(), len(slices), max(slices)


async def add_streams(store, basin, *, created_at_ms=NOW_MS, trim_point=0):
    def run(connection):
        for number in range(1, MANY + 1):
            resource_rows.insert_stream(connection, StreamRow(basin, f"s-{number:06}", {}, created_at_ms), number)
        connection.execute("UPDATE stream SET trim_point=?", (trim_point,))
        seal(connection, "stream", "1", ())

    await store.change(run)


async def add_chunks(store, chunks):
    """Chunks of one record, each given as the id of its stream, its sequence number, its expiry and its data."""

    def run(connection):
        connection.executemany(
            "INSERT INTO chunk(id, n, size, ts, exp, crc, kind, data) VALUES(?, 1, 10, 5, ?, 0, 0, ?)",
            [(chunk_id(stream_id, seq_num), expiry, data) for stream_id, seq_num, expiry, data in chunks],
        )

    await store.change(run)


def test_basins_whose_streams_are_all_too_young(tmp_path):
    async def run(store):
        await add_streams(store, "young")
        for name in ("empty", "old", "young"):
            await store.insert_basin(BasinRow(name, {}, 1))
        await store.insert_stream(StreamRow("old", "stream", {}, 1))
        # Of two that are gone; one of them has been written to in the hour that is asked for.
        points = [
            Point("gone", "stream", "op:read", MINUTE - 600, 1),
            Point("elsewhen", "stream", "op:read", MINUTE, 1),
        ]
        await store.add_counts([*points, Point("gone", "", "op:read", MINUTE - 600, 1)])
        names, slices, steps = await watched(lambda: store.active_basins(MINUTE - 660, MINUTE - 540))
        assert names == ["gone", "old"]
        assert slices > MANY / metric_rows.STREAMS_IN_A_ROW
        assert steps < MOST_STEPS
        assert await store.active_basins(MINUTE, MINUTE + 1) == ["elsewhen", "old", "young"]

    with_store(tmp_path, run)


def test_basins_that_were_written_to_are_found_by_jumps(tmp_path):
    async def run(store):
        points = [Point("one", f"s-{number}", "op:read", MINUTE, 1) for number in range(MANY)]
        points += [Point("two", "", f"append_ops:{number}", MINUTE, 1) for number in range(MANY)]
        points += [Point("three", "stream", "op:read", MINUTE, 1), Point("", "", "op:read", MINUTE, 1)]
        await store.add_counts(points)
        names, _, steps = await watched(lambda: store.active_basins(MINUTE - 600, MINUTE + 60))
        assert names == ["one", "three"]
        assert steps < 2000

    with_store(tmp_path, run)


def test_what_was_counted_in_many_storage_classes(tmp_path):
    async def run(store):
        points = [Point("basin", "", f"append_ops:{number:06}", MINUTE, number) for number in range(MANY)]
        points += [Point("basin", "", "append_ops:000000", minute, 1) for minute in range(MINUTE + 1, MINUTE + 200)]
        points += [Point("basin", "", "append_ops:000000", MINUTE - 1, 1), Point("basin", "", "read", MINUTE, 7)]
        await store.add_counts(
            [*points, Point("basin", "", "read_bytes", MINUTE, 8), Point("basin", "s", "op:", MINUTE, 1)]
        )

        def ask():
            return store.counted("basin", "", ["append_ops:", "read"], MINUTE, MINUTE + 150, 1)

        found, slices, steps = await watched(ask)
        assert slices > MANY / metric_rows.COUNTED_ROWS
        assert steps < MOST_STEPS
        assert found.pop("read") == {MINUTE: 7}
        assert found.pop("append_ops:000000") == {MINUTE: 0} | {MINUTE + later: 1 for later in range(1, 150)}
        assert found == {f"append_ops:{number:06}": {MINUTE: number} for number in range(1, MANY)}
        found = await store.counted("basin", "", ["append_ops:000000"], MINUTE + 1, MINUTE + 150, 60)
        assert list(found["append_ops:000000"].items()) == [(MINUTE, 59), (MINUTE + 60, 60), (MINUTE + 120, 30)]

    with_store(tmp_path, run)


def test_more_than_one_answer_may_have(tmp_path, monkeypatch):
    monkeypatch.setattr(metric_rows, "MAX_POINTS", 1000)

    async def run(store):
        hours = metric_rows.COUNTED_ROWS * 2
        points = [Point("basin", "", "op:read", MINUTE + at, 1) for at in range(hours * 60)]
        await store.add_counts([*points, *(Point("basin", "", f"many:{at}", MINUTE, 1) for at in range(1000))])

        def ask(series, interval):
            return store.counted("basin", "", [series], 0, MINUTE + hours * 60, interval)

        for series, interval in ("op:", 1), ("many:", 60):
            with pytest.raises(ApiError, match="too many values") as refused:
                await ask(series, interval)
            assert refused.value.code == "invalid"
        # What is summed up is less.
        assert sum((await ask("op:", 60))["op:read"].values()) == hours * 60

    with_store(tmp_path, run)


def test_what_is_marked_as_deleted_is_found_and_removed_page_by_page(tmp_path):
    async def run(store):
        await add_streams(store, "basin")
        for number in range(resource_rows.BASINS_IN_A_ROW + 5):
            await store.insert_basin(BasinRow(f"b-{number:06}", {}, 1, 7 if number % 1000 == 1 else None))

        def mark(connection):
            connection.execute("UPDATE stream SET deleted_at=id")
            seal(connection, "stream", "1", ())

        await store.change(mark)
        names, slices, steps = await watched(store.deleting_basins)
        assert names == ["b-000001", "b-001001", "b-002001"]
        assert slices > 1
        assert steps < MOST_STEPS
        rows, _, steps = await watched(lambda: store.deleting_streams(cleanup.QUEUED_STREAMS))
        assert [row.id for row in rows] == list(range(1, cleanup.QUEUED_STREAMS + 1))
        assert steps < MOST_STEPS

    with_store(tmp_path, run)


def test_a_basin_of_many_streams_is_marked_in_steps_that_stay_as_small(tmp_path):
    async def run(store):
        await add_streams(store, "basin")
        steps = []

        def mark(connection):
            with counting_steps(connection, steps):
                marked = resource_rows.mark_streams(connection, "basin", NOW_MS, cleanup.MARKS)
            # As the cleanup does, before it marks any more.
            connection.execute("DELETE FROM stream WHERE deleted_at IS NOT NULL")
            return len(marked)

        while await store.change(mark):
            pass
        assert len(steps) == MANY / cleanup.MARKS + 1
        assert max(steps) < 150 * cleanup.MARKS

    with_store(tmp_path, run)


class InMemory:
    def __init__(self, name):
        self.key = "basin", name


async def serve(store):
    server = Server(store)
    server.clock_ms = lambda: NOW_MS
    await server.meters.gather()  # what comes is counted in this minute
    return server


def test_what_was_counted_of_many_streams_is_gathered_and_written_in_parts(tmp_path):
    async def run(store):
        server = await serve(store)
        sizes, turns = [], 0
        add_counts = store.add_counts

        def count(points):
            sizes.append(len(points))
            return add_counts(points)

        async def tick():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        store.add_counts = count
        streams = [InMemory(f"s-{number}") for number in range(MANY)]
        for stream in streams:
            meter = server.meters.meter(stream, "express")
            meter.append_ops, meter.append_bytes = 1, 10
        ticking = asyncio.ensure_future(tick())
        await server.meters.gather()
        assert turns > MANY / meters.METERS_IN_A_ROW / 2
        await server.meters.flush()
        ticking.cancel()
        assert max(sizes) <= meters.POINTS_IN_A_ROW
        assert sum(sizes) == MANY + 3  # each stream's, and of the basin what is stored, operations and bytes
        assert await store.counted("basin", "", ["append_ops:"], 0, MINUTE + 1, 1) == {
            "append_ops:express": {MINUTE: MANY}
        }

    with_store(tmp_path, run)


def test_of_what_the_store_did_not_take_nothing_is_lost_nor_counted_twice(tmp_path):
    async def run(store):
        server = await serve(store)
        add_counts, failures = store.add_counts, iter([False, True, False, True])

        async def stumble(points):
            if next(failures, False):
                raise ApiError("storage", "the disk is full")
            await add_counts(points)

        store.add_counts = stumble
        for _ in range(3):
            for number in range(meters.POINTS_IN_A_ROW):
                server.meters.operation(f"op-{number}", "basin")
                server.meters.operation(f"op-{number}", "other")
            with contextlib.suppress(ApiError):
                await server.meters.flush()
        for basin in "basin", "other":
            found = await store.counted(basin, "", ["op:"], 0, MINUTE + 1, 1)
            assert found == {f"op:op-{number}": {MINUTE: 3} for number in range(meters.POINTS_IN_A_ROW)}

    with_store(tmp_path, run)


def test_an_answer_of_90_days_is_made_in_steps():
    minutes = range(MINUTE, MINUTE + 90 * 1440)
    points = metric_handlers.sizes(100, minutes, {MINUTE: 5, MINUTE + 2: -5})
    metric = metric_handlers.Metric("gauge", {"name": "storage"}, map(metric_handlers.point, points), len(minutes))
    empty = metric_handlers.Metric("label", {"name": "x"}, [], 0)
    assert sum(1 for _ in metric_handlers.render([metric])) > len(minutes) / metric_handlers.VALUES_IN_A_ROW
    payload = in_one_go(metric_handlers.render([empty, metric._replace(values=["[1,2]", "[3,4]"]), empty]))
    assert json.loads(payload) == {"values": [{"gauge": {"name": "storage", "values": [[1, 2], [3, 4]]}}]}
    assert list(metric_handlers.sizes(100, minutes[:4], {MINUTE: 5, MINUTE + 2: -5})) == [
        (MINUTE, 105), (MINUTE + 1, 105), (MINUTE + 2, 100), (MINUTE + 3, 100)
    ]  # fmt: skip


def test_the_bytes_of_a_basin_of_many_streams(tmp_path):
    async def run(store):
        await add_streams(store, "basin")
        await add_chunks(store, [(stream_id, 0, 0, b"x") for stream_id in range(1, MANY + 1, 10)])
        size_bytes, slices, steps = await watched(lambda: store.stored_bytes("basin", ""))
        assert size_bytes == MANY
        assert slices >= MANY / metric_rows.MEASURE_STREAMS
        assert steps < MOST_STEPS
        assert [await store.stored_bytes("basin", name) for name in ("s-000001", "s-000002", "none")] == [10, 0, 0]

    with_store(tmp_path, run)


def test_many_streams_that_were_trimmed(tmp_path):
    async def run(store):
        await add_streams(store, "basin", trim_point=5)
        await add_chunks(store, [(7, 5, 0, b"x"), (MANY - 3, 4, 0, b"x"), (MANY - 2, 4, 0, b"x")])
        trimmed = asyncio.Queue()

        async def look():
            store.expire()
            return await trimmed.get()

        with mock.patch.object(Writer, "trim", lambda _, trim_points: trimmed.put_nowait(trim_points)):
            found, slices, steps = await watched(look)
        assert found == [(MANY - 3, 5), (MANY - 2, 5)]
        assert slices >= MANY / 1000
        assert steps < MOST_STEPS

    with_store(tmp_path, run)


@pytest.mark.parametrize("first", [0, 3, 150])
def test_a_read_over_many_chunks_that_have_expired(tmp_path, first):
    async def run(store):
        await store.insert_stream(StreamRow("basin", "stream", {}, 1))
        expired = [(1, seq_num, NOW_MS - 1, bytes(100)) for seq_num in range(100, MANY)]
        live = [(1, seq_num, 0, b"") for seq_num in (0, 1, 2, MANY, MANY + 1)]
        await add_chunks(store, expired + live)
        await store.change(lambda connection: gone.add(connection, 1, 3, 100))
        chunks, slices, steps = await watched(lambda: store.read(1, first, MANY + 2, 1_000_000))
        found = [chunk.first_seq_num for chunk in chunks]
        # What stands before them is a page of its own.
        assert found == ([0, 1, 2] if first == 0 else [MANY, MANY + 1])
        assert slices == 1 or slices > MANY / 3000
        assert steps < MOST_STEPS
        assert await store.read(1, 100, MANY, 1_000_000) == []

    with_store(tmp_path, run)
