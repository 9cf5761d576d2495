"""The end of a server, phase by phase."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from support.waiting import TIMEOUT_S

from s2cli.server.api.server import Phase, Server
from s2cli.wire.frames import RECONNECT_ADVISED


def with_server(run):
    async def main():
        await asyncio.wait_for(run(Server(SimpleNamespace(max_pending_bytes=0))), TIMEOUT_S)

    asyncio.run(main())


def test_the_phases_come_in_their_order():
    async def run(server):
        for phase in Phase:
            assert server.phase is phase
            assert server.draining is (phase >= Phase.DRAINING)
            assert server.advice == (RECONNECT_ADVISED if phase > Phase.SERVING else 0)
            for other in set(Phase) - {phase + 1}:
                with pytest.raises(AssertionError):
                    server.enter(other)
            if phase is not Phase.CLOSED:
                server.enter(Phase(phase + 1))

    with_server(run)


def test_whoever_is_advised_to_reconnect_is_waited_for():
    async def run(server):
        server.meters.totals.append_sessions = 1
        server.enter(Phase.REFUSING)
        waiting = asyncio.ensure_future(server.appenders_left(TIMEOUT_S))
        server.check_appenders_left()
        await asyncio.sleep(0)
        assert not waiting.done()
        server.meters.totals.append_sessions = 0
        server.check_appenders_left()
        await waiting
        await server.appenders_left(0)

    with_server(run)


def test_sessions_are_told_once_whatever_one_of_them_does(caplog):
    told = []

    def fail():
        told.append("failed")
        raise ZeroDivisionError("a bug")

    async def run(server):
        server.on_drain(fail)
        server.on_drain(lambda: told.append("first"))
        server.off_drain(server.on_drain(lambda: told.append("gone")))
        server.enter(Phase.REFUSING)
        assert told == []
        with caplog.at_level(logging.ERROR):
            server.enter(Phase.DRAINING)
        assert told == ["failed", "first"]
        server.on_drain(lambda: told.append("late"))
        server.enter(Phase.CLOSING)
        assert told == ["failed", "first", "late"]

    with_server(run)
    assert [record.message for record in caplog.records] == ["a session could not be told to end"]


def test_what_comes_while_it_drains_is_refused_when_connections_are_told_to_end():
    async def run(server):
        server.exchanges = 2
        server.enter(Phase.REFUSING)
        server.enter(Phase.DRAINING)
        quiet = asyncio.ensure_future(server.quiet(TIMEOUT_S))
        refused = asyncio.ensure_future(server.refuse())
        await asyncio.sleep(0)
        assert not quiet.done()
        # Nothing runs but what is held.
        server.exchange_ended()
        await quiet
        assert not refused.done()
        server.enter(Phase.CLOSING)
        assert (await refused).code == "server_draining"
        ended = asyncio.ensure_future(server.quiet(TIMEOUT_S))
        await asyncio.sleep(0)
        assert not ended.done()
        server.exchange_ended()
        await ended

    with_server(run)
