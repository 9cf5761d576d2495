"""`s2 lite` as a person types it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

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
    assert said.decode() == f"serving memory at {url}; Ctrl-C ends it\nended; its data is deleted\n"


def test_quiet_says_nothing_but_what_to_paste():
    with start("--memory", "--quiet") as process:
        endpoint(process)
        process.terminate()
        out, said = process.communicate(timeout=TIMEOUT_S)
    assert (out, said) == (b"", b"")


def test_it_says_what_remains(tmp_path):
    with start("--data", str(tmp_path)) as process:
        endpoint(process)
        process.terminate()
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert said.decode().endswith(f"\nended; everything acknowledged is in {tmp_path}\n")


def test_it_logs_requests_where_it_is_to_say_more():
    ask = "GET /v1/streams/%1b%0A HTTP/1.1\r\nhost: x\r\ns2-basin: secret-basin\r\nconnection: close\r\n\r\n"
    for verbose in (False, True):
        with start("--memory", *["-v"] * verbose) as process:
            host, _, port = endpoint(process).removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(ask.replace("%0A", "%0A?token=hidden").encode())
                while connection.recv(4096):
                    pass
            process.terminate()
            _, said = process.communicate(timeout=TIMEOUT_S)
        lines = [line for line in said.decode().splitlines() if "GET" in line]
        assert len(lines) == verbose
        for line in lines:
            assert re.search(r" INFO GET /v1/streams/%1b%0A 40\d \d+\.\d ms [1-9]\d* bytes$", line), line
        assert b"secret" not in said
        assert b"hidden" not in said


@pytest.mark.parametrize("name", ["s2.example:80", "http://s2.example", "a..b", ".", "", "a b", "*.example"])
def test_what_is_no_name_is_refused(run_s2, name):
    for option in "--allow-host", "--base-domain":
        refused = run_s2("lite", "--memory", "--port", "0", option, name)
        assert refused.returncode == 2
        assert option.encode() in refused.stderr
    if name:
        refused = run_s2("lite", "--memory", "--port", "0", env={"S2_LITE_ALLOW_HOST": f"ok.example, {name}"})
        assert refused.returncode == 2
        assert b"S2_LITE_ALLOW_HOST" in refused.stderr


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--allow-host", "one.example", "--allow-host", ".two.example"], None),
        ([], "one.example, .two.example,"),
        (["--allow-host", "one.example", "--allow-host", "a.two.example"], "other.example"),
    ],
)
def test_names_that_it_answers_to(options, environment, monkeypatch):
    if environment is not None:
        monkeypatch.setenv("S2_LITE_ALLOW_HOST", environment)
    with start("--memory", *options) as process:
        url = endpoint(process)
        for name, status in ("one.example", 200), ("a.two.example", 200), ("other.example", 403):
            request = urllib.request.Request(url, headers={"host": name})
            try:
                with urllib.request.urlopen(request) as answer:
                    assert answer.status == status
            except urllib.error.HTTPError as error:
                assert error.code == status  # noqa: PT017  # no failure is expected where the status is 200
        process.terminate()
        process.wait(TIMEOUT_S)


@pytest.mark.parametrize("broken", ["port", "token", "init"])
def test_a_server_that_cannot_begin_stops_no_other(run_s2, home, tmp_path, broken):
    assert run_s2("--local", "basins", "list", "-o", "name", check=True).stdout == b""
    before = json.loads(run_s2("lite", "status", "-o", "json", check=True).stdout)
    missing = tmp_path / "missing"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = {
            "port": ["--port", taken.getsockname()[1]],
            "token": ["--port", "0", "--root-token-file", missing],
            "init": ["--port", "0", "--init-file", missing],
        }[broken]
        refused = run_s2("lite", *options)
    assert refused.returncode == (1 if broken == "port" else 2)
    assert b"took over" not in refused.stderr
    assert json.loads(run_s2("lite", "status", "-o", "json", check=True).stdout)["pid"] == before["pid"]
    with start() as process:
        assert b"took over" in process.stderr.readline()
        endpoint(process)
        process.terminate()
        process.wait(TIMEOUT_S)


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
    file = tmp_path / "file"
    file.touch()
    answer = run_s2("lite", "--data", file, "--port", "0")
    assert answer.returncode == 2
    assert answer.stderr.decode().splitlines() == [
        f"error: cannot use {file} as a data directory: it is a file",
        "hint: choose another directory with --data",
    ]
    answer = run_s2("lite", "--data", "/dev/null/data", "--port", "0")
    assert (answer.returncode, answer.stdout) == (2, b"")
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


def test_status_of_a_server_that_does_not_answer(run_s2, tmp_path):
    with start("--data", str(tmp_path / "data")) as process:
        endpoint(process)
        process.send_signal(signal.SIGSTOP)
        stopped = run_s2("lite", "status", "--data", tmp_path / "data", "-o", "json")
        process.send_signal(signal.SIGCONT)
        assert stopped.returncode == 6
        facts = json.loads(stopped.stdout)
        assert (facts["pid"], facts["answers"], facts["status"]) == (process.pid, False, None)
        process.terminate()
        process.wait(TIMEOUT_S)


def test_status_and_stop_of_a_server_with_a_directory_of_its_own(run_s2, tmp_path):
    with start("--local-root", str(tmp_path / "data")) as process:  # --data, as the official tool says
        url = endpoint(process)
        facts = json.loads(run_s2("lite", "status", "--data", tmp_path / "data", "-o", "json", check=True).stdout)
        assert (facts["pid"], facts["url"]) == (process.pid, url)
        assert (
            os.stat(facts["socket"]).st_mode & 0o077 == 0
            or os.stat(os.path.dirname(facts["socket"])).st_mode & 0o077 == 0
        )
        assert run_s2("lite", "stop", "--data", tmp_path / "data", check=True).returncode == 0
        assert process.wait(TIMEOUT_S) == 0


def test_a_clock_that_was_set_forward_is_shown_and_can_be_trusted(run_s2, tmp_path):
    data = tmp_path / "data"
    with start("--data", data) as process:
        endpoint(process)
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)
    for path in data.iterdir():  # used three days ago
        os.utime(path, (path.stat().st_atime - 3 * 86400, path.stat().st_mtime - 3 * 86400))
    with start("--data", data) as process:
        endpoint(process)
        status = run_s2("lite", "status", "--data", data, check=True).stdout.decode()
        assert "clock       3.0 days ahead of what was expected" in status
        assert "s2 lite trust-clock" in status
        facts = json.loads(run_s2("lite", "status", "--data", data, "-o", "json", check=True).stdout)
        assert 0 <= facts["clock_ahead_ms"] - 3 * 86_400_000 < 86_400_000
        done = run_s2("lite", "trust-clock", "--data", data, "-o", "json", check=True)
        assert 0 <= json.loads(done.stdout)["was_ahead_ms"] - 3 * 86_400_000 < 86_400_000
        assert b"the clock, 3.0 days ahead, is trusted" in done.stderr
        assert b"\nclock" not in run_s2("lite", "status", "--data", data, check=True).stdout
        assert b"the clock is where it was expected" in run_s2("lite", "trust-clock", "--data", data, check=True).stderr
    assert run_s2("lite", "trust-clock", "--data", data).returncode == 3
