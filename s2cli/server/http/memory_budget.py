"""One budget for the whole server: what is queued for readers, and what has been read from appenders and is not yet
durable. Clients decide how many they are, and how slowly they take and finish; so each bound for one of them leaves
their sum without one.

Nothing is booked piece by piece. Whoever is about to take memory reserves it; once the reserve is used up an audit asks
every holder what it really holds. Where the budget is short, readers get no more, and those that take the longest for
what waits for them are ended; appenders are only not read, except that each may always have a little.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from s2cli.server.client_log import CLIENT_LOG

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

log = logging.getLogger(CLIENT_LOG)

MIB = 1024 * 1024
DEFAULT_LIMIT_BYTES = 256 * MIB
# Of a holder, beside what it counts: objects, tasks and buffers. Measured as the resident memory of idle sessions.
HOLDER_BYTES = 16 * 1024
# What each connection may always send, so that a small append goes on beside large ones; less where they are many.
LEAST_READ_BYTES = 64 * 1024
# A reader's pace is known after so long, and counts until so much later.
LEAST_STALL_S = 1.0
PACE_S = 10.0
# A reader that takes what waits for it within this time is not ended for memory.
PATIENCE_S = 10.0
# Between audits, where one after the other would be due; more in times of what the last one took.
AUDIT_PAUSE_S = 0.05
AUDIT_PAUSE_FACTOR = 10


class Share:
    """What the application holds for an exchange, or for a connection whose exchanges follow one another."""

    __slots__ = ("body_bytes", "collected_bytes", "held_bytes", "reserved_bytes")

    def __init__(self) -> None:
        self.body_bytes = 0  # of the request, that it has taken, ever
        self.collected_bytes = 0  # of these, that it has yet to answer
        self.held_bytes = 0  # of the response, that the host has no room for
        self.reserved_bytes = 0  # of the response, that it has read, or is reading

    def clear(self) -> None:
        self.collected_bytes = self.held_bytes = self.reserved_bytes = 0


class Holder(Protocol):
    """A connection, or an exchange on one that has several. The budget keeps the two marks: what its reader had taken,
    and when; inf while nothing waits for it, as at first."""

    share: Share
    is_ending: bool
    taken_mark: int
    marked_s: float

    def unsent_bytes(self) -> int:
        """What its reader has yet to take."""
        ...

    def unacked_bytes(self) -> int:
        """What came from its appender, without what the share has of it."""
        ...

    def taken_bytes(self) -> int:
        """What its reader has taken, ever."""
        ...

    def end_reader(self) -> None:
        """Has it let go of everything, now or soon: until then it stays a holder."""
        ...

    def may_read(self) -> None:
        """The budget is short no more."""
        ...


class _Slow(NamedTuple):
    """A reader that may be ended, in the order in which they are: by its pace for what waits for it, then by how long
    that has been so."""

    pace: float
    since_s: float
    unsent_bytes: int
    got_bytes: int
    holder: Holder


class Memory:
    """The budget, in the running loop."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_bytes = limit_bytes
        self.holders: set[Holder] = set()
        # What others hold: appends that are on their way to the disk, chunks for followers.
        self.elsewhere_bytes: Callable[[], int] = lambda: 0
        # By how much the process has grown: what is freed is not gone, and may be of no use for what comes.
        self.added_bytes: Callable[[], int] = lambda: 0
        # No more is taken in for readers; from appenders that have sent more than a little.
        self.is_short = False
        self.is_full_of_input = False
        self.used_bytes = 0  # as the last audit found, and with what it gave then
        self.ended_readers = 0
        self.now = now
        self._left_bytes = limit_bytes
        self._input_left_bytes = self._most_input_bytes
        self._waiting: deque[tuple[int, Share, Future[None]]] = deque()
        self._next_audit_s = 0.0
        self._due: asyncio.TimerHandle | None = None

    def spend(self, size_bytes: int) -> None:
        """So much has come into memory, or is about to."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            self._audit_soon()

    def spend_input(self, size_bytes: int) -> None:
        """The same for what came from a client."""
        self._input_left_bytes -= size_bytes
        if self._input_left_bytes < 0:
            self._audit_soon()

    @property
    def _most_input_bytes(self) -> int:
        """A half, with what each may always send: whoever begins appends and does not finish them keeps nobody from
        reading."""
        return self.limit_bytes // 2 - self.limit_bytes // 8

    @property
    def least_read_bytes(self) -> int:
        """What each holder may have sent although there is no room for more."""
        return min(LEAST_READ_BYTES, self.limit_bytes // 8 // (len(self.holders) or 1))

    async def reserve(self, share: Share, size_bytes: int) -> None:
        """Waits until there is room for so much for a reader. What he had reserved is given back first: two that wait
        for more, each with what the other one needs, would wait for ever."""
        self.keep(share, 0)
        if not self._waiting and size_bytes <= self._left_bytes:
            self._left_bytes -= size_bytes
            share.reserved_bytes = size_bytes
            return
        room: Future[None] = asyncio.get_running_loop().create_future()
        waiting = size_bytes, share, room
        self._waiting.append(waiting)
        self._audit_soon()
        try:
            await room
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiting)
            self.keep(share, 0)
            raise

    def keep(self, share: Share, size_bytes: int) -> None:
        """Gives back what was reserved, but for so much."""
        self._left_bytes += share.reserved_bytes - size_bytes
        share.reserved_bytes = size_bytes

    def _audit_soon(self) -> None:
        pause_s = self._next_audit_s - self.now()
        if pause_s <= 0:
            self.audit()
            return
        self.is_full_of_input = self.is_full_of_input or self._input_left_bytes < 0
        self.is_short = self.is_short or self._left_bytes < 0
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(pause_s, self.audit)

    def audit(self) -> None:
        """Asks all holders, and does what follows from that."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        now_s = self.now()
        used_bytes = self.elsewhere_bytes() + len(self.holders) * HOLDER_BYTES
        input_bytes = ending_bytes = 0
        slow: list[_Slow] = []
        for holder in self.holders:
            unsent_bytes, taken_bytes = holder.unsent_bytes(), holder.taken_bytes()
            share = holder.share
            input_bytes += holder.unacked_bytes() + share.collected_bytes
            used_bytes += unsent_bytes + share.reserved_bytes
            if holder.is_ending:
                ending_bytes += unsent_bytes
                continue
            since_s, got_bytes = now_s - holder.marked_s, taken_bytes - holder.taken_mark
            if not unsent_bytes:
                holder.marked_s = math.inf
            elif since_s < 0 or (got_bytes and since_s >= PACE_S):
                holder.taken_mark, holder.marked_s = taken_bytes, now_s
            elif since_s >= LEAST_STALL_S and unsent_bytes * since_s > got_bytes * PATIENCE_S:
                slow.append(_Slow(got_bytes / since_s / unsent_bytes, -since_s, unsent_bytes, got_bytes, holder))
        used_bytes += input_bytes
        # Holes between what is in use count, but never so much that there is no room left: other things grow, too.
        used_bytes += min(max(0, self.added_bytes() - used_bytes), self.limit_bytes // 4)
        # What is let go of counts until it is gone, which takes a moment: nobody gets it before.
        excess_bytes = self._excess_bytes(used_bytes) - ending_bytes
        if excess_bytes > 0:
            self._end_slow(slow, excess_bytes)
        self.used_bytes = used_bytes
        self._left_bytes = self.limit_bytes - used_bytes
        self._input_left_bytes = min(self._left_bytes, self._most_input_bytes - input_bytes)
        was_full, self.is_full_of_input = self.is_full_of_input, self._input_left_bytes <= 0
        self.is_short = self._left_bytes <= 0
        self._give_room()
        if was_full and not self.is_full_of_input:
            for holder in self.holders:
                holder.may_read()
        ended_s = self.now()
        pause_s = max(AUDIT_PAUSE_S, AUDIT_PAUSE_FACTOR * (ended_s - now_s))
        self._next_audit_s = ended_s + pause_s
        if self._waiting or self.is_short or self.is_full_of_input:
            self._due = asyncio.get_running_loop().call_later(pause_s, self.audit)

    def _excess_bytes(self, used_bytes: int) -> int:
        """What is to be let go of."""
        limit_bytes = self.limit_bytes
        # Some room is left below the limit, or each reserve would bring the next audit.
        excess_bytes = used_bytes - limit_bytes // 4 * 3 if used_bytes > limit_bytes - limit_bytes // 8 else 0
        if self._waiting:
            # As far as whoever is next has to wait for it.
            lacking_bytes = used_bytes + self._waiting[0][0] - limit_bytes
            excess_bytes = max(excess_bytes, min(lacking_bytes, used_bytes - limit_bytes // 2))
        return excess_bytes

    def _give_room(self) -> None:
        while self._waiting:
            size_bytes, share, room = self._waiting[0]
            # One that is larger than all there is goes when it is alone.
            if size_bytes > self._left_bytes and self.used_bytes > self.limit_bytes // 2:
                return
            self._waiting.popleft()
            if not room.done():
                self._left_bytes -= size_bytes
                self.used_bytes += size_bytes
                share.reserved_bytes = size_bytes
                room.set_result(None)

    def _end_slow(self, slow: list[_Slow], excess_bytes: int) -> None:
        """Ends readers, the slowest first, until so much is let go of."""
        freed_bytes = 0
        slow.sort(key=lambda one: one[:3])
        for one in slow:
            if freed_bytes >= excess_bytes:
                break
            freed_bytes += one.unsent_bytes
            self.ended_readers += 1
            log.warning(
                "short of memory: ended a reader that had taken %d bytes in %.0f s, of %d that waited for it",
                one.got_bytes,
                -one.since_s,
                one.unsent_bytes,
            )
            one.holder.is_ending = True
            one.holder.end_reader()
