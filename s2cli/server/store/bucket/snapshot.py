"""A database in the bucket as it was at one moment, beside the server that has it, which keeps it."""

from __future__ import annotations

import asyncio
import contextlib

from s2cli.errors import ApiError
from s2cli.server.store.bucket import binding
from s2cli.server.store.bucket.database import UNREACHABLE_S, Database, Place, UnreadableError, answering

# What was there at that moment is kept for so long, even if we are killed; every while we say that we still need it.
KEPT_MS = 30 * 60 * 1000
POLL_MS = 10 * 60 * 1000
MEMORY_BYTES = 64 * 1024 * 1024


class Snapshot(Database):
    """Only to be read. What it is of lies in a checkpoint: the owner may write, trim and delete meanwhile."""

    @classmethod
    async def open(cls, place: Place, path: str) -> Snapshot:
        """Raises ApiError."""
        library = binding.load()
        builder = library.DbReaderBuilder(path, place.objects)
        builder.with_db_cache_disabled()
        builder.with_reader_mode(library.ReaderMode.MANAGED_CHECKPOINT())
        builder.with_options(
            library.ReaderOptions(
                manifest_poll_interval_ms=POLL_MS,
                checkpoint_lifetime_ms=KEPT_MS,
                max_memtable_bytes=MEMORY_BYTES,
                skip_wal_replay=False,
            )
        )
        try:
            async with answering():
                return cls(library, await builder.build())
        except library.Error.Data as error:
            raise UnreadableError(error.message) from error
        except library.Error as error:
            raise ApiError("unavailable", f"the basin cannot be read in the bucket: {error.message}") from error

    async def close(self) -> None:
        with contextlib.suppress(self._library.Error, TimeoutError):
            async with asyncio.timeout(UNREACHABLE_S):
                await self._database.shutdown()
