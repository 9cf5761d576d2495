"""Chunks in a basin's database: written with what becomes durable together with them, and deleted in slices."""

from __future__ import annotations

from collections.abc import Sequence

from s2cli.server.store.bucket import hole_table, metric_table, reply_table, run_table, stream_table
from s2cli.server.store.bucket.changes import Changes, Readable
from s2cli.server.store.bucket.chunk_value import chunk_range, decode_chunk, encode_chunk
from s2cli.server.store.bucket.key_layout import TRIM, beyond, numbered, numbers_of
from s2cli.server.store.bucket.stream_table import Stored
from s2cli.server.store.interface import MAX_SEQ_NUM, Append, Tail

# A slice is so much of a long deletion as one turn of the writer takes.
SLICE_BYTES = 4 * 1024 * 1024
SLICE_ROWS = 256

_NO_REPAIR = " in the bucket: copy what is left to another stream, with `s2 read --skip-damaged`"


async def put(changes: Changes, basin: str, stream_id: int, append: Append) -> None:
    """Write the chunk, and with it what the append changes in the stream's row, and the reply."""
    chunk = append.chunk
    changes.put(*encode_chunk(stream_id, append))
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


async def tail(readable: Readable, stored: Stored) -> Tail:
    """Where the stream ends."""
    row = stored.row
    next_seq_num, last_timestamp, expires_at_ms, end_seq_num = row.next_seq_num, row.last_timestamp, 0, 0
    doubt = None
    if found := await readable.scan(*chunk_range(row.id, 0, MAX_SEQ_NUM), 1, is_descending=True):
        last = decode_chunk(*found[0])
        end_seq_num, expires_at_ms = last.chunk.end_seq_num, last.expires_at_ms
        if last.damage is not None:
            doubt = f"the last records of the stream, up to sequence number {end_seq_num - 1}, are damaged{_NO_REPAIR}"
        if end_seq_num > next_seq_num:
            next_seq_num, last_timestamp = end_seq_num, last.chunk.last_timestamp
    if end_seq_num < next_seq_num:  # what was behind it has gone
        gap = await hole_table.unexplained(readable, row.id, end_seq_num, next_seq_num)
        if gap is not None:
            doubt = f"the last records of the stream, from sequence number {gap[0]} on, are missing{_NO_REPAIR}"
    return Tail(next_seq_num, last_timestamp, doubt, expires_at_ms)


async def delete_slice(changes: Changes, basin: str, stream_id: int, end_seq_num: int, now_ms: int) -> bool:
    """Delete some chunks that end at or before `end_seq_num`, the oldest first. Returns True if there are more."""
    rows = await changes.scan(*chunk_range(stream_id, 0, end_seq_num), SLICE_ROWS)
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
        last = decode_chunk(key, value).chunk
        metered_bytes += last.metered_bytes
    stored = await stream_table.by_id(changes, basin, stream_id)
    if stored is None:
        return
    if not await changes.scan(*chunk_range(stream_id, last.end_seq_num, MAX_SEQ_NUM), 1):
        stored.row.next_seq_num = max(stored.row.next_seq_num, last.end_seq_num)
        stored.row.last_timestamp = max(stored.row.last_timestamp, last.last_timestamp)
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
