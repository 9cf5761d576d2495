"""Removal behind the requests, with a store that stumbles and a server that is killed."""

import asyncio
import contextlib
import json
import sqlite3
import threading

import pytest
from support.s2s import open_read
from support.waiting import until, until_gone

from s2cli.errors import ApiError
from s2cli.server.store.interface import StreamRow
from s2cli.server.store.sqlite.checksums import checksum, register, seal
from s2cli.server.store.sqlite.engine import SqliteStore


class Stumbling:
    """A store whose removal of a slice fails the first times, in the ways that `errors` gives."""

    def __init__(self, store, errors):
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_errors", errors)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def __setattr__(self, name, value):
        setattr(self._store, name, value)

    async def delete_chunks(self, stream_id, uid):
        if self._errors:
            raise self._errors.pop()
        return await self._store.delete_chunks(stream_id, uid)


@pytest.mark.parametrize("error", [ApiError("storage", "the disk is full"), ZeroDivisionError("a bug")])
def test_a_removal_that_fails_is_tried_again(make_thread_server, monkeypatch, error):
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    errors = [error] * 3

    async def open_store(directory):
        return Stumbling(await SqliteStore.open(directory), errors)

    server = make_thread_server(open_store=open_store)
    server.create_basin("some-basin")
    server.create_stream("some-basin", "s")
    server.request("DELETE", "/v1/streams/s", basin="some-basin")
    until_gone(server, "/v1/streams/s", "some-basin")
    assert errors == []


def test_a_removal_that_was_made_although_it_failed_takes_no_other_stream(make_thread_server, monkeypatch):
    """As where the disk does not answer for long: the request is told, and the change is made later."""
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    removals = []

    class Late(Stumbling):
        async def remove_stream(self, stream_id, uid):
            removals.append((stream_id, uid))
            await self._store.remove_stream(stream_id, uid)
            if len(removals) == 1:
                other = StreamRow("some-basin", "other", {}, 1)
                await self._store.insert_stream(other)
                assert other.id == stream_id
                raise ApiError("unavailable", "the disk has not answered")

    async def open_store(directory):
        return Late(await SqliteStore.open(directory), [])

    server = make_thread_server(open_store=open_store)
    server.create_basin("some-basin")
    server.create_stream("some-basin", "s")
    server.request("DELETE", "/v1/streams/s", basin="some-basin")
    until(lambda: len(removals) == 2)
    assert removals[0] == removals[1]
    server.create_stream("some-basin", "behind")  # the second removal is made
    names = [stream["name"] for stream in server.request("GET", "/v1/streams", basin="some-basin").json()["streams"]]
    assert names == ["behind", "other"]


def test_streams_of_a_basin_that_were_marked_although_that_failed_are_removed(make_thread_server, monkeypatch):
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    failures = [ApiError("unavailable", "the disk has not answered")]

    class Late(Stumbling):
        async def mark_streams(self, basin, limit):
            marked = await self._store.mark_streams(basin, limit)
            if failures:
                raise failures.pop()
            return marked

    async def open_store(directory):
        return Late(await SqliteStore.open(directory), [])

    server = make_thread_server(open_store=open_store)
    server.create_basin("some-basin")
    server.create_stream("some-basin", "s")
    server.request("DELETE", "/v1/basins/some-basin")
    until_gone(server, "/v1/basins/some-basin")


def test_while_a_removal_is_pending_everything_says_so(make_thread_server, monkeypatch):
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    errors = [ApiError("storage", "the disk is full")] * 1_000_000

    async def open_store(directory):
        return Stumbling(await SqliteStore.open(directory), errors)

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin("some-basin", create_stream_on_append=True)
    server.create_stream(basin, "s")
    assert server.request("DELETE", "/v1/streams/s", basin=basin).status == 202
    records = {"records": [{"body": "x"}]}
    for method, path, body in (
        ("GET", "/v1/streams/s", None),
        ("PUT", "/v1/streams/s", None),
        ("POST", "/v1/streams", {"stream": "s"}),
        ("GET", "/v1/streams/s/records/tail", None),
        ("GET", "/v1/streams/s/records?seq_num=0", None),
        ("POST", "/v1/streams/s/records", records),
    ):
        answer = server.request(method, path, basin=basin, json_body=body)
        assert (answer.status, answer.json()["code"]) == (409, "stream_deletion_pending"), (method, path)
    # A repeated DELETE is fine, and lists show it.
    assert server.request("DELETE", "/v1/streams/s", basin=basin).status == 202
    (info,) = server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert info["deleted_at"] is not None

    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    for method, path, body in (
        ("POST", "/v1/basins", {"basin": basin}),
        ("PUT", f"/v1/basins/{basin}", None),
        ("POST", "/v1/streams", {"stream": "t"}),
        ("PUT", "/v1/streams/t", None),
        ("POST", "/v1/streams/t/records", records),
    ):
        answer = server.request(method, path, basin=basin, json_body=body)
        assert (answer.status, answer.json()["code"]) == (409, "basin_deletion_pending"), (method, path)
    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    (info,) = server.request("GET", "/v1/basins").json()["basins"]
    assert (info["state"], info["deleted_at"] is not None) == ("deleting", True)
    assert server.request("GET", "/v1/streams", basin=basin).status == 200
    errors.clear()
    until_gone(server, f"/v1/basins/{basin}")


