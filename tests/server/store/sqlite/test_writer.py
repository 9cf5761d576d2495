"""Values that the database cannot take, in every statement of the writer: each fails its own write and no other. The
API lets none of them in; this is for the one that it forgets."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import sqlite3
import threading

import pytest
from support.holding import hold, let_queue
from support.sqlite_engine import uid_of
from support.store_bench import BIG, with_bench
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.interface import BasinRow, Point, Reply, StreamRow, TokenRow
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.checksums import register, seal
from s2cli.server.store.sqlite.schema import FILE_NAME

SURROGATE = "\ud800"


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

OWN_MEMBERS = ("version", "uid", "trim_point", "fencing_token", "keep_ms", "next_seq_num", "last_timestamp", "saved")


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
        lambda: store.save_reply("some-basin", row),
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
            assert await bench.resolved(*good) == [None] * 5
            errors = await bench.resolved(wrong, *behind)
            assert len({error is None for error in errors}) == 1, (name, value)
            assert (errors[0] is None) == (bad.broken is None)
            if errors[0] is not None:
                assert [error.code for error in errors] == ["other", "unavailable", "unavailable"]
                late = bench.append(bad, 4)
                assert (await bench.resolved(late))[0].code == "unavailable"
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
        await bench.resolved(*[append for _, _, append in appends])
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
            errors = await bench.resolved(*appends)
        told = (503, "unavailable", "another program has locked the database: database is locked")
        assert [(error.status, error.code, error.message) for error in errors] == [told] * 3
        assert attempts == [3]
        with locked(tmp_path), pytest.raises(ApiError) as caught:
            await bench.store.insert_basin(ROWS[BasinRow])
        assert (caught.value.status, caught.value.code, caught.value.message) == told
        await bench.check_alive()
        assert await bench.store.insert_basin(ROWS[BasinRow]) is None

    with_bench(tmp_path, run)


def test_an_error_of_the_moment_fails_creations_that_came_at_once_as_a_whole(tmp_path, monkeypatch):
    in_transaction = chunks.in_transaction
    attempts = []

    def try_locked(connection, run):
        attempts.append(run)
        with locked(tmp_path):
            return in_transaction(connection, run)

    async def run(bench):
        await bench.store.get_stream("some-basin", "none")  # all names were checked
        await bench.store.change(lambda connection: connection.execute("PRAGMA busy_timeout=1"))
        with monkeypatch.context() as patch:
            came = threading.Event()

            def begin(_connection):
                came.wait(TIMEOUT_S)
                patch.setattr(chunks, "in_transaction", try_locked)

            begun = asyncio.ensure_future(bench.store.change(begin))
            waiting = [asyncio.ensure_future(bench.lane(name)) for name in "abc"]
            await let_queue(bench.store)
            came.set()
            await begun
            refused = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(error.status, error.code) for error in refused] == [(503, "unavailable")] * 3
        assert len(attempts) == 1
        await bench.check_alive()

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
        assert await bench.resolved(bench.append(lane, 0), bench.append(lane, 1)) == [None, None]
        await bench.store.change(
            lambda connection: connection.execute(
                "INSERT INTO metric SELECT basin, name, 'stored', strftime('%s') / 3600 + column1, 'no JSON'"
                " FROM stream, (VALUES (0), (1))"
            )
        )
        assert await bench.store.delete_chunks(lane.stream_id, await uid_of(bench.store, lane.stream_id)) is False
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
        await bench.resolved(bench.append(first, 0), bench.append(second, 0))
        bench.store.expire()
        await bench.resolved(bench.append(first, 1, trim_point=1), bench.append(second, 1, trim_point=1))
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
