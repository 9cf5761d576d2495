"""One memory budget for the whole server: what is queued for readers, and what was read from appenders and is not yet
durable. Limits for each client would not limit the sum, since clients decide how many there are.

Memory is not counted piece by piece. A reader reserves memory before it uses it; when the reservations have used up the
budget, an audit asks every connection what it really holds. If that is too much, readers get nothing more, and those
that would need longest to take what is queued for them are ended. Appenders are never ended: the server stops reading
from them, except for a small amount that each may always send.
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
# What a holder uses beside its counted bytes: objects, tasks and buffers. Measured as the resident memory of idle
# sessions.
HOLDER_BYTES = 16 * 1024
# What each connection may always send, so that a small append proceeds beside large ones; less where they are many.
LEAST_READ_BYTES = 64 * 1024
# The pace of a reader is measured over at least the first and at most the second of these times.
LEAST_STALL_S = 1.0
PACE_S = 10.0
# A reader that takes what waits for it within this time is not ended for memory.
PATIENCE_S = 10.0
# The shortest pause between two audits; longer if the last one took longer, by the factor below.
AUDIT_PAUSE_S = 0.05
AUDIT_PAUSE_FACTOR = 10


class Share:
    """The memory that the application uses for one exchange, or for a connection with one exchange at a time."""

    __slots__ = ("collected_bytes", "held_bytes", "reserved_bytes")

    def __init__(self) -> None:
        self.collected_bytes = 0  # of request bodies that it has read and not yet answered
        self.held_bytes = 0  # of responses that it has written and the connection has not accepted yet
        self.reserved_bytes = 0  # reserved for a page of records that it reads or sends

    def clear(self) -> None:
        self.collected_bytes = self.held_bytes = self.reserved_bytes = 0


class Holder(Protocol):
    """A connection, or an exchange on a connection with several. The budget sets `taken_mark`, what its reader had
    taken, at the time `marked_s`, which is inf at first and while nothing is queued for the reader."""

    share: Share
    is_ending: bool
    taken_mark: int
    marked_s: float

    def unsent_bytes(self) -> int:
        """The bytes that are queued for its reader."""
        ...

    def unacked_bytes(self) -> int:
        """What came from its appender and is not yet in `share.collected_bytes`."""
        ...

    def taken_bytes(self) -> int:
        """What its reader has taken, in total."""
        ...

    def end_reader(self) -> None:
        """Ends the reader. The holder stays in the budget until all of its memory is free, now or soon."""
        ...

    def may_read(self) -> None:
        """Called when there is room to read from the appender again."""
        ...


class _Slow(NamedTuple):
    """A reader that may be ended. They sort in the order in which they are ended: slowest first in relation to what is
    queued, then longest stalled."""

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
        # Memory in use elsewhere: appends that wait for the disk, chunks kept for followers.
        self.elsewhere_bytes: Callable[[], int] = lambda: 0
        # By how much the process has grown: freed memory may stay with it, in holes that are too small to use again.
        self.added_bytes: Callable[[], int] = lambda: 0
        # Short: no pages are read for readers. Full of input: only a little is read from each appender.
        self.is_short = False
        self.is_full_of_input = False
        self.used_bytes = 0  # as the last audit found, plus what it granted
        self.ended_readers = 0
        self.now = now
        self._left_bytes = limit_bytes
        self._input_left_bytes = self._most_input_bytes
        self._waiting: deque[tuple[int, Share, Future[None]]] = deque()
        self._next_audit_s = 0.0
        self._due: asyncio.TimerHandle | None = None

    def spend(self, size_bytes: int) -> None:
        """Counts bytes that were, or will be, put into memory."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            self._audit_soon()

    def spend_input(self, size_bytes: int) -> None:
        """Counts bytes that came from a client."""
        self._input_left_bytes -= size_bytes
        if self._input_left_bytes < 0:
            self._audit_soon()

    @property
    def _most_input_bytes(self) -> int:
        """Half of the limit, including what each may always send: so clients that never finish their appends cannot
        keep others from reading."""
        return self.limit_bytes // 2 - self.limit_bytes // 8

    @property
    def least_read_bytes(self) -> int:
        """What each holder may always send, even if there is no room."""
        return min(LEAST_READ_BYTES, self.limit_bytes // 8 // (len(self.holders) or 1))

    async def reserve(self, share: Share, size_bytes: int) -> None:
        """Waits until `size_bytes` are free for a reader. Its old reservation is released first: otherwise two readers
        that each wait for what the other one has reserved would wait for ever."""
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
        """Releases the reservation, except for `size_bytes`."""
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
        """Asks all holders what they hold; ends readers or grants reservations accordingly."""
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
        # Holes between live blocks count too, up to a quarter of the limit: the process also grows for other reasons.
        used_bytes += min(max(0, self.added_bytes() - used_bytes), self.limit_bytes // 4)
        # Memory of readers that are ending counts until it is free; it is not granted to others before.
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
