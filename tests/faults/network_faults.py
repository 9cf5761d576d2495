"""Networks at their worst, between `s2 append`, `s2 read --follow` and the server."""

import contextlib
import random
import time
from collections.abc import Callable

from faults.command_load import CommandLoad
from faults.run import Run
from faults.tally import Tally
from support.cutting_proxy import CuttingProxy, Link

TURNS = 4
MOST_STALL_S = 3.0  # a client says that it waits after 2.5
MOST_BYTES = 20_000  # until a connection breaks off in the middle of something


def _run(run: Run, fault: Callable[[random.Random, Link], None]) -> Tally:
    """Each fault happens to the connections that there are."""
    server = run.server()
    server.start()
    proxy = run.ends.enter_context(contextlib.closing(CuttingProxy(server.port)))
    load = run.ends.enter_context(contextlib.closing(CommandLoad(proxy.port, server)))

    def happen() -> None:
        for link in [link for link in proxy.links if not link.is_cut]:
            fault(run.dice, link)

    return load.run(run.dice, TURNS, happen)


def _cut(dice: random.Random, link: Link) -> None:
    link.cut(keep=False)


def _cut_and_deliver_late(dice: random.Random, link: Link) -> None:
    link.hold()
    time.sleep(dice.uniform(0, 0.1))
    link.cut(keep=True)
    time.sleep(dice.uniform(0, 0.3))
    link.deliver()


def _stall(dice: random.Random, link: Link) -> None:
    link.up_open.clear()
    link.down_open.clear()
    time.sleep(dice.uniform(0, MOST_STALL_S) / 2)
    link.up_open.set()
    link.down_open.set()


def _delay(dice: random.Random, link: Link) -> None:
    link.delay_s = dice.uniform(0, 0.05)


def _truncate_answers(dice: random.Random, link: Link) -> None:
    """The server's bytes end in the middle of a frame, and then the connection does."""
    link.answer_at_most = link.answered + dice.randrange(1, 60)
    link.mute.wait(MOST_STALL_S)
    link.cut(keep=False)


def _reset_answers(dice: random.Random, link: Link) -> None:
    link.reset_at = (1 << 60, link.answered + dice.randrange(1, 60))


def _reset_requests(dice: random.Random, link: Link) -> None:
    link.reset_at = (link.passed + dice.randrange(1, MOST_BYTES), 1 << 60)


def _swallow_requests(dice: random.Random, link: Link) -> None:
    """What the client sends goes nowhere for a while, and then the connection ends."""
    link.up_open.clear()
    time.sleep(dice.uniform(0, MOST_STALL_S) / 2)
    link.cut(keep=False)


def _swallow_answers(dice: random.Random, link: Link) -> None:
    link.down_open.clear()
    time.sleep(dice.uniform(0, MOST_STALL_S) / 2)
    link.cut(keep=False)


def _fault(happens: Callable[[random.Random, Link], None]) -> Callable[[Run], Tally]:
    return lambda run: _run(run, happens)


FAULTS = {
    "connections cut": _fault(_cut),
    "cut, delivered late": _fault(_cut_and_deliver_late),
    "network stalls": _fault(_stall),
    "network delays": _fault(_delay),
    "answers truncated": _fault(_truncate_answers),
    "reset in an answer": _fault(_reset_answers),
    "reset in a request": _fault(_reset_requests),
    "requests swallowed": _fault(_swallow_requests),
    "answers swallowed": _fault(_swallow_answers),
}
