"""Stores in a directory, with what they have resolved."""

import asyncio
import random

from support.waiting import TIMEOUT_S

from s2cli.server.store.interface import Append, Chunk, StreamRow
from s2cli.server.store.sqlite.engine import SqliteStore


class Engine:
    """A store, and what it has resolved."""

    def __init__(self, store):
        self.store = store
        self.resolved = []
        self.changed = asyncio.Event()
        store.on_written = self._on_written

    def _on_written(self, group, error):
        self.resolved += [(append, error) for append in group]
        self.changed.set()

    async def stream(self, name="stream"):
        row = StreamRow("some-basin", name, {}, 1)
        assert await self.store.insert_stream(row) is None
        return row.id

    def append(self, lane, first, count=1, size=10, **changes):
        data = random.Random(first).randbytes(size)
        self.store.append(Append(lane, Chunk(first, count, size, 1000 + first, data), 0, **changes))
        return data

    async def wait(self, count):
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.resolved) < count:
                self.changed.clear()
                await self.changed.wait()

    async def execute(self, statement):
        return await self.store.change(lambda connection: connection.execute(statement).fetchall())


async def uid_of(store, stream_id):
    """The uid of a stream, without which it is not removed."""
    rows = await store.ask(
        lambda connection: connection.execute("SELECT uid FROM stream WHERE id=?", (stream_id,)).fetchall()
    )
    return rows[0][0]


def with_engine(tmp_path, run):
    """Runs `run(engine)` with the store in that directory, which is closed behind it."""

    async def main():
        store = await SqliteStore.open(tmp_path)
        try:
            return await run(Engine(store))
        finally:
            await store.close()

    return asyncio.run(main())
