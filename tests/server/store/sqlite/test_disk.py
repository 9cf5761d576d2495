"""A full disk: what is said about it, and that it is noticed when there is room again."""

import asyncio
import base64
import datetime
import errno
import json
import logging
import os
import sqlite3
import time
from types import SimpleNamespace

import pytest
from support.waiting import until

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.sqlite import disk, schema
from s2cli.server.store.sqlite.disk import Ballast, Room
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.schema import PAGE_BYTES, open_writer

TIMEOUT_S = 30
RECORDS = "/v1/streams/stream/records"


@pytest.fixture
def stores():
    return []


@pytest.fixture
def server(make_thread_server, tmp_path, stores, monkeypatch):
    """A server that looks for room often; its database can be bounded."""
    monkeypatch.setattr("s2cli.server.store.sqlite.writer.LOOK_S", 0.01)

    async def open_store(directory):
        stores.append(await SqliteStore.open(directory))
        return stores[-1]

    server = make_thread_server(data=tmp_path / "data", open_store=open_store)
    server.create_basin("some-basin")
    server.create_stream("some-basin")
    return server


def on_connection(server, store, run):
    return asyncio.run_coroutine_threadsafe(store.change(run), server.loop).result(TIMEOUT_S)


def bound(server, store, more_pages):
    def run(connection):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + more_pages}")

    on_connection(server, store, run)


def append(server, body, headers=()):
    record = {"body": body, "headers": list(headers)}
    return server.request("POST", RECORDS, basin="some-basin", json_body={"records": [record]})


def wait_for_health(server, status):
    def health():
        answer = server.request("GET", "/health")
        return answer if answer.status == status else None

    return until(health).body.decode()


def test_a_full_disk_says_how_much_room_is_needed_and_where(server, stores, tmp_path, caplog):
    bound(server, stores[0], 3)
    answer = append(server, "x" * 500_000)
    assert (answer.status, answer.json()["code"], answer.json()["without_effect"]) == (500, "storage", True)
    expected = f"the disk is full: 5.0 MiB must be free in {tmp_path / 'data'}, 0."
    assert answer.json()["message"].startswith(expected)
    assert wait_for_health(server, 503).startswith(expected)
    assert f"no appends: {expected}" in caplog.text
    # By itself, without an append and without a restart.
    bound(server, stores[0], 1000)
    assert wait_for_health(server, 200) == "OK"
    assert "appends again: there is room" in caplog.text
    assert append(server, "x" * 500_000).status == 200


def test_the_status_command_says_what_is_wrong_and_since_when(server, stores, run_s2, tmp_path):
    def status(*options):
        return run_s2("lite", "status", "--data", tmp_path / "data", *options)

    well = status("-o", "json")
    assert well.returncode == 0, well
    facts = json.loads(well.stdout)
    assert (facts["answers"], facts["status"], facts["problem"], facts["since"]) == (True, "ok", None, None)
    before_s = time.time()
    bound(server, stores[0], 3)
    assert append(server, "x" * 500_000).status == 500
    failing = status("-o", "json")
    assert failing.returncode == 6, failing
    facts = json.loads(failing.stdout)
    assert facts["status"] == "failing"
    assert facts["problem"].startswith(f"the disk is full: 5.0 MiB must be free in {tmp_path / 'data'}")
    since_s = datetime.datetime.fromisoformat(facts["since"]).timestamp()
    assert before_s - 2 <= since_s <= time.time()
    table = status()
    assert table.returncode == 6
    assert b"problem     the disk is full" in table.stdout
    bound(server, stores[0], 1000)
    wait_for_health(server, 200)
    assert status().returncode == 0


@pytest.mark.parametrize("transport", ["s2s", "unary"])
def test_what_a_full_disk_refused_is_not_there_for_certain(server, stores, run_s2, transport):
    bound(server, stores[0], 3)
    line = b"x" * 500_000
    options = ["--transport", transport, "--max-outage", "0s"]
    for output in [], ["-o", "json"]:
        done = run_s2("append", "s2://some-basin/stream", *options, *output, stdin=line, env=server.env())
        assert done.returncode == 6
        assert b"the disk is full" in done.stderr
        assert b"undecided" not in done.stderr
    account = json.loads(done.stdout)
    assert (account["durable"], account["unknown"], account["next_line"]) == (0, 0, 1)


def test_after_a_trim_it_takes_appends_again_by_itself(server, stores):
    for _ in range(20):
        assert append(server, "x" * 500_000).status == 200
    bound(server, stores[0], 3)
    assert append(server, "x" * 500_000).status == 500
    assert "must be free" in wait_for_health(server, 503)
    body = base64.b64encode((20).to_bytes(8, "big")).decode()
    trim = {"records": [{"body": body, "headers": [["", base64.b64encode(b"trim").decode()]]}]}
    answer = server.request("POST", RECORDS, basin="some-basin", json_body=trim, headers={"s2-format": "base64"})
    assert answer.status == 200
    wait_for_health(server, 200)
    until(lambda: append(server, "x" * 500_000).status == 200)


