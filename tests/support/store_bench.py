"""A store on which writes are tried, beside a stream that must stay healthy."""

import asyncio

from support.waiting import TIMEOUT_S

from s2cli.server.store.interface import Append, Chunk, Lane, StreamRow
from s2cli.server.store.sqlite.engine import SqliteStore

BIG = 1 << 63  # an integer that no column takes


class Bench:
    """A store, a healthy stream beside whatever is tried, and what became of appends."""

    def __init__(self, store):
        self.store = store
        self.outcome = {}
        self._changed = asyncio.Event()
        self._healthy = None
        self._next = 0
        store.on_written = self._on_written

    def _on_written(self, group, error):
        for append in group:
            assert append not in self.outcome, "resolved twice"
            self.outcome[append] = error
        self._changed.set()

    async def lane(self, name):
        row = StreamRow("some-basin", name, {}, 1)
        assert await self.store.insert_stream(row) is None
        return Lane(row.id)

    def append(self, lane, first, **members):
        """A good append, but for these members of it or of its chunk."""
        append = Append(lane, Chunk(first, 1, 10, 1000, b"data"), 0)
        for name, value in members.items():
            setattr(append.chunk if hasattr(append.chunk, name) else append, name, value)
        self.store.append(append)
        return append

    async def resolved(self, *appends):
        async with asyncio.timeout(TIMEOUT_S):
            while not all(append in self.outcome for append in appends):
                self._changed.clear()
                await self._changed.wait()
        return [self.outcome[append] for append in appends]

    async def check_alive(self, name="healthy"):
        """Another stream's append is written, and so is a change."""
        if self._healthy is None:
            self._healthy = await self.lane(name)
        assert await self.resolved(self.append(self._healthy, self._next)) == [None]
        self._next += 1
        assert self.store.failure is None


def with_bench(directory, run):
    async def main():
        store = await SqliteStore.open(directory)
        try:
            return await run(Bench(store))
        finally:
            async with asyncio.timeout(TIMEOUT_S):
                await store.close()

    return asyncio.run(main())
