"""Servers that say nothing: --max-outage is a bound whatever they do, and a person hears of it before three seconds."""

import _socket
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from s2cli.client import retry as outages
from s2cli.client import sockets
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.sockets import LostError, Peer
from s2cli.errors import UnreachableError

URI = "s2://basin-name/s"
COMMANDS = {
    "append": ["append", URI],
    "append-unary": ["append", URI, "--transport", "unary"],
    "read": ["read", URI],
    "read-sse": ["read", URI, "--transport", "sse", "--from", "0"],
    "read-unary": ["read", URI, "--transport", "unary"],
    "follow": ["read", URI, "--follow"],
    "tail": ["tail", URI],
    "check-tail": ["check-tail", URI],
    "fence": ["fence", URI, "token"],
    "trim": ["trim", URI, "1"],
}
UNARY = (["basins", "list"], ["streams", "get", URI], ["create", "s2://basin-name"], ["list-basins"])


@pytest.fixture
def silent():
    """A port where connections are taken, and nothing that is sent on them is answered."""
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept():
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for connection in taken:
        connection.close()


@pytest.fixture
def black_hole():
    """A port whose queue of new connections is full: a SYN is not answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        yield address[1]
        for one in waiting:
            one.close()


def endpoints(port, scheme="http"):
    url = f"{scheme}://127.0.0.1:{port}"
    return {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}


def assert_given_up(result):
    assert (result.returncode, result.stdout) == (6, b""), result
    assert b"gave up after 1.5 s" in result.stderr


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_server_that_never_answers_is_given_up_in_time(run_s2, silent, words):
    # Without the bound, each of these waits half a minute at least for the first answer: the test would be killed.
    result = run_s2(*words, "--max-outage", "1500ms", stdin=b"x\n", env=endpoints(silent), timeout=25)
    assert_given_up(result)


@pytest.mark.parametrize("words", [COMMANDS["append"], COMMANDS["read"], COMMANDS["check-tail"]])
def test_so_is_one_that_takes_no_connection(run_s2, black_hole, words):
    result = run_s2(*words, "--max-outage", "1500ms", stdin=b"x\n", env=endpoints(black_hole), timeout=25)
    assert_given_up(result)


@pytest.mark.parametrize("words", [COMMANDS["append"], COMMANDS["read"], COMMANDS["check-tail"]])
def test_and_one_whose_handshake_of_tls_never_ends(run_s2, silent, words):
    result = run_s2(*words, "--max-outage", "1500ms", stdin=b"x\n", env=endpoints(silent, "https"), timeout=25)
    assert_given_up(result)


@pytest.mark.parametrize("words", UNARY, ids=" ".join)
def test_other_calls_end_with_their_timeout(run_s2, silent, words):
    result = run_s2(*words, "--timeout", "1500ms", env=endpoints(silent), timeout=25)
    assert result.returncode == 6
    assert b"gave up after 1.5 s without progress: the connection to " in result.stderr


def test_check_tail_ends_with_its_timeout(run_s2, silent):
    assert_given_up(run_s2("check-tail", URI, "--timeout", "1500ms", env=endpoints(silent), timeout=25))


@pytest.mark.parametrize("words", [*COMMANDS.values(), *UNARY], ids=[*COMMANDS, *(" ".join(words) for words in UNARY)])
def test_a_person_hears_of_the_silence_long_before_the_end(silent, words):
    with subprocess.Popen(
        [sys.executable, "-m", "s2cli", *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **endpoints(silent)},
    ) as process:
        process.stdin.write(b"x\n")
        process.stdin.flush()
        try:
            assert re.match(rb"the server has not answered for \d\.\d+ s; waiting", process.stderr.readline())
        finally:
            process.kill()


def test_it_is_heard_within_three_seconds():
    assert outages.NOTICE_S < 3


# In the middle of a session


@pytest.mark.parametrize("words", [["append"], ["append", "--transport", "unary"]], ids=" ".join)
def test_a_server_that_stops_in_mid_append(make_server, run_s2, words):
    server = make_server(data=None)
    uri = f"s2://{server.create_basin()}/s"
    run_s2("create", uri, env=server.env(), check=True)
    with subprocess.Popen(
        [sys.executable, "-m", "s2cli", *words, uri, "--max-outage", "1500ms", "-v"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **server.env()},
    ) as process:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        while run_s2("check-tail", uri, env=server.env(), check=True).stdout.startswith(b"0 @"):
            pass
        server.process.send_signal(signal.SIGSTOP)
        process.stdin.write(b"two\n")
        process.stdin.flush()
        _, said = process.communicate(timeout=25)
        server.process.send_signal(signal.SIGCONT)
    assert process.returncode == 6, said
    assert b"; undecided: line 2; next line: 2; before you resume, see where the stream ends: s2" in said
    assert b"; at 1 it has none of the undecided lines: tail -n +2 FILE | s2" in said
    assert b"; at 2 it has all of them: tail -n +3 FILE | s2" in said
    assert b"gave up after 1.5 s without progress: the server does not answer" in said


def test_a_server_that_sends_a_byte_now_and_then_is_silent_all_the_same(run_s2):
    """Only an answer is progress."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not over.wait(0.1):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        env = endpoints(listener.getsockname()[1])
        result = run_s2("append", URI, "--max-outage", "1500ms", stdin=b"x\n", env=env, timeout=25)
        over.set()
        dripping.join()
    assert_given_up(result)


