"""Holes in a basin's database: sequence numbers of a stream whose records have expired, although others before them
have not. A gap between chunks that is neither a hole nor trimmed is damage. Holes that touch are one."""

from __future__ import annotations

from s2cli.server.store.bucket import stream_table
from s2cli.server.store.bucket.changes import Changes, Readable
from s2cli.server.store.bucket.key_layout import HOLE, U64, numbered, numbers_of

HOLES_IN_A_ROW = 256


async def add(changes: Changes, stream_id: int, first_seq_num: int, end_seq_num: int) -> None:
    """Note that the records from `first_seq_num` on before `end_seq_num` have expired."""
    before = await _last(changes, stream_id, 0, first_seq_num)
    if before is not None and before[1] >= first_seq_num:
        first_seq_num, end_seq_num = before[0], max(before[1], end_seq_num)
    behind = await _last(changes, stream_id, first_seq_num, end_seq_num)
    if behind is not None:
        end_seq_num = max(behind[1], end_seq_num)
    first, end = numbered(HOLE, stream_id, first_seq_num), numbered(HOLE, stream_id, end_seq_num + 1)
    while rows := await changes.scan(first, end, HOLES_IN_A_ROW):
        for key, _ in rows:
            changes.delete(key)
    changes.put(first, U64.pack(end_seq_num))


async def _last(readable: Readable, stream_id: int, first_seq_num: int, last_seq_num: int) -> tuple[int, int] | None:
    """Where the last hole that begins between these begins and ends."""
    first, end = numbered(HOLE, stream_id, first_seq_num), numbered(HOLE, stream_id, last_seq_num + 1)
    found = await readable.scan(first, end, 1, is_descending=True)
    return (numbers_of(found[0][0])[1], U64.unpack(found[0][1])[0]) if found else None


async def unexplained(
    readable: Readable, stream_id: int, first_seq_num: int, end_seq_num: int
) -> tuple[int, int] | None:
    """The first part of a gap that has no known reason, as first sequence number and end; None if all of it has one. In
    a stream that is being deleted anything may be gone."""
    stored = await stream_table.by_id(readable, "", stream_id)
    if stored is None or stored.row.deleted_at_ms is not None:
        return None
    at = max(first_seq_num, stored.row.trim_point)
    before = await _last(readable, stream_id, 0, at)
    if before is not None:
        at = max(at, before[1])
    while at < end_seq_num:
        found = await readable.scan(numbered(HOLE, stream_id, at), numbered(HOLE, stream_id, end_seq_num), 1)
        following = numbers_of(found[0][0])[1] if found else end_seq_num
        if following > at:
            return at, following
        at = U64.unpack(found[0][1])[0]
    return None


async def remove(changes: Changes, stream_id: int) -> None:
    """Remove the holes of a stream that is removed."""
    while rows := await changes.scan(numbered(HOLE, stream_id), numbered(HOLE, stream_id + 1), HOLES_IN_A_ROW):
        for key, _ in rows:
            changes.delete(key)
