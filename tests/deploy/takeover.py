"""Two servers on one bucket behind HAProxy: one is lost under load, and the command line carries on at the other by
itself. Not every machine that runs the tests has HAProxy: .ci/interop runs this file."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from faults.engines import OWN_ON_BUCKET, Server
from support.haproxy import HaProxy
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, environment
from support.waiting import TIMEOUT_S, until

BASIN = "taken-over-basin"
URI = f"s2://{BASIN}/lines"
LATENCY_MS = 10
# Before, while the node is lost, and after.
PART_LINES = 3000


@pytest.fixture
def nodes(s3_server, tmp_path):
    with contextlib.ExitStack() as stack:
        to_bucket = stack.enter_context(contextlib.closing(S3Proxy(s3_server.url, LATENCY_MS)))
        command = OWN_ON_BUCKET.replace("{bucket}", BUCKET).replace("{prefix}", tmp_path.name)
        env = environment(to_bucket.url)
        nodes = [
            stack.enter_context(contextlib.closing(Server(command, tmp_path / f"node-{number}", env)))
            for number in range(2)
        ]
        for node in nodes:
            node.start()
        yield nodes


@pytest.fixture
def front(nodes, tmp_path):
    with contextlib.closing(HaProxy(tmp_path, [node.port for node in nodes])) as front:
        front.start()
        yield front


@pytest.fixture
def env(front):
    return front.env()


@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "stopped"])
def test_another_node_takes_over_and_nothing_acknowledged_is_lost(nodes, front, env, s2, tmp_path, hangs):
    # Created on one node, by its name in the body, it is there on all.
    s2("create", f"s2://{BASIN}")
    s2("create", URI)
    output = tmp_path / "followed"
    words = [sys.executable, "-m", "s2cli"]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(output.open("wb"))
        environ = {**os.environ, **env}
        follower = subprocess.Popen([*words, "read", URI, "--from", "0", "--follow"], stdout=file, env=environ)
        stack.callback(follower.wait)
        stack.callback(follower.kill)
        append = [*words, "append", URI, "--rate", f"{PART_LINES}/s"]
        appender = stack.enter_context(subprocess.Popen(append, stdin=subprocess.PIPE, stderr=-1, env=environ))
        stack.callback(appender.kill)

        def write(part):
            lines = range(part * PART_LINES, (part + 1) * PART_LINES)
            appender.stdin.write(b"".join(b"%d\n" % number for number in lines))
            appender.stdin.flush()

        write(0)
        until(lambda: output.read_bytes().count(b"\n") > PART_LINES // 2)
        # The owner is one of the two; the other's loss changes nothing.
        for node in nodes:
            write(1 + nodes.index(node))
            if hangs:
                os.kill(node.pid, signal.SIGSTOP)
            else:
                node.kill()
            seen = output.read_bytes().count(b"\n")
            until(lambda seen=seen: output.read_bytes().count(b"\n") > seen)
            if hangs:
                os.kill(node.pid, signal.SIGCONT)
            else:
                node.start()
            until(lambda node=node: node.status() == 200)
        appender.stdin.close()
        assert appender.wait(TIMEOUT_S) == 0, appender.stderr.read()
        expected = b"".join(b"%d\n" % number for number in range(3 * PART_LINES))
        until(lambda: len(output.read_bytes()) >= len(expected))
    assert s2("read", URI).stdout == expected == output.read_bytes()
