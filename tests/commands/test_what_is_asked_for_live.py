"""What people ask of such a tool where it takes its time: terminals, losses, signals, and files that grow. One test for
each wish, through the installed `s2`."""

import contextlib
import json
import os
import pty
import re
import signal

import pytest
from support.waiting import TIMEOUT_S, unread_bytes, until


@pytest.fixture
def own(server, there):
    """The environment of a shell that has a server of this test alone."""
    server.create_basin("own-basin", create_stream_on_append=True)
    return {**there, **server.env(), "B": "s2://own-basin"}


def next_lines(process, count):
    return b"".join(process.stdout.readline() for _ in range(count))


def until_told(process, words):
    """What is on stderr up to the line with these words."""
    told = ""
    while words not in told:
        line = process.stderr.readline().decode()
        assert line, told
        told += line
    return told


# Reading


def test_time_as_ago_date_rfc3339_and_epoch_at_both_ends(sh):
    for at in range(4):
        sh(f"""echo '{{"timestamp":{1767225600000 + at * 1000},"body":"{at}"}}' | s2 append --format jsonl $B/a""")
    sh("echo now | s2 append $B/a")
    for options, expected in (
        ("--from 2026-01-01T00:00:01Z --to 2026-01-01T00:00:03Z", b"1\n2\n"),
        ("--from @1767225601 --to @1767225602000", b"1\n"),
        ("--from 2026-01-01 --to 2026-01-02 -n 9", b"0\n1\n2\n3\n"),
        ("--from 5m", b"now\n"),
        ("--from '1h ago' --to now", b"now\n"),
        ("--from start --to '1h ago'", b"0\n1\n2\n3\n"),
    ):
        assert sh(f"TZ=UTC s2 read $B/a {options}") == (expected, ""), options


@pytest.mark.parametrize("words", [("read", "-f"), ("read", "--follow"), ("tail", "-f"), ("tail", "--follow")])
def test_follow_spelling(sh, start_command, words):
    sh("echo 1 | s2 append $B/a")
    process = start_command(*words, "$B/a")
    assert next_lines(process, 1) == b"1\n"
    sh("echo 2 | s2 append $B/a")
    assert next_lines(process, 1) == b"2\n"


def test_flush_at_once_when_piped(sh, start_command):
    sh("echo 0 | s2 append $B/a")
    process = start_command("read", "--follow", "$B/a", "-o", "jsonl")
    for at in range(3):
        # Each by itself: no later record pushes it, and no end.
        assert json.loads(next_lines(process, 1))["body"] == str(at)
        sh(f"echo {at + 1} | s2 append $B/a")


def test_follow_survives_a_network_drop_and_says_so(sh, start_command, server, own):
    sh("seq 3 | s2 append $B/a", env=own)
    process = start_command("read", "--follow", "$B/a", env=own)
    assert next_lines(process, 3) == b"1\n2\n3\n"
    server.kill()
    until_told(process, "; trying again")
    server.start()
    sh("echo 4 | s2 append $B/a", env=own)
    assert next_lines(process, 1) == b"4\n"
    until_told(process, "connected again")
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    assert process.stdout.read() == b""


def test_an_output_file_is_whole_or_as_it_was(sh):
    sh("seq 3 | s2 append $B/a; echo before > out")
    sh("s2 read $B/missing -O out", code=3)
    assert sh("cat out; s2 read -q $B/a -O out; cat out; ls") == (b"before\n1\n2\n3\nout\n", "")


# Writing


def test_interactive_typing_without_surprises(sh, start_command):
    with typed() as (keys, terminal):
        process = start_command("append", "$B/a", stdin=terminal)
        assert until_told(process, "\n") == "reading records from the terminal, one per line; end with Ctrl-D\n"
        os.write(keys, b"one\n")
        # Before the next is typed, or the input ends.
        until(lambda: sh("s2 read $B/a || true")[0] == b"one\n")
        os.write(keys, b"\n\x04")
        told = process.stderr.read().decode()
    assert re.fullmatch(r"s2://\S+/a: 2 records durable at 0..1 \(3 B, 2 batches, .*\)\n", told)
    assert process.wait(TIMEOUT_S) == 0
    assert sh("s2 read $B/a")[0] == b"one\n\n"


