"""One database in the bucket: opened for writing, read, written, and lost.

Whoever opens a database takes it from whoever had it: the former owner's writes fail from then on. A write that fails,
for whatever reason, ends this opening of the database, because nobody knows what has become of it: who opens it again
finds out. Reads may be of what was there a moment ago, until a write of ours has become durable behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket import binding

# A store that has not answered for so long is said to be unreachable.
UNREACHABLE_S = 10.0
# How often an owner that writes nothing looks whether it still is one, and the library for tables to merge: each look
# costs two to four requests, also where nothing is written. Until a bulk load is merged it may write so many tables.
OWNER_POLL, MERGE_POLL, MERGER_POLL = "30s", "20s", "15s"
MOST_TABLES = 128

DEFAULTS: Mapping[str, str] = {
    # Each turn of the writer is flushed as a whole: nothing else is to be uploaded between.
    "flush_interval": "null",
    "manifest_poll_interval": f'"{OWNER_POLL}"',
    "compactor_options.poll_interval": f'"{MERGE_POLL}"',
    "compactor_options.worker.compactions_poll_interval": f'"{MERGER_POLL}"',
    # What a bulk load takes of memory: what is written and not in a table yet, and the two tables that are being made
    # of it; and of each table that is merged with others, what was fetched of it.
    "max_unflushed_bytes": str(128 * 1024 * 1024),
    "l0_sst_size_bytes": str(32 * 1024 * 1024),
    "l0_flush_parallelism": "2",
    "compactor_options.max_concurrent_compactions": "2",
    "compactor_options.worker.max_concurrent_compactions": "2",
    "compactor_options.worker.max_subcompactions": "1",
    "compactor_options.worker.max_fetch_tasks": "2",
    "compactor_options.worker.bytes_to_fetch": str(1024 * 1024),
    "l0_max_ssts": str(MOST_TABLES),
    "l0_max_ssts_per_key": str(MOST_TABLES),
}
# What was written to tables last is in the cache, and read again first: it is one that lets go of what was not used for
# longest.
CACHE_BYTES = 128 * 1024 * 1024
CACHE_SHARDS = 4
# What is fetched ahead at once: of many rows, and where a few are looked for in all tables that may have them.
READ_AHEAD_BYTES, FEW_BYTES = 1024 * 1024, 64 * 1024
# Whoever opens the database after its server has died reads each upload of the log since the last table was written:
# 3000 take 6 s at 50 ms a request. So a table is written after that many uploads, but no sooner than so long after the
# last one: tables are merged at their own pace.
LOGGED_UPLOADS = 256
TABLE_S = 10.0


class DatabaseLostError(ApiError):
    """This opening of the database is over. `is_taken`: somebody else has opened it. What was being written may have
    become durable, unless it was taken before."""

    def __init__(self, reason: str, *, is_taken: bool = False) -> None:
        super().__init__("unavailable", reason)
        self.is_taken = is_taken


class UnreadableError(ApiError):
    """An object of the database is damaged or missing."""

    def __init__(self, reason: str) -> None:
        super().__init__("storage", f"what is in the bucket cannot be read: {reason}")


@dataclass
class Place:
    """Where databases are: the root of the bucket for SlateDB, its settings (dotted name -> JSON), and the memory that
    all databases of a server share for what they read. Each opening has a number of its own there."""

    objects: Any
    settings: Mapping[str, str]
    cache: Any
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(
        cls,
        url: str,
        settings: Mapping[str, str] | None = None,
        *,
        client: Mapping[str, str] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> Place:
        """The bucket at `url`, of s3:// or memory://. `client` are the settings of the client of S3 that are not to be
        as the environment has them (bucket_url.py). Raises S2Error."""
        library = binding.load()
        kinds = {"s3": library.ObjectStoreType.S3, "memory": library.ObjectStoreType.IN_MEMORY}
        try:
            options = library.FoyerCacheOptions(max_capacity=cache_bytes, shards=CACHE_SHARDS)
            cache = library.DbCache.new_foyer_cache(options)
            builder = library.ObjectStoreBuilder.from_env(kinds[url.partition(":")[0]])
            builder.with_url(url)
            for name, value in (client or {}).items():
                builder.with_config(name, value)
            return cls(builder.build(), settings or {}, cache)
        except library.Error as error:
            raise S2Error(f"cannot use {url}: {error.message}") from error


class Database:
    """An opening of a database. Made by `open`."""

    def __init__(self, library: Any, database: Any) -> None:
        self._library = library
        self._database = database
        self._flush = library.FlushOptions(flush_type=library.FlushType.WAL)
        self._into_table = library.FlushOptions(flush_type=library.FlushType.MEM_TABLE)
        self._plainly = library.WriteOptions()
        self._lost: DatabaseLostError | None = None
        self._logged = 0  # uploads since a table was written
        self._table_s = time.monotonic()  # when that was
        self._writing_table: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, place: Place, path: str) -> Database:
        """Take the database at `path`, which is made if there is none. Raises ApiError."""
        library = binding.load()
        settings = library.Settings.default()
        for name, value in {**DEFAULTS, **place.settings}.items():
            settings.set(name, value)
        builder = library.DbBuilder(path, place.objects)
        builder.with_settings(settings)
        builder.with_db_cache(place.cache, next(place.numbers))
        try:
            async with answering():
                return cls(library, await builder.build())
        except library.Error.Data as error:
            raise UnreadableError(error.message) from error
        except library.Error as error:
            raise ApiError("unavailable", f"the basin cannot be opened in the bucket: {error.message}") from error

    @staticmethod
    async def delete(place: Place, path: str) -> None:
        """Delete the database at `path`, which nobody has open, with everything in it. Raises ApiError."""
        library = binding.load()
        try:
            async with answering():
                await library.AdminBuilder(path, place.objects).build().delete_db(True)
        except library.Error as error:
            raise ApiError("storage", f"cannot delete a basin's data from the bucket: {error.message}") from error

    @property
    def lost(self) -> DatabaseLostError | None:
        """Why this opening is over; None while it is not known to be."""
        if self._lost is None and (reason := self._database.status().close_reason) is not None:
            self._lost = self._over(reason, "")
        return self._lost

    async def get(self, key: bytes) -> bytes | None:
        """The value, also one that is not durable yet. For the writer."""
        async with self._reading():
            value: bytes | None = await self._database.get(key)
        return value

    async def scan(
        self, first: bytes, end: bytes, limit: int, *, is_descending: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` keys from `first` on before `end`, and their values, also what is not durable yet: the first
        ones, or the last ones in descending order. For the writer."""
        found: list[tuple[bytes, bytes]] = []
        if first >= end:  # an empty range is an error to the library
            return found
        async with self._reading():
            level = self._library.DurabilityLevel.MEMORY
            rows = await self._rows(first, end, level, is_descending=is_descending, read_ahead_bytes=FEW_BYTES)
            while len(found) < limit and (batch := await rows.next_batch(min(limit - len(found), 256))):
                found += [(row.key, row.value) for row in batch]
        return found

    async def rows(self, first: bytes, end: bytes, *, read_ahead_bytes: int = READ_AHEAD_BYTES) -> Rows:
        """What is durable between the keys. Raises UnreadableError for what is read ahead, too."""
        if first >= end:
            return Rows(None, self._reading)
        async with self._reading():
            level = self._library.DurabilityLevel.REMOTE
            return Rows(await self._rows(first, end, level, read_ahead_bytes=read_ahead_bytes), self._reading)

    async def _rows(
        self,
        first: bytes,
        end: bytes,
        level: Any,
        *,
        is_descending: bool = False,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
    ) -> Any:
        library = self._library
        order = library.IterationOrder.DESCENDING if is_descending else library.IterationOrder.ASCENDING
        return await self._database.scan_with_options(
            library.KeyRange(start=first, start_inclusive=True, end=end, end_inclusive=False),
            library.ScanOptions(
                durability_filter=level,
                dirty=False,
                read_ahead_bytes=read_ahead_bytes,
                cache_blocks=True,
                max_fetch_tasks=4,
                order=order,
            ),
        )

    async def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Make the changes durable, all or none; None deletes. It takes as long as the bucket does. Raises
        DatabaseLostError: the opening is over then."""
        if self._lost is not None:
            raise self._lost
        library = self._library
        try:
            batch = library.WriteBatch()
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            await self._database.write_with_options(batch, self._plainly)
            await self._database.flush_with_options(self._flush)
        except library.Error as error:
            self._lost = self._over(getattr(error, "reason", None), error.message)
            raise self._lost from error
        self._logged += 1
        if self._logged >= LOGGED_UPLOADS and time.monotonic() - self._table_s >= TABLE_S:
            self._logged, self._table_s = 0, time.monotonic()
            if self._writing_table is None or self._writing_table.done():
                self._writing_table = asyncio.get_running_loop().create_task(self._write_table())

    async def _write_table(self) -> None:
        """Write what the log has into a table. Where that fails, the next write says why."""
        with contextlib.suppress(self._library.Error):
            await self._database.flush_with_options(self._into_table)

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        library = self._library
        try:
            async with answering():
                yield
        except library.Error.Closed as error:
            self._lost = self._lost or self._over(error.reason, error.message)
            raise self._lost from error
        except library.Error.Data as error:
            raise UnreadableError(error.message) from error
        except library.Error as error:
            raise ApiError("storage", f"the bucket cannot be read: {error.message}") from error

    def _over(self, reason: Any, message: str) -> DatabaseLostError:
        if reason is self._library.CloseReason.FENCED:
            return DatabaseLostError("another server has taken the basin", is_taken=True)
        return DatabaseLostError(f"the basin is being opened again, after a failure: {message or reason.name}")

    async def close(self) -> None:
        """Let go of it. What was written is durable already; here it goes into a table, for whoever opens it next."""
        with contextlib.suppress(self._library.Error, TimeoutError):
            async with asyncio.timeout(UNREACHABLE_S):
                if self._logged and self.lost is None:
                    await self._database.flush_with_options(self._into_table)
        with contextlib.suppress(self._library.Error, TimeoutError):
            async with asyncio.timeout(UNREACHABLE_S):
                await self._database.shutdown_with_options(self._library.CloseOptions(flush_type=None))


class Rows:
    """Keys and values in order, as they are asked for; none without an `iterator`."""

    def __init__(self, iterator: Any, reading: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._iterator = iterator
        self._reading = reading

    async def take(self, count: int) -> list[tuple[bytes, bytes]]:
        """At most the next `count`, at least one until there are no more."""
        if self._iterator is None:
            return []
        async with self._reading():
            return [(row.key, row.value) for row in await self._iterator.next_batch(count)]


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(UNREACHABLE_S):
            yield
    except TimeoutError as error:
        raise ApiError("unavailable", unreachable()) from error


def unreachable() -> str:
    return f"the bucket has not answered for {UNREACHABLE_S:.0f} s"
