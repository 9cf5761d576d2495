"""`s2 lite check`: what is wrong with the data of a directory, and plain copies of one."""

import contextlib
import json
import shutil
import sqlite3

import pytest

from s2cli.errors import S2Error
from s2cli.server.store.sqlite.check import open_for_check

DATABASE = "s2.db"


@pytest.fixture
def check(run_s2):
    """Runs the check; its exit code, and what it says as JSON."""

    def run(directory, code=0):
        done = run_s2("lite", "check", "--data", directory, "-o", "json")
        assert done.returncode == code, done
        return json.loads(done.stdout)

    return run


def fill(server, streams=("one", "two"), batches=12, **config):
    """Streams of batches of three records; the basin."""
    basin = server.create_basin(**config)
    for stream in streams:
        server.create_stream(basin, stream)
        for number in range(batches):
            records = [{"body": f"{stream} {number} {part} " + "x" * 200} for part in range(3)]
            answer = server.request(
                "POST", f"/v1/streams/{stream}/records", basin=basin, json_body={"records": records}
            )
            assert answer.status == 200, answer
    return basin


@pytest.fixture
def stopped(make_server, tmp_path):
    """The directory of a server that has ended, and the basin in it."""
    server = make_server()
    basin = fill(server)
    assert server.stop() == 0
    return tmp_path / "data", basin


def change(directory, *statements):
    with contextlib.closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)


def stream_id(directory, name):
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as connection:
        return connection.execute("SELECT id FROM stream WHERE name=?", (name.encode(),)).fetchone()[0]


def test_nothing_is_wrong(stopped, check, run_s2):
    directory, _ = stopped
    before = sorted(path.name for path in directory.iterdir())
    facts = check(directory)
    assert (facts["whole"], facts["running"], facts["problems"], facts["unchecked"]) == (True, False, [], None)
    assert (facts["basins"], facts["streams"], facts["batches"], facts["records"]) == (1, 2, 24, 72)
    assert sorted(path.name for path in directory.iterdir()) == before
    table = run_s2("lite", "check", "--data", directory, check=True)
    assert table.stdout == b""
    assert b"nothing is wrong" in table.stderr


def test_beside_a_running_server(make_server, check, tmp_path):
    server = make_server()
    fill(server)
    facts = check(tmp_path / "data")
    assert (facts["whole"], facts["running"], facts["records"]) == (True, True, 72)
    assert server.stop() == 0


def test_what_a_crash_leaves_is_read_and_stays(make_server, check, tmp_path):
    server = make_server()
    fill(server)
    server.kill()
    log = tmp_path / "data" / f"{DATABASE}-wal"
    before = log.read_bytes()
    assert before
    assert check(tmp_path / "data")["records"] == 72
    assert log.read_bytes() == before


def test_no_data(run_s2, tmp_path):
    missing = run_s2("lite", "check", "--data", tmp_path / "nothing")
    assert missing.returncode == 3
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("column", ["n", "size", "ts", "exp", "data"])
def test_a_changed_column_of_a_batch(stopped, check, column):
    directory, basin = stopped
    value = "x'0a00'" if column == "data" else f"{column} + 1"
    first = stream_id(directory, "two") << 40
    change(directory, f"UPDATE chunk SET {column}={value} WHERE id = {first + 8}")
    (problem,) = check(directory, code=8)["problems"]
    assert problem == {"place": f"s2://{basin}/two", "problem": "wrong checksum", "first": 6, "last": 8}


def test_missing_batches(stopped, check):
    directory, basin = stopped
    first = stream_id(directory, "one") << 40
    change(directory, f"DELETE FROM chunk WHERE id IN ({first + 8}, {first + 11})")
    (problem,) = check(directory, code=8)["problems"]
    assert problem == {"place": f"s2://{basin}/one", "problem": "records are missing", "first": 6, "last": 11}


