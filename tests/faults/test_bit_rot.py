"""What rots on the disk is never silent: whoever asks gets all that was acked, or is told."""

import contextlib
import sqlite3

import pytest

from s2cli.server.store.sqlite.checksums import SEALED

LINES = [b"%d" % number for number in range(600)]
BATCH = 100


@pytest.fixture
def stored(make_server, s2):
    """`(server, uri)`: six batches of a hundred records, on a server that has stopped."""
    server = make_server()
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    server.create_stream(basin)
    for first in range(0, len(LINES), BATCH):
        s2("append", uri, at=server, stdin=b"\n".join(LINES[first : first + BATCH]))
    server.stop()
    return server, uri


def change(server, statement, *values):
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount == 1


def records(server, uri, query):
    basin, stream = uri.split("/")[2:]
    return server.request("GET", f"/v1/streams/{stream}/records?{query}", basin=basin)


@pytest.mark.parametrize(("last", "first"), [(99, 0), (399, 300), (599, 500)])
def test_a_chunk_that_is_missing_is_named_and_left_out(stored, s2, last, first):
    server, uri = stored
    change(server, "DELETE FROM chunk WHERE id & 0xffffff = ?", last)
    server.start()
    done = s2("read", uri, at=server, code=8)
    assert done.stdout.split() == LINES[:first]
    assert f"from sequence number {first} to {last} are damaged".encode() in done.stderr
    done = s2("read", uri, "--skip-damaged", at=server, code=8)
    assert done.stdout.split() == LINES[:first] + LINES[last + 1 :]


def test_what_was_lost_at_the_end_keeps_its_sequence_numbers(stored, s2):
    server, uri = stored
    change(server, "DELETE FROM chunk WHERE id & 0xffffff = 599")
    server.start()
    basin = uri.split("/")[2]
    tail = server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()["tail"]
    assert tail["seq_num"] == len(LINES)
    done = s2("append", uri, at=server, stdin=b"more", code=8)
    assert b"s2 lite repair" in done.stderr


COLUMNS = {"n": 99, "size": 7, "ts": 1, "exp": 5, "crc": 1 << 40, "kind": 3, "data": b"x", "id": 1 << 40 | 450}


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_a_chunk_is_covered(stored, s2, column):
    server, uri = stored
    change(server, f"UPDATE chunk SET {column} = ? WHERE id & 0xffffff = 399", COLUMNS[column])
    server.start()
    done = s2("read", uri, at=server, code=8)
    assert done.stdout.split() == LINES[:300]
    assert b"from sequence number 300 to" in done.stderr


@pytest.mark.parametrize("column", ["ts", "n", "exp"])
def test_a_place_in_time_is_not_looked_for_among_what_is_damaged(stored, s2, column):
    server, uri = stored
    timestamps = [record["timestamp"] for record in records(server.start(), uri, "seq_num=0").json()["records"]]
    server.stop()
    change(server, f"UPDATE chunk SET {column} = 1 WHERE id & 0xffffff = 399")
    server.start()
    for timestamp in sorted(set(timestamps)):
        answer = records(server, uri, f"timestamp={timestamp}")
        if answer.status == 200:
            read = [record["body"].encode() for record in answer.json()["records"]]
            first = next(at for at, found in enumerate(timestamps) if found >= timestamp)
            assert read == LINES[first : first + len(read)]
            assert read[-1:] == LINES[299:300]
        else:
            assert answer.json()["damaged"]["last"] == 399


OTHERS = {
    "name": b"other",
    "config": "{}",
    "created_at": 1,
    "deleted_at": 1,
    "request_key": b"x",
    "crc": None,
    "cipher": "aegis-256",
    "trim_point": 300,
    "fencing_token": "x",
    "next_seq": 700,
    "last_ts": 1 << 60,
    "keep": 5,
    "written": 5,
    "look_at": 1 << 60,
    "uid": b"x",
    "basin": b"another",
    "selector": "x",
    "hash": b"x",
    "scope": '{"ops":["read"]}',
    "auto_prefix": 1,
    "expires": "2999",
    "expires_ms": 1 << 60,
    "id": 77,
}


def columns_of(table, *without):
    return [name for name in (*SEALED[table].split(", "), "crc") if name not in without]


@pytest.mark.parametrize("column", columns_of("stream"))
def test_every_column_of_a_stream_is_covered(stored, s2, column):
    server, uri = stored
    change(server, f"UPDATE stream SET {column} = ?", OTHERS[column])
    server.start()
    answer = records(server, uri, "seq_num=0")
    assert answer.status == (404 if column in ("name", "basin") else 500)
    done = s2("read", uri, at=server, code=3 if column in ("name", "basin") else 8)
    assert done.stdout == b""
    if column not in ("name", "basin"):
        assert b"the stream `stream` is damaged on disk" in done.stderr


@pytest.mark.parametrize("column", columns_of("basin", "name"))
def test_every_column_of_a_basin_is_covered(stored, column):
    server, uri = stored
    change(server, f"UPDATE basin SET {column} = ?", OTHERS[column])
    server.start()
    answer = server.request("GET", f"/v1/basins/{uri.split('/')[2]}")
    assert (answer.status, answer.json()["code"]) == (500, "storage")
    assert "is damaged on disk" in answer.json()["message"]


