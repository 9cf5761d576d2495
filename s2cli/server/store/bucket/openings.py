"""Which basins this server has open, and how it takes them and loses them."""

from __future__ import annotations

import asyncio
import logging
import random
from asyncio import Task
from collections.abc import Callable, Sequence
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket import stream_table
from s2cli.server.store.bucket.catalogue import Catalogue
from s2cli.server.store.bucket.catalogue_objects import database_path
from s2cli.server.store.bucket.database import Database, DatabaseLostError, Place
from s2cli.server.store.bucket.open_basin import ID_BITS, OpenBasin, check_format
from s2cli.server.store.interface import Append

log = logging.getLogger("s2cli.server")

# After a basin was taken from us it is left alone for so long, each time longer until it was ours for a while: two
# servers that both get requests for it do not take it from each other all the time.
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 16.0
CALM_S = 60.0


class Openings:
    """The open basins. `tell_written` and `tell_lost` are called with what has become of appends, and with the name of
    a basin that is lost; `tell_deleting` when one was opened in which streams are marked as deleted."""

    def __init__(
        self,
        catalogue: Catalogue,
        place: Place,
        prefix: str,
        clock_ms: Callable[[], int],
        took: Callable[[float], None],
        tell_written: Callable[[Sequence[Append], S2Error | None], None],
        tell_lost: Callable[[str, S2Error], None],
        tell_deleting: Callable[[], None],
    ) -> None:
        self._catalogue = catalogue
        self._place = place
        self._prefix = prefix
        self._clock_ms = clock_ms
        self._took = took
        self._tell_written = tell_written
        self._tell_lost = tell_lost
        self._tell_deleting = tell_deleting
        self._open: dict[str, OpenBasin] = {}
        self._by_number: dict[int, OpenBasin] = {}
        self._opening: dict[str, Task[OpenBasin | None]] = {}
        self._last_number = 0
        # Basin -> how long it was left alone last, and until when.
        self._backoff: dict[str, tuple[float, float]] = {}
        self._closing: set[Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await asyncio.gather(*[basin.close() for basin in self._open.values()])
        await asyncio.gather(*self._closing)

    def all(self) -> list[OpenBasin]:
        """Those that are open now."""
        return list(self._open.values())

    def find(self, stream_id: int) -> OpenBasin | None:
        """The opening that the stream with this id belongs to; None once it is over."""
        return self._by_number.get(stream_id >> ID_BITS)

    def of(self, stream_id: int) -> OpenBasin:
        """The same. Raises ApiError once it is over."""
        basin = self.find(stream_id)
        if basin is None:
            raise over()
        return basin

    async def get(self, name: str) -> OpenBasin | None:
        """The basin, opened if need be; None if there is no such basin. Raises ApiError."""
        basin = self._open.get(name)
        if basin is not None:
            return basin
        opening = self._opening.get(name)
        if opening is None:
            opening = self._opening[name] = self._loop.create_task(self._take(name))
            opening.add_done_callback(lambda task: self._end_opening(name, task))
        return await asyncio.shield(opening)

    def _end_opening(self, name: str, task: Task[Any]) -> None:
        del self._opening[name]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more

    async def _take(self, name: str) -> OpenBasin | None:
        """Take the basin's database: whoever had it loses it."""
        entry = await self._catalogue.basin(name, fresh=True)
        if entry is None:
            return None
        _, until_s = self._backoff.get(name, (0.0, 0.0))
        if (left_s := until_s - self._loop.time()) > 0:
            raise ApiError(
                "unavailable",
                "another server has taken the basin",
                retry_after_ms=round(left_s * 1000),
                without_effect=True,
            )
        database = await Database.open(self._place, database_path(self._prefix, name, entry.uid))
        try:
            await check_format(database)
            has_deleted = await stream_table.any_deleting(database)
        except BaseException:
            await database.close()
            raise
        self._last_number += 1
        basin = OpenBasin(name, self._last_number, database, self._tell_written, self._lost, self._took, self._clock_ms)
        self._open[name] = self._by_number[basin.number] = basin
        log.info("opened the basin %s", name)
        if has_deleted:
            self._tell_deleting()
        return basin

    def _lost(self, basin: OpenBasin, error: DatabaseLostError) -> None:
        """The opening is over: nobody gets at it any more, and what is in memory of it is worth nothing."""
        if self._open.get(basin.name) is not basin:
            return
        self._forget(basin)
        if error.is_taken:
            self._back_off(basin.name)
        log.warning("the basin %s is not ours any more: %s", basin.name, error.message)
        self._tell_lost(basin.name, error)
        task = self._loop.create_task(basin.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _back_off(self, name: str) -> None:
        now_s = self._loop.time()
        before_s, until_s = self._backoff.get(name, (0.0, 0.0))
        wait_s = FIRST_BACKOFF_S if now_s - until_s > CALM_S else min(2 * before_s, LAST_BACKOFF_S)
        self._backoff[name] = wait_s, now_s + wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - it guards nothing

    def _forget(self, basin: OpenBasin) -> None:
        del self._open[basin.name], self._by_number[basin.number]

    async def remove(self, name: str) -> None:
        """Delete the basin's database, with all that is in it."""
        entry = await self._catalogue.basin(name, fresh=True)
        if entry is None:
            return
        basin = self._open.get(name)
        if basin is not None:
            self._forget(basin)
            await basin.close()
        await Database.delete(self._place, database_path(self._prefix, name, entry.uid))


def over() -> ApiError:
    """What is told to whoever has something of an opening that is over."""
    return ApiError("unavailable", "the basin is being opened again", without_effect=True)
