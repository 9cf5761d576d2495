"""`s2 copy --follow` of all streams below a name: those that are there, and those that appear later."""

import json
import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until


@pytest.fixture
def copying(env):
    """Runs `s2 copy` with these words; what is left over is ended."""
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", "copy", *words],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def bodies(s2, uri):
    return s2("read", uri, code=None).stdout


def test_all_streams_below_a_name_are_followed_and_those_that_appear_later(s2, basin, unique_basin, copying):
    target = unique_basin()
    for name in ("app/a", "app/b/c", "other"):
        s2("append", f"s2://{basin}/{name}", "--create", stdin=f"{name} 1\n".encode())
    process = copying(f"s2://{basin}/app/", f"s2://{target}/2026/", "--create", "--follow", "-v")
    until(lambda: bodies(s2, f"s2://{target}/2026/a") == b"app/a 1\n")
    s2("append", f"s2://{basin}/app/a", stdin=b"app/a 2\n")
    s2("append", f"s2://{basin}/app/new", "--create", stdin=b"new 1\nnew 2\n")
    until(lambda: bodies(s2, f"s2://{target}/2026/new") == b"new 1\nnew 2\n")
    until(lambda: bodies(s2, f"s2://{target}/2026/a") == b"app/a 1\napp/a 2\n")
    until(lambda: bodies(s2, f"s2://{target}/2026/b/c") == b"app/b/c 1\n")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 130
    for name, new_name, count in (("app/a", "2026/a", 2), ("app/b/c", "2026/b/c", 1), ("app/new", "2026/new", 2)):
        line = f"s2://{basin}/{name} to s2://{target}/{new_name}: {count} record".encode()
        told = [part for part in said.splitlines() if part.startswith(line)]
        assert len(told) == 1, said
        assert told[0].endswith(b"; the same command resumes at record %d" % count)
    assert b"other" not in said
    s2("copy", f"s2://{basin}/app/", f"s2://{target}/2026/")
    assert bodies(s2, f"s2://{target}/2026/a") == b"app/a 1\napp/a 2\n"


def test_a_whole_basin_is_followed_through_kills_and_each_record_copied_once(s2, basin, unique_basin, copying):
    target = unique_basin()
    names = [f"s{number}" for number in range(6)]
    text = dict.fromkeys(names, b"")

    def more(name, count):
        lines = b"".join(b"%s %d\n" % (name.encode(), number) for number in range(count))
        text[name] += lines
        s2("append", f"s2://{basin}/{name}", "--create", stdin=lines)

    words = [f"s2://{basin}", f"s2://{target}", "--create", "--follow"]
    for turn in range(3):
        process = copying(*words)
        for name in names[: 2 * turn + 2]:
            more(name, 700)
        until(lambda last=names[2 * turn + 1]: bodies(s2, f"s2://{target}/{last}"))
        process.kill()
        process.wait()
    process = copying(*words, "-o", "json")
    for name in names:
        until(lambda name=name: bodies(s2, f"s2://{target}/{name}") == text[name])
    process.terminate()
    accounts = [json.loads(line) for line in process.communicate(timeout=TIMEOUT_S)[0].splitlines()]
    assert process.returncode == 143
    assert sorted(account["source"] for account in accounts) == [f"s2://{basin}/{name}" for name in names]
    assert {account["outcome"] for account in accounts} == {"terminated"}


def test_another_writer_in_one_copy_ends_all_in_good_order(s2, basin, unique_basin, copying):
    target = unique_basin()
    for name in ("a", "b"):
        s2("append", f"s2://{basin}/{name}", "--create", stdin=b"1\n")
    process = copying(f"s2://{basin}/", f"s2://{target}/", "--create", "--follow")
    until(lambda: bodies(s2, f"s2://{target}/a") == b"1\n" == bodies(s2, f"s2://{target}/b"))
    s2("append", f"s2://{target}/b", stdin=b"of somebody else\n")
    s2("append", f"s2://{basin}/b", stdin=b"2\n")
    said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 5
    assert f"error: s2://{basin}/b: another writer appends to this stream: ".encode() in said
    assert f"s2://{basin}/a to s2://{target}/a: 1 record copied at 0 (".encode() in said


def test_a_stream_that_is_deleted_ends_its_own_copy_alone(s2, basin, unique_basin, copying):
    target = unique_basin()
    for name in ("a", "b"):
        s2("append", f"s2://{basin}/{name}", "--create", stdin=b"1\n")
    process = copying(f"s2://{basin}/", f"s2://{target}/", "--create", "--follow", "--max-outage", "20s")
    until(lambda: bodies(s2, f"s2://{target}/a") == b"1\n" == bodies(s2, f"s2://{target}/b"))
    s2("delete", f"s2://{basin}/b", "--yes")
    s2("append", f"s2://{basin}/a", stdin=b"2\n")
    until(lambda: bodies(s2, f"s2://{target}/a") == b"1\n2\n")
    said = b""
    while b"/b has been deleted\n" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143
    assert f"s2://{basin}/b to s2://{target}/b: 1 record copied at 0 (".encode() in said
    assert bodies(s2, f"s2://{target}/b") == b"1\n"


def test_an_empty_place_waits_for_its_first_stream(s2, basin, unique_basin, copying):
    target = unique_basin()
    process = copying(f"s2://{basin}/later/", f"s2://{target}/", "--create", "--follow", "--grep", "yes")
    assert process.stderr.readline() == b"no stream is there yet: waiting for the first\n"
    s2("append", f"s2://{basin}/later/x", "--create", stdin=b"yes 1\nno\nyes 2\n")
    until(lambda: bodies(s2, f"s2://{target}/x") == b"yes 1\nyes 2\n")
    process.terminate()
    assert b": 2 records copied at 0..1, 1 skipped (" in process.communicate(timeout=TIMEOUT_S)[1]


def test_a_state_with_a_name_is_kept_for_each_of_many_streams(s2, basin, unique_basin, home):
    target = unique_basin()
    for name in ("a", "b"):
        s2("append", f"s2://{basin}/{name}", "--create", stdin=b"1\n")
    for _ in range(2):
        s2("copy", f"s2://{basin}/", f"s2://{target}/", "--create", "--state", "moving")
    assert bodies(s2, f"s2://{target}/a") == bodies(s2, f"s2://{target}/b") == b"1\n"
    names = [line.split()[0] for line in s2("state", "list").stdout.decode().splitlines()]
    assert len([name for name in names if name.startswith("moving-")]) == 2
