"""What is counted, and what is told of it."""

import contextlib
import re
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from support.s2s import open_append, open_read
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError
from s2cli.server.store.sqlite.engine import SqliteStore

BASIN = "metrics-basin"
IN_AN_HOUR, A_QUARTER_AGO = "in an hour", "91 days ago"
ACCOUNT_SETS = ("active-basins", "account-ops", "estimated-billable-usage")
BASIN_SETS = ("storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops")
PATHS = [
    *(("/v1/metrics", name) for name in ACCOUNT_SETS),
    *((f"/v1/metrics/{BASIN}", name) for name in BASIN_SETS),
    (f"/v1/metrics/{BASIN}/stream", "storage"),
]


def ask(server, path, **query):
    query.setdefault("start", int(time.time()) - 3600)
    query.setdefault("end", int(time.time()) + 1)
    return server.request("GET", f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}")


def values(server, path, name, **query):
    answer = ask(server, path, set=name, **query)
    assert answer.status == 200, answer
    assert list(answer.json()) == ["values"]
    return answer.json()["values"]


def sums(server, path, name, **query):
    """Name of each accumulation -> the sum of its points."""
    metrics = [metric["accumulation"] for metric in values(server, path, name, **query)]
    assert len({metric["unit"] for metric in metrics}) <= 1
    return {metric["name"]: sum(value for _, value in metric["values"]) for metric in metrics}


def last_bytes(server, path):
    (metric,) = values(server, path, "storage")
    gauge = metric["gauge"]
    assert (gauge["name"], gauge["unit"]) == ("storage", "bytes")
    return gauge["values"][-1][1]


def append(server, *bodies, stream="stream", basin=BASIN):
    body = {"records": [{"body": body} for body in bodies]}
    answer = server.request("POST", f"/v1/streams/{stream}/records", json_body=body, basin=basin)
    assert answer.status == 200, answer


def use(server):
    """Some of everything, in a basin of its own: 100 metered bytes in 5 records are appended, and more is read."""
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    server.create_stream(BASIN, "standard", storage_class="standard")
    append(server, "x" * 12, "y" * 12)  # 40
    append(server, "z" * 22)  # 30
    append(server, "a" * 2, "b" * 12, stream="standard")  # 10 + 20
    for _ in range(3):
        assert server.request("GET", "/v1/streams/stream/records?seq_num=0&count=2", basin=BASIN).status == 200
    with open_read(server, BASIN, "seq_num=1&count=2") as session:
        assert len(session.records()) == 2
    for _ in range(4):
        server.request("GET", "/v1/streams/stream/records/tail", basin=BASIN)
    server.request("GET", "/v1/streams", basin=BASIN)
    server.request("GET", f"/v1/basins/{BASIN}")
    server.request("GET", "/v1/basins")
    server.request("GET", "/v1/basins/no-such-basin")  # a failure is none
    server.request("GET", "/v1/streams/none/records/tail", basin=BASIN)


def check(server, times=1):
    path = f"/v1/metrics/{BASIN}"
    assert sums(server, path, "append-ops") == {"express": 2 * times, "standard": times}
    assert sums(server, path, "append-throughput") == {"express": 70 * times, "standard": 30 * times}
    assert sums(server, path, "read-ops") == {"unary": 3 * times, "streaming": times}
    assert sums(server, path, "read-throughput") == {"read-throughput": (3 * 40 + 50) * times}
    operations = sums(server, path, "basin-ops")
    assert {name: operations[name] for name in ("create-stream", "check-tail", "list-streams", "get-basin-config")} == {
        "create-stream": 2 * times,
        "check-tail": 4 * times,
        "list-streams": times,
        "get-basin-config": times,
    }
    account = sums(server, "/v1/metrics", "account-ops")
    assert (account["create-basin"], account["list-basins"]) == (times, times)
    (label,) = values(server, "/v1/metrics", "active-basins")
    assert label == {"label": {"name": "active_basins", "values": [BASIN]}}
    assert last_bytes(server, path) == 100 * times
    assert last_bytes(server, f"{path}/stream") == 70 * times


