"""`append --follow-file --state`: a file that is followed is in the stream once, through kills of the command and the
server, and through rotation while nobody reads it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

ROUNDS = int(os.environ.get("FOLLOWED_STATE_ROUNDS", "3"))


@pytest.fixture
def uri(shared_server, basin):
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


@pytest.fixture
def start(env):
    """Starts `s2 append --follow-file --state app`; it is gone after the test."""
    running = []

    def start(uri, path, *options, server=None):
        command = [sys.executable, "-m", "s2cli", "append", uri, "--follow-file", path, "--state", "app", *options]
        there = env if server is None else server.env()
        running.append(
            subprocess.Popen(
                command, env={**os.environ, **there}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.communicate(timeout=TIMEOUT_S)[1]


def write(path, data):
    with path.open("ab") as file:
        file.write(data)


def age(path, number):
    """Gives a rotated file a time long ago, later than those with lower numbers: by their times they are ordered."""
    os.utime(path, (1_700_000_000 + number,) * 2)


def test_a_file_that_is_followed_is_read_on_where_it_was(s2, uri, start, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"1\n2\nhal")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == b"1\n2\n")
    said = stop(process)
    assert process.returncode == 143
    assert said.endswith(b"; next line: 3; the same command resumes there\n")
    write(path, b"f\n4\n")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == b"1\n2\nhalf\n4\n")
    said = stop(process, signal.SIGKILL)
    assert b"2 lines are durable since an earlier run: resuming after them\n" in said
    state = json.loads(s2("state", "show", "app", "-o", "json").stdout)
    assert state["command"] == "append --follow-file"
    process = start(uri, path)
    write(path, b"5\n")
    until(lambda: s2("read", uri).stdout == b"1\n2\nhalf\n4\n5\n")


def test_what_was_rotated_while_nobody_read_it_is_not_lost(s2, uri, start, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"1\n2\n")
    (tmp_path / "app.log-errors").write_bytes(b"another log\n")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == b"1\n2\n")
    stop(process)
    write(path, b"3\nunended")
    age(path.rename(tmp_path / "app.log.3"), 0)
    for number, text in ((2, b"4\n"), (1, b"5\n6\n")):
        (tmp_path / f"app.log.{number}").write_bytes(text)
        age(tmp_path / f"app.log.{number}", 3 - number)
    path.write_bytes(b"7\n")
    write(tmp_path / "app.log-errors", b"still another log\n")
    process = start(uri, path)
    expected = b"1\n2\n3\nunended\n4\n5\n6\n7\n"
    until(lambda: s2("read", uri).stdout == expected)
    said = stop(process)
    assert f"app.log was replaced: continuing at the start of {tmp_path}/app.log.2\n".encode() in said
    process = start(uri, path)
    write(path, b"8\n")
    until(lambda: s2("read", uri).stdout == expected + b"8\n")


def test_a_file_that_was_copied_and_cut_is_found_by_its_copy(s2, uri, start, tmp_path):
    path = tmp_path / "app.log"
    lines = b"".join(b"line %d\n" % number for number in range(2000))
    path.write_bytes(lines)
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == lines)
    stop(process)
    write(path, b"last\n")
    age(shutil.copy(path, tmp_path / "app.log.1"), 0)
    path.write_bytes(b"new 1\n")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == lines + b"last\nnew 1\n")


@pytest.mark.parametrize("how", ["gone", "cut", "compressed"])
def test_lines_that_are_gone_are_an_error_and_no_gap(s2, uri, start, tmp_path, how):
    path = tmp_path / "app.log"
    path.write_bytes(b"banner\n1\n2\n")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == b"banner\n1\n2\n")
    stop(process)
    text = "is in the middle of a file that is gone: no file "
    if how == "gone":
        (tmp_path / "other").write_bytes(b"banner\n1\n2\n3\n")
        (tmp_path / "other").replace(path)
    elif how == "cut":
        path.write_bytes(b"banner\n1\n")
    else:
        age(path.rename(tmp_path / "app.log.2"), 0)
        (tmp_path / "app.log.1.gz").write_bytes(b"compressed")
        age(tmp_path / "app.log.1.gz", 1)
        path.write_bytes(b"banner\n")
        text = "app.log.1.gz comes next, and is compressed: its lines cannot be read"
    result = s2("append", uri, "--follow-file", path, "--state", "app", code=2)
    assert text in result.stderr.decode()
    assert s2("read", uri).stdout == b"banner\n1\n2\n"
    s2("state", "reset", "app", "--yes")
    if how != "compressed":
        start(uri, path)
        until(lambda: s2("read", uri).stdout == b"banner\n1\n2\n" + path.read_bytes())


def test_a_state_of_another_file_or_another_command_is_refused(s2, uri, start, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"1\n")
    (tmp_path / "other.log").write_bytes(b"1\n")
    process = start(uri, path)
    until(lambda: s2("read", uri).stdout == b"1\n")
    stop(process)
    words = ["append", uri, "--state", "app"]
    assert b"is of another file name: " in s2(*words, "--follow-file", tmp_path / "other.log", code=2).stderr
    assert b"is of another command: append --follow-file, not append\n" in s2(*words, path, code=2).stderr


def test_a_command_can_be_appended_exactly_once_but_not_resumed(s2, uri):
    result = s2("append", uri, "--state", "job", "--", "true", code=2)
    assert b"a command that is run again prints other output: there is no line at which --state could resume" in (
        result.stderr
    )
    assert b"--exactly-once" in result.stderr
    s2("append", uri, "--exactly-once", "--", "sh", "-c", "echo 1; echo 2")
    assert s2("read", uri).stdout == b"1\n2\nexited with 0\n"
    other = f"echo theirs | {sys.executable} -m s2cli append {uri}; echo ours; exec sleep 60"
    result = s2("append", uri, "--exactly-once", "--", "sh", "-c", other, code=5)
    assert b"another writer appends to this stream" in result.stderr
    assert s2("read", uri).stdout == b"1\n2\nexited with 0\ntheirs\n"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kills_of_command_and_server_between_rotations_leave_each_line_once(number, make_server, start, s2, tmp_path):
    dice = random.Random(1000 + number)
    server = make_server()
    uri = f"s2://{server.create_basin()}/stream"
    path = tmp_path / "app.log"
    path.touch()
    expected = b""
    rotated = 100
    process = start(uri, path, "--create", "-q", server=server)
    until(lambda: not s2("state", "show", "app", code=None).returncode)

    def tail():
        said = s2("check-tail", uri, at=server, code=None).stdout
        return int(said.split()[0]) if said else 0

    for turn in range(20):
        lines = b"".join(
            b"%d %d %s\n" % (turn, at, dice.choice((b"", b"x" * 300))) for at in range(dice.choice((3, 3000)))
        )
        half = dice.randrange(len(lines))
        before = tail()
        write(path, lines[:half])
        if lines[:half].count(b"\n") and dice.random() < 0.7:
            until(lambda before=before, process=process: tail() > before or process.poll() is not None)
            assert process.poll() is None, process.communicate()
        if dice.random() < 0.2:
            server.kill()
            server.start()
        is_killed = dice.random() < 0.5
        if is_killed:
            process.kill()
            process.wait()
        write(path, lines[half:])
        expected += lines
        if dice.random() < 0.4:
            rotated -= 1
            age(path, 100 - rotated)
            path.rename(tmp_path / f"app.log.{rotated}")
            path.touch()
        if is_killed:
            process = start(uri, path, "--create", "-q", server=server)
    until(lambda: process.poll() is not None or tail() == expected.count(b"\n"))
    assert process.poll() is None, process.communicate()
    stop(process)
    assert s2("read", uri, at=server).stdout == expected
