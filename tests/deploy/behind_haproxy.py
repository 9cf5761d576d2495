"""Nodes behind HAProxy with the example configuration: basins keep their nodes, and sessions go through in both
directions. Not every machine that runs the tests has HAProxy: .ci/interop runs this file, and installs it where it is
missing."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
import s2_sdk
from support.haproxy import HaProxy
from support.waiting import TIMEOUT_S, until, until_readable

DOMAIN = "s2.example.com"
BASINS = [f"deployed-basin-{number}" for number in range(16)]


@pytest.fixture
def nodes(make_server):
    """Two servers, each with data of its own: a request that comes to the wrong one finds nothing there."""
    return [make_server(data=None, options=("--base-domain", DOMAIN)) for _ in range(2)]


@pytest.fixture
def proxy(nodes, tmp_path):
    proxy = HaProxy(tmp_path, [node.port for node in nodes])
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def env(proxy):
    return proxy.env()


@pytest.fixture
def start_s2(env):
    """Starts the command line; it is gone after the test."""
    running = []

    def start(*words):
        command = [sys.executable, "-m", "s2cli", *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen(command, env={**os.environ, **env}, bufsize=0, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        with process:  # closes its pipes
            pass


def read_line(process) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        until_readable(process.stdout, line)
        piece = process.stdout.read(1)
        assert piece, f"ended after {line!r}: {process.stderr.read()!r}"
        line += piece
    return line


def create_basin(proxy, basin) -> None:
    """By its path: a creation that has the name in its body is for any node, which only a shared bucket allows."""
    assert proxy.request("PUT", f"/v1/basins/{basin}") == 201


def owner_of(basin, nodes):
    """The only node that has that basin."""
    owners = [node for node in nodes if node.request("GET", f"/v1/basins/{basin}").status == 200]
    assert len(owners) == 1
    return owners[0]


def test_all_requests_of_a_basin_reach_the_same_node(proxy, nodes):
    for basin in BASINS:
        create_basin(proxy, basin)
    for basin in BASINS:
        by_header = {"s2-basin": basin}
        by_host = {"host": f"{basin}.{DOMAIN}"}
        assert proxy.request("PUT", "/v1/streams/by-header", by_header) == 201
        assert proxy.request("PUT", "/v1/streams/by-host", by_host) == 201
        for stream in ("by-header", "by-host"):
            for headers in (by_header, by_host, by_host | by_header, {"host": f"{basin}.{DOMAIN}:80"}):
                assert proxy.request("GET", f"/v1/streams/{stream}/records/tail", headers) == 200
        owner_of(basin, nodes)
    assert {owner_of(basin, nodes) for basin in BASINS} == set(nodes)


@pytest.mark.parametrize("version", [(), ("--http2",)], ids=["http1", "http2"])
@pytest.mark.parametrize("reading", ["s2s", "sse"])
def test_sessions_go_through_in_both_directions(proxy, s2, start_s2, version, reading):
    uri = f"s2://{BASINS[0]}/lines"
    create_basin(proxy, BASINS[0])
    s2("create", uri)
    follower = start_s2(*version, "read", uri, "--from", "0", "--follow", "--transport", reading)
    # A batch is sent when the one before has its ack: so acks come back while the input lasts.
    appender = start_s2(*version, "append", uri, "--transport", "s2s", "--inflight", "1", "--linger", "0ms")
    for number in range(5):
        appender.stdin.write(b"%d\n" % number)
        assert read_line(follower) == b"%d\n" % number
        assert appender.poll() is None
    appender.stdin.close()
    assert appender.wait(TIMEOUT_S) == 0, appender.stderr.read()
    assert s2("read", uri).stdout == b"0\n1\n2\n3\n4\n"


def test_many_records_and_their_acks(s2, proxy):
    uri = f"s2://{BASINS[1]}/many"
    create_basin(proxy, BASINS[1])
    lines = b"".join(b"%d\n" % number for number in range(200_000))
    for version in ((), ("--http2",)):
        s2(*version, "append", "--create", uri, "--transport", "s2s", stdin=lines)
    assert s2("--http2", "read", uri, "--transport", "s2s").stdout == lines + lines


def test_the_official_sdk(proxy):
    create_basin(proxy, BASINS[2])

    async def main():
        endpoints = s2_sdk.Endpoints(account=proxy.url, basin=proxy.url)
        async with s2_sdk.S2("token", endpoints=endpoints) as client:
            await client.basin(BASINS[2]).create_stream("sdk")
            stream = client.basin(BASINS[2]).stream("sdk")
            batches = stream.read_session(start=s2_sdk.SeqNum(0))
            async with stream.append_session() as session:
                for number in range(20):
                    record = s2_sdk.Record(body=b"%d" % number)
                    ticket = await session.submit(s2_sdk.AppendInput(records=[record]))
                    assert (await ticket).end.seq_num == number + 1
                    assert [record.body for record in (await anext(batches)).records] == [b"%d" % number]

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_followers_that_wait_do_not_stop_others(proxy, s2, start_s2):
    uri = f"s2://{BASINS[3]}/quiet"
    create_basin(proxy, BASINS[3])
    s2("create", uri)
    followers = [start_s2("--http2", "read", uri, "--from", "0", "--follow") for _ in range(5)]
    for number in range(3):
        s2("append", uri, stdin=b"%d\n" % number)
        for follower in followers:
            assert read_line(follower) == b"%d\n" % number


@pytest.mark.parametrize("hangs", [False, True], ids=["ended", "hanging"])
def test_another_node_takes_the_basins_of_one_that_failed_until_it_is_back(proxy, nodes, start_s2, s2, hangs):
    for basin in BASINS:
        create_basin(proxy, basin)
    lost = next(basin for basin in BASINS if owner_of(basin, nodes) is nodes[0])
    kept = next(basin for basin in BASINS if owner_of(basin, nodes) is nodes[1])
    for basin in (lost, kept):
        assert proxy.request("PUT", "/v1/streams/stream", {"s2-basin": basin}) == 201
    follower = start_s2("read", f"s2://{kept}/stream", "--from", "0", "--follow")
    waiting = start_s2("read", f"s2://{lost}/stream", "--from", "0", "--follow")
    s2("append", f"s2://{lost}/stream", stdin=b"before\n")
    assert read_line(waiting) == b"before\n"
    if hangs:
        os.kill(nodes[0].pid, signal.SIGSTOP)
    else:
        nodes[0].kill()
    # The other node answers, which has never heard of that basin; and whoever was connected to the first is sent on.
    until(lambda: proxy.request("GET", f"/v1/basins/{lost}") == 404)
    assert waiting.wait(TIMEOUT_S) == 3
    s2("append", f"s2://{kept}/stream", stdin=b"still\n")
    assert read_line(follower) == b"still\n"
    if hangs:
        os.kill(nodes[0].pid, signal.SIGCONT)
    else:
        nodes[0].start()
        assert nodes[0].request("PUT", f"/v1/basins/{lost}").status == 201
    until(lambda: proxy.request("GET", f"/v1/basins/{lost}") == 200)