@pytest.mark.parametrize("column", columns_of("token", "selector"))
def test_every_column_of_a_token_is_covered(make_server, tmp_path, column):
    (tmp_path / "root").touch(mode=0o600)
    (tmp_path / "root").write_text("root-token")
    server = make_server(options=("--root-token-file", str(tmp_path / "root")))
    root = {"authorization": "Bearer root-token"}
    scope = {"basins": {"prefix": ""}, "ops": ["list-basins"]}
    made = server.request("POST", "/v1/access-tokens", json_body={"id": "mine", "scope": scope}, headers=root)
    mine = {"authorization": f"Bearer {made.json()['access_token']}"}
    assert server.request("GET", "/v1/basins", headers=mine).status == 200
    server.stop()
    change(server, f"UPDATE token SET {column} = ?", b"other" if column == "id" else OTHERS[column])
    server.start()
    answer = server.request("GET", "/v1/basins", headers=mine)
    assert (answer.status, answer.json()["code"]) == (500, "storage")


@pytest.mark.parametrize("column", ["request", "status", "body", "headers", "stored_at", "crc"])
def test_a_damaged_answer_has_nothing_executed_twice(stored, column):
    server, uri = stored
    server.start()
    basin = uri.split("/")[2]

    def append():
        return server.request(
            "POST",
            "/v1/streams/stream/records",
            basin=basin,
            json_body={"records": [{"body": "once"}]},
            headers={"s2-request-token": "token"},
        )

    assert append().json() == append().json()
    server.stop()
    other = {"status": 201, "headers": '[["a", "b"]]', "stored_at": 1 << 60}.get(column, b"other")
    change(server, f"UPDATE reply SET {column} = ?", other)
    server.start()
    assert (append().status, append().json()["code"]) == (500, "storage")
    tail = server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()["tail"]
    assert tail["seq_num"] == len(LINES) + 1


def test_a_lost_row_of_a_stream_gives_its_records_to_no_other(stored, s2):
    server, uri = stored
    change(server, "DELETE FROM stream")
    server.start()
    basin = uri.split("/")[2]
    server.create_stream(basin, "new")
    assert s2("read", f"s2://{basin}/new", at=server).stdout == b""
    s2("append", f"s2://{basin}/new", at=server, stdin=b"first")
    assert s2("read", f"s2://{basin}/new", at=server).stdout == b"first\n"


def test_what_expired_and_what_was_trimmed_is_no_damage(make_thread_server, tmp_path):
    """Also between records that are kept: a stream has another retention for a while."""
    server = make_thread_server(data=tmp_path / "data", frozen=True)
    basin = server.create_basin()
    server.create_stream(basin, "stream", retention_policy={"infinite": {}})

    def append(count):
        body = {"records": [{"body": "x"}] * count}
        assert server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=body).status == 200

    def retain(policy):
        answer = server.request("PATCH", "/v1/streams/stream", basin=basin, json_body={"retention_policy": policy})
        assert answer.status == 200, answer

    def numbers():
        found, at = [], 0
        while at < tail:
            answer = server.request("GET", f"/v1/streams/stream/records?seq_num={at}&clamp=true", basin=basin)
            if answer.status != 200:
                assert answer.status == 416, answer
                break
            page = [record["seq_num"] for record in answer.json()["records"]]
            if not page:
                break
            found += page
            at = page[-1] + 1
        return found

    append(3)
    retain({"age": 10})
    append(4)
    retain({"infinite": {}})
    append(5)
    retain({"age": 10})
    append(2)
    tail = 14
    assert numbers() == list(range(14))
    server.clock.advance(3600)
    kept = [0, 1, 2, *range(7, 12)]
    assert numbers() == kept
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "s2.db")) as connection:
        count = connection.execute("SELECT sum(n) FROM chunk").fetchone()[0]
    assert count in (8, 10, 14)  # what has expired may be deleted by now
    assert numbers() == kept
    assert server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()["tail"]["seq_num"] == tail


def test_a_stream_that_cannot_be_found_is_not_made_anew_and_a_repair_finds_it(stored, s2):
    server, uri = stored
    basin = uri.split("/")[2]
    with contextlib.closing(sqlite3.connect(server.data / "s2.db")) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='stream_name'").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray((server.data / "s2.db").read_bytes())
    content[content.index(b"stream", (root - 1) * page_bytes)] ^= 1
    with open(server.data / "s2.db", "r+b") as file:
        file.write(content)
    server.start()
    # No 404, which would ask for a new one.
    answer = records(server, uri, "seq_num=0")
    assert (answer.status, answer.json()["code"]) == (500, "storage")
    done = s2("append", "--create", uri, at=server, stdin=b"new", code=8)
    assert b"s2 lite repair" in done.stderr
    assert server.request("POST", "/v1/streams", basin=basin, json_body={"stream": "stream"}).status == 500
    assert server.request("POST", "/v1/streams", basin=basin, json_body={"stream": "another"}).status == 201
    server.stop()
    done = s2("lite", "check", "--data", server.data, at=server, code=8)
    assert f"{uri}\t-\tit is there, and cannot be found by its name" in done.stdout.decode()
    done = s2("lite", "repair", "--data", server.data, at=server)
    assert f"{uri} is found by its name again".encode() in done.stderr
    server.start()
    assert s2("read", uri, at=server).stdout.split() == LINES
