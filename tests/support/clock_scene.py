"""Streams of a server without its sockets, by a clock that the tests turn."""

import asyncio

from support.waiting import TIMEOUT_S, until_async

from s2cli.server.api.append_body import parse_proto
from s2cli.server.api.server import Server
from s2cli.server.store.interface import BasinRow, StreamRow
from s2cli.wire.configs import resolve_stream_config
from s2cli.wire.messages import decode_read
from s2cli.wire.protobuf import RECORD_OVERHEAD_BYTES
from s2cli.wire.s2_pb2 import AppendInput

START_MS = 4_000_000_000_000  # far ahead: a store that is opened reads the real clock first
MIB = 1024 * 1024


class Owner:
    def on_written(self, admitted, error):
        return False

    def flush(self): ...


class Scene:
    """A server without its sockets, and its clock."""

    def __init__(self, store, now_ms):
        self.now_ms = now_ms
        self.store = store
        self.server = Server(store)
        self.server.clock_ms = lambda: self.now_ms

    async def create(self, name="stream", **config):
        await self.store.insert_basin(BasinRow("some-basin", {}, self.now_ms))
        row = StreamRow("some-basin", name, resolve_stream_config(config, {}), self.now_ms)
        assert await self.store.insert_stream(row) is None
        return row

    async def configure(self, row, **config):
        row.config = resolve_stream_config(config, {})
        await self.store.update_stream(row)
        self.server.streams.config_changed(row)

    async def append(self, *records, name="stream"):
        message = AppendInput()
        for record in records:
            body, timestamp = record if isinstance(record, tuple) else (record, None)
            message.records.add(body=body, timestamp=timestamp)
        stream = await self.server.streams.open("some-basin", name, None)
        stream.admit(parse_proto(message.SerializeToString()), Owner())
        await stream.until_durable(stream.next_seq_num)
        return stream

    async def trim(self, seq_num, name="stream"):
        message = AppendInput()
        message.records.add(body=seq_num.to_bytes(8, "big")).headers.add(value=b"trim")
        stream = await self.server.streams.open("some-basin", name, None)
        stream.admit(parse_proto(message.SerializeToString()), Owner())
        await stream.until_durable(stream.next_seq_num)

    async def bodies(self, name="stream"):
        stream = await self.server.streams.open("some-basin", name, None)
        chunks = await self.store.read(stream.id, stream.trim_point, stream.tail_seq_num, 64 * MIB)
        return [record.body for chunk in chunks for record in decode_read(chunk.data).records]

    async def until_stored(self, *bodies):
        """Nothing is stored but records with these bodies, whether they can be read or not."""

        async def holds():
            size_bytes = await self.store.stored_bytes("some-basin", "")
            return size_bytes == sum(RECORD_OVERHEAD_BYTES + len(body) for body in bodies)

        await until_async(holds)

    async def exists(self, name="stream"):
        row = await self.store.get_stream("some-basin", name)
        return row is not None and row.deleted_at_ms is None

    async def later(self, seconds):
        """Time passes, and a sweep comes by."""
        self.now_ms += seconds * 1000
        await self.server.cleanup.sweep()


def play(stores, run, now_ms=START_MS):
    """Runs `run(scene)` with a store that is opened for it, and returns the time at its end."""

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            store = await stores.open()
            try:
                scene = Scene(store, now_ms)
                await run(scene)
                return scene.now_ms
            finally:
                await store.close()

    return asyncio.run(main())
