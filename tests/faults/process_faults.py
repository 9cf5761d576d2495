"""Processes that are killed or stopped while `s2 append` and `s2 read --follow` run."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

from faults.command_load import CommandLoad
from faults.engines import Server
from faults.run import Run
from faults.tally import Tally

TURNS = 3
MOST_STOP_S = 1.5


def _run(run: Run, fault: Callable[[Run, Server, CommandLoad], None]) -> Tally:
    server = run.server()
    server.start()
    load = run.ends.enter_context(contextlib.closing(CommandLoad(server.port, server)))
    return load.run(run.dice, TURNS, lambda: fault(run, server, load))


def _kill_server(run: Run, server: Server, load: CommandLoad) -> None:
    server.kill()
    server.start()


def _drain_server(run: Run, server: Server, load: CommandLoad) -> None:
    if server.stop() is None:
        load.complaints.append("SIGTERM does not end the server")
    server.start()


def _kill_client(run: Run, server: Server, load: CommandLoad) -> None:
    load.kill_append()


def _stop(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def _stop_server(run: Run, server: Server, load: CommandLoad) -> None:
    _stop(server.pid, run.dice.uniform(0, MOST_STOP_S))


def _stop_client(run: Run, server: Server, load: CommandLoad) -> None:
    _stop(load.append_pid, run.dice.uniform(0, MOST_STOP_S))


def server_killed(run: Run) -> Tally:
    return _run(run, _kill_server)


def server_drained(run: Run) -> Tally:
    return _run(run, _drain_server)


def client_killed(run: Run) -> Tally:
    return _run(run, _kill_client)


def server_stopped(run: Run) -> Tally:
    return _run(run, _stop_server)


def client_stopped(run: Run) -> Tally:
    return _run(run, _stop_client)


FAULTS = {
    "server killed": server_killed,
    "server drained": server_drained,
    "client killed": client_killed,
    "server stopped": server_stopped,
    "client stopped": client_stopped,
}
