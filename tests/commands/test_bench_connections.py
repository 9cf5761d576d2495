"""`s2 bench` over TLS, in both versions of HTTP, and through a restart of the server."""

import json
import os
import subprocess
import sys

import pytest
from support.terminator import tls_terminator
from support.waiting import TIMEOUT_S, until

WORDS = ["--duration", "1s", "--catchup-delay", "0s", "-o", "json"]


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_over_tls_everything_is_counted_and_compared(run_s2, shared_server, basin, tmp_path, alpn):
    env = shared_server.env()
    with tls_terminator(shared_server.host, shared_server.port, tmp_path, (alpn,)) as (url, ca_file):
        env.update({"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url})
        done = run_s2("bench", basin, "--ca-file", ca_file, "--rate", "500/s", "--record-size", "100", *WORDS, env=env)
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    assert result["outcome"] == "ok"
    assert result["write"]["records"] == result["live"]["records"] == result["catch_up"]["records"] > 100


def test_a_certificate_that_is_not_trusted_is_said_at_once(run_s2, shared_server, basin, tmp_path):
    env = shared_server.env()
    with tls_terminator(shared_server.host, shared_server.port, tmp_path) as (url, _):
        done = run_s2("bench", basin, *WORDS, env={**env, "S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url})
    assert done.returncode == 6
    assert b"certificate" in done.stderr


def test_a_server_that_restarts_ends_it_with_what_was_measured_before(make_server, s2):
    """Figures with an outage in them would say nothing."""
    server = make_server()
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    server.create_stream(basin)
    command = [sys.executable, "-m", "s2cli", "bench", uri, "--rate", "300/s", "--record-size", "100", "-d", "1h"]
    process = subprocess.Popen(
        [*command, "-w", "0s", "-o", "json"],
        env={**os.environ, **server.env()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(lambda: int(s2("check-tail", uri, at=server).stdout.split()[0]) > 50)
    server.kill()
    server.start()
    output, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 6
    error = json.loads(said)["error"]
    assert error["message"].startswith("the bench ends early, with what it has measured: the ")
    assert error["hint"] == "figures with an outage in them would say nothing: run it again"
    result = json.loads(output)
    assert result["outcome"] == "unreachable"
    assert result["catch_up"] is None
    tail = int(s2("check-tail", uri, at=server).stdout.split()[0])
    # What was acknowledged is durable; what was not may be.
    assert 50 < result["write"]["records"] <= tail
    assert 0 < result["live"]["records"] <= tail
