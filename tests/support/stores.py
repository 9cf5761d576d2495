"""Stores of both engines, for tests of what `Store` promises: each can be closed and opened again."""

import asyncio
import contextlib
import itertools
import json
import os
import random

from support.waiting import TIMEOUT_S

from s2cli.server.store.interface import Append, BasinRow, Chunk, StreamRow
from s2cli.server.store.sqlite.engine import SqliteStore

BASIN = "some-basin"
_places = itertools.count()


class SqliteStores:
    """Stores in a directory, one after the other."""

    def __init__(self, directory):
        self._directory = directory
        directory.mkdir()

    async def open(self):
        return await SqliteStore.open(self._directory)


class BucketStores:
    """Stores in a bucket in memory. Two of them may be open at once: then they take basins from each other."""

    prefix = ""

    def __init__(self, settings=None):
        import obstore.store

        from s2cli.server.store.bucket.database import Place

        self.bucket = obstore.store.MemoryStore()
        self.place = Place.of("memory:///", settings)

    async def open(self):
        from s2cli.server.store.bucket.bucket_store import BucketStore

        return BucketStore(self.objects, self.place, self.prefix)

    @property
    def objects(self):
        from s2cli.server.store.bucket.objects import Objects

        return Objects(self.bucket, self.prefix)

    @contextlib.asynccontextmanager
    async def database(self, basin=BASIN):
        """The database of the basin, taken from whoever has it."""
        from s2cli.server.store.bucket.database import Database

        entry, _ = await self.objects.get(f"basins/{basin}")
        opened = await Database.open(self.place, f"{self.prefix}data/{basin}/{json.loads(entry)['uid']}")
        try:
            yield opened
        finally:
            await opened.close()


class S3Stores(BucketStores):
    """The same below a prefix of its own in the bucket of an S3 server at `url`, which the environment names too."""

    def __init__(self, url, settings=None):
        from support.s3_server import BUCKET, connect

        from s2cli.server.store.bucket.database import Place

        self.prefix = f"engine-{os.getpid()}-{next(_places)}/"
        self.bucket = connect(url, retries=5)
        self.place = Place.of(f"s3://{BUCKET}/", settings)

    def names(self):
        """The objects, without the prefix, and their sizes."""
        import obstore

        pages = obstore.list(self.bucket, self.prefix)
        return {entry["path"].removeprefix(self.prefix): entry["size"] for page in pages for entry in page}


STORES = {"sqlite": SqliteStores, "bucket": lambda _directory: BucketStores()}


class Watched:
    """A store, and what it has said of appends."""

    def __init__(self, store):
        self.store = store
        self.resolved = []
        self.lost = []
        self._changed = asyncio.Event()
        store.on_written = self._on_written
        store.on_lost = lambda basin, error: self.lost.append((basin, error))
        store.on_deleting = lambda: None

    def _on_written(self, group, error):
        self.resolved += [(append, error) for append in group]
        self._changed.set()

    async def stream(self, name="stream", basin=BASIN, config=None):
        """The id of a new stream. Its basin is made if there is none."""
        await self.store.insert_basin(BasinRow(basin, {}, 1))
        row = StreamRow(basin, name, config or {}, 1)
        assert await self.store.insert_stream(row) is None
        return row.id

    async def id_of(self, name="stream", basin=BASIN):
        row = await self.store.get_stream(basin, name)
        return row.id

    def append(self, lane, first, count=1, size=10, expires_at_ms=0, **changes):
        data = random.Random(first).randbytes(size)
        append = Append(lane, Chunk(first, count, size, 1000 + first, data), expires_at_ms)
        for name, value in changes.items():
            setattr(append, name, value)
        self.store.append(append)
        return data

    async def wait(self, count):
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.resolved) < count:
                self._changed.clear()
                await self._changed.wait()

    @property
    def errors(self):
        return [error for _, error in self.resolved]


def with_store(stores, run):
    """What `run(watched)` returns, of a store that is opened for it and closed behind it."""

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            store = await stores.open()
            try:
                return await run(Watched(store))
            finally:
                await store.close()

    return asyncio.run(main())
