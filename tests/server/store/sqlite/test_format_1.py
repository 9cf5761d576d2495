"""A data directory of format 1, as the code before wrote it (stored/make_format_1.py): it opens, becomes one of today's
format, and nothing in it is lost."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.bearers import ask

from s2cli.errors import S2Error
from s2cli.server.store.sqlite import schema
from s2cli.server.store.sqlite.schema import FILE_NAME, open_writer

ARCHIVE = Path(__file__).parent / "stored" / "format_1.tar.xz"
TABLES = ("chunk", "basin", "stream", "run", "reply", "token", "metric")
# What was not there, and where a stream ends, which its last chunk alone told while it had one.
ADDED = {
    "basin": ["crc"],
    "stream": ["uid", "crc", "next_seq", "last_ts"],
    "token": ["crc"],
    "reply": ["crc"],
}


@pytest.fixture
def place(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def expected(place):
    return json.loads((place / "expected.json").read_text())


@pytest.fixture
def start(place, expected, make_thread_server, monkeypatch):
    """Starts a server on it, in whose clock a second has passed since it was written."""
    monkeypatch.setattr("s2cli.server.api.server.wall_clock_ms", lambda: expected["written_at_ms"] + 1000)
    return lambda: make_thread_server(data=place / "data", root_token=expected["root_token"])


def with_key(stream):
    return {} if stream["key"] is None else {"s2-encryption-key": stream["key"]}


def read(server, expected, stream):
    """All records, as JSON in Base64."""
    found = []
    path = f"/v1/streams/{stream['stream']}/records"
    tail = ask(server, expected["root_token"], "GET", f"{path}/tail", basin=stream["basin"]).json()["tail"]
    at = 0
    while at < tail["seq_num"]:
        headers = {**with_key(stream), "s2-format": "base64"}
        answer = ask(
            server,
            expected["root_token"],
            "GET",
            f"{path}?seq_num={at}&clamp=true&wait=0",
            basin=stream["basin"],
            headers=headers,
        )
        assert answer.status == 200, answer
        page = answer.json()["records"]
        if not page:
            break
        found += page
        at = found[-1]["seq_num"] + 1
    return {"records": found, "tail": tail}


def append(server, expected, stream, record):
    path = f"/v1/streams/{stream['stream']}/records"
    body = {"records": [record]}
    headers = {**with_key(stream), "s2-format": "base64"}
    answer = ask(server, expected["root_token"], "POST", path, body, stream["basin"], headers)
    assert answer.status == 200, answer
    return answer.json()


def tables(connection, columns=None):
    """Every row of every table, without what later formats have added."""
    found = {}
    for table in TABLES:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        kept = [name for name in names if name not in ADDED.get(table, ())]
        found[table] = connection.execute(f"SELECT {', '.join(kept)} FROM {table} ORDER BY 1, 2, 3").fetchall()
    return found


def test_every_record_is_there_and_the_streams_go_on(start, expected):
    assert len(expected["streams"]) == 13
    for life in range(3):
        server = start()
        for stream in expected["streams"]:
            found = read(server, expected, stream)
            assert (stream["stream"], found["records"]) == (stream["stream"], stream["records"])
            assert found["tail"] == stream["tail"]
        for stream in expected["streams"]:
            record = {"body": "bmV3", "timestamp": 2**64 - 1} if stream["stream"] == "timestamps" else {"body": "bmV3"}
            ack = append(server, expected, stream, record)
            assert ack["start"]["seq_num"] == stream["tail"]["seq_num"], life
            stream["tail"] = ack["tail"]
            stream["records"].append({**ack["start"], "body": "bmV3"})
        # By the clock of the machine, which counts while the server starts, its record is gone again.
        expected["streams"] = [stream for stream in expected["streams"] if stream["stream"] != "expired"]
        server.stop()


def test_what_was_executed_once_and_the_tokens_hold(start, expected):
    server = start()
    for once in expected["once"]:
        headers = {name.replace("_", "-"): value for name, value in once["headers"].items()}
        path = f"/v1/streams/{once['stream']}/records"
        body = {"records": [{"body": "ZXhlY3V0ZWQgb25jZQ=="}]}
        headers["s2-format"] = "base64"
        answer = ask(server, expected["root_token"], "POST", path, body, once["basin"], headers)
        assert (answer.status, answer.body.decode()) == (200, once["answer"])
    for secret in expected["tokens"].values():
        path = "/v1/streams/text/records?seq_num=0&count=1"
        assert ask(server, secret, "GET", path, basin="plain-basin").status == 200
        assert ask(server, secret, "DELETE", "/v1/streams/text", basin="plain-basin").status == 403


def test_deletions_in_progress_end(start, expected):
    server = start()

    def names(path, basin=None):
        answer = ask(server, expected["root_token"], "GET", path, basin=basin)
        return [info["name"] for info in answer.json()[path.rpartition("/")[2]]]

    while "leaving-basin" in names("/v1/basins"):
        pass
    while "leaving" in names("/v1/streams", "plain-basin"):
        pass
    assert sorted(names("/v1/streams", "plain-basin")) == sorted(
        stream["stream"] for stream in expected["streams"] if stream["basin"] == "plain-basin"
    )


def test_an_upgrade_changes_no_value(place):
    data = place / "data"
    with contextlib.closing(sqlite3.connect(data / FILE_NAME)) as connection:
        before = tables(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert all(before.values())
    with contextlib.closing(open_writer(data, durable=True)) as connection:
        assert tables(connection) == before
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.FORMAT,)
        upgraded = {table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in TABLES}
    with contextlib.closing(open_writer(make(place / "new"), durable=True)) as connection:
        assert {table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in TABLES} == upgraded


def make(directory):
    directory.mkdir()
    return directory


def test_the_code_before_refuses_an_upgraded_directory(place, monkeypatch):
    open_writer(place / "data", durable=True).close()
    monkeypatch.setattr(schema, "FORMAT", 1)
    with pytest.raises(S2Error, match=r"written by a newer version of s2 \(format 3, this one knows 1\)"):
        open_writer(place / "data", durable=True)


# Kills itself before the statement with that number.
UPGRADE = """
import os, pathlib, signal, sqlite3, sys
from s2cli.server.store.sqlite import schema

left = int(sys.argv[2])

class Connection(sqlite3.Connection):
    def executescript(self, script):
        def count(statement):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        self.set_trace_callback(count)
        super().executescript(script)
        self.set_trace_callback(None)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Connection, **options)
schema.open_writer(pathlib.Path(sys.argv[1]), durable=True).close()
"""


def test_a_crash_in_the_upgrade_leaves_one_format_or_the_other(place, tmp_path):
    data = place / "data"
    with contextlib.closing(sqlite3.connect(data / FILE_NAME)) as connection:
        before = tables(connection)
    versions = []
    for statement in range(40):
        done = subprocess.run([sys.executable, "-c", UPGRADE, data, str(statement)], timeout=60)
        with contextlib.closing(sqlite3.connect(data / FILE_NAME)) as connection:
            assert tables(connection) == before
            versions.append(connection.execute("PRAGMA user_version").fetchone()[0])
            has_uid = any(row[1] == "uid" for row in connection.execute("PRAGMA table_info(stream)"))
            assert has_uid == (versions[-1] == schema.FORMAT)
        if done.returncode == 0:
            break
        assert done.returncode == -9
    assert versions[:-1] == [1] * (len(versions) - 1)
    assert versions[-1] == schema.FORMAT
    assert len(versions) >= 7
