"""Sends what has become durable to all followers of a stream, in broadcasts. A broadcast tells every follower once.

To hundreds of followers it takes milliseconds. With one broadcast for each group of appends the loop would have no time
for new appends. So the next one waits in proportion to how long the last one took, and sends everything that has come
meanwhile: the more followers, the more records at a time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from s2cli.server.store.interface import Chunk

# Durable chunks kept for followers that are sending what came before; beyond it they go back to the store.
MAX_RECENT_BYTES = 2 * 1024 * 1024
MAX_RECENT_BYTES_TOTAL = 32 * 1024 * 1024

# The pause after a broadcast, in times of what it took: the clients, and appends, need their time too. 1000 followers
# at 1000 records/s, p99: with 1 48 ms, with 2 81-92, with 8 86-91; 200 followers: 9, 14, 41-53.
PAUSE_FACTOR = 2.0
MOST_PAUSE_S = 0.05
# Shorter ones are none: to a few followers every record goes at once.
LEAST_PAUSE_S = 0.004
# Of a broadcast in one step: to 4096 followers it takes 50 ms.
STEP_S = 0.002


class Follower(Protocol):
    """A reader that waits at the tail."""

    next_seq_num: int

    def on_durable(self) -> None:
        """`recent` has new chunks, and the tail has moved."""
        ...

    def on_failure(self) -> None:
        """The stream has gone, see its `reading_failure`."""
        ...


class SharedFrame(Protocol):
    """What several followers send alike in one broadcast."""

    count: int
    metered_bytes: int
    data: bytes


class RecentTotal(Protocol):
    """`recent_bytes` are the chunks that the followers of all streams have yet to send."""

    recent_bytes: int


class Followers:
    """`recent` are the chunks that a follower has yet to send, the last ones of the stream; `shared` is what several
    send alike in this broadcast, by where it begins."""

    __slots__ = (
        "_broadcast",
        "_due",
        "_followers",
        "_is_behind",
        "_pause_end_s",
        "_took_s",
        "_total",
        "recent",
        "recent_bytes",
        "shared",
    )

    def __init__(self, total: RecentTotal) -> None:
        self._total = total
        self._followers: set[Follower] = set()
        self._pause_end_s = 0.0
        self._due: asyncio.Handle | None = None  # the next broadcast, or the next step of one
        self._broadcast: list[Follower] = []  # whom it has yet to reach
        self._took_s = 0.0  # what it has taken so far
        self._is_behind = False  # something has become durable since it began
        self.recent: deque[Chunk] = deque()
        self.recent_bytes = 0
        self.shared: dict[int, SharedFrame] = {}

    def __bool__(self) -> bool:
        return bool(self._followers)

    def __contains__(self, follower: Follower) -> bool:
        return follower in self._followers

    def follow(self, follower: Follower) -> None:
        self._followers.add(follower)

    def unfollow(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
            self._forget()

    def remember(self, chunk: Chunk) -> None:
        """A chunk has become durable; `wake` follows."""
        if self._followers:
            self.shared.clear()  # those whom a broadcast has yet to reach get this, too
            self.recent.append(chunk)
            self.recent_bytes += len(chunk.data)
            self._total.recent_bytes += len(chunk.data)

    def wake(self) -> None:
        """Have the followers told of what has become durable, now or soon."""
        if not self._followers:
            return
        much = self.recent_bytes > MAX_RECENT_BYTES // 2 or self._total.recent_bytes > MAX_RECENT_BYTES_TOTAL // 2
        if much:
            self._notify_all()
        elif self._broadcast:
            self._is_behind = True
        elif self._due is None:
            pause_s = self._pause_end_s - time.monotonic()
            if pause_s >= LEAST_PAUSE_S:
                self._due = asyncio.get_running_loop().call_later(pause_s, self._notify)
            else:
                self._notify()

    def fail(self) -> None:
        """The stream has gone: nobody gets less for it than what was durable before."""
        if self._due is not None:
            self._notify_all()
        for follower in list(self._followers):
            follower.on_failure()

    def _notify(self) -> None:
        """A broadcast, or the next step of one."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._broadcast:
            self._broadcast, self._took_s = list(self._followers), 0.0
        self._continue(STEP_S)
        if self._broadcast:
            self._due = asyncio.get_running_loop().call_soon(self._notify)
            return
        self._end_broadcast()
        if self._is_behind:
            self._is_behind = False
            self.wake()

    def _notify_all(self) -> None:
        """A broadcast to everybody, at once."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._broadcast, self._took_s, self._is_behind = list(self._followers), 0.0, False
        self._continue(math.inf)
        self._end_broadcast()

    def _continue(self, most_s: float) -> None:
        began_s = now_s = time.monotonic()
        broadcast, followers = self._broadcast, self._followers
        while broadcast and now_s - began_s < most_s:
            follower = broadcast.pop()
            if follower in followers:
                follower.on_durable()
                now_s = time.monotonic()
        self._took_s += now_s - began_s

    def _end_broadcast(self) -> None:
        self.shared.clear()
        self._forget()
        self._pause_end_s = time.monotonic() + min(PAUSE_FACTOR * self._took_s, MOST_PAUSE_S)

    def _forget(self) -> None:
        """Drop what all followers have sent, and the oldest of too much, unless a broadcast is due to bring it."""
        at_will = self._due is None
        unsent = min([follower.next_seq_num for follower in self._followers], default=None)
        while self.recent and (
            unsent is None
            or self.recent[0].end_seq_num <= unsent
            or (at_will and self.recent_bytes > MAX_RECENT_BYTES)
            or (at_will and self._total.recent_bytes > MAX_RECENT_BYTES_TOTAL)
        ):
            size_bytes = len(self.recent.popleft().data)
            self.recent_bytes -= size_bytes
            self._total.recent_bytes -= size_bytes
