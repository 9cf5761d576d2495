"""What is counted, for metrics: in the basin's database if it is open here, else in objects, which are folded into the
database when it is opened. A basin is never taken from another server to count something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from s2cli.errors import S2Error
from s2cli.server.store.bucket import metric_table
from s2cli.server.store.bucket.catalogue import Catalogue
from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.count_objects import CountObjects, Counts
from s2cli.server.store.bucket.database import DatabaseLostError
from s2cli.server.store.bucket.metric_table import Sums
from s2cli.server.store.bucket.open_basin import OpenBasin
from s2cli.server.store.bucket.openings import Openings
from s2cli.server.store.interface import Counted, Point

log = logging.getLogger("s2cli.server")

ACCOUNT = "metrics/"
# Points that wait while they cannot be written: beyond it they are given up, rather than the memory.
MAX_WAITING = 100_000
FOLDED_TOGETHER = 16
END_OF_TIME = 1 << 40


def folder_of(uid: str) -> str:
    """Where the counts are that were made of a basin where it was not open."""
    return f"counts/{uid}/"


class CountStore:
    """The counts of the account and of all basins."""

    def __init__(self, objects: CountObjects, catalogue: Catalogue, openings: Openings) -> None:
        self._objects = objects
        self._catalogue = catalogue
        self._openings = openings
        self._waiting: list[Point] = []
        self._adding = asyncio.Lock()

    async def add(self, points: Sequence[Point]) -> None:
        """Write them. What cannot be written is tried again with what comes next."""
        self._waiting += points
        async with self._adding:
            points, self._waiting = self._waiting, []
            by_basin: dict[str, list[Point]] = {}
            for point in points:
                by_basin.setdefault(point.basin, []).append(point)
            for name, some in by_basin.items():
                try:
                    await (self._add_to_basin(name, some) if name else self._objects.add(ACCOUNT, some))
                except S2Error as error:
                    log.warning("cannot write what was counted, trying again: %s", error.message)
                    self._waiting += some
        if len(self._waiting) > MAX_WAITING:
            log.warning("%d metrics are lost", len(self._waiting))
            self._waiting.clear()

    async def _add_to_basin(self, name: str, points: list[Point]) -> None:
        basin = self._openings.peek(name)
        if basin is None or not await self._add_to_open(basin, points):
            entry = await self._catalogue.basin(name)
            if entry is not None:
                await self._objects.add(folder_of(entry.uid), points)

    async def _add_to_open(self, basin: OpenBasin, points: list[Point]) -> bool:
        """False where the basin was lost meanwhile, perhaps to another server, which had it before this was written."""
        waiting = list(points)

        async def run(changes: Changes) -> None:
            await metric_table.add(changes, waiting)
            waiting.clear()

        try:
            await basin.change(run)
        except DatabaseLostError:
            return False
        except S2Error:
            # The bucket does not answer. What is being written may still become durable; what is only queued must not.
            if waiting:
                waiting.clear()
                raise
        return True

    async def counted(
        self, basin: str, stream: str, series: Sequence[str], first: int, end: int, interval: int
    ) -> Counted:
        """As `Store.counted`."""
        sums = Sums(first, end, interval)
        if not basin:
            await self._sum_up(sums, ACCOUNT, "", series, frozenset())
            return sums.found
        opened = await self._openings.get(basin)
        if opened is None:
            return {}
        with opened.in_use():
            async with opened.folding:
                await metric_table.counted(opened.database, stream, series, sums)
                folded = await metric_table.folded(opened.database)
                await self._sum_up(sums, folder_of(opened.uid), stream, series, folded)
        return sums.found

    async def _sum_up(
        self, sums: Sums, folder: str, stream: str, series: Sequence[str], without: frozenset[str]
    ) -> None:
        async for name, counts in self._objects.written(folder, sums.first, sums.end):
            for (counted_of, counted), minutes in counts.items():
                is_wanted = any(counted.startswith(some) if some[-1] == ":" else counted == some for some in series)
                if counted_of == stream and is_wanted and name not in without:
                    sums.add(counted, minutes)

    async def fold(self, basin: OpenBasin) -> None:
        """Have the basin's database take over what nobody changes any more."""
        async with basin.folding:
            while await self._fold_some(basin):
                pass

    async def _fold_some(self, basin: OpenBasin) -> bool:
        """Returns True if there may be more."""
        folder = folder_of(basin.uid)
        names: list[str] = []
        points: list[Point] = []
        before = await metric_table.folded(basin.database)
        async for name, counts in self._objects.written(folder, 0, END_OF_TIME):
            if not self._objects.is_settled(name) or len(names) == FOLDED_TOGETHER:
                break
            names.append(name)
            if name not in before:
                points += _points(basin.name, counts)
        if not names and not before:
            return False

        async def run(changes: Changes) -> None:
            await metric_table.add(changes, points)
            metric_table.note_folded(changes, names, before)

        await basin.change(run)
        await self._objects.delete(folder, names)
        return True

    async def close(self) -> None:
        """Wait for what is being written."""
        async with self._adding:
            if self._waiting:
                log.warning("%d metrics are lost", len(self._waiting))

    async def forget_basin(self, uid: str) -> None:
        """Delete what was counted of a basin that was removed, and is in objects."""
        await self._objects.forget(folder_of(uid), all_of_it=True)

    async def forget(self) -> None:
        """Delete what is too old to be asked for."""
        await self._objects.forget(ACCOUNT)


def _points(basin: str, counts: Counts) -> list[Point]:
    return [
        Point(basin, stream, series, minute, value)
        for (stream, series), minutes in counts.items()
        for minute, value in minutes.items()
    ]
