"""What is counted, and what is told of it."""

import contextlib
import re
import sqlite3
import time

import pytest
from support.metrics import BASIN, append, ask, last_bytes, sums, use, values
from support.s2s import open_append
from support.waiting import until

IN_AN_HOUR, A_QUARTER_AGO = "in an hour", "91 days ago"
ACCOUNT_SETS = ("active-basins", "account-ops", "estimated-billable-usage")
BASIN_SETS = ("storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops")
PATHS = [
    *(("/v1/metrics", name) for name in ACCOUNT_SETS),
    *((f"/v1/metrics/{BASIN}", name) for name in BASIN_SETS),
    (f"/v1/metrics/{BASIN}/stream", "storage"),
]


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


def test_names_of_series_are_words(make_server):
    server = make_server(data=None)
    use(server)
    for path, name in PATHS:
        for metric in values(server, path, name):
            ((_, members),) = metric.items()
            assert re.fullmatch(r"[a-z_-]+", members["name"])


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
