"""Counts through failures of the disk and crashes."""

import contextlib
import sqlite3
import threading
import time

from support.metrics import BASIN, append, ask, last_bytes, sums
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.sqlite.engine import SqliteStore


def test_counts_that_could_not_be_written_are_written_later(make_thread_server):
    errors = [ApiError("storage", "the disk is full")]

    async def open_store(directory):
        store = await SqliteStore.open(directory)
        add_counts = store.add_counts

        async def stumble(points):
            if errors:
                raise errors.pop()
            await add_counts(points)

        store.add_counts = stumble
        return store

    server = make_thread_server(open_store=open_store)
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    append(server, "x")
    answer = ask(server, f"/v1/metrics/{BASIN}", set="append-ops")
    assert (answer.status, answer.json()["code"]) == (500, "storage")
    append(server, "x")
    assert sums(server, f"/v1/metrics/{BASIN}", "append-ops") == {"express": 2}


def test_a_crash_loses_the_last_minute_at_most_and_counts_nothing_twice(make_server, tmp_path):
    server = make_server()
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    path = f"/v1/metrics/{BASIN}"
    known = 0
    for _ in range(6):
        stop = threading.Event()
        done = []

        def work(server=server, stop=stop, done=done):
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    append(server, "x")
                    done.append(1)

        worker = threading.Thread(target=work)
        worker.start()
        # Each question writes what was counted: the kill comes during that.
        for _ in range(20):
            told = sums(server, path, "append-ops").get("express", 0)
        server.kill()
        stop.set()
        worker.join(TIMEOUT_S)
        server.start()
        found = sums(server, path, "append-ops").get("express", 0)
        tail = server.request("GET", "/v1/streams/stream/records/tail", basin=BASIN).json()["tail"]["seq_num"]
        # What was told is kept, and there are no more than there were appends.
        assert known <= told <= found <= tail
        assert last_bytes(server, path) == 9 * tail
        known = found
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'data' / 's2.db'}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_too_old_to_be_asked_for_goes_also_through_crashes(make_server, tmp_path):
    server = make_server()
    server.create_basin(BASIN)
    server.stop()
    path = tmp_path / "data" / "s2.db"
    oldest = int(time.time()) // 3600 - 91 * 24  # the first hour that is kept
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for count, latest in (5000, oldest - 2), (90 * 24, oldest + 91 * 24 - 1):
            rows = ((BASIN.encode(), b"", "op:trim", latest - at, '{"0":1}') for at in range(count))
            database.executemany("INSERT INTO metric(basin, stream, series, hour, minutes) VALUES(?,?,?,?,?)", rows)

    def rows(which):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            question = f"SELECT count(*) FROM metric WHERE series = 'op:trim' AND hour {which} ?"
            return database.execute(question, (oldest - 1,)).fetchone()[0]

    questions = 0
    while rows("<"):
        # Each question writes that one was asked, and some old points go with that.
        server.start()
        sums(server, "/v1/metrics", "account-ops")
        sums(server, "/v1/metrics", "account-ops")
        server.kill()
        questions += 2
        assert questions < 100
        assert rows(">=") == 90 * 24
    server.start()
    assert sums(server, f"/v1/metrics/{BASIN}", "basin-ops", start=(oldest + 3 * 24) * 3600)["trim"] >= 88 * 24