class Disk:
    """What `statvfs` says."""

    f_frsize = 1

    def __init__(self, free_bytes):
        self.f_bavail = free_bytes


@pytest.fixture
def room(tmp_path, monkeypatch):
    connection = open_writer(tmp_path, durable=False)
    ballast = Ballast(tmp_path, 2 * disk.MIB)
    assert ballast.restore()
    room = Room(connection, tmp_path, ballast)
    room.execute = connection.execute
    room.has = lambda mib: monkeypatch.setattr(os, "statvfs", lambda _: Disk(int(mib * disk.MIB)))
    yield room
    connection.close()


def test_the_ballast_is_let_go_of_once_and_written_again(tmp_path):
    ballast = Ballast(tmp_path, 3 * disk.MIB)
    assert not ballast.is_present
    assert not ballast.release()
    assert ballast.restore()
    assert ballast.is_present
    assert (tmp_path / "ballast").stat().st_size == 3 * disk.MIB
    assert Ballast(tmp_path, 3 * disk.MIB).is_present
    assert not Ballast(tmp_path, 4 * disk.MIB).is_present  # a part of it, from a crash, is none
    assert ballast.release()
    assert not ballast.is_present
    assert not ballast.release()
    assert not Ballast(tmp_path, 1 << 60).restore()
    assert not (tmp_path / "ballast").exists()


def test_without_its_ballast_it_needs_room_for_that_too(room, tmp_path):
    assert room.shortage is None
    room.has(0)
    room.lack()
    assert room.shortage.startswith(f"the disk is full: 4.0 MiB must be free in {tmp_path}, 0.0 MiB are")
    assert room.make()
    room.has(2)
    room.found()  # a trim, which was written without it
    assert "0.0 MiB are" not in room.shortage
    assert "2.0 MiB are" in room.shortage
    room.has(3.9)
    assert not room.check()
    assert "4.0 MiB must be free" in room.shortage
    assert "3.9 MiB are" in room.shortage
    room.has(4.1)
    assert room.check()
    assert room.shortage is None
    assert room.may_grow()


def test_a_large_write_needs_more(room):
    room.has(5)
    room.lack(10 * disk.MIB)
    assert "24.0 MiB must be free" in room.shortage
    assert not room.check()
    assert "24.0 MiB must be free" in room.shortage
    room.has(25)
    assert room.check()


def test_the_bound_of_the_database_counts(room):
    room.has(1000)
    room.execute("PRAGMA max_page_count=1")  # no less than it has
    room.lack()
    assert "0.0 MiB are" in room.shortage
    room.execute(f"PRAGMA max_page_count={10 * disk.MIB // PAGE_BYTES}")
    assert room.check()


def test_the_log_is_not_flooded_on_the_edge(room, caplog, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(disk, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            room.has(0)
            room.lack()
            room.has(1000)
            room.found()
        assert len(caplog.records) == 2
        room.has(0)
        room.lack()
        assert len(caplog.records) == 2
        now_s[0] += disk.TELL_S
        assert not room.check()
        assert len(caplog.records) == 3


def test_a_disk_that_is_full_from_the_start(tmp_path, monkeypatch):
    async def run():
        monkeypatch.setattr(os, "statvfs", lambda _: Disk(10 * disk.MIB))
        store = await SqliteStore.open(tmp_path)
        try:
            assert f"16.0 MiB must be free in {tmp_path}, 10.0 MiB are" in store.failure
            with pytest.raises(ApiError, match=r"16\.0 MiB must be free"):
                await store.add_counts([])
        finally:
            await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN, None])
def test_opening_may_take_the_room_that_is_kept_aside(tmp_path, monkeypatch, code):
    """An upgrade writes, and so may the recovery after a crash; the mark is written without SQLite."""
    full: Exception = OSError(errno.ENOSPC, "disk is full")
    if code is not None:
        full = sqlite3.OperationalError("disk is full")
        full.sqlite_errorcode = code

    def upgrade(connection, version):
        if (tmp_path / "ballast").exists():
            raise full

    async def run():
        await (await SqliteStore.open(tmp_path)).close()
        assert (tmp_path / "ballast").exists()
        monkeypatch.setattr(schema, "FORMAT", schema.FORMAT + 1)
        monkeypatch.setattr(schema, "upgrade", upgrade)
        await (await SqliteStore.open(tmp_path)).close()
        monkeypatch.setattr(Ballast, "release", lambda _: False)
        with pytest.raises(S2Error, match="disk is full"):
            await SqliteStore.open(tmp_path)

    asyncio.run(run())
