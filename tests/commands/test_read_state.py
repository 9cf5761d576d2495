"""Resume where a read stopped: `read --state`. Through the installed `s2`: bytes, exit codes, what the file has."""

import json
import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until


@pytest.fixture
def uri(s2, basin):
    uri = f"s2://{basin}/stream"
    s2("append", uri, "--create", stdin=b"".join(b"%d\n" % number for number in range(10)))
    return uri


def test_a_named_cursor_goes_on_where_the_last_run_ended(s2, uri):
    assert s2("read", uri, "--state", "x", "-n", "3").stdout == b"0\n1\n2\n"
    assert s2("read", uri, "--state", "x", "-n", "2").stdout == b"3\n4\n"
    # The start is of the first run.
    assert s2("read", uri, "--state", "x", "--from", "start").stdout == b"5\n6\n7\n8\n9\n"
    assert s2("read", uri, "--state", "x").stdout == b""
    s2("append", uri, stdin=b"new\n")
    assert s2("read", uri, "--state", "x", "-o", "json").stdout.startswith(b'{"seq_num":10,')
    assert s2("read", uri, "--state", "y", "--from", "-1").stdout == b"new\n"
    (x, y) = json.loads(s2("state", "list", "-o", "json").stdout)
    assert [(item["name"], item["command"], item["next_seq_num"]) for item in (x, y)] == [
        ("x", "read", 11),
        ("y", "read", 11),
    ]


def test_a_file_is_cut_to_what_was_saved(s2, uri, tmp_path):
    path = tmp_path / "out"
    s2("read", uri, "--state", "x", "-n", "3", "-O", path)
    # What a killed run has written after it saved for the last time.
    with path.open("ab") as file:
        file.write(b"3\n4\nhal")
    s2("read", uri, "--state", "x", "-O", path)
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(10))
    path.write_bytes(b"")
    result = s2("read", uri, "--state", "x", "-O", path, code=2)
    assert b"has less than the 20 bytes that were written to it" in result.stderr


def test_a_cursor_is_of_one_stream_and_one_output(s2, uri, basin, tmp_path):
    s2("read", uri, "--state", "x")
    s2("append", f"s2://{basin}/other", "--create", stdin=b"1\n")
    assert b"the state x is of another stream" in s2("read", f"s2://{basin}/other", "--state", "x", code=2).stderr
    assert b"the state x is of another output" in s2("read", uri, "--state", "x", "-O", tmp_path / "f", code=2).stderr
    assert b"the state x is of another command" in s2("append", uri, "--state", "x", stdin=b"1\n", code=2).stderr
    assert b"--state is for one stream" in s2("read", uri, f"s2://{basin}/other", "--state", "x", code=2).stderr


def test_a_reader_that_has_gone_is_printed_to_again(s2, env, uri):
    command = [sys.executable, "-m", "s2cli", "read", uri, "--state", "x", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **env}) as process:
        assert process.stdout.readline() == b"0\n"
        until(lambda: json.loads(s2("state", "show", "x", "-o", "json", code=None).stdout or b"{}"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143
    s2("append", uri, stdin=b"new\n")
    assert s2("read", uri, "--state", "x").stdout == b"new\n"
