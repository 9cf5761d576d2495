"""`s2 read` and `tail` as a person meets them: where to start, what a terminal shows, and how a read is resumed."""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading

import pytest
from support.waiting import TIMEOUT_S, is_asleep, until, until_asleep, until_readable

S2 = [sys.executable, "-m", "s2cli"]


@pytest.fixture
def env(shared_server):
    return {**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, **shared_server.env()}


@pytest.fixture
def uri(s2, basin):
    """A stream with five records, whose name a shell would take apart."""
    uri = f"s2://{basin}/it's größe 日本"
    s2("append", "--create", uri, stdin=b"0\n1\n2\n3\n4\n")
    return uri


# Where to start and to end


@pytest.mark.parametrize("options", [["-2"], ["-n2"], ["-n", "2"], ["--lines", "2"]])
def test_tail_takes_a_number_as_tail_does(s2, uri, options):
    assert s2("tail", *options, uri).stdout == b"3\n4\n"
    assert s2("tail", uri, *options).stdout == b"3\n4\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--from", "3", "--to", "1"),
        ("--seq-num", "3", "--to", "1"),
        ("--from", "3", "--to", "start"),
        ("--from", "-1", "--to", "-3"),
        ("--tail-offset", "1", "--to", "-3"),
        ("--from", "end", "--to", "-1"),
        ("--from", "end", "--to", "start"),
        ("--from", "5m", "--to", "0"),
        ("--from", "5m", "--to", "10m"),
        ("--from", "now", "--to", "yesterday"),
        ("--from", "@20", "--until", "10000"),
        ("--ago", "5m", "--to", "1h"),
        ("--timestamp", "5", "--until", "3"),
    ],
)
@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_an_end_before_the_start_is_a_usage_error(run_s2, options, follow):
    result = run_s2(
        "read", "s2://no-such-basin/x", *options, *follow, env={"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert result.returncode == 2
    assert b"the read would end before it starts" in result.stderr


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (("--from", "3", "--to", "3"), b""),
        (("--from", "-3", "--to", "-1"), b"2\n3\n"),
        (("--from", "start", "--to", "1"), b"0\n"),
        (("--from", "end", "--to", "end"), b""),
        (("--from", "yesterday", "--to", "now"), b"0\n1\n2\n3\n4\n"),
        (("--from", "now"), b""),
    ],
)
def test_what_may_be_empty_is_no_error(s2, uri, options, output):
    result = s2("read", uri, *options)
    assert (result.returncode, result.stdout, result.stderr) == (0, output, b"")


def test_a_time_without_an_at_is_recognized(s2, uri):
    result = s2("read", uri, "--from", "1795656191976", code=5)
    assert b"--from @1795656191976" in result.stderr
    assert b"@" not in s2("read", uri, "--from", "17", code=5).stderr
    result = s2("read", uri, "--from", "4", "--to", "1795656191976")
    assert (result.returncode, result.stdout) == (0, b"4\n")
    assert b"--to @1795656191976" in result.stderr


# What a terminal shows


