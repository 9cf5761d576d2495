"""Histories of concurrent clients under faults, which must be linearizable."""

import contextlib
import random
import signal
import time
from collections.abc import Callable

from faults.engines import STOP_S, Server
from faults.load import BASIN, post
from faults.process_faults import MOST_STOP_S
from faults.run import Run
from faults.tally import Tally
from linearizability.checker import UndecidedError
from linearizability.clients import Address, Client, last_look
from linearizability.history import Appended, History
from linearizability.stream_model import is_linearizable
from support.cutting_proxy import CuttingProxy

CLIENTS = 6
REQUESTS = 100  # of each client
STREAM = "history"
TIMEOUT_S = 60.0


def _run(run: Run, fault: Callable[[random.Random, Server, CuttingProxy], None]) -> Tally:
    """Half of the clients go through the proxy; a fault happens after every 20 to 100 requests."""
    server = run.server()
    server.start()
    post(server, "/v1/basins", {"basin": BASIN})
    post(server, "/v1/streams", {"stream": STREAM})
    proxy = run.ends.enter_context(contextlib.closing(CuttingProxy(server.port)))
    history = History()
    clients = [
        Client(
            f"c{number}",
            history,
            Address(proxy.port if number % 2 else server.port),
            BASIN,
            STREAM,
            seed=run.seed,
            count=REQUESTS,
            timeout_s=TIMEOUT_S,
            sends="session" if number % 3 else "unary",
        )
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    faults = 0
    while not all(client.is_done for client in clients):
        goal = len(history.operations) + run.dice.randrange(20, 100)
        while len(history.operations) < goal and not all(client.is_done for client in clients):
            time.sleep(0.001)
        fault(run.dice, server, proxy)
        faults += 1
    for client in clients:
        client.join(TIMEOUT_S)
    last_look(history, Address(server.port), BASIN, STREAM, timeout_s=TIMEOUT_S)
    answers = [operation.answer for operation in history.operations]
    tally = Tally(runs=1, faults=faults, records=len(answers), stall_s=max(client.longest_wait_s for client in clients))
    tally.acked = sum(isinstance(answer, Appended) for answer in answers)
    try:
        if not is_linearizable(history.operations):
            tally.silent = 1
            tally.complaints.append("the history is not linearizable")
    except UndecidedError as error:
        tally.complaints.append(f"the history was not decided: {error}")
    if tally.complaints:
        (run.place / "history").write_text("\n".join(map(repr, history.operations)))
    return tally


def _kill(dice: random.Random, server: Server, proxy: CuttingProxy) -> None:
    server.kill()
    server.start()


def _drain(dice: random.Random, server: Server, proxy: CuttingProxy) -> None:
    assert server.stop() is not None, f"SIGTERM does not end the server within {STOP_S:.0f} s"
    server.start()


def _cut(dice: random.Random, server: Server, proxy: CuttingProxy) -> None:
    for link in [link for link in proxy.links if not link.is_cut]:
        if dice.random() < 0.5:
            link.mute.set()
        link.cut(keep=dice.random() < 0.5)


def _stop(dice: random.Random, server: Server, proxy: CuttingProxy) -> None:
    server.send(signal.SIGSTOP)
    time.sleep(dice.uniform(0, MOST_STOP_S) / 3)
    server.send(signal.SIGCONT)


def _any(dice: random.Random, server: Server, proxy: CuttingProxy) -> None:
    dice.choice((_kill, _drain, _cut, _stop))(dice, server, proxy)


def _fault(happens: Callable[[random.Random, Server, CuttingProxy], None]) -> Callable[[Run], Tally]:
    return lambda run: _run(run, happens)


FAULTS = {
    "history: server killed": _fault(_kill),
    "history: server drained": _fault(_drain),
    "history: connections cut": _fault(_cut),
    "history: all of these": _fault(_any),
}
