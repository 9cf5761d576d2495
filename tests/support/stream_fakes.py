"""Streams on a store that is durable when a test says so, and appends to them."""

import asyncio

from support.s2s import append_input

from s2cli.server.api.append_body import parse_proto
from s2cli.server.core.cleanup import Cleanup
from s2cli.server.core.meters import Meters
from s2cli.server.core.registry import StreamRegistry
from s2cli.server.core.resources import Resources
from s2cli.server.store.interface import StreamRow, Tail

NOW_MS = 1_000_000
U64 = (1 << 64) - 1


MAX_PENDING_BYTES = 1024 * 1024


class FakeStore:
    """A disk that becomes durable when it is told to."""

    max_pending_bytes = MAX_PENDING_BYTES

    def __init__(self):
        self.rows = {}
        self.queued = []
        self.stored = []
        self.on_load = None
        self.stall = self.confirm = None

    async def get_stream(self, basin, name):
        await asyncio.sleep(0)
        return self.rows.get((basin, name))

    async def get_basin(self, name):
        return None

    async def tail(self, stream_id):
        await asyncio.sleep(0)
        if self.on_load is not None:
            self.on_load()
        chunks = [append.chunk for append in self.stored if append.lane.stream_id == stream_id]
        return Tail(chunks[-1].end_seq_num, chunks[-1].last_timestamp) if chunks else Tail(0, 0)

    def append(self, append):
        self.queued.append(append)

    def write(self, count=None, error=None):
        group = self.queued[:count]
        del self.queued[: len(group)]
        if error is None:
            self.stored += group
        self.on_written(group, error)


class FakeServer:
    """The registry and the resources on a FakeStore, with a clock that the test sets."""

    def __init__(self):
        self.store = FakeStore()
        self.now_ms = NOW_MS
        self.meters = Meters(self.store, lambda: self.now_ms)
        self.streams = StreamRegistry(self.store, lambda: self.now_ms, self.meters)
        changing = asyncio.Lock()
        cleanup = Cleanup(self.store, lambda: NOW_MS, self.streams, changing)
        self.resources = Resources(self.store, lambda: self.now_ms, self.streams, cleanup, changing)

    def add(self, name="stream", mode="client-prefer", uncapped=False, retention=None):
        config = {
            "storage_class": "express",
            "timestamping": {"mode": mode, "uncapped": uncapped},
            "retention_policy": {"infinite": {}} if retention is None else {"age": retention},
            "delete_on_empty": {"min_age_secs": 0},
        }
        row = StreamRow("basin", name, config, 0, id=len(self.store.rows) + 1)
        self.store.rows["basin", name] = row
        return row


class FakeOwner:
    """Whoever admitted appends; `resolved` is what it was told of them."""

    def __init__(self):
        self.resolved = []
        self.flushed = 0

    def on_written(self, admitted, error):
        self.resolved.append((admitted, error))
        return True

    def flush(self):
        self.flushed += 1


def with_stream(run, **config):
    """Runs `run(server, stream)` with a stream of that configuration."""

    async def main():
        server = FakeServer()
        server.add(**config)
        return await run(server, await server.streams.open("basin", "stream", None))

    return asyncio.run(main())


def batch(*records, **conditions):
    return parse_proto(append_input(*records, **conditions))


async def one_waiting_for_room(stream):
    """Fills the stream, and gives the task of one that waits until a bulk append has room."""
    while stream.has_room:
        stream.admit(batch(bytes(300_000)), FakeOwner())
    waiting = asyncio.ensure_future(stream.room(300_000))
    await asyncio.sleep(0)
    assert not waiting.done()
    return waiting


def fence(token):
    return (None, [(b"", b"fence")], token)


def trim(point):
    return (None, [(b"", b"trim")], point.to_bytes(8, "big"))
