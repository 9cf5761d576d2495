"""The engine for a bucket: a Store with one SlateDB database for each basin, and basins and tokens as objects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket import (
    chunk_reads,
    chunk_table,
    hole_table,
    metric_table,
    reply_table,
    retention,
    run_table,
    stream_table,
)
from s2cli.server.store.bucket.catalogue import Catalogue
from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.count_objects import CountObjects
from s2cli.server.store.bucket.counts import CountStore
from s2cli.server.store.bucket.database import UNREACHABLE_S, DatabaseLostError, Place, unreachable
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.open_basin import OpenBasin, local_id
from s2cli.server.store.bucket.openings import Openings, over
from s2cli.server.store.bucket.sweeper import Sweeper
from s2cli.server.store.interface import (
    MAX_SEQ_NUM,
    Append,
    BasinRow,
    Chunk,
    CopyProgress,
    Counted,
    Histogram,
    OnWritten,
    Point,
    Reply,
    StreamRow,
    Tail,
    TokenRow,
)

Result = TypeVar("Result")

log = logging.getLogger("s2cli.server")

# Of one stream, on the way to the bucket: what a client far away has in flight. An upload takes as long as the bucket
# needs to answer, and brings so much the more.
MAX_PENDING_BYTES = 8 * 1024 * 1024
# How often it is looked whether the basins still are ours, and the bucket answers.
LOOK_S = 0.5
COMMIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class BucketStore:
    """See `Store` for what the methods do. `objects` and `place` are the same bucket, and `prefix` is what all names of
    databases in it begin with. To be made in the running loop."""

    on_written: OnWritten
    max_pending_bytes = MAX_PENDING_BYTES
    on_stall: Callable[[], None]
    on_lost: Callable[[str, S2Error], None]
    on_deleting: Callable[[], None]
    is_used: Callable[[str], bool]
    clock_ms: Callable[[], int]
    deletion_clock_ms: Callable[[], int]

    def __init__(self, objects: Objects, place: Place, prefix: str = "") -> None:
        self.clock_ms = self.deletion_clock_ms = lambda: time.time_ns() // 1_000_000
        self.on_stall = self.on_deleting = lambda: None
        self.on_lost = lambda _basin, _error: None
        self.is_used = lambda _basin: False
        self.stall: str | None = None
        self._failing_since_ms: int | None = None
        self._commit_times = Histogram(COMMIT_BOUNDS_S)
        self._catalogue = Catalogue(objects, lambda: self.clock_ms())
        self._openings = Openings(
            self._catalogue,
            place,
            prefix,
            lambda: self.clock_ms(),
            self._commit_times.add,
            lambda group, error: self.on_written(group, error),
            self._lost,
            self._opened,
            lambda name, due_ms: self._sweeper.closed(name, due_ms),
            lambda basin: self.is_used(basin),
        )
        self._counts = CountStore(CountObjects(objects, lambda: self.clock_ms()), self._catalogue, self._openings)
        self._loop = asyncio.get_running_loop()
        self._sweeper = Sweeper(
            objects,
            self._catalogue,
            self._openings,
            self._counts,
            lambda: self.on_deleting(),
            lambda: self.clock_ms(),
            lambda: self.deletion_clock_ms(),
        )
        self._look = self._loop.call_later(LOOK_S, self._check)

    async def close(self) -> None:
        self._look.cancel()
        await self._sweeper.stop()
        await self._counts.close()
        await self._openings.close()
        await self._sweeper.leave()

    @property
    def failure(self) -> str | None:
        return self.stall

    @property
    def failing_since_ms(self) -> int | None:
        return self._failing_since_ms

    @property
    def doubtful(self) -> Sequence[str]:
        return ()

    @property
    def contended(self) -> Sequence[str]:
        return self._openings.contended

    def _check(self) -> None:
        for basin in self._openings.all():
            basin.check()
        self._openings.close_idle(self.deletion_clock_ms())
        if any(basin.is_stalled for basin in self._openings.all()):
            if self.stall is None:
                self.stall = unreachable()
                self._failing_since_ms = self.clock_ms() - round(UNREACHABLE_S * 1000)
                log.critical("no more writes are taken for now: %s", self.stall)
                self.on_stall()
        elif self.stall is not None:
            log.warning("the bucket answers again")
            self.stall = self._failing_since_ms = None
        self._look = self._loop.call_later(LOOK_S, self._check)

    def _opened(self, basin: OpenBasin, has_deleted: bool) -> None:
        if has_deleted:
            self.on_deleting()
        self._sweeper.opened(basin)

    def _lost(self, basin: str, error: DatabaseLostError) -> None:
        if not error.is_taken:
            self._sweeper.forsake(basin)
        self.on_lost(basin, error)

    async def _in_basin(
        self,
        name: str,
        run: Callable[[Changes], Awaitable[Result]],
        missing: Result,
        reply: Reply | None = None,
    ) -> tuple[OpenBasin | None, Result]:
        """The basin, and what `run` returns, called in a turn of it; or None and `missing`."""
        basin = await self._openings.get(name)
        if basin is None:
            return None, missing
        return basin, await basin.change(run, reply=reply)

    async def confirm(self, stream_id: int) -> None:
        await self._openings.of(stream_id).confirm()

    # Records.

    def append(self, append: Append) -> None:
        basin = self._openings.find(append.lane.stream_id)
        if basin is not None:
            basin.append(append)
        else:
            append.lane.broken = over()
            self._loop.call_soon(self.on_written, [append], append.lane.broken)

    async def tail(self, stream_id: int) -> Tail | None:
        basin = self._openings.of(stream_id)

        async def run(changes: Changes) -> Tail | None:
            stored = await stream_table.by_id(changes, basin.name, local_id(stream_id))
            return None if stored is None else await chunk_table.tail(changes, stored)

        return await basin.change(run)

    async def read(self, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int) -> list[Chunk]:
        opened = self._openings.of(stream_id)
        async with opened.owned():
            return await chunk_reads.read(
                opened.database, local_id(stream_id), first_seq_num, end_seq_num, max_bytes, self.clock_ms()
            )

    async def find_timestamp(self, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int) -> int | None:
        opened = self._openings.of(stream_id)
        async with opened.owned():
            return await chunk_reads.find_timestamp(
                opened.database, local_id(stream_id), timestamp, first_seq_num, end_seq_num
            )

    # Basins.

    async def get_basin(self, name: str) -> BasinRow | None:
        entry = await self._catalogue.basin(name)
        return None if entry is None else replace(entry.row)

    def known_basin(self, name: str) -> None:
        return None

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        rows, has_more = await self._catalogue.list_basins(prefix, start_after, limit)
        return [replace(row) for row in rows], has_more

    async def insert_basin(self, row: BasinRow, reply: Reply | None = None) -> BasinRow | None:
        present = await self._finished(self._catalogue.insert_basin(replace(row), reply))
        return None if present is None else replace(present)

    async def update_basin(
        self, row: BasinRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        async def update() -> None:
            await self._catalogue.update_basin(replace(row), reply)
            made()

        await self._finished(update())

    async def _finished(self, work: Awaitable[Result]) -> Result:
        """What the work returns. It is finished even if nobody waits any more."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(task)

    async def remove_basin(self, name: str) -> None:
        uid = await self._openings.remove(name)
        if uid is not None:
            await self._sweeper.removed(name, uid)
        await self._catalogue.remove_basin(name)

    async def deleting_basins(self) -> list[str]:
        return await self._sweeper.left_by_others(await self._catalogue.deleting_basins())

    # Streams.

    async def get_stream(self, basin: str, name: str) -> StreamRow | None:
        async def run(changes: Changes) -> StreamRow | None:
            stored = await stream_table.get(changes, basin, name)
            return None if stored is None else stored.row

        opened, row = await self._in_basin(basin, run, None)
        return None if opened is None or row is None else (await self._shown(opened, [row]))[0]

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[list[StreamRow], bool]:
        opened = await self._openings.get(basin)
        if opened is None:
            return [], False
        rows, has_more = await opened.change(
            lambda changes: stream_table.listed(changes, basin, prefix, start_after, limit)
        )
        return await self._shown(opened, rows), has_more

    async def _shown(self, basin: OpenBasin, rows: list[StreamRow]) -> list[StreamRow]:
        """The rows as they are told: the streams of a basin that is marked as deleted are so, too."""
        entry = await self._catalogue.basin(basin.name)
        deleted_at_ms = None if entry is None else entry.row.deleted_at_ms
        for row in rows:
            basin.outside(row)
            if row.deleted_at_ms is None:
                row.deleted_at_ms = deleted_at_ms
        return rows

    async def insert_stream(self, row: StreamRow, reply: Reply | None = None) -> StreamRow | None:
        stored = replace(row)
        opened, present = await self._in_basin(
            row.basin, lambda changes: stream_table.insert(changes, stored), None, reply
        )
        if opened is None:
            raise ApiError("basin_not_found", f"basin `{row.basin}` not found")
        if present is not None:
            return (await self._shown(opened, [present]))[0]
        row.id, row.uid = opened.outside(stored).id, stored.uid
        return None

    async def update_stream(
        self, row: StreamRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        basin = self._openings.of(row.id)
        stored = basin.inside(row)

        async def run(changes: Changes) -> None:
            await stream_table.update(changes, stored, self.clock_ms())

        await basin.change(run, reply=reply, made=made)

    async def mark_streams(self, basin: str, limit: int) -> list[StreamRow]:
        opened = await self._openings.get(basin, to_remove=True)
        if opened is None:
            return []
        rows = await opened.change(lambda changes: stream_table.mark_some(changes, basin, self.clock_ms(), limit))
        return [opened.outside(row) for row in rows]

    async def remove_stream(self, stream_id: int, uid: bytes | None) -> None:
        while await self._remove_some(stream_id, uid, with_row=True):
            pass

    async def delete_chunks(self, stream_id: int, uid: bytes | None) -> bool:
        return await self._remove_some(stream_id, uid, with_row=False)

    async def _remove_some(self, stream_id: int, uid: bytes | None, *, with_row: bool) -> bool:
        """Delete a slice of the stream's chunks, and in the end perhaps its row; True while there are more. What
        belongs to an opening that is over is found again by the next one."""
        basin = self._openings.find(stream_id)
        if basin is None:
            return False

        async def run(changes: Changes) -> bool:
            stored = await stream_table.by_id(changes, basin.name, local_id(stream_id), uid)
            if stored is None:
                return False
            if await chunk_table.delete_slice(changes, basin.name, stored.row.id, MAX_SEQ_NUM, self.clock_ms()):
                return True
            if with_row:
                await run_table.remove(changes, stored.row.id)
                await hole_table.remove(changes, stored.row.id)
                stream_table.remove(changes, stored)
            return False

        return await basin.change(run)

    def expire(self) -> None:
        now_ms = self.deletion_clock_ms()
        for basin in self._openings.all():
            basin.expire(now_ms)

    async def empty_streams(self, limit: int) -> tuple[list[StreamRow], bool]:
        now_ms = self.deletion_clock_ms()
        found: list[StreamRow] = []
        more = False
        for basin in self._openings.all():
            if await retention.any_look(basin.database, now_ms):
                rows, has_more = await basin.change(
                    partial(retention.empty_streams, basin=basin.name, now_ms=now_ms, limit=limit)
                )
                found += [basin.outside(row) for row in rows]
                more = more or has_more
        return found, more

    async def delete_if_empty(self, row: StreamRow) -> bool:
        basin = self._openings.of(row.id)
        now_ms = self.deletion_clock_ms()

        async def run(changes: Changes) -> bool:
            stored = await stream_table.by_id(changes, basin.name, local_id(row.id), row.uid)
            if stored is None or not await retention.is_empty(changes, stored, now_ms):
                return False
            stream_table.mark(changes, stored, now_ms)
            return True

        return await basin.change(run)

    async def deleting_streams(self, limit: int) -> list[StreamRow]:
        found: list[StreamRow] = []
        for basin in self._openings.all():
            if await stream_table.any_deleting(basin.database):
                rows = await basin.change(partial(stream_table.deleting, basin=basin.name, limit=limit))
                found += [basin.outside(row) for row in rows]
        return found[:limit]

    # Tokens and replies.

    async def get_token(self, selector: str) -> TokenRow | None:
        return await self._catalogue.get_token(selector)

    async def list_tokens(self, prefix: str, start_after: str, limit: int, now_ms: int) -> tuple[list[TokenRow], bool]:
        return await self._catalogue.list_tokens(prefix, start_after, limit, now_ms)

    async def insert_token(self, row: TokenRow, now_ms: int) -> bool:
        return await self._finished(self._catalogue.insert_token(row, now_ms))

    async def remove_token(self, token_id: str, now_ms: int) -> bool:
        return await self._finished(self._catalogue.remove_token(token_id, now_ms))

    async def expire_tokens(self, now_ms: int) -> int | None:
        return await self._catalogue.expire_tokens(now_ms)

    async def get_reply(self, basin: str, key: bytes, now_ms: int) -> Reply | None:
        if not basin:
            return await self._catalogue.get_reply(key, now_ms)
        _, reply = await self._in_basin(basin, lambda changes: reply_table.get(changes, key, now_ms), None)
        return reply

    async def save_reply(self, basin: str, reply: Reply) -> None:
        opened = await self._openings.get(basin) if basin else None
        if opened is None:
            await self._catalogue.save_reply(reply)
        else:
            await opened.confirm(reply)

    # Metrics.

    async def add_counts(self, points: Sequence[Point]) -> None:
        await self._finished(self._counts.add(points))

    async def counted(
        self, basin: str, stream: str, series: Sequence[str], first: int, end: int, interval: int
    ) -> Counted:
        return await self._counts.counted(basin, stream, series, first, end, interval)

    async def active_basins(self, first: int, end: int) -> list[str]:
        found: list[str] = []
        async for row in self._catalogue.all_basins():
            was_there = row.created_at_ms < end * 60_000
            is_gone = row.deleted_at_ms is not None and row.deleted_at_ms < first * 60_000
            if was_there and not is_gone:
                found.append(row.name)
        return found

    async def stored_bytes(self, basin: str, stream: str) -> int:
        opened = await self._openings.get(basin)
        if opened is None:
            return 0
        with opened.in_use():
            stored = await stream_table.get(Changes(opened.database), basin, stream) if stream else None
            if stream and stored is None:
                return 0
            return await metric_table.stored_bytes(opened.database, None if stored is None else stored.row.id)

    @property
    def commit_times(self) -> Histogram:
        return self._commit_times

    def disk_bytes(self) -> int:
        return 0

    async def copy(self, path: Path, progress: CopyProgress) -> None:
        raise ApiError("invalid", "what is in a bucket is copied by `s2 copy`, not by a backup")
