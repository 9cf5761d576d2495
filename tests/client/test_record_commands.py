"""The record commands as they are typed, against a real server: what they print, and how they end."""

import json
import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, unread_bytes, until, until_asleep, until_readable

BYTES = b"one\r\n\n\xff\xfe\n\0nul\n" + b"x" * 300_000 + b"\nlast\n"


# Append


@pytest.mark.parametrize("options", [(), ("--http2",)], ids=["h1", "h2"])
def test_bytes_go_in_and_come_out_the_same(s2, uri, options):
    result = s2("append", uri, *options, stdin=BYTES)
    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr.startswith(f"{uri}: 6 records durable at 0..5 (293.0 KiB, ".encode())
    result = s2("read", uri, *options)
    assert (result.returncode, result.stdout, result.stderr) == (0, BYTES, b"")


def test_nul_separates_records(s2, uri):
    s2("append", "-0", uri, stdin=b"a\nb\0\0c")
    assert s2("read", "-0", uri).stdout == b"a\nb\0\0c\0"
    assert s2("read", "-0", uri, "--format", "json").stdout.count(b"}\0") == 3


def test_json_base64_makes_an_exact_copy(s2, uri, shared_server, basin):
    s2("append", uri, "-H", "k=v", "-H", "empty=", stdin=BYTES)
    lines = s2("read", uri, "-o", "json-base64").stdout
    shared_server.create_stream(basin, "copy")
    copy = f"s2://{basin}/copy"
    s2("append", copy, "--format", "json-base64", stdin=lines)
    assert s2("read", copy, "-o", "json-base64").stdout == lines
    assert json.loads(lines.splitlines()[0])["headers"] == [["aw==", "dg=="], ["ZW1wdHk=", ""]]


def test_the_account_as_json(s2, uri):
    s2("append", uri, stdin=b"before\n")
    result = s2("append", uri, "-o", "json", stdin=b"a\nbb\n")
    account = json.loads(result.stdout)
    assert account.pop("seconds") >= 0
    assert account == {
        "stream": uri,
        "read": 2,
        "skipped_commands": 0,
        "sent": 2,
        "durable": 2,
        "unknown": 0,
        "repeated_lines": [],
        "first_seq_num": 1,
        "last_seq_num": 2,
        "ranges": [[1, 2]],
        "next_line": 3,
        "bytes": 3,
        "batches": 1,
        "outcome": "ok",
    }
    assert result.stderr == b""


