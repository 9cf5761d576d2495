"""Appends of an input without an end: a file that grows, and a command that runs. Through the installed `s2`: bytes in
the stream, the account, the exit code."""

import json
import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until


@pytest.fixture
def uri(shared_server, basin):
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


@pytest.fixture
def start(env):
    """Starts `s2 append`; it is gone after the test."""
    running = []

    def start(*arguments, **options):
        command = [sys.executable, "-m", "s2cli", "append", *map(str, arguments)]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        running.append(subprocess.Popen(command, env={**os.environ, **env}, **options))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_growing_file_is_followed_through_rotation_and_truncation(s2, uri, start, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"1\n2\nhal")
    process = start(uri, "--follow-file", path)

    def holds(expected):
        until(lambda: s2("read", uri).stdout == expected)

    holds(b"1\n2\n")
    with path.open("ab") as file:
        file.write(b"f\n3\nunended")
    holds(b"1\n2\nhalf\n3\n")
    path.rename(tmp_path / "app.log.1")
    path.write_bytes(b"new 1\n")
    holds(b"1\n2\nhalf\n3\nunended\nnew 1\n")
    # Cut, as `copytruncate` does, and shorter than before.
    path.write_bytes(b"")
    until(lambda: b"was truncated" in peek(process))
    with path.open("ab") as file:
        file.write(b"c\n")
    holds(b"1\n2\nhalf\n3\nunended\nnew 1\nc\n")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 143
    assert b": 7 read, 7 sent, 7 durable at 0..6 (" in said


def peek(process):
    """What a process has said on stderr so far."""
    os.set_blocking(process.stderr.fileno(), False)
    process.said = getattr(process, "said", b"") + (process.stderr.read() or b"")
    os.set_blocking(process.stderr.fileno(), True)
    return process.said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--follow-file"], "--follow-file follows one file: name it, and no other input"),
        (["--follow-file", "a", "b"], "--follow-file follows one file"),
        (["--follow-file", "missing"], "cannot read missing: no such file or directory"),
        (["--follow-file", "/dev/null"], "--follow-file: /dev/null is not a regular file"),
        (["--follow-file", "a", "--raw"], "--raw cannot be combined with it"),
        (
            ["a", "--", "true"],
            "the output of the command behind -- is appended: the input a cannot be combined with it",
        ),
        (["--raw", "--", "true"], "--raw cannot be combined with it"),
        (["--", "no-such-command-anywhere"], "cannot run no-such-command-anywhere: no such file or directory"),
    ],
)
def test_what_cannot_be_followed_or_run_is_refused(s2, uri, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"a\n")
    assert text in s2("append", uri, *words, code=2).stderr.decode()
    assert s2("check-tail", uri).stdout.startswith(b"0 @")


def test_the_output_of_a_command_is_appended_with_its_end_and_its_code(s2, uri):
    script = "echo one; echo two >&2; printf three; exit 3"
    result = s2("append", uri, "-H", "job=7", "--", "sh", "-c", script, code=3)
    assert b": 4 records durable at 0..3 (" in result.stderr
    assert result.stdout == b""
    records = [json.loads(line) for line in s2("read", uri, "-o", "json").stdout.splitlines()]
    found = [(record["body"], record["headers"][1:]) for record in records]
    assert sorted(found[:3]) == [
        ("one", [["stream", "stdout"]]),
        ("three", [["stream", "stdout"]]),
        ("two", [["stream", "stderr"]]),
    ]
    assert found[3] == ("exited with 3", [["stream", "exit"], ["exit-status", "3"]])
    assert all(record["headers"][0] == ["job", "7"] for record in records)


def test_a_command_may_read_and_print_much(s2, uri):
    data = b"".join(b"%d\n" % number for number in range(100_000))
    s2("append", uri, "--", "cat", stdin=data)
    assert s2("read", uri).stdout == data + b"exited with 0\n"


def test_behind_the_dashes_the_uri_is_still_the_uri(s2, uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd").write_bytes(b"odd\n")
    s2("append", "--", uri, "-odd")
    assert s2("read", uri).stdout == b"odd\n"
    assert b"read runs no command: what does" not in s2("read", "--", uri).stderr


@pytest.mark.parametrize(
    ("script", "code", "last"),
    [
        ("trap 'echo tidy; exit 9' TERM; echo ready; while :; do sleep 0.01; done", 9, "exited with 9"),
        ("echo ready; exec sleep 600", 143, "killed by SIGTERM"),
    ],
)
def test_signals_are_passed_on_and_what_the_command_says_then_is_appended(s2, uri, start, script, code, last):
    process = start(uri, "--", "sh", "-c", script)
    until(lambda: s2("read", uri).stdout == b"ready\n")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    lines = s2("read", uri).stdout.decode().splitlines()
    assert lines[-1] == last
    assert (lines[1] == "tidy") == (code == 9)


def test_where_the_append_fails_its_own_code_counts_and_the_command_is_ended(s2, uri, start):
    s2("fence", uri, "mine")
    process = start(uri, "-f", "other", "--", "sh", "-c", "echo line; exec sleep 600")
    said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 5
    assert b'is fenced by "mine"' in said
