"""What expires, and streams that are deleted when empty (protocol sections 13.3 and 13.4), as functions over changes.

Chunks carry the time at which they expire. It grows along a stream as long as the retention stays the same: in such a
*run* of chunks those that have expired come first.
"""

from __future__ import annotations

from s2cli.server.store.bucket import chunk_table, hole_table, stream_table
from s2cli.server.store.bucket.changes import Changes, Readable
from s2cli.server.store.bucket.chunk_value import decode_chunk
from s2cli.server.store.bucket.key_layout import (
    CHUNK,
    LOOK,
    RUN,
    RUN_DUE,
    RUN_OF_STREAM,
    U64_MAX,
    beyond,
    numbered,
    numbers_of,
)
from s2cli.server.store.bucket.stream_table import Stored
from s2cli.server.store.interface import MAX_SEQ_NUM, StreamRow

# A stream that is not to be deleted yet is looked at again after this time at the earliest.
RECHECK_MS = 600_000
# So many live chunks are looked for, behind those that a trim or a sweep has yet to delete.
LIVE_ROWS = 64


async def any_due(database: Readable, now_ms: int) -> bool:
    """Whether something may have expired by then."""
    return bool(await database.scan(RUN_DUE, _due_end(now_ms), 1))


def _due_end(now_ms: int) -> bytes:
    return numbered(RUN_DUE, now_ms, U64_MAX, U64_MAX)


async def expire_slice(changes: Changes, basin: str, now_ms: int, minute_ms: int) -> bool:
    """Delete some chunks that have expired by `now_ms`; `minute_ms` is the time at which that counts. Returns True if
    there may be more."""
    found = await changes.scan(RUN_DUE, _due_end(now_ms), 1)
    if not found:
        return False
    due_key = found[0][0]
    _, stream_id, seq_num = numbers_of(due_key)
    changes.delete(due_key)
    run_key = numbered(RUN_OF_STREAM, stream_id, seq_num)
    run = await changes.get(run_key)
    if run is None:
        return True
    keep_ms = RUN.unpack(run)[0]
    following = await changes.scan(run_key + b"\0", numbered(RUN_OF_STREAM, stream_id, U64_MAX), 1)
    end_seq_num = numbers_of(following[0][0])[1] if following else MAX_SEQ_NUM
    rows = await changes.scan(
        numbered(CHUNK, stream_id, seq_num), numbered(CHUNK, stream_id, end_seq_num), chunk_table.SLICE_ROWS
    )
    # Of an emptied run at the end of its stream: what comes will stay for so long. Any other one is over.
    due_ms = None if following else now_ms + keep_ms
    taken = size_bytes = last_ms = 0
    hole: tuple[int, int] | None = None
    for number, (key, value) in enumerate(rows, 1):
        chunk, expires_at_ms, damage = decode_chunk(key, value)
        if damage is not None:
            continue  # it goes with the next one: when it expires nobody knows
        if expires_at_ms > now_ms or size_bytes >= chunk_table.SLICE_BYTES:
            due_ms = expires_at_ms
            break
        taken, size_bytes, last_ms = number, size_bytes + len(value), expires_at_ms
        hole = chunk.first_seq_num if hole is None else hole[0], chunk.end_seq_num
    else:
        if hole is None:
            taken = len(rows)
        if len(rows) == chunk_table.SLICE_ROWS:
            due_ms = now_ms
        elif taken < len(rows):
            due_ms = now_ms + keep_ms
    if hole is not None:
        await hole_table.add(changes, stream_id, *hole)
    await chunk_table.delete(changes, basin, stream_id, rows[:taken], last_ms - keep_ms, minute_ms)
    if due_ms is None:
        changes.delete(run_key)
    else:
        changes.put(run_key, RUN.pack(keep_ms, due_ms))
        changes.put(numbered(RUN_DUE, due_ms, stream_id, seq_num), b"")
    return True


async def next_due_ms(database: Readable) -> int | None:
    """When something is to be done in the basin that nobody asks for: chunks expire, or a stream may be empty; 0 where
    something was deleted and is still there. None for never."""
    if await chunk_table.any_trim(database, 0) or await stream_table.any_deleting(database):
        return 0
    found = [row for first in (RUN_DUE, LOOK) for row in await database.scan(first, beyond(first), 1)]
    return min([numbers_of(key)[0] for key, _ in found], default=None)


async def any_look(database: Readable, now_ms: int) -> bool:
    """Whether a stream is due to be looked at."""
    return bool(await database.scan(LOOK, numbered(LOOK, now_ms, U64_MAX), 1))


async def empty_streams(changes: Changes, basin: str, now_ms: int, limit: int) -> tuple[list[StreamRow], bool]:
    """The streams that have been empty for long enough to be deleted, among at most `limit` that are due to be looked
    at; and whether more may be due."""
    keys = await changes.scan(LOOK, numbered(LOOK, now_ms, U64_MAX), limit)
    found: list[StreamRow] = []
    for key, _ in keys:
        stored = await stream_table.by_id(changes, basin, numbers_of(key)[1])
        if stored is None:
            changes.delete(key)
        elif await is_empty(changes, stored, now_ms):
            found.append(stored.row)
    return found, len(keys) == limit


async def is_empty(changes: Changes, stored: Stored, now_ms: int) -> bool:
    """Whether the stream has been empty for long enough to be deleted. If not, the next look is put down."""
    row = stored.row
    if row.deleted_at_ms is not None or stored.look_at_ms is None or stored.look_at_ms > now_ms:
        return False
    written_ms = stored.written_ms
    tail = await chunk_table.tail(changes, stored)
    if tail.expires_at_ms and row.keep_ms:
        written_ms = max(written_ms, tail.expires_at_ms - row.keep_ms)
    old_enough_ms = written_ms + stream_table.min_age_ms(row.config)
    live = await _last_expiry(changes, row, now_ms)
    if live is None and (not written_ms or old_enough_ms <= now_ms):
        return True
    look_at = None  # a record that never expires: only a trim can empty the stream
    if live != 0:
        look_at = min(max(now_ms + RECHECK_MS, old_enough_ms, live or 0), U64_MAX)
    stream_table.set_look(changes, stored, look_at)
    return False


async def _last_expiry(changes: Changes, row: StreamRow, now_ms: int) -> int | None:
    """When the last live chunk expires, 0 for never; None if there is none."""
    first = numbered(CHUNK, row.id, row.trim_point)
    end = numbered(CHUNK, row.id, MAX_SEQ_NUM)
    while rows := await changes.scan(first, end, LIVE_ROWS, is_descending=True):
        for key, value in rows:
            expires_at_ms = decode_chunk(key, value).expires_at_ms
            if not expires_at_ms or expires_at_ms > now_ms:
                return expires_at_ms
            end = key
    return None
