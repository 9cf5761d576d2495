"""The turnstile: one large body at a time, and the others have the loop between two steps."""

import asyncio
import gzip
from types import SimpleNamespace

import pytest

from s2cli.errors import BadValueError
from s2cli.server.core import turnstile
from s2cli.server.core.turnstile import Turnstile
from s2cli.wire.bodies import ContentError

MIB = 1 << 20


@pytest.mark.parametrize(("step_s", "pause_s"), [(0.02, 0.02), (0.002, 0)])
def test_one_at_a_time_and_others_in_between(monkeypatch, step_s, pause_s):
    """Time passes only in the steps. A very long one is followed by a pause as long as it took, another one by a turn
    of the loop."""
    now_s = 0.0
    paused = []
    sleep = asyncio.sleep

    class Clock:
        monotonic = staticmethod(lambda: now_s)

    async def pause(delay_s):
        paused.append(delay_s)
        said.append("others")
        await sleep(0)

    def steps(name):
        nonlocal now_s
        for number in range(2):
            said.append(f"{name}{number}")
            now_s += step_s
            yield
        return name

    said = []

    async def main():
        one = Turnstile()
        return await asyncio.gather(*(one.walk(steps(name)) for name in "abc"))

    monkeypatch.setattr(turnstile, "time", Clock)
    monkeypatch.setattr(turnstile.asyncio, "sleep", pause)
    assert asyncio.run(main()) == ["a", "b", "c"]
    turns = [f"{name}{number}" for name in "abc" for number in range(2)]
    assert said == [word for turn in turns for word in (turn, "others")]
    assert paused == pytest.approx([pause_s] * 6)


def steps_by_turn(monkeypatch, begin):
    """How many steps `begin(step)` made in each turn of the loop; none of them is worth a turn for the others."""
    now_s = 0.0
    turns = []

    def step():
        nonlocal now_s
        now_s += turnstile.TURN_S * 0.6
        turns[-1] += 1

    async def main():
        working = begin(step)
        while not working.done():
            turns.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(turnstile, "time", SimpleNamespace(monotonic=lambda: now_s))
    asyncio.run(main())
    return turns


def test_many_that_are_ready_at_once_share_no_turn_of_the_loop(monkeypatch):
    """However short each of them is: together they may take long."""

    def begin(step):
        def once():
            step()
            return
            yield

        one = Turnstile()
        return asyncio.gather(*(one.walk(once()) for _ in range(100)))

    turns = steps_by_turn(monkeypatch, begin)
    assert (sum(turns), max(turns)) == (100, 2)


def test_many_short_steps_of_one_share_no_turn_of_the_loop(monkeypatch):
    def begin(step):
        def steps():
            for _ in range(100):
                step()
                yield

        return asyncio.ensure_future(Turnstile().walk(steps()))

    turns = steps_by_turn(monkeypatch, begin)
    assert (sum(turns), max(turns)) == (100, 2)


def test_what_is_done_at_once_passes_without_a_turn_of_the_loop():
    def at_once():
        return 5
        yield

    async def main():
        passed = Turnstile().walk(at_once())
        with pytest.raises(StopIteration) as done:
            passed.send(None)
        assert done.value.value == 5

    asyncio.run(main())


def test_what_fails_lets_the_next_one_through():
    def fail(_):
        raise BadValueError("no")
        yield

    def size(data):
        yield
        return len(data)

    async def main():
        one = Turnstile()
        with pytest.raises(BadValueError):
            await one.decode(bytes(MIB), None, MIB, fail)
        assert await one.decode(bytes(MIB), None, MIB, size) == (bytes(MIB), MIB)
        assert await one.decode(gzip.compress(bytes(MIB)), "gzip", MIB, size) == (bytes(MIB), MIB)
        assert await one.decode(gzip.compress(b"small"), "gzip", MIB, size) == (b"small", 5)
        with pytest.raises(ContentError):
            await one.decode(gzip.compress(bytes(MIB + 1)), "gzip", MIB, size)

    asyncio.run(main())


def test_what_waits_for_its_turn_is_not_inflated_yet(monkeypatch):
    """Hundreds may wait: what they hold is what came."""
    monkeypatch.setattr(turnstile, "TURN_S", 0.0)  # others have a turn after each step
    inflated = []

    def note(data):
        inflated.append(data)
        yield
        return None

    async def main():
        one = Turnstile()
        held = asyncio.ensure_future(one.walk(hold()))
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(one.decode(body, "gzip", MIB, note)) for _ in range(5)]
        await asyncio.sleep(0)
        assert inflated == []
        going_on.set_result(None)
        await asyncio.gather(held, *waiting)
        assert len(inflated) == 5

    def hold():
        nonlocal going_on
        going_on = asyncio.get_running_loop().create_future()
        while not going_on.done():
            yield

    going_on = None
    body = gzip.compress(bytes(MIB))
    asyncio.run(main())
