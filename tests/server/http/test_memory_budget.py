"""One budget for what waits in memory: who gets no more when it is short, who is ended, and who never notices."""

import asyncio
import math

import pytest
from support.waiting import TIMEOUT_S

from s2cli.server.http.memory_budget import (
    AUDIT_PAUSE_S,
    HOLDER_BYTES,
    LEAST_READ_BYTES,
    LEAST_STALL_S,
    MIB,
    PACE_S,
    Memory,
    Share,
)


class Reader:
    """A holder that does what it is told."""

    def __init__(self, memory, unsent_bytes=0, taken_bytes=0, input_bytes=0):
        self.share = Share()
        self.is_ending = False
        self.taken_mark = 0
        self.marked_s = math.inf
        self.unsent, self.taken, self.input = unsent_bytes, taken_bytes, input_bytes
        self.ended = self.told = 0
        self._memory = memory
        memory.holders.add(self)

    def unsent_bytes(self):
        return self.unsent

    def unacked_bytes(self):
        return self.input

    def taken_bytes(self):
        return self.taken

    def end_reader(self):
        self.ended += 1
        self._memory.holders.discard(self)

    def may_read(self):
        self.told += 1


@pytest.fixture
def clock():
    return [0.0]


def with_memory(clock, test, limit_bytes=100 * MIB):
    async def run():
        await test(Memory(limit_bytes, lambda: clock[0]))

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_those_that_took_nothing_for_longest_are_ended_first(clock):
    async def test(memory):
        memory.limit_bytes = 10 * MIB
        readers = []
        for second in range(5):
            clock[0] = float(second)
            memory.audit()
            readers.append(Reader(memory, 2 * MIB))
        clock[0] = 10.0
        memory.audit()  # 10 MiB of 10: down to three quarters
        assert [reader.ended for reader in readers] == [1, 1, 0, 0, 0]
        assert (memory.ended_readers, memory.is_short) == (2, True)
        memory.audit()  # they have gone
        assert memory.ended_readers == 2
        assert not memory.is_short

    with_memory(clock, test)


def test_who_takes_something_now_and_then_is_not_ended(clock):
    async def test(memory):
        slow, stalled, idle = Reader(memory, 60 * MIB), Reader(memory, 60 * MIB), Reader(memory)
        for _ in range(20):
            clock[0] += LEAST_STALL_S / 2
            slow.taken += 1
            memory.audit()
        assert (slow.ended, stalled.ended, idle.ended) == (0, 1, 0)

    with_memory(clock, test)


def test_who_trickles_is_ended_when_others_go_on_at_their_pace(clock):
    async def test(memory):
        memory.audit()
        trickling, fair, fast = Reader(memory, 60 * MIB), Reader(memory, 20 * MIB), Reader(memory, 20 * MIB)
        memory.audit()
        for _ in range(25):
            clock[0] += LEAST_STALL_S / 10
            trickling.taken += 1
            fair.taken += MIB // 4
            fast.taken += MIB
            memory.audit()
        assert (trickling.ended, fair.ended, fast.ended) == (1, 0, 0)

    with_memory(clock, test)


def test_who_was_fast_and_takes_no_more_is_ended_after_a_while(clock):
    async def test(memory):
        reader = Reader(memory, 95 * MIB)
        memory.audit()
        reader.taken = 1000 * MIB
        while not reader.ended:
            clock[0] += LEAST_STALL_S
            memory.audit()
        assert clock[0] <= PACE_S + 2 * LEAST_STALL_S

    with_memory(clock, test)


def test_a_reader_for_which_nothing_waited_is_not_ended_as_soon_as_something_does(clock):
    async def test(memory):
        reader = Reader(memory)
        memory.audit()
        clock[0] = 1000.0
        reader.unsent = 100 * MIB
        memory.audit()
        assert (memory.is_short, reader.ended) == (True, 0)

    with_memory(clock, test)


def test_nobody_is_ended_at_once_or_without_need(clock):
    async def test(memory):
        reader = Reader(memory, 200 * MIB)
        clock[0] = LEAST_STALL_S / 2
        memory.audit()
        assert (memory.is_short, reader.ended) == (True, 0)
        reader.unsent = 50 * MIB
        clock[0] = 1000.0
        memory.audit()
        assert (memory.is_short, reader.ended) == (False, 0)

    with_memory(clock, test)


