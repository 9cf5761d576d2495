"""Appends that create their streams: row and records are one transaction, and none of them suffers from another."""

import asyncio
import sqlite3

import pytest
from support.holding import hold
from support.store_bench import with_bench

from s2cli.errors import ApiError
from s2cli.server.store.interface import Append, BasinRow, Chunk, Lane, StreamRow, Tail
from s2cli.server.store.sqlite import chunks, resource_rows
from s2cli.server.store.sqlite.engine import SqliteStore

BASIN = "some-basin"


@pytest.fixture
def transactions(monkeypatch):
    """One for each transaction of several statements that was tried."""
    begun = []
    in_transaction = chunks.in_transaction

    def note(connection, run):
        begun.append(run)
        return in_transaction(connection, run)

    monkeypatch.setattr(chunks, "in_transaction", note)
    return begun


def creating(name, count=1, keep_ms=None, expires_at_ms=0):
    """The first append to a stream that is not there."""
    append = Append(Lane(0), Chunk(0, count, 10, 1000 + count, name.encode()), expires_at_ms)
    append.creates = StreamRow(BASIN, name, {"of": name}, 7)
    append.keep_ms = keep_ms
    return append


async def append_at_once(bench, *appends):
    """What became of each, as one group."""
    go_on = await hold(bench.store)
    for append in appends:
        bench.store.append(append)
    await go_on()
    return await bench.resolved(*appends)


async def stored(store):
    """Each stream with its tail and the bytes of its chunks."""
    rows, _ = await store.list_streams(BASIN, "", "", 1000)
    found = {}
    for row in rows:
        tail = await store.tail(row.id)
        page = await store.read(row.id, 0, tail.next_seq_num, 1000)
        found[row.name] = tail, [chunk.data for chunk in page]
    return found


def test_what_comes_at_once_is_one_transaction_with_all_streams_that_it_creates(tmp_path, transactions):
    names = [f"stream-{number:03}" for number in range(130)]

    async def write(bench):
        await bench.store.get_stream(BASIN, "none")  # all names were checked
        other = await bench.lane("other")
        appends = [creating(name, number + 1) for number, name in enumerate(names)]
        transactions.clear()
        await append_at_once(bench, *appends[:100], Append(other, Chunk(0, 1, 10, 5, b"other"), 0), *appends[100:])
        assert len(transactions) == 2  # the one that held, and one
        assert len({append.creates.id for append in appends}) == len({append.creates.uid for append in appends}) == 130
        assert all(append.lane.stream_id == append.creates.id > 0 for append in appends)
        return await stored(bench.store)

    async def read():
        store = await SqliteStore.open(tmp_path)
        try:
            row = await store.get_stream(BASIN, names[0])
            return await stored(store), row
        finally:
            await store.close()

    before = with_bench(tmp_path, write)
    after, row = asyncio.run(read())
    assert before == after
    assert after["other"] == (Tail(1, 5), [b"other"])
    for number, name in enumerate(names):
        assert after[name] == (Tail(number + 1, 1001 + number), [name.encode()])
    assert (row.config, row.created_at_ms, row.keep_ms) == ({"of": names[0]}, 7, None)


def test_the_stream_continues_behind_what_created_it(tmp_path):
    async def run(bench):
        first = creating("a")
        await append_at_once(bench, first)
        second = Append(first.lane, Chunk(1, 2, 10, 2000, b"more"), 0)
        bench.store.append(second)
        assert await bench.resolved(second) == [None]
        assert await stored(bench.store) == {"a": (Tail(3, 2000), [b"a", b"more"])}

    with_bench(tmp_path, run)


@pytest.mark.parametrize(("keep_ms", "expires_at_ms", "due"), [(0, 0, None), (60_000, 61_000, 61_000)])
def test_the_retention_of_the_first_append_is_kept(tmp_path, keep_ms, expires_at_ms, due):
    async def run(bench):
        bench.store.clock_ms = lambda: 1000
        append = creating("a", 3, keep_ms, expires_at_ms)
        await append_at_once(bench, append, creating("b"))
        assert (await bench.store.get_stream(BASIN, "a")).keep_ms == keep_ms
        runs = await bench.store.ask(lambda connection: connection.execute("SELECT * FROM run").fetchall())
        assert runs == [((append.creates.id << 40) + 2, keep_ms, due)]

    with_bench(tmp_path, run)


