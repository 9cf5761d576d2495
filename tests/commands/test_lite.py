"""`s2 lite` as a person types it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S


@contextlib.contextmanager
def start(*options):
    command = [sys.executable, "-m", "s2cli", "lite", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def endpoint(process):
    lines = [process.stdout.readline().decode() for _ in range(3)]
    assert lines[2] == "export S2_ACCESS_TOKEN=ignored\n"
    return lines[0].strip().rpartition("=")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(number, run_s2):
    with start("--memory") as process:
        url = endpoint(process)
        answer = run_s2("basins", "list", "-o", "name", env={"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url})
        assert (answer.returncode, answer.stdout) == (0, b""), answer
        process.send_signal(number)
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    assert said.decode() == f"serving memory at {url}; Ctrl-C ends it\n"


def test_quiet_says_nothing_but_what_to_paste():
    with start("--memory", "--quiet") as process:
        endpoint(process)
        process.terminate()
        out, said = process.communicate(timeout=TIMEOUT_S)
    assert (out, said) == (b"", b"")


def test_nobody_has_to_read_what_to_paste(tmp_path):
    with start("--data", str(tmp_path)) as process:
        process.stdout.close()
        assert b"serving" in process.stderr.readline()
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0


def test_what_it_refuses(run_s2, tmp_path):
    refused = run_s2("lite", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert b"--no-auth" in refused.stderr
    refused = run_s2("lite", "--memory", "--data", tmp_path)
    assert refused.returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run_s2("lite", "--memory", "--port", taken.getsockname()[1])
    assert refused.returncode == 1
    assert b"the port is in use" in refused.stderr
    for answer in refused, run_s2("lite", "--data", "/dev/null/data", "--port", "0"):
        assert answer.returncode == 1
        assert answer.stdout == b""
        assert b"Traceback" not in answer.stderr


def test_other_addresses_with_a_word():
    with start("--memory", "--host", "0.0.0.0", "--no-auth") as process:
        assert endpoint(process).startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0


def test_status_and_stop_of_a_server_that_started_itself(run_s2, home):
    missing = run_s2("lite", "status")
    assert missing.returncode == 3
    assert b"no server is running" in missing.stderr
    assert run_s2("lite", "stop").returncode == 0
    assert run_s2("--local", "basins", "list", "-o", "name", check=True).stdout == b""
    facts = json.loads(run_s2("lite", "status", "-o", "json", check=True).stdout)
    directory = str(home / ".local/share/s2/lite")
    assert (facts["data"], facts["started_by"], facts["answers"]) == (directory, "itself", True)
    assert os.path.exists(facts["log"])
    table = run_s2("lite", "status", check=True).stdout.decode()
    assert f"pid         {facts['pid']}\n" in table
    stopped = run_s2("lite", "stop", check=True)
    assert stopped.stdout == b""
    assert b"stopped the server of" in stopped.stderr
    assert run_s2("lite", "status").returncode == 3


def test_status_and_stop_of_a_server_with_a_directory_of_its_own(run_s2, tmp_path):
    with start("--local-root", str(tmp_path / "data")) as process:  # --data, as the official tool says
        url = endpoint(process)
        facts = json.loads(run_s2("lite", "status", "--data", tmp_path / "data", "-o", "json", check=True).stdout)
        assert (facts["pid"], facts["url"], facts["socket"]) == (process.pid, url, None)
        assert run_s2("lite", "stop", "--data", tmp_path / "data", check=True).returncode == 0
        assert process.wait(TIMEOUT_S) == 0
