"""Sockets, proxies, signals and outages: the parts that a connection stands on."""

import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from support.ports import reserve_port
from support.waiting import TIMEOUT_S

from s2cli.client import sockets
from s2cli.client.retry import Interrupted, Interrupts, RetryPolicy, Waiter
from s2cli.client.sockets import LostError, Peer, PlainSocket, connect
from s2cli.errors import ApiError, UnreachableError, UsageError


@pytest.fixture
def waiter():
    return Waiter(Interrupts())


@pytest.fixture
def pair():
    """A PlainSocket and the plain end on the other side."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(TIMEOUT_S)
    plain = PlainSocket(ours)
    yield plain, theirs
    plain.close()
    theirs.close()


def test_what_the_kernel_does_not_take_waits(pair):
    plain, theirs = pair
    parts = [bytes([number % 251]) * (number % 3000) for number in range(3000)]
    plain.send(parts)
    assert plain.pending
    received = bytearray()
    while plain.pending:
        received += theirs.recv(1 << 20)
        plain.flush()
    theirs.setblocking(False)
    while True:
        try:
            received += theirs.recv(1 << 20)
        except BlockingIOError:
            break
    assert received == b"".join(parts)


def test_receive_tells_nothing_from_the_end(pair):
    plain, theirs = pair
    assert plain.receive() == b""
    theirs.sendall(b"x")
    assert plain.receive() == b"x"
    theirs.shutdown(socket.SHUT_WR)
    assert plain.receive() is None


def test_what_a_peer_said_before_it_closed_can_be_read(pair):
    plain, theirs = pair
    theirs.sendall(b"why")
    theirs.close()
    plain.send([b"x" * 100_000])
    assert not plain.pending
    assert plain.receive() == b"why"
    assert plain.receive() is None


def test_every_address_of_a_name_is_tried(waiter, monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr("_socket.getaddrinfo", lambda *arguments: found)
    plain = connect(Peer("http", "two.example", port), waiter)
    with socket.socket(fileno=os.dup(plain.fd)) as same:
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    plain.close()
    listener.close()


def test_a_refused_connection_is_a_loss(waiter):
    with reserve_port() as nobody:
        port = nobody.getsockname()[1]
        with pytest.raises(LostError, match=f"cannot connect to 127.0.0.1:{port}: connection refused"):
            connect(Peer("http", "127.0.0.1", port), waiter)


def test_a_server_that_does_not_answer_is_a_loss_in_time(waiter, monkeypatch):
    monkeypatch.setattr("s2cli.client.sockets.CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        full = []
        # The queue of a listener that accepts nobody: connections beyond it get no answer.
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            full.append(client)
        with pytest.raises(LostError, match="timed out"):
            connect(Peer("http", "127.0.0.1", listener.getsockname()[1]), waiter)
        for client in full:
            client.close()


@pytest.mark.parametrize("path", ["missing", "x" * 200])
def test_a_unix_socket_that_is_not_there_is_a_loss(waiter, tmp_path, path):
    with pytest.raises(LostError, match="cannot connect to"):
        connect(Peer("http", "localhost", 80, socket_path=str(tmp_path / path)), waiter)


def test_a_busy_unix_socket_is_waited_for(waiter, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        first = socket.socket(socket.AF_UNIX)
        first.connect(path)
        accepted = []
        threading.Timer(0.1, lambda: accepted.append(listener.accept()[0])).start()
        connect(Peer("http", "localhost", 80, socket_path=path), waiter).close()
        first.close()
        accepted[0].close()


@pytest.mark.parametrize(("number", "kind"), [(socket.EAI_NONAME, UnreachableError), (socket.EAI_AGAIN, LostError)])
def test_a_name_that_does_not_exist_is_no_reason_to_try_again(waiter, monkeypatch, number, kind):
    """As the system says it; where no resolver answers, trying again may help."""

    def refuse(*arguments):
        raise socket.gaierror(number, "not known")

    monkeypatch.setattr("_socket.getaddrinfo", refuse)
    with pytest.raises(UnreachableError, match=r"cannot look up the address of nowhere\.invalid: not known") as caught:
        connect(Peer("http", "nowhere.invalid", 80), waiter)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("peer", "authority"),
    [
        (Peer("http", "host", 80), "host"),
        (Peer("https", "host", 443), "host"),
        (Peer("https", "host", 80), "host:80"),
        (Peer("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_the_authority_names_the_port_where_it_must(peer, authority):
    assert peer.authority == authority


# Proxies


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_that_would_apply_is_refused(monkeypatch, variable):
    monkeypatch.setenv(variable, "http://proxy:3128")
    with pytest.raises(UsageError, match=variable) as caught:
        sockets.refuse_proxy("https", "a.s2.dev", 443)
    assert "NO_PROXY=a.s2.dev" in caught.value.hint


@pytest.mark.parametrize(
    ("scheme", "host", "environment"),
    [
        ("https", "a.s2.dev", {}),
        ("https", "a.s2.dev", {"HTTPS_PROXY": ""}),
        ("https", "a.s2.dev", {"HTTP_PROXY": "http://p"}),
        ("https", "a.s2.dev", {"HTTPS_PROXY": "http://p", "NO_PROXY": "other.example, .s2.dev"}),
        ("https", "a.s2.dev", {"HTTPS_PROXY": "http://p", "no_proxy": "A.S2.DEV:443"}),
        ("https", "a.s2.dev", {"HTTPS_PROXY": "http://p", "no_proxy": "*"}),
        ("http", "127.0.0.1", {"HTTP_PROXY": "http://p", "ALL_PROXY": "http://p"}),
        ("http", "localhost", {"http_proxy": "http://p"}),
    ],
)
def test_a_proxy_that_does_not_apply_is_not(monkeypatch, scheme, host, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sockets.refuse_proxy(scheme, host, 443)


# Signals


def test_signals_are_counted_and_wake_a_waiter():
    with Interrupts() as interrupts:
        waiter = Waiter(interrupts)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            waiter.sleep(36000)
        assert (interrupts.count, interrupts.exit_code) == (1, 143)
        interrupts.seen = interrupts.count
        waiter.sleep(0.01)  # what was seen ends no other wait
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(Interrupted):
            waiter.sleep(36000)
        assert interrupts.exit_code == 143  # the first one counts
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            Waiter(interrupts).sleep(0.01)
            assert interrupts.count == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_waiter_keeps_its_deadline():
    waiter = Waiter(Interrupts())
    waiter.deadline = time.monotonic() + 0.05
    waiter.sleep(36000)


# Outages


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("s2cli.client.retry.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_an_outage_backs_off_says_so_once_and_ends(clock):
    told = []
    retry = RetryPolicy(10, told.append)

    def fail_on_and_on():
        while True:
            retry.failed(LostError("down"), clock)

    with pytest.raises(UnreachableError, match="gave up after 10 s without progress: down") as caught:
        fail_on_and_on()
    assert caught.value.exit_code == 6
    assert told == ["down; trying again for up to 10 s (--max-outage)"]
    for slept, base in zip(clock.slept, [0.1, 0.2, 0.4, 0.8, 1, 1, 1], strict=False):
        assert base <= slept <= 2 * base
    assert clock.now == pytest.approx(1010)


def test_progress_ends_an_outage_and_says_so(clock):
    told = []
    retry = RetryPolicy(None, told.append)
    retry.progress()
    retry.failed(LostError("down"), clock)
    retry.failed(LostError("still down"), clock)
    retry.progress()
    retry.progress()
    assert told[:2] == ["down; trying again", "still down; trying again"]
    assert told[2].startswith("connected again after 0.")
    assert len(told) == 3


def test_a_reason_whose_numbers_change_is_told_once(clock):
    told = []
    retry = RetryPolicy(None, told.append)
    for missing in ("7.9", "10.8", "5"):
        retry.failed(ApiError("unavailable", f"the disk is full: {missing} MiB must be free"), clock)
    retry.failed(ApiError("unavailable", "the server is shutting down"), clock)
    retry.progress()
    assert told[:2] == [
        "the disk is full: 7.9 MiB must be free; trying again",
        "the server is shutting down; trying again",
    ]
    assert told[2].startswith("resumed after ")  # the connection was there all the time
    assert len(told) == 3


def test_a_server_says_how_long_to_wait(clock):
    retry = RetryPolicy(None, lambda text: None)
    retry.failed(ApiError("rate_limited", "slow down", retry_after_ms=7000), clock)
    assert clock.slept == [7]
