"""What all streams in memory share: the store, the clock, the counters, and the bytes that are under way in all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from s2cli.server.core.meters import Meters
    from s2cli.server.store.interface import Store

# A group of no more that is settled while more than that waits is one of small appends beside a bulk load. For so long
# they are taken to go on.
SMALL_BYTES = 64 * 1024
CROWDED_S = 0.1


class StreamContext:
    """`pending_bytes` are admitted and not durable, `recent_bytes` are durable and kept for followers; `room_waiters`
    wait until the former are fewer."""

    __slots__ = ("_crowded_until_s", "clock_ms", "meters", "pending_bytes", "recent_bytes", "room_waiters", "store")

    def __init__(self, store: Store, clock_ms: Callable[[], int], meters: Meters) -> None:
        self.store = store
        self.clock_ms = clock_ms
        self.meters = meters
        self.pending_bytes = 0
        self.recent_bytes = 0
        self.room_waiters: list[Future[None]] = []
        self._crowded_until_s = 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether small appends go beside a bulk load."""
        return time.monotonic() < self._crowded_until_s

    def group_written(self, size_bytes: int) -> None:
        """A group of that many bytes is no longer pending."""
        self.pending_bytes -= size_bytes
        if size_bytes <= SMALL_BYTES < self.pending_bytes:
            self._crowded_until_s = time.monotonic() + CROWDED_S
