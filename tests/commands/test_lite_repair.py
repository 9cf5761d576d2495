"""`s2 lite repair`: after a loss nothing is appended until it has run, and no sequence number is given twice."""

import contextlib
import json
import shutil
import sqlite3

import pytest

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
