"""A basin that this server has open: the queue of what is to be written, and the task that writes it.

The task takes what is queued, in its order, writes it as one batch, and has that uploaded: one turn. Then all who wait
are told. A turn that changes nothing writes a key that means nothing: so whatever an operation answers rests on a write
that has become durable after the question came, which proves that the basin still was ours then.

Any write that fails ends the opening: all that was queued fails, and nothing is taken any more. An id of a stream has
the number of the opening in it, so that what was meant for one opening never reaches another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket import chunk_table, reply_table, retention
from s2cli.server.store.bucket.bucket_format import FORMAT, NewerFormatError
from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.database import UNREACHABLE_S, Database, DatabaseLostError, unreachable
from s2cli.server.store.bucket.key_layout import FORMAT_KEY, OWNER_KEY
from s2cli.server.store.futures import resolve
from s2cli.server.store.interface import Append, Reply, StreamRow

Result = TypeVar("Result")
Run = Callable[[Changes], Awaitable[Result]]

# What one turn takes at most.
TURN_BYTES_OF_CHUNKS = 8 * 1024 * 1024
TURN_OPERATIONS = 64
# How long a turn waits at most for those who were answered by the last one: a share of what that took, but no longer
# than this. It does not wait for more where none has come for a quarter of that time.
GATHERING_SHARE = 0.5
MOST_GATHERING_S = 0.05
ID_BITS = 32
# A deletion that has failed is tried again after this time.
RETRY_CLEANING_S = 5.0

log = logging.getLogger("s2cli.server")


class Operation:
    """A change or a question: `run` is called with the changes of a turn, its result goes into `future` when the turn
    is durable. `reply` is saved with it if the result is None. `made` is called then, also if nobody waits any more."""

    __slots__ = ("future", "made", "reply", "run")

    def __init__(
        self, run: Run[Any], future: Future[Any], reply: Reply | None, made: Callable[[], None] | None
    ) -> None:
        self.run = run
        self.future = future
        self.reply = reply
        self.made = made


class OpenBasin:
    """One opening of a basin's database. `uid` is the basin's, `number` the opening's; `written` and `ended` are called
    with what the store is to tell: what has become of appends, and that the opening is over. `folding` is held while
    counts in objects become some of the database's (counts.py), or both are read."""

    def __init__(
        self,
        name: str,
        uid: str,
        number: int,
        database: Database,
        written: Callable[[Sequence[Append], S2Error | None], None],
        ended: Callable[[OpenBasin, DatabaseLostError], None],
        took: Callable[[float], None],
        clock_ms: Callable[[], int],
    ) -> None:
        self.name = name
        self.uid = uid
        self.number = number
        self.folding = asyncio.Lock()
        self._users = 0
        self._used_s = time.monotonic()
        self.database = database
        self._written = written
        self._ended = ended
        self._took = took
        self._clock_ms = clock_ms
        self._queue: deque[Append | Operation] = deque()
        self._turn: list[Append | Operation] = []  # what is being written
        self._wake = asyncio.Event()
        self._wanted = 1  # how many must be queued before the writer is woken
        self._clean = asyncio.Event()
        self._expire_ms: int | None = None
        self._closing = False
        self._busy_since_s: float | None = None
        self.lost: DatabaseLostError | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._writer = loop.create_task(self._write_for_ever())
        self._cleaner = loop.create_task(self._clean_for_ever())
        self._clean.set()

    # Ids: those in the database, and those outside.

    def outside(self, row: StreamRow) -> StreamRow:
        """The row as it is told: with an id that nobody else has, and no later opening."""
        row.id |= self.number << ID_BITS
        return row

    @staticmethod
    def inside(row: StreamRow) -> StreamRow:
        """The row as it is stored."""
        return replace(row, id=local_id(row.id))

    # Whether somebody uses it.

    def touch(self) -> None:
        """Somebody uses it."""
        self._used_s = time.monotonic()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, it is not idle, however long that takes."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    def leave(self) -> None:
        """Nobody has asked for it."""
        self._used_s = -math.inf

    def is_idle(self, for_s: float) -> bool:
        """Whether nobody has used it for so long, and nothing is under way."""
        is_quiet = not (self._users or self._queue or self._turn)
        return is_quiet and time.monotonic() - self._used_s >= for_s

    # The queue.

    def append(self, append: Append) -> None:
        """Queue it; `written` hears of it, also if the opening is over."""
        self._put(append)

    async def change(
        self, run: Run[Result], *, reply: Reply | None = None, made: Callable[[], None] | None = None
    ) -> Result:
        """What `run` returns, or raises, when its changes are durable with all that was queued before; see Operation.
        Raises ApiError."""
        if self.lost is not None:
            raise self.lost
        future: Future[Result] = self._loop.create_future()
        self._put(Operation(run, future, reply, made))
        return await future

    async def confirm(self, reply: Reply | None = None) -> None:
        """Return when it is certain that the basin was ours after the call, with all that was queued before; see
        Operation. Raises ApiError."""

        async def nothing(_changes: Changes) -> None:
            return None

        await self.change(nothing, reply=reply)

    @contextlib.asynccontextmanager
    async def owned(self) -> AsyncIterator[None]:
        """Inside, an ApiError `storage` is raised of what is ours alone: that something is damaged or cannot be read. A
        new owner deletes what it has no use for."""
        try:
            yield
        except ApiError as error:
            if error.code == "storage":
                await self.confirm()
            raise

    def _put(self, item: Append | Operation) -> None:
        self._queue.append(item)
        if self.lost is not None:
            if len(self._queue) == 1:
                self._loop.call_soon(self._refuse_queued)
        elif len(self._queue) >= self._wanted:
            self._wake.set()

    async def _write_for_ever(self) -> None:
        while self.lost is None and not (self._closing and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._turn = self._take()
            is_full = bool(self._queue)
            began_s = self._busy_since_s = time.monotonic()
            try:
                tell = await self._write(self._turn)
            except DatabaseLostError as error:
                self.lose(error)
            except Exception as error:
                if not isinstance(error, S2Error):
                    log.exception("a write to the basin %s failed", self.name)
                self.lose(DatabaseLostError(f"the basin is being opened again, after a failure: {error}"))
            else:
                count = len(self._turn) + len(self._queue)
                self._turn = []
                self._busy_since_s = None
                took_s = time.monotonic() - began_s
                self._took(took_s)
                tell()
                if count > 1 and not is_full:
                    await self._gather(count, took_s)

    async def _gather(self, count: int, took_s: float) -> None:
        """Wait until so many are queued, or no more come. Who was answered may well come again at once. Without this,
        the first one takes a turn alone, the others wait for its end, and so on: everybody waits for two turns."""
        gathering_s = min(took_s * GATHERING_SHARE, MOST_GATHERING_S)
        until_s = time.monotonic() + gathering_s
        self._wake.clear()
        self._wanted = count
        queued = -1
        while queued < len(self._queue) < count and time.monotonic() < until_s and not self._closing:
            queued = len(self._queue)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), gathering_s / 4)
        self._wanted = 1

    def _take(self) -> list[Append | Operation]:
        taken: list[Append | Operation] = []
        queue = self._queue
        size_bytes = operations = 0
        while queue and size_bytes < TURN_BYTES_OF_CHUNKS and operations < TURN_OPERATIONS:
            item = queue.popleft()
            taken.append(item)
            if isinstance(item, Operation):
                operations += 1
            else:
                size_bytes += len(item.chunk.data)
        return taken

    async def _write(self, turn: Sequence[Append | Operation]) -> Callable[[], None]:
        """Make the turn durable. Returns what tells everybody."""
        changes = Changes(self.database)
        appends: list[Append] = []
        outcomes: list[tuple[Operation, Any, BaseException | None]] = []
        for item in turn:
            if isinstance(item, Operation):
                outcomes.append(await self._run(item, changes))
            else:
                await chunk_table.put(changes, self.name, local_id(item.lane.stream_id), item)
                appends.append(item)
        if not changes.values:
            changes.put(OWNER_KEY, b"")
        await self.database.write(changes.values)

        def tell() -> None:
            if appends:
                self._written(appends, None)
                if any(append.trim_point is not None for append in appends):
                    self._clean.set()
            for operation, result, error in outcomes:
                resolve(operation.future, result, error)
                if error is None and operation.made is not None:
                    operation.made()

        return tell

    async def _run(self, operation: Operation, changes: Changes) -> tuple[Operation, Any, BaseException | None]:
        own = Changes(changes)
        try:
            result = await operation.run(own)
            if operation.reply is not None and result is None:
                await reply_table.save(own, operation.reply)
        except DatabaseLostError:
            raise
        except Exception as error:
            if not isinstance(error, S2Error):
                log.exception("a change in the basin %s failed", self.name)
            return operation, None, error if isinstance(error, S2Error) else ApiError("other", "internal error")
        changes.update(own.values)
        return operation, result, None

    # The end.

    def lose(self, error: DatabaseLostError) -> None:
        """The opening is over: all that is queued fails."""
        if self.lost is not None:
            return
        self.lost = error
        self._queue.extendleft(reversed(self._turn))
        self._turn = []
        self._busy_since_s = None
        self._wake.set()
        self._ended(self, error)
        self._refuse_queued()

    def _refuse_queued(self) -> None:
        refused, self._queue = self._queue, deque()
        appends = [item for item in refused if not isinstance(item, Operation)]
        for append in appends:
            append.lane.broken = self.lost
        if appends:
            self._written(appends, self.lost)
        for item in refused:
            if isinstance(item, Operation):
                resolve(item.future, None, self.lost)

    def check(self) -> None:
        """To be called now and then: notices that somebody else has taken the basin, even if nothing is written, and
        lets nobody wait for a change while the bucket does not answer."""
        if self.lost is None and (error := self.database.lost) is not None:
            self.lose(error)
        if self.is_stalled:
            for item in (*self._turn, *self._queue):
                if isinstance(item, Operation):
                    resolve(item.future, None, ApiError("unavailable", unreachable()))

    @property
    def is_stalled(self) -> bool:
        """Whether a write has been waiting for the bucket for long."""
        return self._busy_since_s is not None and time.monotonic() - self._busy_since_s > UNREACHABLE_S

    async def close(self) -> None:
        """Write what is queued, as long as the bucket answers, and let go of the database."""
        self._cleaner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._cleaner
        self._closing = True
        self._wake.set()
        while not self._writer.done() and not self.is_stalled:
            await asyncio.wait({self._writer}, timeout=UNREACHABLE_S / 10)
        if not self._writer.done():
            self.lose(DatabaseLostError(unreachable()))
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        if self.lost is None:
            self.lost = DatabaseLostError("the basin is being opened again")
            self._refuse_queued()
        await self.database.close()

    # What is deleted behind the requests.

    def expire(self, now_ms: int) -> None:
        """Delete, in time, what has expired by then, and what a trim has left."""
        self._expire_ms = now_ms
        self._clean.set()

    async def _clean_for_ever(self) -> None:
        while True:
            await self._clean.wait()
            self._clean.clear()
            try:
                await self._delete_all(chunk_table.any_trim, self._trim)
                if self._expire_ms is not None:
                    await self._delete_all(retention.any_due, self._expire)
            except S2Error as error:
                if self.lost is not None:
                    return
                log.warning("cannot delete what was trimmed or has expired, trying again: %s", error.message)
                await asyncio.sleep(RETRY_CLEANING_S)
                self._clean.set()

    async def _delete_all(
        self,
        any_left: Callable[[Database, int], Awaitable[bool]],
        delete_some: Callable[..., Awaitable[bool]],
    ) -> None:
        """Turn by turn; none where there is nothing to do."""
        while await any_left(self.database, self._expire_ms or 0):
            now_ms = self._clock_ms()
            if not await self.change(partial(delete_some, now_ms=now_ms)):
                return

    async def _trim(self, changes: Changes, now_ms: int) -> bool:
        return await chunk_table.trim_slice(changes, self.name, now_ms)

    async def _expire(self, changes: Changes, now_ms: int) -> bool:
        return await retention.expire_slice(changes, self.name, self._expire_ms or 0, now_ms)


def local_id(stream_id: int) -> int:
    """The id in the database of the stream that is known by this id."""
    return stream_id & ((1 << ID_BITS) - 1)


async def check_format(database: Database) -> None:
    """See that this version can use the database, and write down which one it is if it is new. That is the first write
    of an opening: when it is durable, the basin is ours. Raises ApiError."""
    await refuse_newer(database)
    await database.write({FORMAT_KEY: b"%d" % FORMAT})


async def refuse_newer(database: Database) -> None:
    """Raises NewerFormatError where a newer version has written the database."""
    found = await database.get(FORMAT_KEY)
    if found is not None and int(found) > FORMAT:
        raise NewerFormatError("the basin", int(found))