def test_stdin_from_a_terminal_is_said_and_does_not_hang_in_silence(sh, start_command):
    sh("s2 create $B/a")
    with typed() as (keys, terminal):
        process = start_command("append", "$B/a", stdin=terminal)
        assert "reading records from the terminal" in until_told(process, "\n")
        os.write(keys, b"\x04")
        assert process.wait(TIMEOUT_S) == 0
    assert ": 0 records durable (" in process.stderr.read().decode()


@contextlib.contextmanager
def typed():
    """A terminal: where somebody types, and what a command reads."""
    keys, terminal = pty.openpty()
    yield keys, terminal
    os.close(terminal)
    os.close(keys)


def test_a_growing_file_is_followed_through_rotation(sh, start_command, tmp_path):
    (tmp_path / "app.log").write_bytes(b"1\n")
    process = start_command("append", "$B/a", "--follow-file", "app.log", "--state", "app")
    until(lambda: sh("s2 read $B/a || true")[0] == b"1\n")
    with open(tmp_path / "app.log", "ab") as file:
        file.write(b"2\n")
    until(lambda: sh("s2 read $B/a")[0] == b"1\n2\n")
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    (tmp_path / "app.log").write_bytes(b"3\n")
    until(lambda: sh("s2 read $B/a")[0] == b"1\n2\n3\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 143
    assert " 3 durable at 0..2 (" in process.stderr.read().decode()


def test_states_are_listed_shown_and_reset(sh):
    sh("seq 2 | s2 append $B/a; s2 read $B/a --state mine -n 1")
    (state,) = json.loads(sh("s2 state list -o json")[0])
    assert (state["name"], state["command"], state["next_seq_num"]) == ("mine", "read", 1)
    assert json.loads(sh("s2 state show mine -o json")[0]) == state
    assert sh("s2 state reset mine --yes; s2 read $B/a --state mine")[0] == b"1\n2\n"


def test_bench_with_a_machine_readable_result_that_is_compared(sh):
    bench = "s2 bench ${B#s2://} -d 200ms -w 0s -o json"
    result = json.loads(sh(bench)[0])
    assert result["outcome"] == "ok"
    assert result["write"]["records"] == result["live"]["records"] == result["catch_up"]["records"] > 0
    result["write"]["mib_per_s"] *= 1000
    words = f"cat > old.json; {bench} --compare old.json"
    compared = json.loads(sh(words, code=5, stdin=json.dumps(result).encode())[0])["compared"]
    assert [row["worse"] for row in compared if row["figure"] == "write mib_per_s"] == [True]


# At signals


def test_a_second_ctrl_c_stops_at_once_and_says_what_is_not_known(sh, start_command, server, own, tmp_path):
    sh("echo 0 | s2 append $B/a", env=own)
    os.mkfifo(tmp_path / "pipe")
    process = start_command("append", "$B/a", "pipe", env=own)
    with open(tmp_path / "pipe", "wb", buffering=0) as pipe:
        pipe.write(b"1\n")
        until(lambda: sh("s2 read $B/a", env=own)[0] == b"0\n1\n")
        server.process.send_signal(signal.SIGSTOP)
        try:
            pipe.write(b"2\n")
            until(lambda: unread_bytes(pipe) == 0)
            process.send_signal(signal.SIGINT)
            until_told(process, "a second Ctrl-C stops at once")
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 130
        finally:
            server.process.send_signal(signal.SIGCONT)
    assert re.search(r": 2 read, [12] sent, 1 durable at 1 \(.*; next line: 2", process.stderr.read().decode())