def test_everything_is_counted_and_kept_over_a_clean_restart(make_server):
    server = make_server()
    use(server)
    check(server)
    assert server.stop() == 0
    server.start()
    check(server)


def test_what_was_counted_in_the_last_moment_is_kept_by_a_clean_stop(make_server):
    """Nobody has asked before, so nothing has been written until the stop."""
    server = make_server()
    use(server)
    assert server.stop() == 0
    server.start()
    check(server)


def test_an_append_session_counts_each_batch(make_server):
    server = make_server(data=None)
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    with open_append(server, BASIN) as session:
        for at in range(50):
            session.append(b"x" * 92, b"y" * 92)
            assert session.ack()[1] == 2 * (at + 1)
        # Also while it is open.
        assert sums(server, f"/v1/metrics/{BASIN}", "append-ops") == {"express": 50}
    assert sums(server, f"/v1/metrics/{BASIN}", "append-throughput") == {"express": 10_000}


def test_commands_are_operations(make_server):
    server = make_server(data=None)
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    for name, body in (("fence", "mine"), ("trim", "\0" * 8), ("trim", "\0" * 7 + "\1")):
        record = {"headers": [["", name]], "body": body}
        answer = server.request("POST", "/v1/streams/stream/records", json_body={"records": [record]}, basin=BASIN)
        assert answer.status == 200, answer
    operations = sums(server, f"/v1/metrics/{BASIN}", "basin-ops")
    assert operations["fence"] == 1
    assert operations["trim"] == 1  # the other one trims nothing


def test_storage_falls_when_streams_are_trimmed_and_deleted(make_server):
    server = make_server()
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    server.create_stream(BASIN, "other")
    for _ in range(10):
        append(server, "x" * 92)
    append(server, "y" * 192, stream="other")
    assert last_bytes(server, f"/v1/metrics/{BASIN}") == 1200
    trim = {"records": [{"headers": [["", "trim"]], "body": "\0" * 7 + "\4"}]}
    assert server.request("POST", "/v1/streams/stream/records", json_body=trim, basin=BASIN).status == 200
    await_bytes(server, f"/v1/metrics/{BASIN}/stream", 600 + 8 + 2 + 4 + 8)
    server.request("DELETE", "/v1/streams/stream", basin=BASIN)
    await_bytes(server, f"/v1/metrics/{BASIN}", 200)
    assert last_bytes(server, f"/v1/metrics/{BASIN}/other") == 200
    server.stop()
    server.start()
    assert last_bytes(server, f"/v1/metrics/{BASIN}") == 200


def await_bytes(server, path, wanted):
    until(lambda: last_bytes(server, path) == wanted)


