"""Which basins this server has open, and how it takes them and loses them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from asyncio import Task
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket import retention, stream_table
from s2cli.server.store.bucket.catalogue import Catalogue
from s2cli.server.store.bucket.catalogue_objects import Basin, database_path
from s2cli.server.store.bucket.database import Database, DatabaseLostError, Place
from s2cli.server.store.bucket.open_basin import ID_BITS, OpenBasin, check_format
from s2cli.server.store.interface import Append

log = logging.getLogger("s2cli.server")

# After a basin was taken from us it is left alone for so long, each time longer until it was ours for a while: two
# servers that both get requests for it do not take it from each other all the time.
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 16.0
CALM_S = 60.0
# A basin that nobody uses is closed after so long. Opening it again costs as many requests as it makes in ten minutes
# while it is open, and whoever needs it then waits for twenty round trips to the bucket.
IDLE_S = 300.0


class Openings:
    """The open basins. `tell_written` and `tell_lost` are called with what has become of appends, and with the name of
    a basin that is lost; `tell_opened` with one that was opened, and whether streams are marked as deleted in it;
    `tell_closed` with the name of one that was closed, and when something is due in it, or that another server has now.
    `is_used` is called with the name of a basin that nobody has asked anything of for long: it forgets what is in
    memory for whoever comes next, and says whether somebody still uses it."""

    def __init__(
        self,
        catalogue: Catalogue,
        place: Place,
        prefix: str,
        clock_ms: Callable[[], int],
        took: Callable[[float], None],
        tell_written: Callable[[Sequence[Append], S2Error | None], None],
        tell_lost: Callable[[str, DatabaseLostError], None],
        tell_opened: Callable[[OpenBasin, bool], None],
        tell_closed: Callable[[str, int | None], Awaitable[None]],
        is_used: Callable[[str], bool],
    ) -> None:
        self._catalogue = catalogue
        self._place = place
        self._prefix = prefix
        self._clock_ms = clock_ms
        self._took = took
        self._tell_written = tell_written
        self._tell_lost = tell_lost
        self._tell_opened = tell_opened
        self._tell_closed = tell_closed
        self._is_used = is_used
        self._open: dict[str, OpenBasin] = {}
        self._by_number: dict[int, OpenBasin] = {}
        self._opening: dict[str, Task[OpenBasin | None]] = {}
        self._last_number = 0
        # Basin -> how long it was left alone last, and until when.
        self._backoff: dict[str, tuple[float, float]] = {}
        self._closing: set[Task[None]] = set()
        self._retiring: dict[str, Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, *self._retiring.values(), return_exceptions=True)
        await asyncio.gather(*map(self._close, self.all()))
        await asyncio.gather(*self._closing)

    async def _close(self, basin: OpenBasin) -> None:
        """Let go of it for good, with all that was queued. Where it is not told that it is closed, it is found."""
        due_ms = None
        with contextlib.suppress(S2Error):
            due_ms = await retention.next_due_ms(basin.database)
        self._forget(basin)
        await basin.close()
        await self._tell_closed(basin.name, due_ms)

    def all(self) -> list[OpenBasin]:
        """Those that are open now."""
        return list(self._open.values())

    def find(self, stream_id: int) -> OpenBasin | None:
        """The opening that the stream with this id belongs to, for whoever uses it; None once it is over."""
        basin = self._by_number.get(stream_id >> ID_BITS)
        if basin is not None:
            basin.touch()
        return basin

    def of(self, stream_id: int) -> OpenBasin:
        """The same. Raises ApiError once it is over."""
        basin = self.find(stream_id)
        if basin is None:
            raise over()
        return basin

    def peek(self, name: str) -> OpenBasin | None:
        """The basin if it is open here. That is no use of it."""
        return self._open.get(name)

    async def get(self, name: str, *, to_remove: bool = False) -> OpenBasin | None:
        """The basin, for whoever uses it, opened if need be; None if there is no such basin. One that is marked as
        deleted is opened by whoever is `to_remove` it, and has gone for all others. Raises ApiError."""
        basin = self._open.get(name)
        if basin is not None:
            basin.touch()
            return basin
        opening = self._opening.get(name)
        if opening is not None and to_remove:
            await asyncio.wait([opening])  # somebody else's, to whom it may have gone
            return await self.get(name, to_remove=True)
        if opening is None:
            opening = self._opening[name] = self._loop.create_task(self._take(name, to_remove=to_remove))
            opening.add_done_callback(lambda task: self._end_opening(name, task))
        return await asyncio.shield(opening)

    def _end_opening(self, name: str, task: Task[Any]) -> None:
        del self._opening[name]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more

    async def _take(self, name: str, *, to_remove: bool) -> OpenBasin | None:
        """Take the basin's database: whoever had it loses it."""
        if (retiring := self._retiring.get(name)) is not None:
            await asyncio.wait([retiring])
        entry = await self._entry(name, to_remove=to_remove)
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
            # Whoever removes the basin has marked it, taken it, and closed it: then it must not be open here.
            now, _ = await asyncio.gather(self._entry(name, to_remove=to_remove), check_format(database))
            has_deleted = await stream_table.any_deleting(database)
        except BaseException:
            await database.close()
            raise
        if now is None or now.uid != entry.uid:
            await database.close()
            return None
        self._last_number += 1
        basin = OpenBasin(
            name,
            entry.uid,
            self._last_number,
            database,
            self._tell_written,
            self._lost,
            self._took,
            self._clock_ms,
        )
        self._open[name] = self._by_number[basin.number] = basin
        log.info("opened the basin %s", name)
        self._tell_opened(basin, has_deleted)
        return basin

    async def _entry(self, name: str, *, to_remove: bool) -> Basin | None:
        """What is known of the basin, if it is to be opened."""
        entry = await self._catalogue.basin(name, fresh=True)
        return None if entry is None or (entry.row.deleted_at_ms is not None and not to_remove) else entry

    def _lost(self, basin: OpenBasin, error: DatabaseLostError) -> None:
        """The opening is over: nobody gets at it any more, and what is in memory of it is worth nothing."""
        if self._open.get(basin.name) is not basin:
            return
        self._forget(basin)
        if error.is_taken:
            self._back_off(basin.name)
        log.warning("the basin %s is not ours any more: %s", basin.name, error.message)
        self._tell_lost(basin.name, error)
        task = self._loop.create_task(self._end(basin, error))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, basin: OpenBasin, error: DatabaseLostError) -> None:
        await basin.close()
        if error.is_taken:
            await self._tell_closed(basin.name, None)

    def _back_off(self, name: str) -> None:
        now_s = self._loop.time()
        before_s, until_s = self._backoff.get(name, (0.0, 0.0))
        wait_s = FIRST_BACKOFF_S if now_s - until_s > CALM_S else min(2 * before_s, LAST_BACKOFF_S)
        self._backoff[name] = wait_s, now_s + wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - it guards nothing

    @property
    def contended(self) -> list[str]:
        """The basins that another server has taken from us again and again, and lately."""
        now_s = self._loop.time()
        self._backoff = {name: kept for name, kept in self._backoff.items() if now_s - kept[1] <= CALM_S}
        return [name for name, (waited_s, _) in self._backoff.items() if waited_s > FIRST_BACKOFF_S]

    def _forget(self, basin: OpenBasin) -> None:
        del self._open[basin.name], self._by_number[basin.number]

    async def visit(self, name: str, now_ms: int) -> bool:
        """Open the basin if it is not, have done what is due by then, and keep it no longer than that takes. False if
        there is no such basin. Raises ApiError."""
        basin = self._open.get(name)
        if basin is None:
            basin = await self.get(name)
            if basin is None:
                return False
            basin.leave()
        basin.expire(now_ms)
        return True

    def close_idle(self, now_ms: int) -> None:
        """To be called now and then: lets go of the basins that nobody uses and in which nothing is to be done."""
        for basin in self._open.values():
            if basin.is_idle(IDLE_S) and basin.name not in self._retiring:
                task = self._retiring[basin.name] = self._loop.create_task(self._retire(basin, now_ms))
                task.add_done_callback(partial(self._end_retiring, basin.name))

    async def _retire(self, basin: OpenBasin, now_ms: int) -> None:
        due_ms = await retention.next_due_ms(basin.database)
        if due_ms is not None and due_ms <= now_ms:
            return
        # From here on without a break: whoever comes now opens it again, once it is closed.
        if not basin.is_idle(IDLE_S) or self._open.get(basin.name) is not basin:
            return
        if self._is_used(basin.name):
            basin.touch()
            return
        self._forget(basin)
        log.info("closed the basin %s, which nobody uses", basin.name)
        await basin.close()
        await self._tell_closed(basin.name, due_ms)

    def _end_retiring(self, name: str, task: Task[None]) -> None:
        del self._retiring[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("cannot close the basin %s, trying again: %s", name, error)

    async def remove(self, name: str) -> str | None:
        """Let go of a basin that was emptied, for good. Returns its uid; None if there is no such basin."""
        entry = await self._catalogue.basin(name, fresh=True)
        if entry is None:
            return None
        if (retiring := self._retiring.get(name)) is not None:
            await asyncio.wait([retiring])
        basin = self._open.get(name)
        if basin is not None:
            self._forget(basin)
            await basin.close()
            await self._tell_closed(name, None)
        return entry.uid

    async def delete_database(self, name: str, uid: str) -> None:
        """Delete what is left of a basin that was removed. Whoever had it open before could write to it from then on,
        as nothing says any more that it was taken: so this is for what nobody can have open."""
        await Database.delete(self._place, database_path(self._prefix, name, uid))


def over() -> ApiError:
    """What is told to whoever has something of an opening that is over."""
    return ApiError("unavailable", "the basin is being opened again", without_effect=True)
