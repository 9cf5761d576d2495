"""Values that the database cannot take, in every statement of the writer: each fails its own write and no other. The
API lets none of them in; this is for the one that it forgets."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.holding import hold
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.interface import Append, BasinRow, Chunk, Lane, Point, Reply, StreamRow, TokenRow
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.checksums import register, seal
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.schema import FILE_NAME

SURROGATE = "\ud800"
BIG = 1 << 63

# None where the column must have a value, texts and numbers that do not fit, and what is of no type that is stored.
VALUES = {
    "surrogate": SURROGATE,
    "2^63": BIG,
    "2^64": 1 << 64,
    "-2^64": -(1 << 64),
    "10^400": 10**400,
    "nan": float("nan"),
    "none": None,
    "object": object(),
    "list": [1],
    "set": {1},
    "nul": "a\0b",
    "latin": b"\xff",
}

ROWS = {
    BasinRow: BasinRow("some-basin", {}, 1),
    StreamRow: StreamRow("some-basin", "some-stream", {}, 1),
    TokenRow: TokenRow("token", "selector", b"hash", {}),
    Reply: Reply(b"key", b"request", 200, b"text/plain", b"body", [(b"name", b"value")], 1),
    Point: Point("some-basin", "some-stream", "series", 1, 1),
}


OWN_MEMBERS = ("uid", "trim_point", "fencing_token", "keep_ms", "next_seq_num", "last_timestamp", "saved")


class Bench:
    """A store, a healthy stream beside whatever is tried, and what became of appends."""

    def __init__(self, store):
        self.store = store
        self.outcome = {}
        self._changed = asyncio.Event()
        self._healthy = None
        self._next = 0
        store.on_written = self._on_written

    def _on_written(self, group, error):
        for append in group:
            assert append not in self.outcome, "settled twice"
            self.outcome[append] = error
        self._changed.set()

    async def lane(self, name):
        row = StreamRow("some-basin", name, {}, 1)
        assert await self.store.insert_stream(row) is None
        return Lane(row.id)

    def append(self, lane, first, **members):
        """A good append, but for these members of it or of its chunk."""
        append = Append(lane, Chunk(first, 1, 10, 1000, b"data"), 0)
        for name, value in members.items():
            setattr(append.chunk if hasattr(append.chunk, name) else append, name, value)
        self.store.append(append)
        return append

    async def settled(self, *appends):
        async with asyncio.timeout(TIMEOUT_S):
            while not all(append in self.outcome for append in appends):
                self._changed.clear()
                await self._changed.wait()
        return [self.outcome[append] for append in appends]

    async def check_alive(self, name="healthy"):
        """Another stream's append is written, and so is a change."""
        if self._healthy is None:
            self._healthy = await self.lane(name)
        assert await self.settled(self.append(self._healthy, self._next)) == [None]
        self._next += 1
        assert self.store.failure is None


def with_bench(directory, run):
    async def main():
        store = await SqliteStore.open(directory)
        try:
            return await run(Bench(store))
        finally:
            async with asyncio.timeout(TIMEOUT_S):
                await store.close()

    return asyncio.run(main())


