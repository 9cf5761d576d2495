"""How many pages all read sessions together hold. One whose client takes nothing lets go of its page where another one
waits for room, and reads it again later: so clients that do not read hold no more of the memory than what the host has
of each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future, TimerHandle
    from collections.abc import Callable

MAX_PAGES = 32
# A client that has taken nothing for less is only slower than we are.
LEAST_STALL_S = 0.05


class Pages:
    """The room for pages. In the running loop."""

    def __init__(self) -> None:
        self._left = MAX_PAGES
        self._asked = 0  # who have been asked for theirs, and have not yet let go of it
        self._waiting: deque[Future[None]] = deque()
        # Who can let go of a page, with since when: the longest first.
        self._stalled: dict[Callable[[], None], float] = {}
        self._timer: TimerHandle | None = None

    async def acquire(self) -> None:
        """Waits until there is room for one more."""
        if self._left and not self._waiting:
            self._left -= 1
            return
        room = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        self._ask()
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """A page is held no more."""
        self._asked = max(0, self._asked - 1)
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return
        self._left += 1

    def stall(self, let_go: Callable[[], None]) -> None:
        """The client of a session takes nothing now. `let_go` may be called from now on, until `proceed` is: then the
        session must release its page."""
        self._stalled[let_go] = asyncio.get_running_loop().time()
        if self._waiting:
            self._ask()

    def proceed(self, let_go: Callable[[], None]) -> None:
        self._stalled.pop(let_go, None)

    def _ask(self) -> None:
        """Asks as many as are waited for, those that have stalled for longest first."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._stalled and self._asked < len(self._waiting):
            let_go, since_s = next(iter(self._stalled.items()))
            if now_s - since_s < LEAST_STALL_S:
                self._timer = loop.call_at(since_s + LEAST_STALL_S, self._ask_again)
                return
            del self._stalled[let_go]
            self._asked += 1
            let_go()

    def _ask_again(self) -> None:
        self._timer = None
        self._ask()
