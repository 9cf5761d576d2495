"""The local engine: a Store on SQLite, with one thread that writes and one that reads."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import sqlite3
import sys
import tempfile
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from s2cli.errors import S2Error
from s2cli.server.directory import LockedDirectory
from s2cli.server.engines import sqlite_chunks, sqlite_reader, sqlite_rows
from s2cli.server.engines.ballast import BALLAST_BYTES, Ballast
from s2cli.server.engines.sqlite_format import open_reader, open_writer
from s2cli.server.engines.sqlite_reader import Reader
from s2cli.server.engines.sqlite_writer import DISK_FULL, Gate, Operation, Writer
from s2cli.server.store import MAX_SEQ_NUM, Append, BasinRow, Chunk, Lane, Settle, StreamRow

Result = TypeVar("Result")

# How long a thread may keep the interpreter when another wants it. With the default of 5 ms a commit beside a busy loop
# takes 15 ms; 1e-4 costs a bulk load 10 %.
SWITCH_INTERVAL_S = 5e-4


class SqliteStore:
    """See `Store` for what the methods do. Made by `open`."""

    settle: Settle

    def __init__(self, directory: LockedDirectory, loop: AbstractEventLoop, *, temporary: bool) -> None:
        self._directory = directory
        self._loop = loop
        self._temporary = temporary
        self._lowest_free_id = 1
        gate = Gate()
        ballast = Ballast(directory.path, 0 if temporary else BALLAST_BYTES)
        connection = open_writer(directory.path, durable=not temporary)
        self._writer = Writer(connection, loop, gate, ballast, self._settle_group)
        self._reader = Reader(open_reader(directory.path), loop, gate)
        ballast.restore()
        self._writer.start()
        self._reader.start()
        self._reader.submit(sqlite_reader.unfinished_trims).add_done_callback(self._go_on_trimming)

    @classmethod
    async def open(cls, directory: LockedDirectory | None) -> SqliteStore:
        """The store in `directory`, which stays the caller's to release. None is a temporary one, which is gone after
        `close` and does not wait for the disk. Raises S2Error for a database that is not ours to write."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        keep_freed_memory()
        if directory is not None:
            return cls(directory, asyncio.get_running_loop(), temporary=False)
        path = Path(tempfile.mkdtemp(prefix="s2-lite-"))
        try:
            return cls(LockedDirectory(path), asyncio.get_running_loop(), temporary=True)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reader.stop()
        self._writer.stop()
        if self._temporary:
            self._directory.release()
            shutil.rmtree(self._directory.path, ignore_errors=True)

    @property
    def failure(self) -> str | None:
        return self._writer.failure or (DISK_FULL if self._writer.full else None)

    def _go_on_trimming(self, found: Future[list[tuple[int, int]]]) -> None:
        if found.exception() is None:
            self._writer.trim(found.result())

    def append(self, append: Append) -> None:
        self._writer.put(append)

    def _settle_group(self, group: Sequence[Append], error: S2Error | None) -> None:
        self.settle(group, error)

    def lane(self, stream_id: int) -> Lane:
        return Lane(stream_id)

    # Reading.

    async def tail(self, stream_id: int) -> tuple[int, int] | None:
        return await self._reader.submit(partial(sqlite_reader.tail, stream_id=stream_id))

    def read(self, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int) -> Future[list[Chunk]]:
        return self._reader.submit(
            lambda connection: sqlite_reader.read(connection, stream_id, first_seq_num, end_seq_num, max_bytes)
        )

    async def find_timestamp(self, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int) -> int | None:
        return await self._reader.submit(
            lambda connection: sqlite_reader.find_timestamp(
                connection, stream_id, timestamp, first_seq_num, end_seq_num
            )
        )

    async def get_basin(self, name: str) -> BasinRow | None:
        return await self._reader.submit(lambda connection: sqlite_rows.get_basin(connection, name))

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        return await self._reader.submit(
            lambda connection: sqlite_rows.list_basins(connection, prefix, start_after, limit)
        )

    async def get_stream(self, basin: str, name: str) -> StreamRow | None:
        return await self._reader.submit(lambda connection: sqlite_rows.get_stream(connection, basin, name))

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[list[StreamRow], bool]:
        return await self._reader.submit(
            lambda connection: sqlite_rows.list_streams(connection, basin, prefix, start_after, limit)
        )

    async def deleting(self) -> tuple[list[BasinRow], list[StreamRow]]:
        return await self._reader.submit(sqlite_rows.deleting)

    # Writing.

    async def insert_basin(self, row: BasinRow) -> BasinRow | None:
        return await self._change(lambda connection: sqlite_rows.insert_basin(connection, row))

    async def update_basin(self, row: BasinRow) -> None:
        await self._change(lambda connection: sqlite_rows.update_basin(connection, row))

    async def remove_basin(self, name: str) -> None:
        await self._change(lambda connection: sqlite_rows.remove_basin(connection, name))

    async def insert_stream(self, row: StreamRow) -> StreamRow | None:
        def run(connection: sqlite3.Connection) -> StreamRow | None:
            present = sqlite_rows.insert_stream(connection, row, self._lowest_free_id)
            if present is None:
                self._lowest_free_id = row.id + 1
            return present

        return await self._change(run)

    async def update_stream(self, row: StreamRow) -> None:
        await self._change(lambda connection: sqlite_rows.update_stream(connection, row), row.id)

    async def remove_stream(self, stream_id: int) -> None:
        while await self.delete_slice(stream_id):
            pass

        def run(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM stream WHERE id=?", (stream_id,))
            self._lowest_free_id = min(self._lowest_free_id, stream_id)

        await self._change(run, stream_id)

    async def delete_slice(self, stream_id: int) -> bool:
        return await self._change(
            lambda connection: sqlite_chunks.delete_slice(connection, stream_id, MAX_SEQ_NUM), stream_id
        )

    async def _change(self, run: Callable[[sqlite3.Connection], Result], stream_id: int | None = None) -> Result:
        future: Future[Any] = self._loop.create_future()
        self._writer.put(Operation(run, future, stream_id))
        result: Result = await future
        return result


def keep_freed_memory() -> None:
    """Have glibc keep large blocks that are freed: batches come and go by the megabyte, and each time anew the kernel
    would fault their pages in (joins of 1 MiB: 1300 -> 140 us). Elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(m_mmap_threshold, 32 * 1024 * 1024)
    mallopt(m_trim_threshold, 64 * 1024 * 1024)