class Terminal:
    """stderr of a command, as many columns wide."""

    def __init__(self, columns):
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def run(self, arguments, stdout, env, check=True):
        """What the command says there, after its end."""
        said = bytearray()

        def listen():
            try:
                while data := os.read(self._ours, 4096):
                    said.extend(data)
            except OSError:
                pass  # its other end has been closed

        listener = threading.Thread(target=listen)
        process = subprocess.Popen(
            [*S2, *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=self.theirs, env=env
        )
        os.close(self.theirs)
        listener.start()
        code = process.wait(TIMEOUT_S)
        listener.join(TIMEOUT_S)
        os.close(self._ours)
        assert code == 0 or not check, said
        return said.decode()


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("to_option", [True, False], ids=["-O", ">"])
def test_a_read_into_a_file_shows_how_far_it_is(uri, env, tmp_path, columns, to_option):
    path = tmp_path / "a file"
    options = ["-O", str(path)] if to_option else []
    with open(tmp_path / "stdout", "wb") as stdout:
        said = Terminal(columns).run(["read", uri, *options, "-n", "4"], stdout, {**env, "TERM": "xterm"})
    *live, closing = said.split("\r\x1b[K")[1:]
    closing = re.sub(" +", " ", closing)  # where it is longer than a row, blanks fill that up
    assert live
    assert live[0].startswith("100 %, 4 records")
    from rich.cells import cell_len

    assert all(cell_len(line) < columns for line in live)
    assert columns == 80 or (uri in live[0]) == (columns == 200)
    to = f" to {path}" if to_option else ""
    assert re.fullmatch(re.escape(f"{uri}: 4 records read{to} (8 B, ") + r"\S+ s, \d+ records/s\)\r\n", closing), (
        closing
    )
    assert (path if to_option else tmp_path / "stdout").read_bytes() == b"0\n1\n2\n3\n"


def test_a_read_of_nothing_into_a_file_says_so(uri, env, tmp_path):
    said = Terminal(80).run(["read", uri, "--from", "end", "-O", str(tmp_path / "x")], None, {**env, "TERM": "xterm"})
    assert ": 0 records read to " in said


def test_a_dumb_terminal_gets_the_closing_line_alone(uri, env, tmp_path):
    said = Terminal(80).run(["read", uri, "-O", str(tmp_path / "x")], None, {**env, "TERM": "dumb"})
    assert "\x1b" not in said
    assert ": 5 records read to " in said


@pytest.mark.parametrize("options", [[], ["--quiet", "-O", "FILE"]], ids=["pipe", "quiet"])
def test_elsewhere_nothing_is_shown(uri, env, tmp_path, options):
    words = [str(tmp_path / "x") if word == "FILE" else word for word in options]
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as pipe:
        assert Terminal(80).run(["read", uri, *words], pipe.stdin, {**env, "TERM": "xterm"}) == ""
        pipe.stdin.close()


# How a read is resumed


def interrupt(arguments, lines, env):
    """Runs a command until it has printed so many lines, and then presses Ctrl-C: code, output and messages."""
    process = subprocess.Popen([*S2, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0)
    with process:
        output = b""
        while output.count(b"\n") < lines:
            until_readable(process.stdout, output)
            output += process.stdout.read(65536)
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, output + rest, said.decode()


def resuming(said):
    """The words of the command line that a message names."""
    command = said.rpartition("; to resume: ")[2].strip()
    words = shlex.split(command)
    assert words[0] == "s2", said
    return words[1:]


@pytest.mark.parametrize("options", [[], ["-o", "json"], ["--transport", "sse"], ["--transport", "unary"]])
def test_an_interrupted_follow_says_how_to_resume(s2, uri, env, options):
    code, output, said = interrupt(["read", "--follow", uri, "--from", "-3", *options], 3, env)
    assert code == 130
    assert "stopped before sequence number 5; to resume: " in said
    s2("append", uri, stdin=b"5\n6\n")
    words = resuming(said)
    assert words[:4] == ["read", uri, "--from", "5"]
    code, more, said = interrupt(words, 2, env)
    assert (code, "stopped before sequence number 7" in said) == (130, True)
    assert output + more == s2("read", uri, "--from", "2", *options).stdout


def test_an_interrupted_tail_is_resumed_by_a_read_with_what_is_left(s2, uri, env):
    code, output, said = interrupt(["tail", "-2", "-f", uri], 2, env)
    assert (code, output) == (130, b"3\n4\n")
    assert resuming(said) == ["read", uri, "--from", "5", "--follow"]
    _, _, said = interrupt(["read", "-f", uri, "-n", "7", "--to", "100", "-b", "1000"], 5, env)
    expected = ["read", uri, "--from", "5", "--to", "100", "--count", "2", "--bytes", str(1000 - 5 * 9), "--follow"]
    assert resuming(said) == expected


def test_an_interrupted_read_into_a_file_goes_on_behind_what_is_there(s2, uri, env, tmp_path):
    path = tmp_path / "a file"
    process = subprocess.Popen(
        [*S2, "read", "--follow", uri, "-O", str(path), "-v"], stderr=subprocess.PIPE, env=env, bufsize=0
    )
    with process:
        until(lambda: path.exists() and path.read_bytes().count(b"\n") == 5 and is_asleep(process.pid))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    command = said.decode().rpartition("; to resume: ")[2].strip()
    assert command.endswith(f" --follow >> {shlex.quote(str(path))}")
    s2("append", uri, stdin=b"5\n")
    command = command.replace(" --follow", "").replace("s2 ", shlex.join(S2) + " ", 1)
    subprocess.run(["sh", "-c", command], env=env, check=True, timeout=TIMEOUT_S)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n5\n"