def test_quiet_drops_the_account(s2, uri):
    result = s2("append", "-q", uri, stdin=b"a\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_create_makes_what_is_missing_and_touches_nothing_else(s2, shared_server, unique_basin):
    basin = unique_basin()
    uri = f"s2://{basin}/a/b c%"
    for expected in (b"durable at 0 (", b"durable at 1 ("):
        result = s2("append", "--create", uri, "--retention-policy", "3d", stdin=b"x\n")
        assert expected in result.stderr
    config = shared_server.request("GET", "/v1/streams/a%2Fb%20c%25", basin=basin).json()
    assert config["retention_policy"] == {"age": 3 * 86400}
    s2("append", "--create", uri, "--retention-policy", "4d", stdin=b"x\n")
    assert shared_server.request("GET", "/v1/streams/a%2Fb%20c%25", basin=basin).json() == config


def test_a_basin_may_make_the_stream_when_something_is_appended(s2, shared_server):
    basin = shared_server.create_basin(create_stream_on_append=True)
    uri = f"s2://{basin}/made"
    s2("append", uri, stdin=b"", code=3)
    s2("append", uri, stdin=b"x\n")
    assert s2("read", uri).stdout == b"x\n"


def test_a_file_is_read_where_it_is_named(s2, uri, tmp_path):
    (tmp_path / "input").write_bytes(b"from a file\n")
    s2("append", uri, "-i", tmp_path / "input", stdin=b"not this\n")
    assert s2("read", uri).stdout == b"from a file\n"
    result = s2("append", uri, "-i", tmp_path / "missing", code=2)
    assert b"no such file" in result.stderr
    result = s2("append", uri, "-i", tmp_path, code=2)
    assert (result.returncode, result.stderr) == (2, f"error: cannot read {tmp_path}: is a directory\n".encode())


@pytest.mark.parametrize(
    ("format_", "data", "code", "text"),
    [
        ("text", b"good\n" + b"x" * (1 << 20) + b"\nmore\n", 7, b"line 2: the record has "),
        ("json", b'{"body":"good"}\nbad\n', 7, b"line 2: not valid JSON"),
        ("json-base64", b'{"body":"Z29vZA=="}\n{"body":"?"}\n', 7, b"line 2: body is not valid Base64"),
    ],
)
def test_a_bad_line_ends_the_append_after_those_before_it(s2, uri, format_, data, code, text):
    result = s2("append", uri, "--format", format_, stdin=data, code=7)
    assert result.returncode == code
    assert text in result.stderr
    assert b"1 read, 1 sent, 1 durable at 0 (" in result.stderr
    assert b"next line: 2" in result.stderr
    how = "" if format_ == "text" else f" --format {format_}"
    hint = f"; correct it, or to resume after it: tail -n +3 FILE | s2 append {uri}{how}\n"
    assert hint.encode() in result.stderr
    assert s2("read", uri).stdout == b"good\n"


def test_conditions_that_fail_end_with_5(s2, uri):
    s2("append", uri, "-m", "0", stdin=b"a\n")
    result = s2("append", uri, "-m", "0", stdin=b"a\nb\n", code=5)
    assert (
        f"error: the next sequence number of {uri} is 1, not 0 as --match-seq-num demands\n" in result.stderr.decode()
    )
    assert b"2 read, 2 sent, 0 durable" in result.stderr
    result = s2("append", uri, "-m", "7", stdin=b"a\n", code=5)
    assert f"error: the next sequence number of {uri} is 1, not 7 as" in result.stderr.decode()
    result = s2("append", uri, "--fencing-token", "mine", stdin=b"a\n", code=5)
    assert f'error: {uri} is not fenced, and "mine" was given\n' in result.stderr.decode()
    s2("fence", uri, "theirs")
    for command in (["append", uri], ["trim", uri, "1"], ["fence", uri, "mine too"]):
        result = s2(*command, "--fencing-token", "mine", stdin=b"a\n", code=5)
        assert f'error: {uri} is fenced by "theirs", and "mine" was given\n' in result.stderr.decode()
    assert s2("read", uri).stdout == b"a\n"


def test_text_for_a_stream_that_demands_timestamps(s2, shared_server, basin):
    shared_server.create_stream(basin, timestamping={"mode": "client-require"})
    uri = f"s2://{basin}/stream"
    result = s2("append", uri, stdin=b"a\n", code=7)
    assert b"--format json" in result.stderr
    assert b'{"timestamp":' in result.stderr
    s2("append", uri, "--format", "json", stdin=b'{"timestamp":5,"body":"a"}\n')
    assert b'"timestamp":5,' in s2("read", uri, "-o", "json").stdout


@pytest.mark.parametrize("command", ["append", "read", "tail", "check-tail"])
def test_what_is_missing_ends_with_3_and_says_how_to_make_it(s2, basin, unique_basin, command):
    for uri, hint in (
        (f"s2://{basin}/missing", f"s2 create s2://{basin}/missing creates it"),
        (f"s2://{(other := unique_basin())}/x", f"s2 create s2://{other} creates it"),
    ):
        result = s2(command, uri, stdin=b"x\n", code=3)
        assert hint.encode() in result.stderr
        assert result.stdout == b""


def test_a_server_that_is_not_there_ends_with_6(run_s2, make_server):
    server = make_server(data=None)
    env = server.env()
    server.kill()
    result = run_s2("append", "s2://basin-name/x", "--max-outage", "500ms", env=env, stdin=b"x\n")
    assert result.returncode == 6
    assert b"connection refused; trying again" in result.stderr
    assert b"gave up after 0.5 s" in result.stderr
    assert run_s2("check-tail", "s2://basin-name/x", env=env).returncode == 6


def test_linger_holds_a_batch_together(s2, uri, env):
    """Until the input ends: a batch that is not full leaves then too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "s2cli", "append", uri, "--linger", "1h", "-o", "json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    for line in (b"a\n", b"b\n", b"c\n"):
        process.stdin.write(line)
        process.stdin.flush()
        until(lambda: unread_bytes(process.stdin) == 0)
        until_asleep(process.pid)  # without a linger the line would have left
    output, _ = process.communicate(timeout=TIMEOUT_S)
    account = json.loads(output)
    assert (account["durable"], account["batches"]) == (3, 1)


def test_a_last_line_that_nothing_ends_leaves_when_the_input_ends(uri, env, shared_server):
    def questions():
        counted = b's2_requests_total{operation="check-tail",status="200"} '
        return shared_server.request("GET", "/metrics").body.partition(counted)[2].split(b"\n")[0]

    before = questions()
    process = subprocess.Popen(
        [sys.executable, "-m", "s2cli", "append", uri],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
    )
    process.stdin.write(b"no newline")
    process.stdin.flush()
    until(lambda: questions() != before)  # the server has answered: nothing but the end of the input wakes the append
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert b"1 record durable at 0 (" in said


class Terminal:
    """A terminal with an append whose stderr it is, and with `typed` its stdin too."""

    def __init__(self, uri, env, *, typed):
        self.screen = b""
        self._ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", "append", uri],
            stdin=theirs if typed else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, **env, "NO_COLOR": "1", "COLUMNS": "200"},
        )
        os.close(theirs)

    def type(self, data):
        os.write(self._ours, data)

    def wait_for(self, text):
        while text.encode() not in self.screen:
            until_readable(self._ours, self.screen)
            self.screen += os.read(self._ours, 4096)

    def close(self):
        assert self.process.communicate(timeout=TIMEOUT_S)[0] == b""
        assert self.process.returncode == 0
        os.close(self._ours)


def test_a_terminal_sees_how_an_append_goes(uri, env):
    terminal = Terminal(uri, env, typed=False)
    terminal.process.stdin.write(b"line\n")
    terminal.process.stdin.flush()
    terminal.wait_for("\r\x1b[K1 durable, 4 B, ")
    terminal.process.stdin.close()
    terminal.process.stdin = None
    terminal.wait_for("1 record durable at 0 (")
    terminal.close()
    assert b"\r\x1b[K" in terminal.screen.rpartition(b" under way")[2]  # the live line is gone at the end


def test_lines_can_be_typed(uri, env, basin, shared_server):
    terminal = Terminal(uri, env, typed=True)
    terminal.wait_for("end with Ctrl-D")
    terminal.type(b"typed\n")
    tail = f"/v1/streams/{uri.rpartition('/')[2]}/records/tail"
    until(lambda: shared_server.request("GET", tail, basin=basin).json()["tail"]["seq_num"] == 1)
    terminal.type(b"\x04")
    terminal.wait_for("1 record durable at 0 (")
    terminal.close()


# Read and tail


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "0123456789"),
        (("--from", "7"), "789"),
        (("--from", "-3"), "789"),
        (("--from", "-30"), "0123456789"),
        (("--from", "start", "--to", "3"), "012"),
        (("--from", "2", "--to", "-6"), "23"),
        (("--from", "5", "--to", "5"), ""),
        (("--from", "end"), ""),
        (("--from", "10"), ""),
        (("--from", "12", "--clamp"), ""),
        (("-n", "2"), "01"),
        (("-n", "0"), ""),
        (("--from", "8", "-n", "5"), "89"),
        (("--bytes", "20"), "01"),
        (("--from", "1h ago"), "0123456789"),
        (("--from", "@4102444800"), ""),
        (("--to", "1h ago"), ""),
        (("--from", "2000-01-01", "--to", "2001-01-01"), ""),
        (("--seq-num", "8"), "89"),
        (("--tail-offset", "1"), "9"),
        (("--timestamp", "0"), "0123456789"),
        (("--follow", "--to", "4"), "0123"),
        (("--follow", "-n", "4", "--from", "3"), "3456"),
        (("--follow", "--from", "-2", "--to", "end"), "89"),
    ],
)
def test_where_a_read_begins_and_ends(s2, ten, options, expected):
    result = s2("read", ten, *options)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.replace(b"\n", b"").decode() == expected


def test_a_start_beyond_the_tail_ends_with_5(s2, ten):
    for options in (("--from", "11"), ("--from", "11", "--follow")):
        result = s2("read", ten, *options, code=5)
        assert (result.returncode, result.stdout) == (5, b"")
        assert b"ends at sequence number 10: a read cannot start at 11" in result.stderr
        assert b"--clamp" in result.stderr


@pytest.mark.parametrize(
    "options", [("--from", "1", "--seq-num", "2"), ("--to", "3", "--until", "5"), ("--ago", "1h", "--timestamp", "1")]
)
def test_two_starts_or_ends_are_a_usage_error(s2, ten, options):
    s2("read", ten, *options, code=2)


def test_tail(s2, ten, shared_server, basin):
    assert s2("tail", ten, "-n", "3").stdout == b"7\n8\n9\n"
    assert s2("tail", ten).stdout.count(b"\n") == 10
    shared_server.create_stream(basin, "empty")
    result = s2("tail", f"s2://{basin}/empty")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_check_tail(s2, ten):
    seq_num, at, timestamp = s2("check-tail", ten).stdout.split()
    assert (seq_num, at) == (b"10", b"@")
    assert json.loads(s2("check-tail", ten, "-o", "json").stdout) == {"seq_num": 10, "timestamp": int(timestamp)}


def test_an_output_file_is_emptied_and_filled(s2, ten, tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"x" * 1000)
    assert s2("read", ten, "-O", target, "--from", "-1").stdout == b""
    assert target.read_bytes() == b"9\n"
    s2("read", ten, "-O", target, "--from", "end")
    assert target.read_bytes() == b""
    result = s2("read", ten, "-O", tmp_path / "no" / "where", code=2)
    assert b"cannot write to" in result.stderr


def test_command_records_are_told_in_text_and_shown_in_json(s2, ten):
    s2("trim", ten, "4", stdin=b"")
    s2("fence", ten, "mine")
    result = s2("read", ten)
    assert result.stdout == b"4\n5\n6\n7\n8\n9\n"
    assert b"trim to 4 // 10 @ " in result.stderr
    assert b'new fencing token "mine" // 11 @ ' in result.stderr
    trim, fence = (json.loads(line) for line in s2("read", ten, "--from", "-2", "-o", "json").stdout.splitlines())
    assert trim["headers"] == [["", "trim"]]
    assert (fence["headers"], fence["body"]) == ([["", "fence"]], "mine")


# Following


@pytest.fixture
def follow(env):
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            bufsize=0,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait(TIMEOUT_S)
        process.stdout.close()
        process.stderr.close()


def test_a_follower_prints_what_is_there_and_what_comes(s2, ten, follow):
    follower = follow("tail", "-f", "-n", "1", ten)
    assert follower.stdout.readline() == b"9\n"
    s2("append", ten, stdin=b"new\n")
    assert follower.stdout.readline() == b"new\n"
    until_asleep(follower.pid)
    follower.send_signal(signal.SIGINT)
    assert follower.wait(TIMEOUT_S) == 130
    said = follower.stderr.read().decode()
    assert said == f"stopped before sequence number 11; to resume: s2 read {ten} --from 11 --follow\n"


def test_a_follower_ends_quietly_when_its_reader_goes_even_if_nothing_comes(ten, follow):
    follower = follow("read", "--follow", ten)
    assert follower.stdout.readline() == b"0\n"
    follower.stdout.close()
    assert follower.wait(TIMEOUT_S) == 0
    assert follower.stderr.read() == b""


def test_a_reader_ends_quietly_when_its_reader_goes(s2, uri, follow):
    s2("append", uri, stdin=b"a line of some length\n" * 50_000)
    reader = follow("read", uri)
    assert reader.stdout.readline()
    reader.stdout.close()
    assert reader.wait(TIMEOUT_S) == 0
    assert reader.stderr.read() == b""


def test_sigterm_ends_a_follower(ten, follow):
    follower = follow("read", "--follow", ten)
    assert follower.stdout.readline() == b"0\n"
    follower.terminate()
    assert follower.wait(TIMEOUT_S) in (-signal.SIGTERM, 143)


def test_nothing_in_flight_is_refused(s2, uri):
    done = s2("append", uri, "--inflight", "0", stdin=b"x\n", code=2)
    assert b"--inflight 0 would never send anything" in done.stderr
