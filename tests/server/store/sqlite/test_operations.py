"""Changes of the control plane that share a transaction: one sync for all of them, and none suffers from another."""

import asyncio
import random
import sqlite3

import pytest
from support.holding import hold, let_queue
from support.store_bench import with_bench
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, StreamRow
from s2cli.server.store.sqlite import chunks, operations, resource_rows, write_log
from s2cli.server.store.sqlite.checksums import seal
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES

GROUPS = 60


def row(name):
    return StreamRow("some-basin", name, {}, 1)


@pytest.fixture
def transactions(monkeypatch):
    """One for each transaction that was tried."""
    begun = []
    in_transaction = chunks.in_transaction

    def note(connection, run):
        begun.append(run)
        return in_transaction(connection, run)

    monkeypatch.setattr(chunks, "in_transaction", note)
    return begun


async def create_at_once(store, names):
    """What became of each."""
    go_on = await hold(store)
    waiting = [asyncio.ensure_future(store.insert_stream(row(name))) for name in names]
    await let_queue(store)
    await go_on()
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_creations_that_come_at_once_share_transactions(tmp_path, transactions):
    names = [f"stream-{number:03}" for number in range(operations.TOGETHER + 1)]

    async def run(bench):
        await bench.store.get_stream("some-basin", "none")  # all names were checked
        transactions.clear()
        assert await create_at_once(bench.store, names) == [None] * len(names)
        assert len(transactions) == 3  # the one that held, and two
        stored, _ = await bench.store.list_streams("some-basin", "", "", 1000)
        assert [one.name for one in stored] == names
        assert len({one.id for one in stored}) == len({one.uid for one in stored}) == len(names)

    with_bench(tmp_path, run)


def test_creations_with_random_names_count_in_the_log_as_what_they_are(tmp_path, monkeypatch):
    """Each of them writes to a page of its own: a group of them is many pages."""
    dice = random.Random(1)

    async def run(bench):
        monkeypatch.setattr("s2cli.server.store.sqlite.writer.IDLE_S", TIMEOUT_S)
        for _ in range(GROUPS):
            names = [f"{dice.getrandbits(400):0100x}" for _ in range(operations.TOGETHER)]
            await asyncio.gather(*(bench.store.insert_stream(row(name)) for name in names))
        log_bytes = (tmp_path / f"{FILE_NAME}-wal").stat().st_size
        assert log_bytes < write_log.CHECKPOINT_BYTES + 2 * operations.TOGETHER * PAGE_BYTES

    with_bench(tmp_path, run)


def test_of_two_with_one_name_the_second_gets_the_first(tmp_path):
    async def run(bench):
        first, second, other = await create_at_once(bench.store, ["same", "same", "other"])
        assert (first, other) == (None, None)
        assert second.name == "same"
        assert [one.id for one in (await bench.store.list_streams("some-basin", "", "", 10))[0]] == [2, 1]

    with_bench(tmp_path, run)


def test_one_that_fails_takes_none_with_it(tmp_path, monkeypatch, transactions):
    insert_stream = resource_rows.insert_stream

    def refuse_bad(connection, row, lowest_id, *beginning):
        present = insert_stream(connection, row, lowest_id, *beginning)
        if row.name == "bad":
            raise ApiError("quota_exhausted", "no more of these")
        if row.name == "worse":
            raise ValueError("cannot be stored")
        return present

    monkeypatch.setattr(resource_rows, "insert_stream", refuse_bad)

    async def run(bench):
        first, bad, worse, last = await create_at_once(bench.store, ["first", "bad", "worse", "last"])
        assert (first, last) == (None, None)
        assert "no more of these" in str(bad)
        assert "cannot be stored" in str(worse)
        assert [one.name for one in (await bench.store.list_streams("some-basin", "", "", 10))[0]] == ["first", "last"]
        await bench.check_alive()

    with_bench(tmp_path, run)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_an_error_of_the_disk_is_not_tried_again(tmp_path, monkeypatch, transactions, fails_at):
    """What a failed sync was to make durable would seem to be durable after the next one."""
    insert_stream = resource_rows.insert_stream
    calls = []

    def fail(connection, row, lowest_id, *beginning):
        calls.append(row.name)
        if len(calls) == fails_at:
            error = sqlite3.OperationalError("of the disk")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return insert_stream(connection, row, lowest_id, *beginning)

    async def run(bench):
        monkeypatch.setattr(resource_rows, "insert_stream", fail)
        refused = await create_at_once(bench.store, ["a", "b", "c"])
        assert all("of the disk" in str(error) for error in refused)
        assert calls == ["a", "b", "c"][:fails_at]
        assert "of the disk" in bench.store.failure

    with_bench(tmp_path, run)


def test_a_basin_that_was_read_is_the_caller_s_own_and_new_after_a_change(tmp_path):
    async def run(bench):
        store = bench.store
        assert await store.insert_basin(BasinRow("some-basin", {"number": 1}, 1)) is None
        first = await store.get_basin("some-basin")
        first.deleted_at_ms = 5
        assert (await store.get_basin("some-basin")).deleted_at_ms is None
        await store.update_basin(BasinRow("some-basin", {"number": 2}, 1, 7))
        assert (await store.get_basin("some-basin")).config == {"number": 2}
        assert (await store.get_basin("some-basin")).deleted_at_ms == 7
        await store.remove_basin("some-basin")
        assert await store.get_basin("some-basin") is None

    with_bench(tmp_path, run)


