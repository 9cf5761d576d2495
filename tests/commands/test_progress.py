"""Lag, rate and progress while a command works: the live line on a terminal, whole at any width; nothing in a pipe."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest
from support.terminal import Watcher
from support.waiting import TIMEOUT_S, until

ERASE = "\r\x1b[K"


def live_lines(said):
    """What stood in the line that is written over."""
    return [line for line in said.split(ERASE)[1:] if line and "\r\n" not in line]


@pytest.fixture
def uri(shared_server, basin):
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_an_append_of_files_shows_percent_rate_and_the_time_left(uri, env, tmp_path, columns):
    path = tmp_path / "input"
    path.write_bytes(b"x" * 99 + b"\n")
    (tmp_path / "more").write_bytes(b"".join(b"%098d\n" % number for number in range(3000)))
    words = ["append", uri, path, tmp_path / "more", "--rate", "1500/s"]
    with contextlib.closing(Watcher(words, env, columns=columns)) as watcher:
        watcher.until_matches(r"\d+ %, \d+ durable")
        if columns > 40:
            watcher.until_matches(r"[1-9]\d* %, \d+ durable, \S+ s left, [\d.]+ KiB, \d+ records/s")
        watcher.until_says(" records durable at 0..3000 ")
    shown = live_lines(watcher.said)
    assert all(len(line) < columns for line in shown), shown
    assert all(re.match(r"\d+ %, \d+ durable", line) for line in shown), shown


def test_an_append_whose_end_is_not_known_shows_count_and_rate(uri, env, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with contextlib.closing(Watcher(["append", uri, tmp_path / "pipe"], env)) as watcher:
        with open(tmp_path / "pipe", "wb") as pipe:
            pipe.write(b"1\n2\n")
            pipe.flush()
            found = watcher.until_matches(r"\x1b\[K(2 durable, 2 B, \d+ records/s, 0 under way, s2://\S+)")
        watcher.until_says("2 records durable at 0..1 ")
    assert "%" not in found.group(1)


@pytest.mark.parametrize("columns", [40, 200])
def test_a_copy_shows_percent_and_rate(s2, make_server, home, columns):
    near, far = make_server(), make_server(data=home / "far")
    (home / ".config/s2").mkdir(parents=True)
    (home / ".config/s2/profiles.toml").write_text(
        f'[far]\naccount_endpoint = "{far.url}"\nbasin_endpoint = "{far.url}"\n'
    )
    lines = b"".join(b"%d\n" % number for number in range(1_000_000))
    s2("append", "s2://near-basin/a", "--create", "-q", at=near, stdin=lines)
    words = ["copy", "s2://near-basin/a", "s2://far-basin/a", "--create", "--dst-profile", "far"]
    with contextlib.closing(Watcher(words, near.env(), columns=columns)) as watcher:
        until(lambda: s2("check-tail", "s2://far-basin/a", at=far, code=None).stdout.split(b" ")[0] not in (b"", b"0"))
        far.process.send_signal(signal.SIGSTOP)
        watcher.until_matches(r"\d+ %, \d+ copied")
        far.process.send_signal(signal.SIGCONT)
        watcher.until_says(": 1000000 records copied at 0..999999 (")
    assert all(len(line) < columns for line in live_lines(watcher.said)), watcher.said


def test_several_streams_into_a_file_show_percent(s2, basin, env, tmp_path):
    for name in ("a", "b"):
        s2("append", f"s2://{basin}/{name}", "--create", stdin=b"1\n2\n")
    with contextlib.closing(Watcher(["read", f"s2://{basin}/*", "-O", tmp_path / "out"], env)) as watcher:
        watcher.until_matches(r"\x1b\[K\d+ %, [^\r]*, \d+ B, \d+ records/s, 2 streams")
        watcher.until_says("2 streams: 4 records read to ")


def test_nothing_of_it_is_in_a_pipe(uri, env, tmp_path):
    (tmp_path / "input").write_bytes(b"x\n" * 900)
    command = [sys.executable, "-m", "s2cli", "append", uri, tmp_path / "input", "--rate", "1000/s"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, timeout=TIMEOUT_S)
    assert re.fullmatch(rb"s2://\S+: 900 records durable at 0..899 \([^\r\x1b]*\)\n", done.stderr)
    assert done.stdout == b""
