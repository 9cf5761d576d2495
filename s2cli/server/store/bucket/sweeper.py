"""What is done in the bucket without a request: in basins that nobody has open, and with what nobody needs any more.
Of all servers one does it, the one with the lease.

It opens a basin in which something is due, has done what is to be done, and closes it. A basin that a server which is
alive has open is left to that server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from asyncio import Task
from collections.abc import Callable, Sequence

from s2cli.errors import S2Error
from s2cli.server.store.bucket.catalogue import Catalogue
from s2cli.server.store.bucket.counts import CountStore
from s2cli.server.store.bucket.lease import Lease
from s2cli.server.store.bucket.marks import Marks, Watch
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.open_basin import OpenBasin
from s2cli.server.store.bucket.openings import Openings

log = logging.getLogger("s2cli.server")

ROUND_S = 60.0
# Who has not said for so long that it is alive, or goes on with something, is taken for dead.
DEAD_S = 180.0
# Basins that are opened in one round.
VISITS = 100
# How often is looked for what nobody needs any more: replies, metrics, and databases of basins that were removed.
CLEAR_S = 600.0
# These stay for so long: a server that has stood still, and still takes one for its own, finds that it was taken.
GONE_MS = 24 * 3_600_000


class Sweeper:
    """`tell_deleting` is called when there are basins to be removed that nobody removes."""

    def __init__(
        self,
        objects: Objects,
        catalogue: Catalogue,
        openings: Openings,
        counts: CountStore,
        tell_deleting: Callable[[], None],
        clock_ms: Callable[[], int],
        deletion_clock_ms: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._catalogue = catalogue
        self._openings = openings
        self._counts = counts
        self._tell_deleting = tell_deleting
        self._deletion_clock_ms = deletion_clock_ms
        self._marks = Marks(objects, lambda name: openings.peek(name) is not None, clock_ms)
        self._lease = Lease(objects, "leases/sweeper", self._marks.run)
        self._runs = Watch(DEAD_S)
        self._deleting = Watch(DEAD_S)
        self._forsaken: set[str] = set()
        self._clear_at_s = time.monotonic() + CLEAR_S
        self._loop = asyncio.get_running_loop()
        self._settling: set[Task[None]] = set()
        self._task = self._loop.create_task(self._sweep_for_ever())

    async def stop(self) -> None:
        """Look after nothing any more; what is told is still noted."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(S2Error):
            await self._lease.release()

    async def leave(self) -> None:
        """The end, when all basins are closed."""
        await asyncio.gather(*self._settling)
        with contextlib.suppress(S2Error):
            await self._marks.leave()

    # What it is told.

    def opened(self, basin: OpenBasin) -> None:
        task = self._loop.create_task(self._settle(basin))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, basin: OpenBasin) -> None:
        """What has time after the basin was opened."""
        try:
            await self._marks.hold(basin.name)
            with basin.in_use():
                await self._counts.fold(basin)
        except S2Error as error:
            log.warning("the basin %s is open, but not noted as that for now: %s", basin.name, error.message)

    async def closed(self, name: str, due_ms: int | None) -> None:
        """The basin was closed, and something is due in it at that time; or another server has it."""
        try:
            await self._marks.closed(name, due_ms)
        except S2Error as error:
            log.warning("the basin %s is closed, but not noted as that for now: %s", name, error.message)

    async def removed(self, name: str, uid: str) -> None:
        """The basin will not be there any more. Raises ApiError."""
        await self._marks.gone(name, uid)

    async def left_by_others(self, names: Sequence[str]) -> list[str]:
        """Those of the basins that no other server has open. Raises ApiError."""
        if not names:
            return []
        held = (await self._marks.all()).held(without=frozenset({self._marks.run}))
        return [name for name in names if name not in held]

    def forsake(self, basin: str) -> None:
        """The basin was lost, and nobody has taken it: it is to be opened again, if nobody asks for it before."""
        self._forsaken.add(basin)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0.9 * ROUND_S, 1.1 * ROUND_S))  # noqa: S311 - it guards nothing
            try:
                await self._round()
            except S2Error as error:
                log.warning("cannot look after basins that nobody uses, trying again: %s", error.message)
            except Exception:
                log.exception("cannot look after basins that nobody uses, trying again")

    async def _round(self) -> None:
        opened = self._openings.all()
        if opened:
            await self._marks.beat()
        for basin in opened:
            await self._marks.hold(basin.name)
        for name in list(self._forsaken):
            if await self._visit(name):
                self._forsaken.discard(name)
        has_lease = await self._lease.renew(DEAD_S)
        others = await self._sweep() if has_lease else None
        if opened or has_lease:
            await self._resume_deletions(others)

    async def _sweep(self) -> frozenset[str]:
        """Returns the basins that servers which are alive have open."""
        marked = await self._marks.all()
        unchanged_s = self._runs.unchanged_for_s(marked.alive_ms)
        dead = frozenset(run for run, seconds in unchanged_s.items() if seconds >= DEAD_S) - {self._marks.run}
        held = marked.held(without=dead)
        left = [(f"open/{run}/{basin}", basin) for run, basin in marked.open if run in dead or run not in unchanged_s]
        due = await self._marks.due(self._deletion_clock_ms(), VISITS)
        for name, basin in (*left[:VISITS], *due):
            if basin in held or await self._visit(basin):
                await self._objects.delete(name)
        for run in dead - {run for run, _ in marked.open}:
            await self._objects.delete(f"runs/{run}")
        if time.monotonic() >= self._clear_at_s:
            self._clear_at_s = time.monotonic() + CLEAR_S
            await self._clear()
        return held

    async def _clear(self) -> None:
        """Delete what nobody needs any more."""
        await self._catalogue.forget_replies()
        await self._counts.forget()
        for mark, basin, uid in await self._marks.all_gone(self._deletion_clock_ms() - GONE_MS, VISITS):
            await self._openings.delete_database(basin, uid)
            await self._counts.forget_basin(uid)
            await self._objects.delete(mark)

    async def _visit(self, name: str) -> bool:
        """Open the basin, and have done what is due there. False if it could not be opened."""
        try:
            await self._marks.hold(name)
            if not await self._openings.visit(name, self._deletion_clock_ms()):
                await self._marks.closed(name)
        except S2Error as error:
            log.warning("cannot open the basin %s to look after it, trying again: %s", name, error.message)
            return False
        return True

    async def _resume_deletions(self, held: frozenset[str] | None) -> None:
        """Have those basins removed that have been marked as deleted for long and are open here, whoever was to remove
        them; and with the lease (`held` is not None) those that nobody has open."""
        waited_s = self._deleting.unchanged_for_s(await self._catalogue.deletions())
        for name, seconds in waited_s.items():
            is_ours = self._openings.peek(name) is not None or (held is not None and name not in held)
            if seconds >= DEAD_S and is_ours:
                self._tell_deleting()
                return