def test_a_large_removal_does_not_keep_a_small_name(make_thread_server):
    endless = {1}

    class Large(Stumbling):
        async def delete_chunks(self, stream_id, uid):
            await asyncio.sleep(0)
            return stream_id in endless or await self._store.delete_chunks(stream_id, uid)

    async def open_store(directory):
        return Large(await SqliteStore.open(directory), [])

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    for name in "large", "small":
        server.create_stream(basin, name)
    for name in "large", "small":
        server.request("DELETE", f"/v1/streams/{name}", basin=basin)
    until_gone(server, "/v1/streams/small", basin)
    endless.clear()
    until_gone(server, "/v1/streams/large", basin)


def test_a_store_that_takes_nothing_more_is_not_healthy(make_thread_server):
    class Failed(Stumbling):
        failure = "the disk is full"

    async def open_store(directory):
        return Failed(await SqliteStore.open(directory), [])

    answer = make_thread_server(open_store=open_store).request("GET", "/health")
    assert (answer.status, answer.body) == (503, b"the disk is full")


def test_with_a_basin_all_its_streams_are_deleted_at_once(make_thread_server, monkeypatch):
    """Also those that are in memory, and before any of them is marked."""
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    full = threading.Event()
    full.set()

    class Full(Stumbling):
        async def mark_streams(self, basin, limit):
            if full.is_set():
                raise ApiError("storage", "the disk is full")
            return await self._store.mark_streams(basin, limit)

    async def open_store(directory):
        return Full(await SqliteStore.open(directory), [])

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    records = {"records": [{"body": "x"}]}
    for name in "known", "unknown":
        server.create_stream(basin, name)
    assert server.request("POST", "/v1/streams/known/records", basin=basin, json_body=records).status == 200
    with open_read(server, basin, "seq_num=0", "known") as follower:
        assert follower.batch()[0] == [(0, b"x")]
        assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
        while (frame := follower.frame()).status is None:
            pass
        assert json.loads(frame.message)["code"] == "stream_deletion_pending"
    for name in "known", "unknown":
        for method, path, body in (
            ("GET", "", None),
            ("PUT", "", None),
            ("PATCH", "", {}),
            ("GET", "/records/tail", None),
            ("GET", "/records?seq_num=0", None),
            ("POST", "/records", records),
        ):
            answer = server.request(method, f"/v1/streams/{name}{path}", basin=basin, json_body=body)
            assert answer.status == 409, (method, path)
            assert answer.json()["code"] in ("stream_deletion_pending", "basin_deletion_pending"), (method, path)
        assert server.request("DELETE", f"/v1/streams/{name}", basin=basin).status == 202
    listed = server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert [info["deleted_at"] is not None for info in listed] == [True, True]
    full.clear()
    until_gone(server, f"/v1/basins/{basin}")
    server.create_basin(basin)
    assert server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []


def test_more_streams_than_wait_in_memory_are_all_removed_and_none_twice(make_thread_server, monkeypatch, tmp_path):
    monkeypatch.setattr("s2cli.server.core.cleanup.QUEUED_STREAMS", 3)
    monkeypatch.setattr("s2cli.server.core.cleanup.RETRY_S", 0.01)
    errors = [ApiError("storage", "the disk is full")] * 1_000_000
    pages, removed = [], []

    class Watched(Stumbling):
        async def deleting_streams(self, limit):
            pages.append(await self._store.deleting_streams(limit))
            return pages[-1]

        async def remove_stream(self, stream_id, uid):
            removed.append(stream_id)
            await self._store.remove_stream(stream_id, uid)

    async def open_store(directory):
        return Watched(await SqliteStore.open(directory), errors)

    def delete(server, numbers):
        for number in numbers:
            assert server.request("DELETE", f"/v1/streams/s{number}", basin="some-basin").status == 202

    server = make_thread_server(data=tmp_path / "data", open_store=open_store)
    server.create_basin("some-basin")
    for number in range(20):
        server.create_stream("some-basin", f"s{number}")
    delete(server, range(8))
    server.stop()
    server = make_thread_server(data=tmp_path / "data", open_store=open_store)
    delete(server, range(8, 16))
    assert removed == []
    errors.clear()
    for number in range(16):
        until_gone(server, f"/v1/streams/s{number}", "some-basin")
    assert len(removed) == len(set(removed)) == 16
    assert max(map(len, pages)) == 3
    streams = server.request("GET", "/v1/streams", basin="some-basin").json()["streams"]
    assert [info["name"] for info in streams] == ["s16", "s17", "s18", "s19"]