# The parts


def test_a_name_server_that_never_answers(monkeypatch):
    over = threading.Event()

    def getaddrinfo(host, port, family, kind, protocol, flags):
        if flags == _socket.AI_NUMERICHOST:
            raise _socket.gaierror(_socket.EAI_NONAME, "not a number")
        over.wait()
        return []

    names = {name: getattr(_socket, name) for name in dir(_socket)} | {"getaddrinfo": getaddrinfo}
    monkeypatch.setattr(sockets, "_socket", SimpleNamespace(**names))
    waiter = Waiter(Interrupts())
    waiter.retry = RetryPolicy(0.2, lambda _text: None)
    waiter.retry.expect()
    with pytest.raises(UnreachableError, match=r"gave up after 0\.2 s"):
        sockets.connect(Peer("https", "s2.example", 443), waiter)
    monkeypatch.setattr(sockets, "LOOKUP_TIMEOUT_S", 0.1)
    with pytest.raises(LostError, match=r"address of s2\.example: no name server answers"):
        sockets.connect(Peer("https", "s2.example", 443), Waiter(Interrupts()))
    over.set()


def test_a_name_is_looked_up(monkeypatch, silent):
    def getaddrinfo(host, port, family, kind, protocol, flags):
        assert host == b"s2.example"
        if flags == _socket.AI_NUMERICHOST:
            raise _socket.gaierror(_socket.EAI_NONAME, "not a number")
        if port == 1:
            raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known")
        return [(_socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]

    names = {name: getattr(_socket, name) for name in dir(_socket)} | {"getaddrinfo": getaddrinfo}
    monkeypatch.setattr(sockets, "_socket", SimpleNamespace(**names))
    waiter = Waiter(Interrupts())
    sockets.connect(Peer("http", "s2.example", silent), waiter).close()
    with pytest.raises(UnreachableError, match=r"the address of s2\.example: name or service not known"):
        sockets.connect(Peer("http", "s2.example", 1), waiter)


class Clock:
    """Stands still until it is told."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(outages.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_only_time_in_which_something_is_wanted_counts(clock):
    said = []
    outage = RetryPolicy(10.0, said.append)
    clock.now += 1000
    outage.check()
    outage.expect()
    assert outage.until == clock.now + outages.NOTICE_S
    clock.now += 2
    outage.check()
    outage.calm()
    clock.now += 1000
    assert outage.until == outages.NEVER
    outage.check()
    assert said == []
    outage.expect()
    clock.now += outages.NOTICE_S
    outage.check()
    outage.check()
    assert said == ["the server has not answered for 2.5 s; waiting for up to 10 s (--max-outage)"]
    assert outage.until == clock.now - outages.NOTICE_S + 10
    clock.now += 1
    outage.progress()
    assert said[1:] == ["the server answers again after 3.5 s"]
    outage.expect()
    clock.now += 10
    with pytest.raises(UnreachableError, match="gave up after 10 s without progress: the server does not answer"):
        outage.check()


def test_a_limit_of_nothing_allows_one_attempt(clock):
    outage = RetryPolicy(0.0, lambda _text: None)
    outage.expect()
    clock.now += 60
    outage.check()
    with pytest.raises(UnreachableError, match="gave up after 0 s without progress: gone"):
        outage.failed(LostError("gone"), Waiter(Interrupts()))


def test_patience_ends_with_the_outage(clock):
    outage = RetryPolicy(10.0, lambda _text: None)
    assert outage.patience_s(20) == 20
    outage.expect()
    clock.now += 7
    assert (outage.patience_s(20), outage.patience_s(1)) == (3, 1)
    assert time.monotonic() == clock.now