def test_readers_wait_for_room_in_their_order(clock):
    async def test(memory):
        holder = Reader(memory, 70 * MIB)
        memory.audit()
        await memory.reserve(Share(), 20 * MIB)
        clock[0] += AUDIT_PAUSE_S
        waiting = [asyncio.ensure_future(memory.reserve(Share(), 15 * MIB)) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        # The audit that the first of them brought found that the 20 MiB are held by nobody.
        assert [one.done() for one in waiting] == [True, False, False]
        holder.unsent = 0
        clock[0] += AUDIT_PAUSE_S
        await asyncio.gather(*waiting)

    with_memory(clock, test)


def test_those_that_wait_get_no_more_together_than_there_is(clock):
    async def test(memory):
        readers = [Reader(memory) for _ in range(9)]
        waiting = [asyncio.ensure_future(memory.reserve(reader.share, 30 * MIB)) for reader in readers]
        done = 0
        while done < len(readers):
            await asyncio.sleep(0)
            clock[0] += AUDIT_PAUSE_S
            memory.audit()
            await asyncio.sleep(0)
            assert sum(reader.share.reserved_bytes for reader in readers) <= 90 * MIB
            # Two have what they needed; less than a half is in use then.
            for reader in readers[done : done + 2]:
                reader.share.clear()
            done += 2
        await asyncio.gather(*waiting)

    with_memory(clock, test)


def test_who_waits_no_more_keeps_nobody_behind_him_waiting(clock):
    async def test(memory):
        holder = Reader(memory, 70 * MIB)
        memory.audit()
        gone, next_one = Share(), Share()
        first = asyncio.ensure_future(memory.reserve(gone, 90 * MIB))
        second = asyncio.ensure_future(memory.reserve(next_one, MIB))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        memory.audit()
        await second
        assert (gone.reserved_bytes, next_one.reserved_bytes) == (0, MIB)
        # One that has got room in the same turn of the loop gives it back.
        first = asyncio.ensure_future(memory.reserve(gone, 90 * MIB))
        await asyncio.sleep(0)
        holder.unsent = 0
        memory.audit()
        assert gone.reserved_bytes == 90 * MIB
        first.cancel()
        await asyncio.wait([first])
        assert gone.reserved_bytes == 0

    with_memory(clock, test)


def test_one_that_needs_more_than_there_is_goes_when_it_is_alone(clock):
    async def test(memory):
        await memory.reserve(Share(), 1000 * MIB)

    with_memory(clock, test)


def test_appenders_hold_a_half_at_most_and_are_told_when_there_is_room(clock):
    async def test(memory):
        appender = Reader(memory, input_bytes=51 * MIB)
        memory.spend_input(51 * MIB)
        assert (memory.is_full_of_input, memory.is_short, appender.told) == (True, False, 0)
        await memory.reserve(Share(), 20 * MIB)
        appender.input = 0
        clock[0] += AUDIT_PAUSE_S
        memory.audit()
        assert (memory.is_full_of_input, appender.told, appender.ended) == (False, 1, 0)

    with_memory(clock, test)


def test_that_there_is_no_room_is_known_before_the_next_audit(clock):
    async def test(memory):
        memory.spend(101 * MIB)  # brings one, and another one later
        memory.spend(101 * MIB)
        assert (memory.is_short, memory.is_full_of_input) == (True, False)
        memory.spend_input(60 * MIB)
        assert memory.is_full_of_input

    with_memory(clock, test)


def test_what_each_may_always_send_has_a_sum(clock):
    async def test(memory):
        Reader(memory)
        assert memory.least_read_bytes == LEAST_READ_BYTES
        for _ in range(999):
            Reader(memory)
        assert 1000 * memory.least_read_bytes <= memory.limit_bytes // 8 < 1001 * (memory.least_read_bytes + 1)

    with_memory(clock, test)


def test_what_the_process_has_beside_counts_up_to_a_quarter(clock):
    async def test(memory):
        Reader(memory, 60 * MIB)
        for added_bytes, used_bytes in ((0, 60), (50, 60), (75, 75), (1000, 85)):
            memory.added_bytes = lambda added_bytes=added_bytes: added_bytes * MIB
            memory.audit()
            assert memory.used_bytes // MIB == used_bytes
        await memory.reserve(Share(), 10 * MIB)

    with_memory(clock, test)


def test_audits_are_few_however_much_comes(clock):
    async def test(memory):
        audits = []
        memory.elsewhere_bytes = lambda: audits.append(None) or 0
        for _ in range(10_000):
            memory.spend(MIB)
        assert len(audits) == 1
        for _ in range(HOLDER_BYTES):
            memory.spend(1)
        assert len(audits) == 1

    with_memory(clock, test)