def test_where_the_name_is_taken_nothing_is_written(tmp_path):
    async def run(bench):
        await bench.lane("taken")
        taken, twice = creating("taken"), creating("b")
        assert await append_at_once(bench, creating("a"), taken, creating("b"), twice, creating("c")) == [None] * 5
        assert (taken.creates.id, taken.lane.stream_id, twice.creates.id, twice.lane.stream_id) == (0, 0, 0, 0)
        found = await stored(bench.store)
        assert found.pop("taken") == (Tail(0, 0), [])
        assert found == {name: (Tail(1, 1001), [name.encode()]) for name in "abc"}

    with_bench(tmp_path, run)


def test_one_that_fails_takes_none_with_it(tmp_path, monkeypatch):
    insert_sealed = resource_rows.insert_sealed

    def refuse_bad(connection, table, rows, **options):
        count = insert_sealed(connection, table, rows, **options)
        if any(b"bad" in values[2] for values in rows if table == "stream"):
            raise ApiError("quota_exhausted", "no more of these")
        return count

    monkeypatch.setattr(resource_rows, "insert_sealed", refuse_bad)

    async def run(bench):
        bad = creating("bad")
        errors = await append_at_once(bench, creating("a"), creating("b"), bad, creating("c"))
        assert [error and error.code for error in errors] == [None, None, "quota_exhausted", None]
        assert bad.lane.broken is not None
        assert set(await stored(bench.store)) == {"a", "b", "c"}
        rows, _ = await bench.store.list_streams(BASIN, "", "", 10)
        assert sorted(row.id for row in rows) == [1, 2, 3]
        await bench.check_alive()

    with_bench(tmp_path, run)


def test_after_an_error_of_the_disk_nothing_is_told_to_be_there(tmp_path, monkeypatch):
    def fail(connection, group, tails):
        error = sqlite3.OperationalError("of the disk")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    async def run(bench):
        monkeypatch.setattr(chunks, "insert_rows", fail)
        appends = [creating(name) for name in "abc"]
        errors = await append_at_once(bench, *appends)
        assert all("of the disk" in str(error) for error in errors)
        assert "of the disk" in bench.store.failure
        assert await stored(bench.store) == {}

    with_bench(tmp_path, run)


def test_a_basin_is_known_once_it_was_read_and_until_it_changes(tmp_path):
    async def run(bench):
        store = bench.store
        assert await store.insert_basin(BasinRow(BASIN, {"number": 1}, 1)) is None
        assert store.known_basin(BASIN) is None
        await store.get_basin(BASIN)
        await store.get_stream(BASIN, "none")  # all names were checked
        assert store.known_basin(BASIN).config == {"number": 1}
        await store.update_basin(BasinRow(BASIN, {"number": 2}, 1))
        assert store.known_basin(BASIN) is None

    with_bench(tmp_path, run)


def test_a_name_that_is_taken_but_cannot_be_looked_up_takes_nothing_with_it(tmp_path, monkeypatch):
    """As with an index that was damaged after the start: nothing is written under a number of another stream."""

    async def run(bench):
        await bench.store.insert_stream(StreamRow(BASIN, "taken", {}, 1))
        monkeypatch.setattr(resource_rows, "get_stream", lambda *_: None)
        taken, free = creating("taken"), creating("free")
        outcomes = await append_at_once(bench, taken, free)
        assert isinstance(outcomes[0], ApiError)
        assert outcomes[0].code == "storage"
        assert outcomes[1] is None
        found = await stored(bench.store)
        assert {name: chunks for name, (_, chunks) in found.items()} == {"taken": [], "free": [b"free"]}

    with_bench(tmp_path, run)
