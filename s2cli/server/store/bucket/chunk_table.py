"""Chunks in a basin's database: written with what becomes durable together with them, found, and deleted in slices."""

from __future__ import annotations

from collections.abc import Sequence

from s2cli.server.store.bucket import metric_table, reply_table, run_table, stream_table
from s2cli.server.store.bucket.changes import Changes, Readable
from s2cli.server.store.bucket.database import Database
from s2cli.server.store.bucket.key_layout import CHUNK, CHUNK_HEAD, TRIM, beyond, numbered, numbers_of
from s2cli.server.store.bucket.stream_table import Stored
from s2cli.server.store.interface import MAX_SEQ_NUM, Append, Chunk, Tail

# A slice is so much of a long deletion as one turn of the writer takes.
SLICE_BYTES = 4 * 1024 * 1024
SLICE_ROWS = 256
# Chunks that are fetched at once, if they are small.
TOGETHER = 64


async def put(changes: Changes, basin: str, stream_id: int, append: Append) -> None:
    """Write the chunk, and with it what the append changes in the stream's row, and the reply."""
    chunk = append.chunk
    head = CHUNK_HEAD.pack(chunk.count, chunk.metered_bytes, chunk.last_timestamp, append.expires_at_ms, chunk.kind)
    changes.put(numbered(CHUNK, stream_id, chunk.end_seq_num - 1), head + chunk.data)
    if append.reply is not None:
        await reply_table.save(changes, append.reply)
    if append.keep_ms is None and append.fencing_token is None and append.trim_point is None:
        return
    stored = await stream_table.by_id(changes, basin, stream_id)
    if stored is None:
        return  # the stream is gone, and what is written to it goes behind it
    if append.keep_ms is not None:
        run_table.begin(changes, stream_id, chunk.end_seq_num - 1, append.keep_ms, append.expires_at_ms)
        stored.row.keep_ms = append.keep_ms
    if append.fencing_token is not None:
        stored.row.fencing_token = append.fencing_token
    if append.trim_point is not None:
        stored.row.trim_point = append.trim_point
        stored.written_ms = append.arrived_at_ms
        changes.put(numbered(TRIM, stream_id), b"")
        if append.look_at_ms is not None:
            stream_table.set_look(changes, stored, append.look_at_ms)
    stream_table.put(changes, stored)


async def tail(changes: Changes, stored: Stored) -> Tail:
    """Where the stream ends."""
    row = stored.row
    last = await _last(changes, row.id)
    if last is None:
        return Tail(row.next_seq_num, row.last_timestamp)
    seq_num, (_, _, timestamp, expires_at_ms, _) = last
    if seq_num < row.next_seq_num:  # what was behind it has gone
        return Tail(row.next_seq_num, row.last_timestamp, None, expires_at_ms)
    return Tail(seq_num + 1, timestamp, None, expires_at_ms)


async def _last(changes: Changes, stream_id: int) -> tuple[int, tuple[int, ...]] | None:
    found = await changes.scan(*_range(stream_id, 0, MAX_SEQ_NUM), 1, is_descending=True)
    if not found:
        return None
    key, value = found[0]
    return numbers_of(key)[1], CHUNK_HEAD.unpack_from(value)


def _range(stream_id: int, first_seq_num: int, end_seq_num: int) -> tuple[bytes, bytes]:
    """The keys of the chunks whose last record is from `first_seq_num` on before `end_seq_num`."""
    return numbered(CHUNK, stream_id, first_seq_num), numbered(CHUNK, stream_id, end_seq_num)