STREAMS = 2000


def copy_streams(path, count):
    """Copies of the first stream in the database, with its chunks: the others after it, up to `count`."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        copies = f"WITH RECURSIVE copy(at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM copy WHERE at < {count - 1})"
        database.execute(
            f"{copies} INSERT INTO stream(id, basin, name, config, created_at, keep)"
            " SELECT id + at, basin, CAST(printf('s%05d', at) AS BLOB), config, created_at, keep"
            " FROM copy, (SELECT * FROM stream WHERE id = 1)"
        )
        register(database)
        seal(database, "stream", "1", ())
        database.create_function("checksum", 7, checksum)
        crc = "checksum(id + (at << 40), n, size, ts, exp, kind, data)"
        for table, columns, values in (
            ("chunk", "n, size, ts, exp, kind, data, crc", f"n, size, ts, exp, kind, data, {crc}"),
            ("run", "keep, due", "keep, due"),
        ):
            database.execute(
                f"{copies} INSERT INTO {table}(id, {columns})"
                f" SELECT id + (at << 40), {values} FROM copy, (SELECT * FROM {table} WHERE id >> 40 = 1)"
            )


def test_a_basin_with_many_streams_goes_however_often_the_server_is_killed(make_server, tmp_path):
    server = make_server()
    path = tmp_path / "data" / "s2.db"
    records = {"records": [{"body": "x" * 100}] * 3}

    def post(basin, stream):
        return server.request("POST", f"/v1/streams/{stream}/records", basin=basin, json_body=records)

    def read(basin, stream):
        return server.request("GET", f"/v1/streams/{stream}/records?seq_num=0", basin=basin)

    for basin in "doomed-basin", "kept-basin":
        server.create_basin(basin)
        server.create_stream(basin, "s00000")
        assert post(basin, "s00000").status == 200
        if basin == "doomed-basin":
            server.stop()
            copy_streams(path, STREAMS)
            server.start()
    kept = read("kept-basin", "s00000").body
    last = f"s{STREAMS - 1:05}"
    assert post("doomed-basin", last).json()["start"]["seq_num"] == 3

    def ask(question):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(question).fetchone()[0]

    def await_streams_left(count):
        until(lambda: ask("SELECT count(*) FROM stream") <= 1 + count)

    assert server.request("DELETE", "/v1/basins/doomed-basin").status == 202
    for left in STREAMS, STREAMS - 1, STREAMS * 3 // 4, STREAMS // 2, STREAMS // 4:
        # However far it has got: nothing here depends on that.
        await_streams_left(left)
        server.kill()
        server.start()
        for info in server.request("GET", "/v1/basins?prefix=doomed").json()["basins"]:
            assert (info["state"], info["deleted_at"] is not None) == ("deleting", True)
        answer = server.request("GET", f"/v1/streams?start_after=s{STREAMS - 1000:05}", basin="doomed-basin")
        assert [info for info in answer.json().get("streams", []) if info["deleted_at"] is None] == []
        assert read("doomed-basin", last).status in (404, 409)
        assert post("doomed-basin", last).status in (404, 409)
        for stream in last, "new":
            assert server.request("PUT", f"/v1/streams/{stream}", basin="doomed-basin").status in (404, 409)
    await_streams_left(0)
    until_gone(server, "/v1/basins/doomed-basin")
    server.create_basin("doomed-basin")
    assert server.request("GET", "/v1/streams", basin="doomed-basin").json()["streams"] == []
    server.create_stream("doomed-basin", last)
    assert post("doomed-basin", last).json()["start"]["seq_num"] == 0
    assert read("kept-basin", "s00000").body == kept
    assert [ask(f"SELECT count(*) FROM {table}") for table in ("stream", "chunk", "run")] == [2, 2, 2]
    assert ask("PRAGMA integrity_check") == "ok"