def test_a_basin_whose_change_is_made_after_its_waiter_left_is_read_anew(tmp_path):
    async def run(bench):
        store = bench.store
        assert await store.insert_basin(BasinRow("some-basin", {"number": 1}, 1)) is None
        await store.get_basin("none")  # all names were checked
        go_on = await hold(store)
        change = asyncio.ensure_future(store.update_basin(BasinRow("some-basin", {"number": 2}, 1)))
        await asyncio.sleep(0)
        change.cancel()
        await asyncio.wait([change])
        assert (await store.get_basin("some-basin")).config == {"number": 1}
        await go_on()
        await store.expire_tokens(0)  # behind the change
        assert (await store.get_basin("some-basin")).config == {"number": 2}

    with_bench(tmp_path, run)


def test_ids_of_creations_that_were_rolled_back_are_given_again(tmp_path, monkeypatch):
    insert_sealed = resource_rows.insert_sealed

    def refuse_bad(connection, table, rows, **options):
        count = insert_sealed(connection, table, rows, **options)
        if any(b"bad" in values[2] for values in rows if table == "stream"):
            raise ApiError("quota_exhausted", "no more of these")
        return count

    monkeypatch.setattr(resource_rows, "insert_sealed", refuse_bad)

    async def run(bench):
        await create_at_once(bench.store, ["a", "bad-1", "b"])
        await create_at_once(bench.store, ["bad-2"])
        await create_at_once(bench.store, ["c"])
        stored, _ = await bench.store.list_streams("some-basin", "", "", 10)
        assert {one.name: one.id for one in stored} == {"a": 1, "b": 2, "c": 3}

    with_bench(tmp_path, run)


def test_of_many_that_come_at_once_those_that_are_there_already_take_no_id(tmp_path):
    """Also where one comes twice, and with more than one statement takes."""

    async def run(bench):
        store = bench.store
        assert await create_at_once(store, ["a", "b"]) == [None, None]
        got = await create_at_once(store, ["c", "a", "d", "d", "b", "e"])
        assert [None if one is None else one.name for one in got] == [None, "a", None, "d", "b", None]
        many = [f"stream-{number:03}" for number in range(operations.TOGETHER)]
        got = await create_at_once(store, [*many[:-1], "a"])
        assert [one for one in got if one is not None] == [got[-1]]
        assert await create_at_once(store, ["f", "g"]) == [None, None]
        stored, _ = await store.list_streams("some-basin", "", "", 1000)
        assert sorted(one.id for one in stored) == list(range(1, len(stored) + 1))
        assert [one.name for one in stored][:7] == list("abcdefg")
        for one in stored:
            assert await store.get_stream("some-basin", one.name) == one

    with_bench(tmp_path, run)


def test_a_removal_that_comes_again_leaves_the_stream_that_has_the_number_by_now(tmp_path):
    """Also if the one that was removed is of a time when streams had no uid."""

    async def run(bench):
        store = bench.store
        for before in None, b"u" * 16:
            name = f"new-{before}"
            lane = await bench.lane(name)
            assert await bench.resolved(bench.append(lane, 0)) == [None]
            assert await store.delete_chunks(lane.stream_id, before) is False
            await store.remove_stream(lane.stream_id, before)
            assert (await store.get_stream("some-basin", name)).id == lane.stream_id
            assert len(await store.read(lane.stream_id, 0, 1, 1000)) == 1

    with_bench(tmp_path, run)


def test_a_stream_without_a_uid_is_removed(tmp_path):
    def forget_uid(connection, stream_id):
        connection.execute("UPDATE stream SET uid=NULL WHERE id=?", (stream_id,))
        seal(connection, "stream", "id=?", (stream_id,))

    async def run(bench):
        old = row("old")
        await bench.store.insert_stream(old)
        await bench.store.change(forget_uid, old.id)
        await bench.store.remove_stream(old.id, None)
        assert await bench.store.get_stream("some-basin", "old") is None

    with_bench(tmp_path, run)


def test_only_what_was_waiting_when_the_disk_stalled_may_still_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr("s2cli.server.store.sqlite.writer.STALL_S", 0.02)
    monkeypatch.setattr("s2cli.server.store.sqlite.engine.LOOK_S", 0.01)

    async def run(bench):
        store = bench.store
        go_on = await hold(store)
        with pytest.raises(ApiError) as caught:
            await store.insert_basin(BasinRow("caught-basin", {}, 1))
        assert (caught.value.code, caught.value.without_effect) == ("unavailable", False)
        with pytest.raises(ApiError) as refused:
            await store.insert_basin(BasinRow("refused-basin", {}, 1))
        assert (refused.value.code, refused.value.without_effect) == ("unavailable", True)
        with pytest.raises(ApiError):
            await go_on()
        async with asyncio.timeout(TIMEOUT_S):
            while store.stall is not None:
                await asyncio.sleep(0.001)
        await store.insert_basin(BasinRow("new-basin", {}, 1))
        found, _ = await store.list_basins("", "", 10)
        assert [one.name for one in found] == ["caught-basin", "new-basin"]

    with_bench(tmp_path, run)