async def attempt(change):
    """A change that may fail, as long as it says so."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await change
    except (S2Error, UnicodeError, TypeError, ValueError, AttributeError, sqlite3.Error):
        return False
    return True


def changes(store, row):
    """Every change that takes such a row."""
    if isinstance(row, BasinRow):
        return [
            lambda: store.insert_basin(row),
            lambda: store.update_basin(row),
            lambda: store.remove_basin(row.name),
            lambda: store.mark_streams(row.name, 10),
        ]
    if isinstance(row, StreamRow):
        return [
            lambda: store.insert_stream(row),
            lambda: store.update_stream(row),
            lambda: store.delete_if_empty(row),
        ]
    if isinstance(row, TokenRow):
        return [
            lambda: store.insert_token(row, 1),
            lambda: store.remove_token(row.id, 1),
            lambda: store.expire_tokens(row.expires_at_ms),
        ]
    if isinstance(row, Point):
        return [lambda: store.add_counts([row, ROWS[Point]])]
    return [
        lambda: store.save_reply(row),
        lambda: store.insert_basin(BasinRow(f"basin-{id(row)}", {}, 1), row),
        lambda: store.insert_stream(StreamRow("some-basin", f"stream-{id(row)}", {}, 1), row),
        lambda: store.update_basin(ROWS[BasinRow], row),
    ]


def with_member(row, name, value):
    return row._replace(**{name: value}) if isinstance(row, Point) else dataclasses.replace(row, **{name: value})


MEMBERS = [
    (kind, name)
    for kind in ROWS
    for name in (Point._fields if kind is Point else [field.name for field in dataclasses.fields(kind)])
]


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind.__name__}.{name}" for kind, name in MEMBERS])
def test_a_value_that_cannot_be_stored_fails_its_own_change(tmp_path, kind, name):
    async def run(bench):
        failed = 0
        for value in VALUES.values():
            for change in changes(bench.store, with_member(ROWS[kind], name, value)):
                failed += not await attempt(change())
                assert bench.store.failure is None, (kind, name, value)
            await bench.check_alive()
        return failed

    failed = with_bench(tmp_path, run)
    # What is counted is dropped instead, and some members the engine does not take from the row.
    assert bool(failed) == (kind is not Point and name not in OWN_MEMBERS)
    with_bench(tmp_path, lambda bench: bench.check_alive("after"))


APPEND_MEMBERS = ("end_seq_num", "count", "metered_bytes", "last_timestamp", "kind", "expires_at_ms", "keep_ms")
APPEND_MEMBERS += ("fencing_token", "trim_point", "arrived_at_ms", "look_at_ms", "reply")


@pytest.mark.parametrize("name", APPEND_MEMBERS)
def test_a_value_that_cannot_be_stored_fails_its_own_append(tmp_path, name):
    async def run(bench):
        for number, value in enumerate(VALUES.values()):
            if name == "reply":
                value = dataclasses.replace(ROWS[Reply], content_type=value, key=b"%d" % number)
            before, bad, after = [await bench.lane(f"{which}-{number}") for which in ("before", "bad", "after")]
            # One group of all, with something in front of and behind each.
            go_on = await hold(bench.store)
            good = [bench.append(before, 0), bench.append(bad, 0), bench.append(after, 0)]
            wrong = bench.append(bad, 1, **{name: value})
            behind = [bench.append(bad, 2), bench.append(bad, 3)]
            good += [bench.append(before, 1), bench.append(after, 1)]
            await go_on()
            assert await bench.settled(*good) == [None] * 5
            errors = await bench.settled(wrong, *behind)
            assert len({error is None for error in errors}) == 1, (name, value)
            assert (errors[0] is None) == (bad.broken is None)
            if errors[0] is not None:
                assert [error.code for error in errors] == ["other", "unavailable", "unavailable"]
                late = bench.append(bad, 4)
                assert (await bench.settled(late))[0].code == "unavailable"
                assert (await bench.store.tail(bad.stream_id))[0] == 1
            assert bench.store.failure is None

    with_bench(tmp_path, run)


def test_many_that_cannot_be_stored_among_many_that_can(tmp_path):
    async def run(bench):
        lanes = [await bench.lane(f"stream-{number}") for number in range(20)]
        bad = {3, 4, 11, 19}
        go_on = await hold(bench.store)
        appends = [
            (number, first, bench.append(lane, first, **({"count": BIG} if number in bad and first == 2 else {})))
            for first in range(5)
            for number, lane in enumerate(lanes)
        ]
        await go_on()
        await bench.settled(*[append for _, _, append in appends])
        for number, first, append in appends:
            assert (bench.outcome[append] is None) == (number not in bad or first < 2), (number, first)
        order = [append for append in bench.outcome if append.lane is lanes[3]]
        assert order == [append for number, _, append in appends if number == 3]

    with_bench(tmp_path, run)


@contextlib.contextmanager
def locked(directory):
    """Another program writes to the database."""
    with contextlib.closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_an_error_of_the_moment_fails_a_group_as_a_whole(tmp_path, monkeypatch):
    """Where another program has locked the database, each attempt waits for it; that it can be stored later is what
    whoever asked is told."""
    insert = chunks.insert
    attempts = []

    def insert_locked(connection, group, tails):
        attempts.append(len(group))
        with locked(tmp_path):
            insert(connection, group, tails)

    async def run(bench):
        lanes = [await bench.lane(name) for name in "abc"]
        await bench.store.change(lambda connection: connection.execute("PRAGMA busy_timeout=1"))
        with monkeypatch.context() as patch:
            patch.setattr(chunks, "insert", insert_locked)
            go_on = await hold(bench.store)
            appends = [bench.append(lane, 0) for lane in lanes]
            await go_on()
            errors = await bench.settled(*appends)
        told = (503, "unavailable", "another program has locked the database: database is locked")
        assert [(error.status, error.code, error.message) for error in errors] == [told] * 3
        assert attempts == [3]
        with locked(tmp_path), pytest.raises(ApiError) as caught:
            await bench.store.insert_basin(ROWS[BasinRow])
        assert (caught.value.status, caught.value.code, caught.value.message) == told
        await bench.check_alive()
        assert await bench.store.insert_basin(ROWS[BasinRow]) is None

    with_bench(tmp_path, run)


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
        appends = [bench.append(lane, 0, **({"count": BIG} if lane is lanes[0] else {})) for lane in lanes]
        await go_on()
        # The last ones come first, so the half with the other two is committed before.
        errors = await bench.settled(*appends)
        assert ["of the disk" in str(error) for error in errors] == [True, True, False, False]
        assert errors[2:] == [None, None]
        assert "of the disk" in bench.store.failure
        with pytest.raises(ApiError, match="the storage has failed"):
            await bench.store.remove_basin("some-basin")

    with_bench(tmp_path, run)


def test_what_was_written_on_a_full_disk_is_told_once_though_the_disk_fails_then(tmp_path, monkeypatch):
    insert = chunks.insert
    told = []

    def fail(connection, group, tails):
        if group[0].lane.stream_id == 1:
            error = sqlite3.OperationalError("of the disk")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        insert(connection, group, tails)

    async def run(bench):
        lanes = [await bench.lane(name) for name in "ab"]
        monkeypatch.setattr(chunks, "insert", fail)
        monkeypatch.setattr(bench.store.room, "may_grow", lambda: False)
        on_written = bench.store.on_written
        bench.store.on_written = lambda group, error: (told.extend(group), on_written(group, error))
        go_on = await hold(bench.store)
        # Each by itself may be written without the room that is kept aside, and the second lane comes first.
        appends = [bench.append(lane, 0, trim_point=1) for lane in lanes]
        await go_on()
        errors = await bench.settled(*appends)
        assert [error is None for error in errors] == [False, True]
        with pytest.raises(ApiError, match="the storage has failed"):
            await bench.store.remove_basin("some-basin")
        assert len(told) == 2

    with_bench(tmp_path, run)


def test_nobody_waits_for_an_append_when_the_disk_is_full_and_cannot_be_looked_at(tmp_path, monkeypatch):
    def full(connection, group, tails):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    def gone(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    async def run(bench):
        lane = await bench.lane("stream")
        with monkeypatch.context() as patch:
            patch.setattr(chunks, "insert", full)
            patch.setattr("s2cli.server.store.sqlite.disk.os.statvfs", gone)
            (error,) = await bench.settled(bench.append(lane, 0))
        assert "0.0 MiB are" in error.message
        async with asyncio.timeout(TIMEOUT_S):
            while bench.store.failure is not None:
                await bench.store.change(lambda _: bench.store.room.check())

    with_bench(tmp_path, run)


def test_metrics_that_cannot_be_stored_are_dropped_with_a_line(tmp_path, caplog):
    async def run(bench):
        good = ROWS[Point]
        with caplog.at_level(logging.WARNING):
            await bench.store.add_counts([good._replace(series=f"append_ops:{SURROGATE}"), good])
        assert await bench.store.counted("some-basin", "some-stream", ["series"], 0, 60, 1) == {"series": {1: 1}}
        await bench.check_alive()

    with_bench(tmp_path, run)
    assert "metrics of 1 series cannot be stored and are dropped" in caplog.text


def test_a_deletion_does_not_fail_for_its_metrics(tmp_path):
    async def run(bench):
        lane = await bench.lane("stream")
        assert await bench.settled(bench.append(lane, 0), bench.append(lane, 1)) == [None, None]
        await bench.store.change(
            lambda connection: connection.execute(
                "INSERT INTO metric SELECT basin, name, 'stored', strftime('%s') / 3600 + column1, 'no JSON'"
                " FROM stream, (VALUES (0), (1))"
            )
        )
        assert await bench.store.delete_chunks(lane.stream_id) is False
        count = "SELECT count(*) FROM chunk"
        assert await bench.store.ask(lambda connection: connection.execute(count).fetchone()) == (0,)

    with_bench(tmp_path, run)


def test_a_deletion_that_cannot_be_done_holds_up_no_other(tmp_path, monkeypatch, caplog):
    delete_slice = chunks.delete_slice

    def fail_for_one(connection, stream_id, end_seq_num):
        if stream_id == 1:
            raise TypeError("cannot be deleted")
        return delete_slice(connection, stream_id, end_seq_num)

    def fail_to_expire(connection, now_ms):
        raise ValueError("cannot expire")

    async def run(bench):
        first, second = await bench.lane("first"), await bench.lane("second")
        monkeypatch.setattr(chunks, "delete_slice", fail_for_one)
        monkeypatch.setattr("s2cli.server.store.sqlite.cleaner.expire_slice", fail_to_expire)
        await bench.settled(bench.append(first, 0), bench.append(second, 0))
        bench.store.expire()
        await bench.settled(bench.append(first, 1, trim_point=1), bench.append(second, 1, trim_point=1))
        async with asyncio.timeout(TIMEOUT_S):
            while len(await bench.store.read(second.stream_id, 0, 2, 1000)) != 1:
                pass
        await bench.check_alive()

    with_bench(tmp_path, run)
    assert "a deletion was given up for now" in caplog.text


def test_a_stored_storage_class_that_is_no_text_harms_nobody(make_server):
    """As a server stored it that let it in: its metrics are dropped, before and after a restart."""
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin, storage_class="standard")
    for _ in range(2):
        server.stop()
        connection = sqlite3.connect(server.data / "s2.db", isolation_level=None)
        (config,) = connection.execute("SELECT config FROM stream").fetchone()
        hostile = json.dumps({**json.loads(config), "storage_class": SURROGATE})
        connection.execute("UPDATE stream SET config=?", (hostile,))
        register(connection)
        seal(connection, "stream", "1", ())
        connection.close()
        server.start()
        body = {"records": [{"body": "x"}]}
        answers = [
            server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=body),
            # Has what was counted written.
            server.request("GET", f"/v1/metrics/{basin}?set=append-ops&start=0&end=3600", basin=basin),
            server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=body),
            server.request("GET", "/health"),
        ]
        assert [answer.status for answer in answers] == [200] * 4


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


def test_a_disk_that_does_not_answer_is_told_and_keeps_nobody_who_comes_then(make_thread_server, silent_disk):
    stop, _, go_on = silent_disk
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)

    def append(body):
        body = {"records": [{"body": body}]}
        return server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=body)

    assert append("first").status == 200
    stop()
    with ThreadPoolExecutor() as pool:
        # Two that have all the room there is, and one that waits for room.
        waiting = [pool.submit(append, "x" * 1_000_000) for _ in range(3)]
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
