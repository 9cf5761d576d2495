"""Disks that fail or do not answer, and a writer that dies: nothing is written after, and nobody waits."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.holding import hold
from support.sqlite_engine import with_engine
from support.store_bench import BIG, with_bench
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, Lane, Tail
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.engine import SqliteStore

MIB = 1024 * 1024


@pytest.mark.parametrize("code", ["IOERR_FSYNC", "CORRUPT_INDEX", "NOTADB", "READONLY_DBMOVED", "CANTOPEN"])
def test_an_error_of_the_disk_stops_writing_and_nobody_waits(tmp_path, monkeypatch, code):
    """Also in the middle of a group that is committed half by half."""
    insert = chunks.insert

    def fail(connection, group, tails):
        if len(group) == 1 and group[0].lane.stream_id == 2:
            error = sqlite3.OperationalError("of the disk")
            error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{code}")
            raise error
        insert(connection, group, tails)

    async def run(bench):
        lanes = [await bench.lane(name) for name in "abcd"]
        monkeypatch.setattr(chunks, "insert", fail)
        go_on = await hold(bench.store)
        # The half with the other two is committed before.
        appends = [bench.append(lane, 0, **({"count": BIG} if lane is lanes[0] else {})) for lane in reversed(lanes)]
        await go_on()
        errors = await bench.resolved(*appends)
        assert errors[:2] == [None, None]
        assert ["of the disk" in str(error) for error in errors] == [False, False, True, True]
        assert "of the disk" in bench.store.failure
        with pytest.raises(ApiError, match="the storage has failed"):
            await bench.store.remove_basin("some-basin")

    with_bench(tmp_path, run)


def test_a_disk_that_has_failed_is_not_one_that_does_not_answer(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("s2cli.server.store.sqlite.writer.STALL_S", 0.05)
    monkeypatch.setattr("s2cli.server.store.sqlite.engine.LOOK_S", 0.01)

    def fail(connection, group, tails):
        error = sqlite3.OperationalError("of the disk")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    async def run(bench):
        lane = await bench.lane("stream")
        monkeypatch.setattr(chunks, "insert", fail)
        await bench.resolved(bench.append(lane, 0))
        await asyncio.sleep(0.2)  # in which a stall would have been noticed
        assert bench.store.stall is None
        assert "of the disk" in bench.store.failure

    with_bench(tmp_path, run)
    assert "does not answer" not in caplog.text


@pytest.fixture
def silent_disk(monkeypatch):
    """`(stop, waits, go_on)`: from `stop()` on a commit does not return, until `go_on` is set; `waits` says that one is
    under way. Silence is noticed at once."""
    monkeypatch.setattr("s2cli.server.store.sqlite.writer.STALL_S", 0.05)
    monkeypatch.setattr("s2cli.server.store.sqlite.writer.LOOK_S", 0.01)
    monkeypatch.setattr("s2cli.server.store.sqlite.engine.LOOK_S", 0.01)
    monkeypatch.setattr("s2cli.server.store.sqlite.reader.WAIT_S", 0.01)
    waits, go_on = threading.Event(), threading.Event()
    insert = chunks.insert

    def wait_for_it(connection, group, tails):
        waits.set()
        go_on.wait(TIMEOUT_S)
        insert(connection, group, tails)

    yield lambda: monkeypatch.setattr(chunks, "insert", wait_for_it), waits, go_on
    go_on.set()


def test_a_disk_that_does_not_answer_is_told_and_keeps_nobody_who_comes_then(
    make_thread_server, silent_disk, monkeypatch
):
    stop, _, go_on = silent_disk
    queued = threading.Semaphore(0)

    class CountingStore(SqliteStore):
        def append(self, append):
            super().append(append)
            queued.release()

    def set_patience(patience_s):
        """Until the appends are where they are to be, and again at the end, no slowness of this machine counts."""
        monkeypatch.setattr("s2cli.server.store.sqlite.writer.STALL_S", patience_s)

    set_patience(TIMEOUT_S)
    server = make_thread_server(open_store=CountingStore.open)
    basin = server.create_basin()
    server.create_stream(basin)

    def append(body):
        body = {"records": [{"body": body}]}
        return server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=body)

    assert append("first").status == 200
    assert queued.acquire(timeout=TIMEOUT_S)
    stop()
    with ThreadPoolExecutor() as pool:
        # Two that have all the room there is, and one that waits for room.
        waiting = [pool.submit(append, "x" * 1_000_000) for _ in range(3)]
        assert queued.acquire(timeout=TIMEOUT_S)
        assert queued.acquire(timeout=TIMEOUT_S)
        set_patience(0.05)
        until(lambda: server.request("GET", "/health").status == 503)
        assert "the disk has not answered" in server.request("GET", "/health").body.decode()
        refused = append("refused")
        assert (refused.status, refused.json()["without_effect"]) == (503, True)
        assert server.request("POST", "/v1/basins", json_body={"basin": "another-basin"}).status == 503
        read = server.request("GET", "/v1/streams/stream/records?seq_num=0&count=1", basin=basin)
        assert read.json()["records"][0]["body"] == "first"
        go_on.set()
        statuses = sorted(one.result(TIMEOUT_S).status for one in waiting)
    assert statuses in ([200, 200, 503], [200, 200, 200])
    set_patience(TIMEOUT_S)
    until(lambda: server.request("GET", "/health").status == 200)
    assert append("last").status == 200
    tail = server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()["tail"]["seq_num"]
    assert tail == 2 + statuses.count(200)


def test_a_store_on_a_disk_that_does_not_answer_ends(tmp_path, silent_disk, caplog):
    stop, waits, _ = silent_disk

    async def run(bench):
        lane = await bench.lane("stream")
        stop()
        bench.store.append(bench.append(lane, 0))
        await asyncio.to_thread(waits.wait, TIMEOUT_S)
        with pytest.raises(ApiError, match="has not answered"):
            await bench.store.remove_token("token", 0)

    with_bench(tmp_path, run)
    assert "the server ends without the disk" in caplog.text


def test_an_io_error_stops_all_writes(tmp_path, monkeypatch):
    def fail(*_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    check_that_nothing_is_written_after(tmp_path, monkeypatch, fail, "disk I/O error")


def test_a_dead_writer_leaves_nobody_waiting(tmp_path, monkeypatch):
    def die(*_):
        raise SystemExit("gone")

    check_that_nothing_is_written_after(tmp_path, monkeypatch, die, "SystemExit: gone")


def check_that_nothing_is_written_after(tmp_path, monkeypatch, insert, reason):
    async def run(engine):
        lane, other = Lane(await engine.stream()), Lane(await engine.stream("other"))
        engine.append(other, 0)
        await engine.wait(1)
        monkeypatch.setattr(chunks, "insert", insert)
        go_on = await hold(engine.store)
        engine.append(lane, 0, size=MIB)
        engine.append(lane, 1, size=MIB)
        engine.append(other, 1)
        last = asyncio.ensure_future(engine.store.change(lambda _: None))
        await asyncio.sleep(0)
        await go_on()
        await asyncio.wait_for(asyncio.wait([last]), TIMEOUT_S)
        await engine.wait(4)
        monkeypatch.undo()
        engine.append(Lane(lane.stream_id), 0)
        await engine.wait(5)
        for _, error in engine.resolved[1:]:
            assert isinstance(error, ApiError)
            assert error.code == "storage"
            assert reason in error.message
        with pytest.raises(ApiError, match="storage has failed"):
            await engine.store.insert_basin(BasinRow("some-basin", {}, 1))
        assert reason in engine.store.failure
        # Reading continues.
        assert await engine.store.tail(other.stream_id) == Tail(1, 1000)
        assert await engine.store.tail(lane.stream_id) == Tail(0, 0)

    with_engine(tmp_path, run)
