"""What a check examines in a basin's database: that rows and what leads to them agree, and that chunks are whole and
join."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from s2cli.server.store.bucket import chunk_reads, chunk_table, stream_table
from s2cli.server.store.bucket.chunk_value import DamageError
from s2cli.server.store.bucket.database import Database, UnreadableError
from s2cli.server.store.bucket.key_layout import (
    CHUNK,
    HOLE,
    NEXT_ID_KEY,
    RUN,
    RUN_DUE,
    RUN_OF_STREAM,
    STREAM,
    STREAM_BY_ID,
    U64,
    U64_MAX,
    beyond,
    numbered,
    numbers_of,
)
from s2cli.server.store.bucket.stream_table import Stored
from s2cli.server.store.findings import Findings
from s2cli.server.store.interface import Chunk

ROWS_IN_A_ROW = 256
# So much is read at once.
PAGE_BYTES = 4 * 1024 * 1024


class BasinCheck:
    """Adds what it finds in `database` to `findings`. `progress` is called after each page."""

    def __init__(self, database: Database, basin: str, findings: Findings, progress: Callable[[], None]) -> None:
        self._database = database
        self._basin = basin
        self._findings = findings
        self._progress = progress
        self._streams: dict[int, Stored] = {}

    async def run(self) -> None:
        """Raises ApiError where the database cannot be read at all."""
        await self._each(STREAM, beyond(STREAM), self._check_stream)
        await self._each(STREAM_BY_ID, beyond(STREAM_BY_ID), self._check_id)
        await self._check_next_id()
        await self._each(RUN_OF_STREAM, beyond(RUN_OF_STREAM), self._check_run)
        await self._each(HOLE, beyond(HOLE), self._check_hole)
        for stored in self._streams.values():
            await self._check_records(stored)
        await self._check_orphans()

    async def _each(self, first: bytes, end: bytes, check: Callable[[bytes, bytes], Awaitable[None]]) -> None:
        while rows := await self._database.scan(first, end, ROWS_IN_A_ROW):
            for key, value in rows:
                await check(key, value)
            first = rows[-1][0] + b"\0"
            self._progress()

    def _add(self, place: str, problem: str, first: int | None = None, last: int | None = None) -> None:
        self._findings.add(place, problem, first, last)

    def _uri(self, name: str) -> str:
        return f"s2://{self._basin}/{name}"

    async def _check_stream(self, key: bytes, value: bytes) -> None:
        self._findings.streams += 1
        name = key[1:].decode("utf-8", "replace")
        try:
            stored = stream_table.decode_stream(self._basin, name, value)
            if not isinstance(stored.row.config, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            self._add(self._uri(name), "its row is damaged")
            return
        self._streams[stored.row.id] = stored
        if await self._database.get(numbered(STREAM_BY_ID, stored.row.id)) != key[1:]:
            self._add(self._uri(name), "its id does not lead to it")

    async def _check_id(self, key: bytes, value: bytes) -> None:
        (stream_id,) = numbers_of(key)
        if await self._database.get(STREAM + value) is None:
            self._add(f"stream {stream_id} of {self._basin}", "its row is missing")

    async def _check_next_id(self) -> None:
        next_id = await self._database.get(NEXT_ID_KEY)
        if self._streams and (next_id is None or U64.unpack(next_id)[0] <= max(self._streams)):
            self._add(f"basin {self._basin}", "the id of the next stream is one that a stream has")

    async def _check_run(self, key: bytes, value: bytes) -> None:
        stream_id, seq_num = numbers_of(key)
        place = f"retention of stream {stream_id} of {self._basin}"
        if stream_id not in self._streams:
            self._add(place, "there is no such stream")
        keep_ms, due_ms = RUN.unpack(value)
        if keep_ms and await self._database.get(numbered(RUN_DUE, due_ms, stream_id, seq_num)) is None:
            self._add(place, "it does not say when its records expire", seq_num)

    async def _check_hole(self, key: bytes, _value: bytes) -> None:
        stream_id, first = numbers_of(key)
        if stream_id not in self._streams:
            self._add(f"expired records of stream {stream_id} of {self._basin}", "there is no such stream", first)

    async def _check_records(self, stored: Stored) -> None:
        """All chunks of the stream, and whether its row agrees with where they end. Those of one that is being deleted
        may be gone."""
        row = stored.row
        if row.deleted_at_ms is not None:
            return
        place = self._uri(row.name)
        try:
            end_seq_num = (await chunk_table.tail(self._database, stored)).next_seq_num
        except UnreadableError as error:
            self._add(place, f"where it ends cannot be read: {error.message}")
            return
        if row.trim_point > end_seq_num:
            self._add(place, f"its trim point, {row.trim_point}, is beyond its tail, {end_seq_num}")
        due = timestamp = 0
        while due < end_seq_num:
            try:
                # As if none had expired: what is there must be whole.
                page = await chunk_reads.read(self._database, row.id, due, end_seq_num, PAGE_BYTES, 0)
            except DamageError as error:
                self._add(place, error.reason, error.first_seq_num, error.last_seq_num)
                due = error.last_seq_num + 1
                continue
            if not page:
                break
            for chunk in page:
                self._check_chunk(place, chunk, due, timestamp)
                due, timestamp = chunk.end_seq_num, chunk.last_timestamp
            self._progress()

    def _check_chunk(self, place: str, chunk: Chunk, due: int, timestamp: int) -> None:
        findings = self._findings
        findings.batches += 1
        findings.records += chunk.count
        findings.checked_bytes += len(chunk.data)
        if chunk.count < 1 or chunk.first_seq_num < 0:
            self._add(place, f"a batch says that it has {chunk.count} records", None, chunk.end_seq_num - 1)
        elif chunk.first_seq_num < due:
            self._add(place, "two batches have the same records", chunk.first_seq_num, due - 1)
        if chunk.last_timestamp < timestamp:
            self._add(place, "a timestamp is below the one before it", chunk.first_seq_num, chunk.end_seq_num - 1)

    async def _check_orphans(self) -> None:
        """Chunks of streams that are not there."""
        stream_id = 0
        while found := await self._database.scan(numbered(CHUNK, stream_id), numbered(CHUNK, U64_MAX), 1):
            stream_id = numbers_of(found[0][0])[0]
            if stream_id not in self._streams:
                self._add(f"stream {stream_id} of {self._basin}", "there are records of a stream that is missing")
            stream_id += 1
