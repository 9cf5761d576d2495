"""`GET /metrics`: the text, and its library."""

import subprocess
import sys

from support.metrics import BASIN, sums, use
from support.s2s import open_append, open_read
from support.waiting import until


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