def test_missing_records_at_the_end(stopped, check):
    directory, basin = stopped
    last = (stream_id(directory, "one") << 40) + 35
    change(directory, f"UPDATE stream SET next_seq=36 WHERE id={last >> 40}", f"DELETE FROM chunk WHERE id={last}")
    problems = check(directory, code=8)["problems"]
    assert {
        "place": f"s2://{basin}/one",
        "problem": "its last records are missing",
        "first": 33,
        "last": 35,
    } in problems


def test_records_that_deletion_has_left_out(make_server, check, run_s2, tmp_path):
    server = make_server()
    basin = fill(server)
    assert run_s2("trim", f"s2://{basin}/one", "20", "-y", env=server.env()).returncode == 0
    assert server.stop() == 0
    assert check(tmp_path / "data")["whole"]


def test_rows_that_belong_to_nothing(stopped, check):
    directory, basin = stopped
    one = stream_id(directory, "one")
    change(
        directory,
        f"DELETE FROM stream WHERE id={one}",
        ("UPDATE basin SET config=?", ("{",)),
        ("UPDATE stream SET basin=?, trim_point=1000", (b"no-such-basin",)),
    )
    problems = {(problem["place"], problem["problem"]) for problem in check(directory, code=8)["problems"]}
    assert problems >= {
        (f"basin {basin}", "its config is not a JSON object"),
        ("s2://no-such-basin/two", "its basin is missing"),
        ("s2://no-such-basin/two", "its trim point, 1000, is beyond its tail, 36"),
        (f"stream {one}", "there are records of a stream that is missing"),
    }


def test_damaged_pages(stopped, run_s2):
    directory, _ = stopped
    path = directory / DATABASE
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for at in range(4 * 16384, size, 16384):
            file.seek(at)
            file.write(b"\xff" * 64)
    done = run_s2("lite", "check", "--data", directory)
    assert done.returncode == 8, done
    assert b"s2.db" in done.stdout
    assert b"problems in" in done.stderr


def test_what_is_no_database(run_s2, tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no database " * 4096)
    done = run_s2("lite", "check", "--data", tmp_path, "-o", "json")
    assert done.returncode == 8, done
    assert not json.loads(done.stdout)["whole"]


def test_a_plain_copy_starts_once_it_was_checked(stopped, check, run_s2, make_server, tmp_path):
    directory, basin = stopped
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    refused = run_s2("lite", "--data", copy, "--port", "0")
    assert refused.returncode == 1, refused
    assert b"is a plain copy of a data directory" in refused.stderr
    assert f"s2 lite check --data {copy}".encode() in refused.stderr
    assert check(copy)["accepted"]
    server = make_server(data=copy)
    assert run_s2("read", f"s2://{basin}/one", env=server.env(), check=True).stdout.count(b"\n") == 36
    assert server.stop() == 0
    make_server(data=directory)  # the original is where it was


def test_a_damaged_copy_stays_refused(stopped, check, run_s2, tmp_path):
    directory, _ = stopped
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    change(copy, "UPDATE chunk SET n = 2 WHERE id = (SELECT max(id) FROM chunk)")
    assert not check(copy, code=8)["accepted"]
    assert run_s2("lite", "--data", copy, "--port", "0").returncode == 1


def test_a_moved_directory_is_no_copy(stopped, make_server, tmp_path):
    directory, _ = stopped
    moved = tmp_path / "moved"
    directory.rename(moved)
    make_server(data=moved)


def test_a_log_that_cannot_be_opened_is_not_damage(stopped, run_s2):
    directory, _ = stopped
    (directory / f"{DATABASE}-wal").mkdir()
    done = run_s2("lite", "check", "--data", directory)
    assert done.returncode == 1, done
    assert b"s2.db-wal: it is not a regular file" in done.stderr
    # As where there is no room for it.
    with pytest.raises(S2Error, match="unable to open database file") as refused:
        open_for_check(directory)
    assert "is the disk full?" in refused.value.hint
