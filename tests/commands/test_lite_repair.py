"""`s2 lite repair`: after a loss nothing is appended until it has run, and no sequence number is given twice."""

import contextlib
import json
import os
import shutil
import sqlite3

import pytest
from support.waiting import until

from s2cli.server.store.sqlite import wal

SKIPPED = 1 << 20


@pytest.fixture
def lost(make_server, s2):
    """`(server, basin)`: killed, and what was appended last went with its write-ahead log."""
    server = make_server()
    basin = server.create_basin()
    for stream in "touched", "untouched", "empty":
        server.create_stream(basin, stream)
    s2("append", f"s2://{basin}/touched", at=server, stdin=b"a\nb\nc")
    s2("append", f"s2://{basin}/untouched", at=server, stdin=b"d\ne")
    server.stop()
    server.start()
    s2("append", f"s2://{basin}/touched", at=server, stdin=b"lost\nlost")
    server.kill()
    (server.data / "s2.db-wal").unlink()
    return server, basin


def repair(s2, server, *options, code=0):
    return s2("lite", "repair", "--data", server.data, *options, at=server, code=code)


def health(server):
    answer = server.request("GET", "/health")
    return answer.status, answer.body.decode()


def test_until_it_has_run_the_server_says_what_is_missing_and_serves_reads_alone(lost, s2):
    server, basin = lost
    for _ in range(2):
        server.start()
        status, said = health(server)
        assert status == 503
        assert "the write-ahead log is missing" in said
        assert s2("read", f"s2://{basin}/touched", at=server).stdout == b"a\nb\nc\n"
        refused = s2("append", f"s2://{basin}/untouched", at=server, stdin=b"no", code=8)
        assert b"s2 lite repair" in refused.stderr
        refused = server.request("POST", "/v1/streams", basin=basin, json_body={"stream": "new"})
        assert (refused.status, refused.json()["code"]) == (500, "storage")
        assert "s2 lite repair" in refused.json()["message"]
        server.stop()


def wait_for_doubts(s2, server):
    """The server finds them in the background."""

    def ask():
        done = s2("lite", "status", "--data", server.data, "-o", "json", at=server, code=None)
        return json.loads(done.stdout)["doubtful"]

    return until(ask)


def test_streams_that_a_damaged_log_had_are_named(make_server, s2, capfd):
    server = make_server()
    basin = server.create_basin()
    for stream in "first", "second", "untouched":
        server.create_stream(basin, stream)
        s2("append", f"s2://{basin}/{stream}", at=server, stdin=b"kept")
    server.stop()
    server.start()
    for _ in range(2):
        for stream in "first", "second":
            s2("append", f"s2://{basin}/{stream}", at=server, stdin=b"lost\nlost")
    server.kill()
    with open(server.data / "s2.db-wal", "r+b") as log:
        log.seek(wal.HEADER_BYTES + 100)  # its first page
        byte = log.read(1)[0]
        log.seek(-1, os.SEEK_CUR)
        log.write(bytes([byte ^ 1]))
    expected = [f"s2://{basin}/first", f"s2://{basin}/second"]

    def check():
        done = s2("lite", "check", "--data", server.data, "-o", "json", at=server, code=8)
        return [
            (problem["place"], problem["first"], problem["last"])
            for problem in json.loads(done.stdout)["problems"]
            if problem["place"] != "s2.db"
        ]

    assert sorted(check()) == [(place, 1, 4) for place in expected]
    server.start()
    assert sorted(wait_for_doubts(s2, server)) == expected
    status = s2("lite", "status", "--data", server.data, at=server, code=6).stdout.decode()
    assert f"doubtful    s2://{basin}/" in status
    said = server.request("GET", "/health", headers={"accept": "application/json"}).json()
    assert (said["doubtful"], sorted(said["doubtful_places"])) == (2, expected)
    metrics = server.request("GET", "/metrics").body
    assert b"s2_store_failing 1.0" in metrics
    assert b"s2_doubtful_places 2.0" in metrics
    assert sorted(check()) == [(place, 1, 4) for place in expected]
    server.stop()
    assert f"s2://{basin}/first: its last records are lost" in capfd.readouterr().err
    repair(s2, server)
    server.start()
    assert health(server) == (200, "OK")


def test_health_names_streams_only_to_whoever_needs_no_token(make_server, tmp_path):
    (tmp_path / "root").touch(mode=0o600)
    (tmp_path / "root").write_text("root-token")
    server = make_server(options=("--root-token-file", str(tmp_path / "root")))
    root = {"authorization": "Bearer root-token"}
    assert server.request("POST", "/v1/basins", json_body={"basin": "some-basin"}, headers=root).status == 201
    headers = {**root, "s2-basin": "some-basin"}
    assert server.request("POST", "/v1/streams", json_body={"stream": "secret"}, headers=headers).status == 201
    body = {"records": [{"body": "x"}]}
    assert server.request("POST", "/v1/streams/secret/records", json_body=body, headers=headers).status == 200
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as database:
        database.execute("DELETE FROM chunk")
    server.start()

    def ask():
        return server.request("GET", "/health", headers={"accept": "application/json"})

    until(lambda: ask().json()["doubtful"] == 1)
    assert b"secret" not in ask().body


