"""Buckets that fail, and servers on one bucket that fail, while sessions append."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable

from faults.engines import Server
from faults.load import RETRY_S, Load, UnreadableError, ask, compare, post, read_stream
from faults.run import Run
from faults.tally import Tally
from support.s3_faults import (
    CONFLICT_AFTER,
    ERROR_AFTER,
    EXPIRED,
    FAILED_AFTER,
    LIE,
    LOST_REPLY,
    NO_BUCKET,
    SILENT,
    SLOW_DOWN,
    UNREACHABLE,
    Rule,
)
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, S3Server, environment

TURNS = 3
LATENCY_MS = 5.0
BATCHES = 20  # that each stream gets between two faults
MOST_OUTAGE_S = 3.0
LONG_OUTAGE_S = 16.0  # a server says so after 10
AFTER_S = 60.0  # then all must go on
ASIDE = "aside"


def append_aside(server) -> tuple[int, object, bytes]:
    """An append to a stream that is in no ledger."""
    body = json.dumps({"records": [{"body": "aside"}]}).encode()
    return ask(server, "POST", f"/v1/streams/{ASIDE}/records", body, {"content-type": "application/json"})


class Nodes:
    """Servers on one bucket, of which clients reach the current one."""

    host = "127.0.0.1"

    def __init__(self, run: Run, count: int = 1) -> None:
        store = run.ends.enter_context(contextlib.closing(S3Server(run.place / "s3")))
        store.start()
        self.proxy = run.ends.enter_context(contextlib.closing(S3Proxy(store.url, LATENCY_MS, run.seed)))
        env = environment(self.proxy.url) | {"HOME": str(run.place)}
        command = run.bucket_engine.replace("{bucket}", BUCKET).replace("{prefix}", "faults")
        self.all = [
            run.ends.enter_context(contextlib.closing(Server(command, run.place / f"node-{number}", env)))
            for number in range(count)
        ]
        for node in self.all:
            node.start()
        self.current = self.all[0]

    @property
    def port(self) -> int:
        return self.current.port

    def status(self) -> int | None:
        return self.current.status()


def _run(run: Run, nodes: Nodes, fault: Callable[[Nodes, Load, Tally], None]) -> Tally:
    """`fault` happens again and again; then all that was acked is read, from the current server and from a new one."""
    load = Load(nodes, run.dice)
    post(nodes, "/v1/streams", {"stream": ASIDE})
    tally = Tally(runs=1)
    for _ in range(TURNS):
        if not load.wait_for(BATCHES, AFTER_S):
            tally.complaints.append("appends do not go on")
            break
        fault(nodes, load, tally)
        tally.faults += 1
    nodes.proxy.fail()
    if not load.wait_for(BATCHES, AFTER_S):
        tally.complaints.append("appends do not go on after the last fault")
    load.stop()
    tally.stall_s = load.longest_stall_s
    for ledger in load.ledgers:
        tally += ledger.compare(_read(nodes, ledger.stream), float("inf"))
    nodes.current.kill()
    nodes.current.start()
    cold = compare(nodes, load.ledgers)
    if not cold.is_clean:
        tally.complaints.append(f"a server that is started later finds {cold}")
    return tally


def _read(nodes: Nodes, stream: str) -> list[tuple[int, bytes]]:
    """All records of a stream, read as clients do it: again after a 503, where another server has come between. Raises
    UnreadableError."""
    end_s = time.monotonic() + AFTER_S
    while True:
        try:
            return read_stream(nodes, stream)
        except UnreadableError as error:
            if error.status != 503 or time.monotonic() > end_s:
                raise
        time.sleep(RETRY_S)


def _fail_some(*rules: Callable[[float], Rule]) -> Callable[[Run], Tally]:
    """A share of the requests fails, for a while."""

    def run_it(run: Run) -> Tally:
        def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
            nodes.proxy.fail(*(rule(run.dice.uniform(0.05, 0.4)) for rule in rules))
            load.wait_for(BATCHES, MOST_OUTAGE_S)
            nodes.proxy.fail()

        return _run(run, Nodes(run), happen)

    return run_it


def _fail_all(fault: str) -> Callable[[Run], Tally]:
    """Every request fails, for up to some seconds."""

    def run_it(run: Run) -> Tally:
        def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
            nodes.proxy.fail(Rule(fault))
            time.sleep(run.dice.uniform(0.1, MOST_OUTAGE_S))
            nodes.proxy.fail()

        return _run(run, Nodes(run), happen)

    return run_it


def long_outage(run: Run) -> Tally:
    """The bucket cannot be used for long. Whoever appends or asks for a tail meanwhile is told so."""
    fault = run.dice.choice([UNREACHABLE, SILENT, SLOW_DOWN])

    def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
        nodes.proxy.fail(Rule(fault))
        end_s = time.monotonic() + LONG_OUTAGE_S
        for answer in (append_aside(nodes), ask(nodes, "GET", f"/v1/streams/{ASIDE}/records/tail")):
            if answer[0] != 503:
                tally.complaints.append(f"in an outage ({fault}) it answers {answer}")
        time.sleep(max(0.0, end_s - time.monotonic()))
        nodes.proxy.fail()

    return _run(run, Nodes(run), happen)


def _take_over(nodes: Nodes, tally: Tally) -> None:
    """Clients go to the other server from now on, which must take the basin over."""
    nodes.current = next(node for node in nodes.all if node is not nodes.current)
    end_s = time.monotonic() + AFTER_S
    while append_aside(nodes)[0] != 200:
        if time.monotonic() > end_s:
            tally.complaints.append("the other server does not take over")
            return
        time.sleep(RETRY_S)


def node_killed(run: Run) -> Tally:
    def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
        former = nodes.current
        former.kill()
        _take_over(nodes, tally)
        former.start()

    return _run(run, Nodes(run, 2), happen)


def node_stopped(run: Run) -> Tally:
    """A server stands still until another one has taken over. What it has still to say then must be true."""

    def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
        former = nodes.current
        os.kill(former.pid, signal.SIGSTOP)
        _take_over(nodes, tally)
        os.kill(former.pid, signal.SIGCONT)

    return _run(run, Nodes(run, 2), happen)


def nodes_contend(run: Run) -> Tally:
    """Requests of a basin come to both servers in turn."""

    def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
        for _ in range(run.dice.randrange(2, 6)):
            _take_over(nodes, tally)

    return _run(run, Nodes(run, 2), happen)


def on_a_bucket_that_lies(run: Run) -> Tally:
    """Not a fault that a server could survive: acked records must be found to be missing."""

    def happen(nodes: Nodes, load: Load, tally: Tally) -> None:
        nodes.proxy.fail(Rule(LIE, part="/wal/"))
        load.wait_for(BATCHES, MOST_OUTAGE_S)
        nodes.current.kill()
        nodes.proxy.fail()
        nodes.current.start()

    return _run(run, Nodes(run), happen)


FAULTS = {
    "bucket: slow down": _fail_some(lambda share: Rule(SLOW_DOWN, share)),
    "bucket: replies lost": _fail_some(lambda share: Rule(LOST_REPLY, share, kinds=("PUT",))),
    "bucket: errors after writes": _fail_some(lambda share: Rule(ERROR_AFTER, share, kinds=("PUT",))),
    "bucket: conflicts with own writes": _fail_some(
        lambda share: Rule(CONFLICT_AFTER, share / 2), lambda share: Rule(FAILED_AFTER, share / 2)
    ),
    "bucket: connections reset": _fail_some(lambda share: Rule(UNREACHABLE, share)),
    "bucket: unreachable": _fail_all(UNREACHABLE),
    "bucket: vanished": _fail_all(NO_BUCKET),
    "bucket: credentials expired": _fail_all(EXPIRED),
    "bucket: long outage": long_outage,
    "bucket: node killed": node_killed,
    "bucket: node stopped": node_stopped,
    "bucket: nodes contend": nodes_contend,
}