def test_old_points_are_summed_by_hour_and_day_and_storage_is_what_it_was(make_server, tmp_path):
    server = make_server()
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    append(server, "x" * 92)
    server.stop()
    today = int(time.time()) // 86400 * 24  # the first hour of the day
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "s2.db")) as database, database:
        for stream, series, hour, minutes in (
            ("", "append_ops:express", today - 48, '{"0":1,"59":2}'),
            ("", "append_ops:express", today - 47, '{"30":4}'),
            ("", "append_ops:express", today - 24, '{"1":8}'),
            ("", "stored", today - 48, '{"10":500}'),
            ("", "stored", today - 47, '{"30":-200}'),
            ("", "stored", today - 24, '{"0":-300}'),
            ("stream", "stored", today - 48, '{"10":500,"12":-500}'),
        ):
            row = (BASIN.encode(), stream.encode(), series, hour, minutes)
            database.execute("INSERT INTO metric(basin, stream, series, hour, minutes) VALUES(?,?,?,?,?)", row)
    server.start()
    path = f"/v1/metrics/{BASIN}"
    start, end = (today - 48) * 3600, (today - 23) * 3600

    def points(interval=None, start=start, end=end):
        query = {} if interval is None else {"interval": interval}
        metrics = values(server, path, "append-ops", start=start, end=end, **query)
        assert len(metrics) <= 1
        for metric in metrics:
            assert metric["accumulation"]["interval"] == (interval or "minute")
        return [tuple(point) for metric in metrics for point in metric["accumulation"]["values"]]

    hour = 3600
    assert points() == [(start, 1), (start + 59 * 60, 2), (start + hour + 1800, 4), (start + 24 * hour + 60, 8)]
    assert points("hour") == [(start, 3), (start + hour, 4), (start + 24 * hour, 8)]
    assert points("day") == [(start, 7), (start + 24 * hour, 8)]
    assert points(start=start + 60, end=start + hour) == [(start + 59 * 60, 2)]
    assert points(start=start, end=start) == []
    (metric,) = values(server, path, "storage", start=start, end=start + 3 * hour)
    assert metric["gauge"]["values"] == [[start, 500], [start + hour, 300], [start + 2 * hour, 300]]
    (metric,) = values(server, f"{path}/stream", "storage", start=start + 9 * 60, end=start + 14 * 60)
    assert metric["gauge"]["values"] == [
        [start + at * 60, size] for at, size in ((10, 500), (11, 500), (12, 0), (13, 0))
    ]
    assert last_bytes(server, path) == 100


def test_usage_is_told_of_hours_that_are_over_and_costs_nothing(make_server, tmp_path):
    server = make_server()
    assert values(server, "/v1/metrics", "estimated-billable-usage") == []
    server.stop()
    this_hour = int(time.time()) // 3600
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "s2.db")) as database, database:
        row = (b"", b"", "op:list-basins", this_hour - 1, '{"0":3}')
        database.execute("INSERT INTO metric(basin, stream, series, hour, minutes) VALUES(?,?,?,?,?)", row)
    server.start()
    hour = {"start": (this_hour - 1) * 3600, "end": this_hour * 3600}
    found = values(server, "/v1/metrics", "estimated-billable-usage", **hour)
    assert "total" in [metric["accumulation"]["name"] for metric in found]
    for metric in found:
        one = metric["accumulation"]
        assert (one["unit"], one["interval"], one["values"]) == ("usd", "hour", [[(this_hour - 1) * 3600, 0]])


# Questions that are none.


@pytest.mark.parametrize(("path", "name"), PATHS)
def test_a_range_in_the_far_past_is_empty(shared_server, path, name):
    assert values(shared_server, path, name, start=0, end=3600) == []


@pytest.mark.parametrize(("path", "name"), PATHS[3:])
def test_what_does_not_exist_has_no_metrics(shared_server, path, name):
    for _ in range(2):
        assert values(shared_server, path.replace(BASIN, "no-such-basin"), name) == []


@pytest.mark.parametrize(("path", "name"), PATHS)
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"start": ""}, 400, "bad_query"),
        ({"start": "-1"}, 400, "bad_query"),
        ({"start": "1.5"}, 400, "bad_query"),
        ({"start": 1 << 32}, 400, "bad_query"),
        ({"end": "now"}, 400, "bad_query"),
        ({"interval": "week"}, 400, "bad_query"),
        ({"set": "everything"}, 400, "bad_query"),
        ({"set": ""}, 400, "bad_query"),
        ({"start": 2000, "end": 1000}, 422, "invalid"),
        ({"end": IN_AN_HOUR}, 422, "invalid"),
        ({"start": A_QUARTER_AGO}, 422, "invalid"),
    ],
)
def test_bad_questions(shared_server, path, name, query, status, code):
    # When the question is asked: this list was made long before.
    ago_s = {IN_AN_HOUR: -3600, A_QUARTER_AGO: 91 * 86400}
    query = {member: int(time.time()) - ago_s[value] if value in ago_s else value for member, value in query.items()}
    answer = ask(shared_server, path, **{"set": name, **query})
    assert (answer.status, answer.json()["code"]) == (status, code), answer


