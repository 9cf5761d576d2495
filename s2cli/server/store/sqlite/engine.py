"""The local engine: a Store on SQLite, with one thread that writes and one that reads."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import sys
import tempfile
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.futures import resolve
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
from s2cli.server.store.sqlite import chunks, expiry, life, loss, metric_rows, reader, reply_rows, resource_rows
from s2cli.server.store.sqlite.disk import BALLAST_BYTES, LOOK_S, Ballast, Room, is_full, is_of_the_disk
from s2cli.server.store.sqlite.hidden import Kind
from s2cli.server.store.sqlite.inspection import Inspection
from s2cli.server.store.sqlite.known_basins import KnownBasins
from s2cli.server.store.sqlite.lanes import SMALL_LANE_BYTES
from s2cli.server.store.sqlite.mark import Marker
from s2cli.server.store.sqlite.operations import Operation, Together
from s2cli.server.store.sqlite.page_copy import PageCopy
from s2cli.server.store.sqlite.reader import Gate, Reader
from s2cli.server.store.sqlite.resource_rows import Beginning
from s2cli.server.store.sqlite.schema import FILE_NAME, open_reader, open_writer
from s2cli.server.store.sqlite.writer import STALL_S, Writer

# So many small appends of one turn of the loop are handed to a busy writer together: one item in its queue for many.
# With more of them all of 64 clients come to wait for the same group, and none is taken in while another is written.
TOGETHER = 16
# Of one stream, on the way to the disk: two groups of the writer are no faster than one and what comes meanwhile.
MAX_PENDING_BYTES = 2 * 1024 * 1024

log = logging.getLogger("s2cli.server")

Result = TypeVar("Result")
Values = TypeVarTuple("Values")


class SqliteStore:
    """See `Store` for what the methods do. Made by `open`."""

    on_written: OnWritten
    max_pending_bytes = MAX_PENDING_BYTES
    on_stall: Callable[[], None]
    on_lost: Callable[[str, S2Error], None]
    on_deleting: Callable[[], None]
    is_used: Callable[[str], bool]
    clock_ms: Callable[[], int]
    deletion_clock_ms: Callable[[], int]
    confirm: None = None  # nobody else can write
    contended: Sequence[str] = ()

    def __init__(self, directory: Path, loop: AbstractEventLoop, *, temporary: bool) -> None:
        self._directory = directory
        self._loop = loop
        self._temporary = temporary
        self._lowest_free_id = 1
        self.clock_ms = self.deletion_clock_ms = lambda: time.time_ns() // 1_000_000
        self.on_stall = lambda: None
        gate = Gate()
        ballast = Ballast(directory, 0 if temporary else BALLAST_BYTES)
        try:
            connection = open_writer(directory, durable=not temporary)
        except S2Error as error:
            # Recovery and an upgrade take some room, too. SQLite does not always say that this is what it lacks.
            cause = error.__cause__
            lacks_room = cause is not None and (is_full(cause) or is_of_the_disk(cause))
            if not (lacks_room and ballast.release()):
                raise
            connection = open_writer(directory, durable=not temporary)
        self.room = Room(connection, directory, ballast)
        self._marker = None if temporary else Marker(directory / FILE_NAME, life.read(connection))
        self._writer = Writer(
            connection, loop, gate, self.room, self._group_written, self._insert_streams, self._marker
        )
        self._arrived: list[Append] = []  # in this turn of the loop
        self._basins = KnownBasins()
        self._reader = Reader(open_reader(directory), loop, gate)
        found = loss.read(directory / FILE_NAME)
        self._loss = None if found is None else f"records that were confirmed are missing: {found.reason}"
        if self._loss is not None:
            log.critical("no appends until s2 lite repair was run: %s", self._loss)
        self._writer.start()
        self._reader.start()
        # Why nothing is taken in while the disk does not answer.
        self.stall: str | None = None
        self._failing_since_ms: int | None = None
        self._changes: set[Future[Any]] = set()
        self._stall_check = loop.call_later(LOOK_S, self._check_stall)
        self._check_trims((0, 0))
        lost_ends = {} if found is None else found.ends
        self._inspection = Inspection(self._reader, lost_ends, self._writer.note_tails)

    @classmethod
    async def open(cls, directory: Path | None) -> SqliteStore:
        """The store in `directory`, whose lock the caller holds. None is a temporary one, which is gone after `close`
        and does not wait for the disk. Raises S2Error for a database that is not ours to write."""
        loop = asyncio.get_running_loop()
        if directory is not None:
            return cls(directory, loop, temporary=False)
        temporary = Path(tempfile.mkdtemp(prefix="s2-lite-"))
        try:
            return cls(temporary, loop, temporary=True)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    async def close(self) -> None:
        self._inspection.close()
        self._hand_over()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._stall_check.cancel()
        self._reader.stop(lambda: not self._writer.is_stalled)
        self._writer.stop()
        if self._marker is not None and not self._writer.is_stalled:
            self._marker.close()
        if self._writer.is_stalled:
            log.critical("the server ends without the disk, which does not answer")
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def failure(self) -> str | None:
        return self._writer.failure or self.stall or self.room.shortage or self._loss

    @property
    def doubtful(self) -> Sequence[str]:
        return self._inspection.places

    @property
    def failing_since_ms(self) -> int | None:
        self._note_failure()
        return self._failing_since_ms

    def _note_failure(self) -> None:
        if self.failure is None:
            self._failing_since_ms = None
        elif self._failing_since_ms is None:
            waited_s = STALL_S if self.stall is not None else 0.0
            self._failing_since_ms = self.clock_ms() - round(waited_s * 1000)

    def _check_stall(self) -> None:
        """Ends what waits for a disk that does not answer; it may still be done later. Except for appends: whoever sent
        them has to know."""
        if not self._writer.is_stalled:
            if self.stall is not None:
                log.warning("the disk answers again")
                self.stall = None
        elif self.stall is None:
            self.stall = f"the disk has not answered for {STALL_S:.0f} s"
            log.critical("no more writes are taken for now: %s", self.stall)
            self.on_stall()
        self._note_failure()
        if self.stall is not None:
            for future in self._changes:
                resolve(future, None, ApiError("unavailable", self.stall))
        self._stall_check = self._loop.call_later(LOOK_S, self._check_stall)

    def expire(self) -> None:
        self._writer.expire(self.deletion_clock_ms())
        self._check_trims((0, 0))

    def _check_trims(self, after: tuple[int, int]) -> None:
        found = self._reader.submit(partial(reader.unfinished_trims, after=after))
        found.add_done_callback(self._go_on_trimming)

    def _go_on_trimming(self, found: Future[tuple[list[tuple[int, int]], tuple[int, int] | None]]) -> None:
        if found.exception() is not None:
            return
        unfinished, after = found.result()
        if unfinished:
            self._writer.trim(unfinished)
        if after is not None:
            self._check_trims(after)

    def append(self, append: Append) -> None:
        self._arrived.append(append)
        if (
            len(self._arrived) == TOGETHER
            or len(append.chunk.data) > SMALL_LANE_BYTES
            or self._writer.busy_since_s is None
        ):
            self._hand_over()
        elif len(self._arrived) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._arrived:
            self._writer.put(tuple(self._arrived))
            self._arrived.clear()

    def _group_written(self, group: Sequence[Append], error: S2Error | None) -> None:
        self.on_written(group, error)

    # Reading.

    async def ask(self, run: Callable[[sqlite3.Connection, *Values], Result], *values: *Values) -> Result:
        """What `run` returns, or raises, called with the connection and these values in the thread that reads."""
        return await self._reader.submit(lambda connection: run(connection, *values))

    async def tail(self, stream_id: int) -> Tail | None:
        found = await self.ask(reader.tail, stream_id)
        return found if found is None or self._loss is None else found._replace(doubt=f"{self._loss}: {loss.ADVICE}")

    async def read(self, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int) -> list[Chunk]:
        now_ms = self.clock_ms()
        go_on: int | None = first_seq_num
        page: list[Chunk] = []
        while go_on is not None:
            page, go_on = await self.ask(reader.read, stream_id, go_on, end_seq_num, max_bytes, now_ms)
        return page

    async def find_timestamp(self, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int) -> int | None:
        return await self.ask(reader.find_timestamp, stream_id, timestamp, first_seq_num, end_seq_num)

    async def get_basin(self, name: str) -> BasinRow | None:
        found = await self._basins.get(name, lambda: self.ask(resource_rows.get_basin, name))
        if found is None:
            (await self._inspection.hidden()).refuse(Kind.BASIN, (name.encode(),))
        return found

    def known_basin(self, name: str) -> BasinRow | None:
        return self._basins.find(name) if self._inspection.all_found and self._loss is None else None

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        first, beyond = resource_rows.names_within(prefix, start_after)
        (await self._inspection.hidden()).refuse_list(Kind.BASIN, (first,), (beyond,))
        return await self.ask(resource_rows.list_basins, prefix, start_after, limit)

    async def get_stream(self, basin: str, name: str) -> StreamRow | None:
        found = await self.ask(resource_rows.get_stream, basin, name)
        if found is None:
            (await self._inspection.hidden()).refuse(Kind.STREAM, (basin.encode(), name.encode()))
        return found

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[list[StreamRow], bool]:
        first, beyond = resource_rows.names_within(prefix, start_after)
        (await self._inspection.hidden()).refuse_list(Kind.STREAM, (basin.encode(), first), (basin.encode(), beyond))
        return await self.ask(resource_rows.list_streams, basin, prefix, start_after, limit)

    async def get_reply(self, basin: str, key: bytes, now_ms: int) -> Reply | None:
        found = await self.ask(reply_rows.get, key, now_ms)
        if found is None:
            (await self._inspection.hidden()).refuse(Kind.REPLY, (key,))
        return found

    async def deleting_basins(self) -> list[str]:
        return await self._reader.in_slices(resource_rows.deleting_basins)

    async def deleting_streams(self, limit: int) -> list[StreamRow]:
        return await self.ask(resource_rows.deleting_streams, limit)

    async def get_token(self, selector: str) -> TokenRow | None:
        found = await self.ask(resource_rows.get_token, selector)
        if found is None:
            (await self._inspection.hidden()).refuse(Kind.TOKEN, (selector,))
        return found

    async def list_tokens(self, prefix: str, start_after: str, limit: int, now_ms: int) -> tuple[list[TokenRow], bool]:
        (await self._inspection.hidden()).refuse_list(Kind.TOKEN, ("",), (chr(sys.maxunicode),))
        living: list[TokenRow] = []
        after: str | None = start_after
        while after is not None and len(living) <= limit:
            wanted = limit + 1 - len(living)
            page, after = await self.ask(resource_rows.list_tokens, prefix, after, wanted, now_ms)
            living += page
        return living[:limit], len(living) > limit

    async def counted(
        self, basin: str, stream: str, series: Sequence[str], first: int, end: int, interval: int
    ) -> Counted:
        return await self._reader.in_slices(metric_rows.counted, basin, stream, series, first, end, interval)

    async def active_basins(self, first: int, end: int) -> list[str]:
        return await self._reader.in_slices(metric_rows.active_basins, first, end)

    async def stored_bytes(self, basin: str, stream: str) -> int:
        return await self._reader.in_slices(metric_rows.stored_bytes, basin, stream)

    @property
    def commit_times(self) -> Histogram:
        return self._writer.commit_times

    async def copy(self, path: Path, progress: CopyProgress) -> None:
        future: Future[None] = self._loop.create_future()
        self._writer.put(PageCopy(path, progress, future))
        await future

    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._directory.glob(f"{FILE_NAME}*"))

    # Writing.

    async def change(
        self,
        run: Callable[[sqlite3.Connection, *Values], Result],
        *values: *Values,
        stream_id: int | None = None,
        reply: Reply | None = None,
        grows: bool = False,
        made: Callable[[], None] | None = None,
        together: Together | None = None,
    ) -> Result:
        """What `run` returns, or raises, called with the connection and these values in a transaction of the thread
        that writes (see Operation). `reply` is saved in the same transaction, but only if `run` returns None: any other
        result says what prevented the change."""
        if self.stall is not None:
            raise ApiError("unavailable", self.stall, without_effect=True)

        def change(connection: sqlite3.Connection) -> Result:
            result = run(connection, *values)
            if reply is not None and result is None:
                reply_rows.save(connection, reply)
            return result

        future: Future[Result] = self._loop.create_future()
        self._changes.add(future)
        self._hand_over()
        self._writer.put(Operation(change, future, stream_id, grows=grows, made=made, together=together))
        try:
            return await future
        finally:
            self._changes.discard(future)

    async def add_counts(self, points: Sequence[Point]) -> None:
        await self.change(metric_rows.add, points, grows=True)

    async def insert_token(self, row: TokenRow, now_ms: int) -> bool:
        return await self.change(resource_rows.insert_token, row, now_ms, grows=True)

    async def remove_token(self, token_id: str, now_ms: int) -> bool:
        return await self.change(resource_rows.remove_token, token_id, now_ms)

    async def expire_tokens(self, now_ms: int) -> int | None:
        return await self.change(resource_rows.expire_tokens, now_ms)

    async def save_reply(self, basin: str, reply: Reply) -> None:
        await self.change(reply_rows.save, reply, grows=True)

    async def insert_basin(self, row: BasinRow, reply: Reply | None = None) -> BasinRow | None:
        self._refuse_new()
        (await self._inspection.hidden()).refuse(Kind.BASIN, (row.name.encode(),))
        return await self.change(resource_rows.insert_basin, row, reply=reply, grows=True)

    def _refuse_new(self) -> None:
        """What is made now may take the name, or the place, of something that is missing."""
        if self._loss is not None:
            raise ApiError(
                "storage",
                f"nothing new: {self._loss}: {loss.ADVICE}",
                without_effect=True,
                damaged=(0, MAX_SEQ_NUM - 1),
            )

    async def update_basin(
        self, row: BasinRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        def changed() -> None:
            self._basins.changed()
            made()

        await self.change(resource_rows.update_basin, row, reply=reply, made=changed)

    async def remove_basin(self, name: str) -> None:
        await self.change(resource_rows.remove_basin, name, made=self._basins.changed)

    async def insert_stream(self, row: StreamRow, reply: Reply | None = None) -> StreamRow | None:
        self._refuse_new()
        (await self._inspection.hidden()).refuse(Kind.STREAM, (row.basin.encode(), row.name.encode()))
        together = Together(self._insert_streams, row) if reply is None else None
        return await self.change(
            lambda connection: self._insert_streams(connection, [row])[0], reply=reply, grows=True, together=together
        )

    def _insert_streams(
        self, connection: sqlite3.Connection, rows: list[StreamRow], beginnings: Sequence[Beginning] = ()
    ) -> list[StreamRow | None]:
        present, self._lowest_free_id = resource_rows.insert_streams(connection, rows, self._lowest_free_id, beginnings)
        return present

    async def update_stream(
        self, row: StreamRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        await self.change(
            lambda connection: resource_rows.update_stream(connection, row, self.clock_ms()),
            stream_id=row.id,
            reply=reply,
            made=made,
        )

    async def mark_streams(self, basin: str, limit: int) -> list[StreamRow]:
        return await self.change(
            lambda connection: resource_rows.mark_streams(connection, basin, self.clock_ms(), limit)
        )

    async def empty_streams(self, limit: int) -> tuple[list[StreamRow], bool]:
        def run(connection: sqlite3.Connection) -> tuple[list[StreamRow], bool]:
            ids, more = expiry.empty_streams(connection, self.deletion_clock_ms(), limit)
            return resource_rows.streams_by_id(connection, ids), more

        return await self.change(run)

    async def delete_if_empty(self, row: StreamRow) -> bool:
        return await self.change(
            lambda one: expiry.delete_if_empty(one, row.id, self.deletion_clock_ms()), stream_id=row.id
        )

    async def remove_stream(self, stream_id: int, uid: bytes | None) -> None:
        def run(connection: sqlite3.Connection) -> bool:
            if not resource_rows.is_stream(connection, stream_id, uid):
                return False
            if chunks.delete_slice(connection, stream_id, MAX_SEQ_NUM):
                return True
            resource_rows.remove_stream(connection, stream_id)
            self._lowest_free_id = min(self._lowest_free_id, stream_id)
            return False

        while await self.change(run, stream_id=stream_id):
            pass

    async def delete_chunks(self, stream_id: int, uid: bytes | None) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            is_its_own = resource_rows.is_stream(connection, stream_id, uid)
            return is_its_own and chunks.delete_slice(connection, stream_id, MAX_SEQ_NUM)

        return await self.change(run, stream_id=stream_id)
