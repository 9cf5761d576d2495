"""Reads through losses: nothing is lost, nothing comes twice, and a slow reader is no silent server."""

import os
import random
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from support.waiting import TIMEOUT_S, is_asleep, until, until_readable

from s2cli.client import read_loop
from s2cli.client import session as client_session
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient
from s2cli.endpoints import Target
from s2cli.wire.read_session import ReadSession

COUNT = 1_000_000


@pytest.fixture
def full(shared_server, basin, run_s2):
    """A stream with many records, each other than the rest; what they are."""
    shared_server.create_stream(basin)
    uri = f"s2://{basin}/stream"
    data = b"".join(b"record %d\n" % number for number in range(COUNT))
    assert run_s2("append", uri, stdin=data, env=shared_server.env()).returncode == 0
    return uri, data


class RunningRead:
    def __init__(self, *arguments, env):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            bufsize=0,
        )
        self.output = bytearray()

    def read(self, up_to_bytes):
        """Takes output until there is so much of it in all."""
        while len(self.output) < up_to_bytes:
            until_readable(self.process.stdout, self.output[-1000:])
            piece = self.process.stdout.read(1 << 16)
            if not piece:
                return
            self.output += piece

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def start_read():
    reads = []

    def start(*arguments, env):
        reads.append(RunningRead(*arguments, env=env))
        return reads[-1]

    yield start
    for read in reads:
        read.close()


@pytest.mark.parametrize("options", [(), ("--http2",)], ids=["h1", "h2"])
def test_a_read_through_cuts_is_whole(full, shared_server, make_proxy, start_read, options):
    uri, data = full
    proxy = make_proxy(shared_server)
    read = start_read("read", uri, *options, env=proxy.env())
    for turn in range(5):
        read.read(len(data) * (turn + 1) // 8)
        proxy.links[-1].cut(keep=False)
    read.read(len(data) + 1)
    assert read.process.wait(TIMEOUT_S) == 0
    assert read.output == data
    assert b"trying again" in read.process.stderr.read()


def test_a_read_ends_where_the_tail_was_when_it_began(full, shared_server, run_s2, start_read):
    uri, data = full
    read = start_read("read", uri, env=shared_server.env())
    read.read(1)
    assert run_s2("append", uri, stdin=b"too late\n", env=shared_server.env()).returncode == 0
    read.read(len(data) + 1)
    assert read.process.wait(TIMEOUT_S) == 0
    assert read.output == data


def test_a_follower_survives_its_server(server, unique_basin, start_append, start_read):
    uri = f"s2://{unique_basin()}/stream"
    append = start_append(uri, server.env(), "--create")
    append.feed(b"0\n")
    append.wait_for("created")
    read = start_read("read", "--follow", uri, env=server.env())
    expected = b"0\n"
    read.read(len(expected))
    for turn in range(1, 5):
        server.kill()
        server.start()
        line = b"after %d\n" % turn
        append.feed(line)
        expected += line
        read.read(len(expected))
        assert read.output == expected
    read.process.terminate()
    read.process.wait(TIMEOUT_S)
    said = read.process.stderr.read()
    assert said.count(b"connected again after") == 4
    assert b"trying again" in said
    assert append.finish()[0] == 0


def test_a_follower_says_what_was_trimmed_before_it_could_read_it(shared_server, basin, make_proxy, start_read, run_s2):
    shared_server.create_stream(basin)
    uri = f"s2://{basin}/stream"
    env = shared_server.env()
    run_s2("append", uri, stdin=b"a\nb\n", env=env)
    proxy = make_proxy(shared_server)
    read = start_read("read", "--follow", uri, env=proxy.env())
    read.read(4)
    proxy.open = False
    proxy.links[-1].cut(keep=False)
    run_s2("append", uri, stdin=b"c\nd\n", env=env)
    run_s2("trim", uri, "3", env=env)
    proxy.open = True
    read.read(6)
    assert read.output == b"a\nb\nd\n"
    read.process.terminate()
    read.process.wait(TIMEOUT_S)
    assert b"the records 2 to 2 were trimmed or expired" in read.process.stderr.read()


def test_a_blocked_output_is_no_silent_server(basin, shared_server, make_proxy, monkeypatch, run_s2):
    """The output takes much longer than the server may be silent, and then nothing comes for a while."""
    now_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(read_loop, "time", clock)
    monkeypatch.setattr(client_session, "time", clock)
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    target = Target(account_url=proxy.url, basin_url=proxy.url)
    client = StreamClient(target, basin, "stream", TIMEOUT_S)
    written, told = [], []

    def write(batches):
        now_s[0] += 10 * client_session.SILENCE_S  # what `less` does while nobody presses a key
        written.extend(record.body for batch in batches for record in batch.records)

    session = ReadSession(("seq_num", 0), follow=True, count=3)
    outage = RetryPolicy(None, told.append)
    loop = ReadLoop(client, session, write, -1, Waiter(Interrupts()), outage, told.append)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    for number in range(3):
        # By the second one the follower stands at the tail: nothing comes behind a batch for some seconds.
        run_s2("append", f"s2://{basin}/stream", stdin=b"%d\n" % number, env=shared_server.env(), check=True)
        until(lambda number=number: len(written) == number + 1)
    thread.join(TIMEOUT_S)
    assert (written, told) == ([b"0", b"1", b"2"], [])
    assert len(proxy.links) == 1


def test_a_silent_server_is_noticed(basin, shared_server, make_proxy, monkeypatch):
    monkeypatch.setattr(client_session, "SILENCE_S", 0.3)
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    target = Target(account_url=proxy.url, basin_url=proxy.url)
    told = []
    session = ReadSession(("seq_num", 0), follow=True)
    outage = RetryPolicy(None, told.append)
    client = StreamClient(target, basin, "stream", TIMEOUT_S)
    loop = ReadLoop(client, session, lambda batches: None, -1, Waiter(Interrupts()), outage, told.append)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    until(lambda: len(proxy.links) > 1)
    assert told[0] == "the server sent nothing for 0.3 s; trying again"
    session.done = True
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_memory_stays_bounded_when_the_output_is_slow(full, shared_server, start_read):
    uri, data = full
    read = start_read("read", uri, "--follow", env=shared_server.env())
    dice = random.Random(1)
    peak_kib = 0
    while len(read.output) < len(data):
        read.read(min(len(data), len(read.output) + dice.randint(1, 300_000)))
        with open(f"/proc/{read.process.pid}/status") as status:
            peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak_kib < 32 * 1024


def at_rest(append, link):
    """Whether an append sends nothing more although there is input, and all that it has sent has gone through."""
    passed = link.passed
    # Twice, and nothing has passed between: it is not asleep because the connection was full, nor about to fill it.
    return (
        not link.coming_bytes()
        and append.input_is_full()
        and is_asleep(append.pid)
        and not link.coming_bytes()
        and link.passed == passed
    )


def test_memory_stays_bounded_when_the_server_is_slow(shared_server, basin, make_proxy, start_append):
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    append = start_append(f"s2://{basin}/stream", proxy.env())
    append.feed_on_and_on(lambda number: b"x" * 99 + b"\n")
    until(lambda: proxy.links and proxy.links[-1].passed > 100_000)
    link = proxy.links[-1]
    link.mute.set()  # no acknowledgement comes through: what is under way may not grow for ever
    until(lambda: at_rest(append, link))
    assert 1024 * 1024 < link.passed < 6 * 1024 * 1024
    with open(f"/proc/{append.pid}/status") as status:
        peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak_kib < 24 * 1024
