"""Reads into files: complete or as they were, and what is told of how far a read is."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from support.terminal import Watcher
from support.waiting import TIMEOUT_S, is_asleep, until, until_asleep, until_readable

S2 = [sys.executable, "-m", "s2cli"]


@pytest.fixture
def env(shared_server):
    return {**os.environ, **shared_server.env()}


@pytest.fixture
def uri(s2, basin):
    uri = f"s2://{basin}/numbers"
    s2("append", "--create", uri, stdin=b"0\n1\n2\n3\n4\n")
    return uri


def start(arguments, env, **options):
    return subprocess.Popen([*S2, *arguments], stderr=subprocess.PIPE, env=env, bufsize=0, **options)


def test_output_file_is_complete_or_as_it_was(s2, uri, basin, tmp_path):
    path = tmp_path / "out"
    done = s2("read", uri, "-O", path)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n"
    assert re.search(rb": 5 records read to \S+/out \(10 B, \S+ s, \d+ records/s\)\n$", done.stderr)
    s2("read", f"s2://{basin}/none", "-O", path, code=3)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n"
    s2("read", uri, "-O", path, "-n", "1")
    assert path.read_bytes() == b"0\n"
    s2("read", uri, "--from", "end", "-O", path)
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == ["out"]


def test_an_output_file_keeps_its_mode_and_its_link(s2, uri, tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    s2("read", uri, "-O", tmp_path / "link", "-n", "1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"0\n"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_an_output_that_is_no_regular_file_is_written_as_it_is(uri, env):
    done = subprocess.run(
        [*S2, "read", uri, "-O", "/dev/stdout", "-n", "2"], env=env, capture_output=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout == b"0\n1\n"


@pytest.fixture
def slow_uri(s2, basin):
    """A stream whose third record lies an hour after its second: `--speed 1x` stops there."""
    uri = f"s2://{basin}/slow"
    times = (1_600_000_000_000, 1_600_000_000_000, 1_600_003_600_000, 1_600_003_600_001)
    lines = b"".join(json.dumps({"timestamp": time, "body": str(n)}).encode() + b"\n" for n, time in enumerate(times))
    s2("append", "--create", uri, "--format", "json", stdin=lines)
    return uri


def test_an_interrupted_read_into_a_file_is_finished_by_what_it_says(slow_uri, env, tmp_path):
    path, partial = tmp_path / "a file", tmp_path / "a file.partial"
    path.write_bytes(b"old")
    with start(["read", slow_uri, "-O", str(path), "--speed", "1x"], env) as process:
        until(lambda: partial.exists() and partial.read_bytes() == b"0\n1\n" and is_asleep(process.pid))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert path.read_bytes() == b"old"
    assert b": 2 records read to " in said
    command = said.decode().rpartition("; to resume: ")[2].strip()
    partial, path = shlex.quote(str(partial)), shlex.quote(str(path))
    assert command == f"s2 read {slow_uri} --from 2 --to 4 --speed 1x >> {partial} && mv {partial} {path}"
    command = command.replace(" --speed 1x", "").replace("s2 ", shlex.join(S2) + " ", 1)
    subprocess.run(["sh", "-c", command], env=env, check=True, timeout=TIMEOUT_S)
    assert (tmp_path / "a file").read_bytes() == b"0\n1\n2\n3\n"
    assert os.listdir(tmp_path) == ["a file"]


def test_two_reads_do_not_write_one_file(uri, env, s2, tmp_path):
    path = tmp_path / "log"
    with start(["read", "--follow", uri, "-O", str(path)], env) as process:
        until(lambda: path.exists() and path.read_bytes().count(b"\n") == 5)
        assert b"another read is writing to " in s2("read", "--follow", uri, "-n1", "-O", path, code=1).stderr
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n"


def test_a_closing_line_after_every_read_to_a_file(s2, uri, env, tmp_path):
    with open(tmp_path / "stdout", "wb") as stdout:
        done = subprocess.run([*S2, "read", uri], env=env, stdout=stdout, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
    assert re.fullmatch(re.escape(f"{uri}: 5 records read (10 B, ") + r"\S+ s, \d+ records/s\)\n", done.stderr.decode())
    assert s2("read", uri, "-O", tmp_path / "x", "-q").stderr == b""
    assert s2("read", uri).stderr == b""


# Lag, rate and progress


@pytest.mark.parametrize("name", ["SIGUSR1"] + ["SIGINFO"] * hasattr(signal, "SIGINFO"))
def test_a_signal_shows_the_status_in_a_pipe(uri, env, name):
    with start(["read", "--follow", uri], env, stdout=subprocess.PIPE) as process:
        output = b""
        while output.count(b"\n") < 5:
            until_readable(process.stdout, output)
            output += process.stdout.read(65536)
        until_asleep(process.pid)
        process.send_signal(getattr(signal, name))
        until_readable(process.stderr)
        said = process.stderr.readline().decode()
        assert re.fullmatch(
            re.escape(f"{uri}: 5 records, 10 B, ") + r"\d+ records/s, next 5(, tail 5, 0 behind)?\n", said
        )
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"stopped before sequence number 5; to resume: " in rest


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (
            ["--from", "end"],
            "waiting for record 5, the stream's next, nothing before it was asked for (--from start), s2:",
        ),
        ([], "waiting for record 5, the stream's next, s2:"),
        (["--grep", "3"], "waiting for record 5, the stream's next, 4 skipped, s2:"),
    ],
)
def test_a_hint_when_nothing_arrives(uri, env, options, hint):
    with contextlib.closing(Watcher(["read", "--follow", uri, *options], env, subprocess.DEVNULL)) as watcher:
        watcher.until_says(f"\r\x1b[K{hint}")
        watcher.interrupt()


def test_no_hint_in_a_pipe(uri, env):
    """Nor a byte of what drives a terminal: the status that a signal asks for is all that is said."""
    with start(["read", "--follow", uri, "--from", "end"], env, stdout=subprocess.PIPE) as process:
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=TIMEOUT_S)
    assert output == b""
    assert b"waiting" not in said
    assert b"\x1b" not in said


def test_a_percentage_and_the_time_left_where_the_end_is_known(slow_uri, env, tmp_path):
    words = ["read", slow_uri, "--speed", "1x", "-O", str(tmp_path / "x")]
    with contextlib.closing(Watcher(words, env, None)) as watcher:
        watcher.until_says("50 %, 2 records, ")
        watcher.until_says(" s left, 4 B, ")
        watcher.interrupt()


def test_replay_in_the_rhythm_of_the_records(slow_uri, env, s2):
    with start(["read", slow_uri, "--speed", "1x"], env, stdout=subprocess.PIPE) as process:
        output = b""
        while output.count(b"\n") < 2:
            until_readable(process.stdout, output)
            output += process.stdout.read(65536)
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=TIMEOUT_S)
    assert output + rest == b"0\n1\n"
    assert b"stopped before sequence number 2; to resume: s2 read " in said
    assert s2("read", slow_uri, "--speed", "10000000x").stdout == b"0\n1\n2\n3\n"
    assert s2("read", slow_uri, "--speed", "max").stdout == b"0\n1\n2\n3\n"
    assert s2("read", slow_uri, "--speed", "1e9x", code=2).stdout == b""
    assert s2("read", slow_uri, "--speed", "9999999x", "--grep", "[13]", "-n", "1").stdout == b"1\n"


def test_a_replay_ends_with_the_reader_of_its_output(slow_uri, env):
    with start(["read", slow_uri, "--speed", "1x"], env, stdout=subprocess.PIPE) as process:
        until_readable(process.stdout)
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr.read() == b""
