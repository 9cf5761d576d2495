"""Looks of the thread that reads whose cost a client chooses: in slices, between which others have theirs."""

import asyncio

import pytest

from s2cli.server.engines import sqlite_metrics, sqlite_rows
from s2cli.server.engines.sqlite import SqliteStore
from s2cli.server.engines.sqlite_format import chunk_id
from s2cli.server.store import BasinRow, Point, StreamRow

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


async def watched(store, ask):
    """What `ask()` gives, how many slices the thread took for it, and the most steps of one."""
    slices = []
    submit = store._reader.submit

    def counting(run):
        def count(connection):
            steps = 0

            def on_step():
                nonlocal steps
                steps += 1

            connection.set_progress_handler(on_step, 1)
            try:
                return run(connection)
            finally:
                connection.set_progress_handler(None, 0)
                slices.append(steps)

        return submit(count)

    store._reader.submit = counting
    try:
        return await ask(), len(slices), max(slices)
    finally:
        store._reader.submit = submit


async def add_streams(store, basin, *, created_at_ms=NOW_MS, trim_point=0):
    def run(connection):
        for number in range(1, MANY + 1):
            sqlite_rows.insert_stream(connection, StreamRow(basin, f"s-{number:06}", {}, created_at_ms), number)
        connection.execute("UPDATE stream SET trim_point=?", (trim_point,))

    await store._change(run)


async def add_chunks(store, chunks):
    """Chunks of one record, each given as the id of its stream, its sequence number, its expiry and its data."""

    def run(connection):
        connection.executemany(
            "INSERT INTO chunk(id, n, size, ts, exp, crc, kind, data) VALUES(?, 1, 10, 5, ?, 0, 0, ?)",
            [(chunk_id(stream_id, seq_num), expiry, data) for stream_id, seq_num, expiry, data in chunks],
        )

    await store._change(run)


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
        names, slices, steps = await watched(store, lambda: store.active_basins(MINUTE - 660, MINUTE - 540))
        assert names == ["gone", "old"]
        assert slices > MANY / sqlite_metrics.STREAMS_IN_A_ROW
        assert steps < MOST_STEPS
        assert await store.active_basins(MINUTE, MINUTE + 1) == ["elsewhen", "old", "young"]

    with_store(tmp_path, run)


def test_basins_that_were_written_to_are_found_by_jumps(tmp_path):
    async def run(store):
        points = [Point("one", f"s-{number}", "op:read", MINUTE, 1) for number in range(MANY)]
        points += [Point("two", "", f"append_ops:{number}", MINUTE, 1) for number in range(MANY)]
        points += [Point("three", "stream", "op:read", MINUTE, 1), Point("", "", "op:read", MINUTE, 1)]
        await store.add_counts(points)
        names, _, steps = await watched(store, lambda: store.active_basins(MINUTE - 600, MINUTE + 60))
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
            return store.counted("basin", "", ["append_ops:", "read"], MINUTE, MINUTE + 150)

        found, slices, steps = await watched(store, ask)
        assert slices > MANY / sqlite_metrics.COUNTED_ROWS
        assert steps < MOST_STEPS
        assert found.pop("read") == {MINUTE: 7}
        assert found.pop("append_ops:000000") == {MINUTE: 0} | {MINUTE + later: 1 for later in range(1, 150)}
        assert found == {f"append_ops:{number:06}": {MINUTE: number} for number in range(1, MANY)}

    with_store(tmp_path, run)


def test_the_bytes_of_a_basin_of_many_streams(tmp_path):
    async def run(store):
        await add_streams(store, "basin")
        await add_chunks(store, [(stream_id, 0, 0, b"x") for stream_id in range(1, MANY + 1, 10)])
        size_bytes, slices, steps = await watched(store, lambda: store.stored_bytes("basin", ""))
        assert size_bytes == MANY
        assert slices >= MANY / sqlite_metrics.MEASURE_STREAMS
        assert steps < MOST_STEPS
        assert [await store.stored_bytes("basin", name) for name in ("s-000001", "s-000002", "none")] == [10, 0, 0]

    with_store(tmp_path, run)


def test_many_streams_that_were_trimmed(tmp_path):
    async def run(store):
        await add_streams(store, "basin", trim_point=5)
        await add_chunks(store, [(7, 5, 0, b"x"), (MANY - 3, 4, 0, b"x"), (MANY - 2, 4, 0, b"x")])
        trimmed = asyncio.Queue()
        store._writer.trim = trimmed.put_nowait

        async def look():
            store.expire()
            return await trimmed.get()

        found, slices, steps = await watched(store, look)
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
        chunks, slices, steps = await watched(store, lambda: store.read(1, first, MANY + 2, 1_000_000))
        found = [chunk.first_seq_num for chunk in chunks]
        # What stands before them is a page of its own.
        assert found == ([0, 1, 2] if first == 0 else [MANY, MANY + 1])
        assert slices == 1 or slices > MANY / 3000
        assert steps < MOST_STEPS
        assert await store.read(1, 100, MANY, 1_000_000) == []

    with_store(tmp_path, run)
