"""The removal, behind the requests, of what was deleted or has expired.

A DELETE only marks a stream or a basin as deleted. What it had is removed in slices: a slice is so much of it as one
transaction takes in some milliseconds. The marks are durable, so that after a restart `start` resumes where the last
process stopped. The mark of a basin counts for its streams at once; each gets its own before it is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from typing import TYPE_CHECKING

from s2cli.server.core.background import Background, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.core.registry import StreamRegistry
    from s2cli.server.store.interface import BasinRow, Store, StreamRow

# After a failure, of a full disk for example, the removal tries again at this pace.
RETRY_S = 5.0
# Streams that wait in memory to be removed.
QUEUED_STREAMS = 500
# Streams of a basin that are marked in one transaction.
MARKS = 100
# Protocol section 13.3: a sweep every minute, more or less.
SWEEP_S = 60.0
LOOKS = 100
# Clocks are set: so often the expiry of the next access token is checked again.
EXPIRY_CHECK_S = 3600.0

log = logging.getLogger("s2cli.server")


class Cleanup:
    """Removes one slice at a time, of the streams in turn: a large one does not keep the name of a small one."""

    def __init__(
        self, store: Store, clock_ms: Callable[[], int], streams: StreamRegistry, changing: asyncio.Lock
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._in_memory = streams
        self._changing = changing
        self._streams: deque[StreamRow] = deque()
        # Whether others may be marked, which are taken from the store when these are gone: the marks of the last
        # process, and what is beyond QUEUED_STREAMS.
        self._others = True
        self._basins: deque[str] = deque()
        self._creating: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._next_expiry_ms: int | None = None  # of an access token
        self._sooner = asyncio.Event()
        self._background = Background()
        store.on_deleting = self._on_deleting

    async def start(self) -> None:
        """Takes up what was marked before the last process ended, and begins."""
        self._basins.extend(await self._store.deleting_basins())
        self._changed.set()
        self._background.start(self._remove_for_ever(), self._sweep_for_ever(), self._expire_tokens_for_ever())

    async def stop(self) -> None:
        await self._background.stop()

    def _on_deleting(self) -> None:
        """There are streams or basins that others have marked, or this process before."""
        self._others = True
        self._changed.set()

    def stream_marked(self, row: StreamRow) -> None:
        """The stream is marked as deleted: see to the rest."""
        if len(self._streams) < QUEUED_STREAMS:
            self._streams.append(row)
        else:
            self._others = True
        self._changed.set()

    def basin_marked(self, row: BasinRow) -> None:
        """The basin is marked as deleted: mark its streams, remove them, then remove it."""
        if row.name not in self._basins:  # two may have marked it, if the first one was told that the disk hangs
            self._basins.append(row.name)
        self._changed.set()

    def begin_creation(self, basin: str) -> None:
        """Before the basin is checked in which a stream is to be created. A basin that is marked as deleted is searched
        for streams only after every creation that may still have seen it unmarked has ended."""
        self._creating[basin] += 1

    def end_creation(self, basin: str) -> None:
        self._creating[basin] -= 1
        if not self._creating[basin]:
            del self._creating[basin]
            self._changed.set()

    def token_expires(self, at_ms: int) -> None:
        """There is an access token that expires then. It is worth nothing from then on; here its row goes."""
        if self._next_expiry_ms is None or at_ms < self._next_expiry_ms:
            self._next_expiry_ms = at_ms
            self._sooner.set()

    async def _remove_for_ever(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await attempt("remove what was deleted", self._remove):
                self._others = True  # what the failure kept us from noting
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def _sweep_for_ever(self) -> None:
        while True:
            await attempt("look for what has expired", self.sweep)
            await asyncio.sleep(random.uniform(0.9 * SWEEP_S, 1.1 * SWEEP_S))  # noqa: S311 - it guards nothing

    async def _expire_tokens_for_ever(self) -> None:
        while True:
            wait_s: float | None = RETRY_S
            if await attempt("remove expired access tokens", self._expire_tokens):
                wait_s = self._until_next_expiry_s()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), wait_s)
            self._sooner.clear()

    async def _expire_tokens(self) -> None:
        self._next_expiry_ms = await self._store.expire_tokens(self._clock_ms())

    def _until_next_expiry_s(self) -> float | None:
        if self._next_expiry_ms is None:
            return None
        return min(max(0.0, (self._next_expiry_ms - self._clock_ms()) / 1000), EXPIRY_CHECK_S)

    async def sweep(self) -> None:
        """One round: records that have expired, trims that were given up, streams that are to go because they are
        empty."""
        store = self._store
        store.expire()
        more = True
        while more:
            found, more = await store.empty_streams(LOOKS)
            for row in found:
                async with self._changing, self._in_memory.closed(row):
                    if await store.delete_if_empty(row):
                        log.info("deleting the stream %s/%s, which is empty", row.basin, row.name)
                        self.stream_marked(row)

    async def _remove(self) -> None:
        while self._streams or self._others or self._basins:
            if not (await self._remove_slice() or await self._search_basin()):
                break

    async def _remove_slice(self) -> bool:
        """One slice of the first stream in the queue; False if there is none."""
        if not self._streams and self._others:
            await self._take_others()
        if not self._streams:
            return False
        row = self._streams[0]
        if await self._store.delete_chunks(row.id, row.uid):
            self._streams.rotate(-1)
        else:
            await self._store.remove_stream(row.id, row.uid)
            self._in_memory.gone(row)
            self._streams.popleft()
        return True

    async def _take_others(self) -> None:
        # Inside, nothing is being marked. Removed twice, a stream would take the next one that has its id with it.
        async with self._changing:
            if not self._streams:
                self._streams.extend(await self._store.deleting_streams(QUEUED_STREAMS))
                self._others = len(self._streams) == QUEUED_STREAMS
            for name in await self._store.deleting_basins():
                if name not in self._basins:
                    self._basins.append(name)

    async def _search_basin(self) -> bool:
        """Marks the streams of the first basin that can be searched, or removes it if it has none left."""
        name = next((name for name in self._basins if not self._creating[name]), None)
        if name is None:
            return False
        async with self._changing:
            marked = await self._store.mark_streams(name, MARKS)
        self._streams.extend(marked)
        if not marked and not (await self._store.list_streams(name, "", "", 1))[0]:
            await self._store.remove_basin(name)
            self._basins.remove(name)
        return True
