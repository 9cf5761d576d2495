"""Broadcasts to the followers of a stream: at once to a few, in time to many, and never with a gap."""

import asyncio
from types import SimpleNamespace

import pytest
from support.waiting import TIMEOUT_S

from s2cli.server.core import followers
from s2cli.server.core.followers import Followers
from s2cli.server.store.interface import Chunk


class Clock:
    """The time that a broadcast takes is that of its followers."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


class Follower:
    def __init__(self, fan, clock, cost_s=0.0):
        self.next_seq_num = 0
        self.fan = fan
        self.clock = clock
        self.cost_s = cost_s
        self.broadcasts = []
        self.failed = False

    def on_durable(self):
        self.clock.now_s += self.cost_s
        new = [chunk for chunk in self.fan.recent if chunk.first_seq_num >= self.next_seq_num]
        assert not new or new[0].first_seq_num == self.next_seq_num
        self.broadcasts.append(len(new))
        self.next_seq_num += sum(chunk.count for chunk in new)

    def on_failure(self):
        self.failed = True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(followers, "time", clock)
    return clock


class Appends:
    def __init__(self, fan):
        self.fan = fan
        self.seq_num = 0

    def group(self, count=1, size=10):
        for _ in range(count):
            self.fan.remember(Chunk(self.seq_num, 1, size, 0, b"x" * size))
            self.seq_num += 1
        self.fan.wake()


def in_loop(job):
    async def main():
        fan = Followers(SimpleNamespace(recent_bytes=0))
        await job(fan, Appends(fan))

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_what_costs_little_goes_at_once(clock):
    async def job(fan, appends):
        follower = Follower(fan, clock, 0.0001)
        fan.follow(follower)
        for _ in range(5):
            appends.group()
        assert follower.broadcasts == [1, 1, 1, 1, 1]
        assert (len(fan.recent), fan.recent_bytes) == (0, 0)

    in_loop(job)


def test_the_longer_a_wave_takes_the_more_the_next_one_brings(clock):
    async def job(fan, appends):
        follower = Follower(fan, clock, 0.004)
        fan.follow(follower)
        appends.group()
        for _ in range(7):
            appends.group()
        assert follower.broadcasts == [1]
        await until(lambda: len(follower.broadcasts) == 2)
        assert follower.broadcasts == [1, 7]
        clock.now_s += 0.05  # the pause is over
        appends.group()
        assert follower.broadcasts == [1, 7, 1]

    in_loop(job)


def test_a_wave_to_many_leaves_turns_for_others(clock):
    """Whoever comes later in it gets what has become durable meanwhile, and those before him as soon as it ends."""

    async def job(fan, appends):
        many = [Follower(fan, clock, followers.STEP_S * 0.6) for _ in range(20)]
        for follower in many:
            fan.follow(follower)

        def reached():
            return sum(len(follower.broadcasts) for follower in many)

        appends.group()
        assert reached() == 2
        await asyncio.sleep(0)
        assert reached() == 4
        appends.group(3)
        left = next(follower for follower in many if not follower.broadcasts)
        fan.unfollow(left)
        await until(lambda: sum(follower.next_seq_num == 4 for follower in many) == 19)
        many.remove(left)
        # To some of the latter a broadcast comes that brings nothing.
        assert sorted(follower.broadcasts[:2] for follower in many if follower.broadcasts[0] == 1) == [[1, 3]] * 4
        assert all(
            follower.broadcasts[0] == 4 and not any(follower.broadcasts[1:])
            for follower in many
            if follower.broadcasts[0] != 1
        )
        await until(lambda: not fan.recent)
        assert fan.recent_bytes == 0

    in_loop(job)


def test_a_failure_in_the_middle_of_a_wave_comes_to_everybody_after_it(clock):
    async def job(fan, appends):
        many = [Follower(fan, clock, followers.STEP_S) for _ in range(5)]
        for follower in many:
            fan.follow(follower)
        appends.group()
        appends.group()
        fan.fail()
        assert all(follower.failed and follower.next_seq_num == 2 for follower in many)

    in_loop(job)


def test_much_does_not_wait_and_nothing_is_dropped_before_it_is_brought(clock, monkeypatch):
    monkeypatch.setattr(followers, "MAX_RECENT_BYTES", 100)

    async def job(fan, appends):
        follower, other = Follower(fan, clock, 1.0), Follower(fan, clock)
        fan.follow(follower)
        fan.follow(other)
        appends.group()
        appends.group(4)
        fan.unfollow(other)
        assert follower.broadcasts == [1]
        appends.group(30)  # three times what is kept at will
        assert follower.broadcasts == [1, 34]
        assert fan.recent_bytes == 0

    in_loop(job)


def test_what_was_durable_before_a_failure_comes_before_it(clock):
    async def job(fan, appends):
        follower = Follower(fan, clock, 1.0)
        fan.follow(follower)
        appends.group()
        appends.group(3)
        fan.fail()
        assert (follower.broadcasts, follower.failed) == ([1, 3], True)

    in_loop(job)


def test_without_followers_nothing_is_kept(clock):
    async def job(fan, appends):
        appends.group(3)
        assert not fan.recent
        follower = Follower(fan, clock, 1.0)
        follower.next_seq_num = 3
        fan.follow(follower)
        appends.group()
        appends.group()
        fan.unfollow(follower)
        assert (len(fan.recent), fan.recent_bytes) == (0, 0)

    in_loop(job)