@pytest.mark.parametrize(("path", "name"), PATHS)
def test_what_is_required(shared_server, path, name):
    assert ask(shared_server, path).json()["code"] == "bad_query"
    now = int(time.time())
    for query in (f"set={name}", f"set={name}&start={now}", f"set={name}&end={now}"):
        answer = shared_server.request("GET", f"{path}?{query}")
        assert (answer.status, answer.json()["code"]) == (422, "invalid"), answer
    assert ask(shared_server, path, set=name, start=now - 90 * 86400 + 5, end=now).status == 200


@pytest.mark.parametrize(
    ("path", "name", "allowed"),
    [
        (f"/v1/metrics/{BASIN}", "storage", ["hour"]),
        (f"/v1/metrics/{BASIN}/stream", "storage", ["minute"]),
        ("/v1/metrics", "estimated-billable-usage", ["hour", "day"]),
        ("/v1/metrics", "account-ops", ["minute", "hour", "day"]),
        (f"/v1/metrics/{BASIN}", "append-ops", ["minute", "hour", "day"]),
    ],
)
def test_intervals(shared_server, path, name, allowed):
    for interval in ("minute", "hour", "day"):
        answer = ask(shared_server, path, set=name, interval=interval)
        assert answer.status == (200 if interval in allowed else 422), answer


# Prometheus.


def scrape(server):
    """Name and labels -> value."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_prometheus(make_server):
    server = make_server()
    use(server)
    with open_append(server, BASIN) as append_session, open_read(server, BASIN) as read_session:
        assert read_session.batch() == ([], 3)
        append_session.append(b"x" * 92)
        append_session.ack()
        assert read_session.batch()[1] == 4
        found = scrape(server)
    assert found["s2_appended_records_total"] == 6
    assert found["s2_appended_bytes_total"] == 200
    assert found["s2_read_records_total"] == 9
    assert found["s2_read_bytes_total"] == 270
    assert found['s2_open_sessions{kind="append"}'] == 1
    assert found['s2_open_sessions{kind="read"}'] == 1
    assert found['s2_requests_total{operation="append",status="200"}'] == 3  # the session is not over
    assert found['s2_requests_total{operation="check-tail",status="200"}'] == 4
    assert found['s2_requests_total{operation="check-tail",status="404"}'] == 1
    assert found['s2_request_duration_seconds_count{operation="append"}'] == 3
    assert 0 < found['s2_request_duration_seconds_sum{operation="append"}'] < 10
    assert 4 <= found["s2_commit_duration_seconds_count"]
    assert found['s2_commit_duration_seconds_bucket{le="+Inf"}'] == found["s2_commit_duration_seconds_count"]
    assert found["s2_store_bytes"] > 16384
    until(lambda: not scrape(server)['s2_open_sessions{kind="append"}'])
    # What was told is counted once.
    assert scrape(server)["s2_appended_records_total"] == 6
    check_after = sums(server, f"/v1/metrics/{BASIN}", "append-throughput")
    assert check_after == {"express": 170, "standard": 30}


def test_only_get_and_head(shared_server):
    answer = shared_server.request("POST", "/metrics", body=b"")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    answer = shared_server.request("HEAD", "/metrics")
    assert (answer.status, answer.body) == (200, b"")


def test_its_library_is_loaded_only_when_it_is_asked_for():
    code = "import sys, s2cli.server.process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "s2cli.server.api.prometheus" in loaded
    assert "prometheus_client" not in loaded


# Failures and crashes.


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
        # Each question writes what was counted: the kill comes while that goes on.
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


def test_names_of_series_are_words(make_server):
    server = make_server(data=None)
    use(server)
    for path, name in PATHS:
        for metric in values(server, path, name):
            ((_, members),) = metric.items()
            assert re.fullmatch(r"[a-z_-]+", members["name"])