def test_then_each_stream_goes_on_far_behind_what_is_known(lost, s2):
    server, basin = lost
    server.start()
    server.stop()
    done = repair(s2, server)
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    expected = {"empty": 0, "touched": 3, "untouched": 2}
    assert sorted(rows[1:]) == [
        [f"s2://{basin}/{stream}", str(end), str(end + SKIPPED)] for stream, end in expected.items()
    ]
    server.start()
    assert health(server) == (200, "OK")
    uri = f"s2://{basin}/touched"
    s2("append", uri, at=server, stdin=b"new")
    read = s2("read", uri, "-o", "json", at=server).stdout.splitlines()
    assert [(json.loads(line)["seq_num"], json.loads(line)["body"]) for line in read] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (3 + SKIPPED, "new"),
    ]
    # The hole is as what has expired.
    assert json.loads(s2("read", uri, "-o", "json", "--from", "100", at=server).stdout)["seq_num"] == 3 + SKIPPED
    server.stop()
    assert s2("lite", "check", "--data", server.data, at=server).returncode == 0


def test_it_need_not_wait_for_a_server_to_notice(lost, s2):
    server, basin = lost
    assert json.loads(repair(s2, server, "-o", "json").stdout)["reason"] == "the write-ahead log is missing or empty"
    again = json.loads(repair(s2, server, "-o", "json").stdout)
    assert (again["reason"], again["repaired"]) == (None, [])
    server.start()
    s2("append", f"s2://{basin}/touched", at=server, stdin=b"new")


def test_a_check_says_it_before_and_after_a_server_has_noticed(lost, s2):
    server, _ = lost
    for _ in range(2):
        done = s2("lite", "check", "--data", server.data, "-o", "json", at=server, code=8)
        problems = [found["problem"] for found in json.loads(done.stdout)["problems"]]
        assert any("the write-ahead log is missing" in problem for problem in problems)
        server.start()
        server.stop()
    repair(s2, server)
    s2("lite", "check", "--data", server.data, at=server)


def test_only_a_stream_whose_end_is_damaged_goes_on_elsewhere(make_server, s2):
    server = make_server()
    basin = server.create_basin()
    for stream in "damaged", "whole":
        server.create_stream(basin, stream)
        for line in b"0", b"1", b"2":
            s2("append", f"s2://{basin}/{stream}", at=server, stdin=line)
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as connection:
        (stream_id,) = connection.execute("SELECT id FROM stream WHERE name=CAST('damaged' AS BLOB)").fetchone()
        connection.execute("UPDATE chunk SET n = 7 WHERE id >> 40 = ? AND id & 0xff >= 1", (stream_id,))
    server.start()
    s2("append", f"s2://{basin}/whole", at=server, stdin=b"3")
    s2("append", f"s2://{basin}/damaged", at=server, stdin=b"3", code=8)
    assert repair(s2, server, code=5).returncode == 5  # it runs
    server.stop()
    repaired = json.loads(repair(s2, server, "-o", "json").stdout)["repaired"]
    assert repaired == [{"basin": basin, "stream": "damaged", "first_lost": 1, "resumes_at": 3 + SKIPPED}]
    server.start()
    s2("append", f"s2://{basin}/damaged", at=server, stdin=b"new")
    assert s2("read", f"s2://{basin}/damaged", at=server).stdout == b"0\nnew\n"
    assert s2("read", f"s2://{basin}/whole", at=server).stdout == b"0\n1\n2\n3\n"


def test_an_older_database_can_be_taken_as_it_is(make_server, s2):
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin)
    uri = f"s2://{basin}/stream"
    s2("append", uri, at=server, stdin=b"old")
    server.stop()
    shutil.copyfile(server.data / "s2.db", server.data / "kept")
    server.start()
    s2("append", uri, at=server, stdin=b"lost")
    server.stop()
    shutil.copyfile(server.data / "kept", server.data / "s2.db")
    refused = s2("lite", "--port", "0", "--data", server.data, at=server, code=1)
    assert b"an older or another one" in refused.stderr
    repair(s2, server)
    server.start()
    s2("append", uri, at=server, stdin=b"new")
    found = [json.loads(line) for line in s2("read", uri, "-o", "json", at=server).stdout.splitlines()]
    assert [record["body"] for record in found] == ["old", "new"]
    assert found[1]["seq_num"] > 1 << 32


def test_a_stream_whose_row_is_damaged_is_named(make_server, s2):
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin)
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as connection:
        connection.execute("UPDATE stream SET next_seq = 5")
    done = repair(s2, server, code=8)
    assert f"s2://{basin}/stream cannot be repaired".encode() in done.stderr


def test_without_data_there_is_nothing_to_repair(s2, tmp_path, make_server):
    server = make_server()
    s2("lite", "repair", "--data", tmp_path / "none", at=server, code=3)