async def read(
    database: Database, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int, now_ms: int
) -> list[Chunk]:
    """What `Store.read` returns."""
    chunks: list[Chunk] = []
    size_bytes = 0

    def enough() -> int:
        """As many as will probably have what is left of `max_bytes`."""
        if not chunks:
            return 1
        mean_bytes = max(1, size_bytes // len(chunks))
        return max(1, min(TOGETHER, (max_bytes - size_bytes) // mean_bytes))

    rows = await database.rows(*_range(stream_id, first_seq_num, end_seq_num))
    while page := await rows.take(enough()):
        for key, value in page:
            chunk, expires_at_ms = _decoded(key, value)
            if expires_at_ms and expires_at_ms <= now_ms:
                continue
            chunks.append(chunk)
            size_bytes += len(chunk.data)
            if size_bytes >= max_bytes:
                return chunks
    return chunks


def _decoded(key: bytes, value: bytes) -> tuple[Chunk, int]:
    count, metered_bytes, timestamp, expires_at_ms, kind = CHUNK_HEAD.unpack_from(value)
    first_seq_num = numbers_of(key)[1] + 1 - count
    return Chunk(first_seq_num, count, metered_bytes, timestamp, value[CHUNK_HEAD.size :], kind), expires_at_ms


async def find_timestamp(
    database: Database, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int
) -> int | None:
    """What `Store.find_timestamp` returns. Bisection over keys: timestamps never fall within a stream."""
    low, high = first_seq_num, end_seq_num

    async def look(at: int) -> Chunk | None:
        """The chunk that is there, or the next one."""
        found = await (await database.rows(*_range(stream_id, at, end_seq_num))).take(1)
        return _decoded(*found[0])[0] if found else None

    while low < high:
        middle = (low + high) // 2
        chunk = await look(middle)
        if chunk is not None and chunk.last_timestamp < timestamp:
            low = chunk.end_seq_num
        else:
            high = middle
    chunk = await look(low)
    return None if chunk is None else chunk.first_seq_num


async def delete_slice(changes: Changes, basin: str, stream_id: int, end_seq_num: int, now_ms: int) -> bool:
    """Delete some chunks that end at or before `end_seq_num`, the oldest first. Returns True if there are more."""
    rows = await changes.scan(*_range(stream_id, 0, end_seq_num), SLICE_ROWS)
    taken, size_bytes = 0, 0
    for _, value in rows:
        taken += 1
        size_bytes += len(value)
        if size_bytes >= SLICE_BYTES:
            break
    await delete(changes, basin, stream_id, rows[:taken], 0, now_ms)
    return taken < len(rows) or len(rows) == SLICE_ROWS


async def delete(
    changes: Changes,
    basin: str,
    stream_id: int,
    rows: Sequence[tuple[bytes, bytes]],
    arrived_at_ms: int,
    now_ms: int,
) -> None:
    """Delete these chunks of a stream. With the last chunk of all, the place where the stream continues is written into
    its row; `arrived_at_ms` is when that came, 0 where it does not matter."""
    if not rows:
        return
    metered_bytes = 0
    for key, value in rows:
        changes.delete(key)
        metered_bytes += CHUNK_HEAD.unpack_from(value)[1]
    stored = await stream_table.by_id(changes, basin, stream_id)
    if stored is None:
        return
    key, value = rows[-1]
    seq_num = numbers_of(key)[1]
    if not await changes.scan(*_range(stream_id, seq_num + 1, MAX_SEQ_NUM), 1):
        stored.row.next_seq_num = max(stored.row.next_seq_num, seq_num + 1)
        stored.row.last_timestamp = CHUNK_HEAD.unpack_from(value)[2]
        stored.written_ms = max(stored.written_ms, arrived_at_ms)
        stream_table.put(changes, stored)
    await metric_table.deleted(changes, stored.row.name, metered_bytes, now_ms)


async def any_trim(database: Readable, _now_ms: int) -> bool:
    """Whether a trim may have left chunks."""
    return bool(await database.scan(TRIM, beyond(TRIM), 1))


async def trim_slice(changes: Changes, basin: str, now_ms: int) -> bool:
    """Delete some chunks that a trim has left. Returns True if there may be more."""
    found = await changes.scan(TRIM, beyond(TRIM), 1)
    if not found:
        return False
    (stream_id,) = numbers_of(found[0][0])
    stored = await stream_table.by_id(changes, basin, stream_id)
    if stored is None or not await delete_slice(changes, basin, stream_id, stored.row.trim_point, now_ms):
        changes.delete(found[0][0])
    return True
