"""Rows of streams in a basin's database, as functions over changes (see key_layout.py).

Ids here are those in the database. Outside they are told together with the opening of the database (see open_basin.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from s2cli.errors import ApiError
from s2cli.server.store.bucket.changes import Changes, Readable
from s2cli.server.store.bucket.key_layout import (
    DELETING,
    LOOK,
    NEXT_ID_KEY,
    STREAM,
    STREAM_BY_ID,
    U64,
    beyond,
    numbered,
    numbers_of,
)
from s2cli.server.store.interface import StreamRow

UID_BYTES = 16
# Half of what an id outside has is for the opening.
MAX_ID = (1 << 32) - 1


class Stored:
    """A stream's row as it is stored: what `StreamRow` has, when something was last written (`written_ms`), and when to
    see whether the stream is empty (`look_at_ms`; None: never)."""

    __slots__ = ("look_at_ms", "row", "written_ms")

    def __init__(self, row: StreamRow, written_ms: int = 0, look_at_ms: int | None = None) -> None:
        self.row = row
        self.written_ms = written_ms
        self.look_at_ms = look_at_ms


async def get(readable: Readable, basin: str, name: str) -> Stored | None:
    value = await readable.get(STREAM + name.encode())
    return None if value is None else decode_stream(basin, name, value)


async def by_id(readable: Readable, basin: str, stream_id: int, uid: bytes | None = None) -> Stored | None:
    """The stream with this id, and with this uid if one is given."""
    name = await readable.get(numbered(STREAM_BY_ID, stream_id))
    found = None if name is None else await get(readable, basin, name.decode())
    return None if found is None or (uid is not None and found.row.uid != uid) else found


async def listed(
    changes: Changes, basin: str, prefix: str, start_after: str, limit: int
) -> tuple[list[StreamRow], bool]:
    first, end = names_within(STREAM, prefix, start_after)
    rows = await changes.scan(first, end, limit + 1)
    return [decode_stream(basin, key[1:].decode(), value).row for key, value in rows[:limit]], len(rows) > limit


def names_within(letter: bytes, prefix: str, start_after: str) -> tuple[bytes, bytes]:
    """The keys of the names with that prefix behind `start_after`: the first that may be one, and the first beyond."""
    prefixed = letter + prefix.encode()
    # Nothing sorts between a name and the same with a NUL behind it.
    return max(prefixed, letter + start_after.encode() + b"\0"), beyond(prefixed)


async def insert(changes: Changes, row: StreamRow) -> StreamRow | None:
    """None: inserted, with its id and uid. Else the stream that has the name."""
    present = await get(changes, row.basin, row.name)
    if present is not None:
        return present.row
    next_id = await changes.get(NEXT_ID_KEY)
    stream_id = 1 if next_id is None else U64.unpack(next_id)[0]
    if stream_id > MAX_ID:
        raise ApiError("quota_exhausted", f"a basin cannot have had more than {MAX_ID} streams")
    row.id, row.uid = stream_id, os.urandom(UID_BYTES)
    changes.put(NEXT_ID_KEY, U64.pack(stream_id + 1))
    changes.put(numbered(STREAM_BY_ID, stream_id), row.name.encode())
    stored = Stored(row)
    put(changes, stored)
    set_look(changes, stored, first_look_ms(row.config, row.created_at_ms))
    return None


async def update(changes: Changes, row: StreamRow, now_ms: int) -> None:
    """Write `config` and `deleted_at_ms` of the stream, if it is still there."""
    stored = await by_id(changes, row.basin, row.id, row.uid)
    if stored is None:
        return
    if min_age_ms(stored.row.config) != min_age_ms(row.config):
        set_look(changes, stored, first_look_ms(row.config, now_ms, before=stored.row.config))
    stored.row.config = row.config
    if row.deleted_at_ms is not None:
        mark(changes, stored, row.deleted_at_ms)
    put(changes, stored)


def mark(changes: Changes, stored: Stored, now_ms: int) -> None:
    """Mark the stream as deleted, unless it is."""
    if stored.row.deleted_at_ms is None:
        stored.row.deleted_at_ms = now_ms
        changes.put(numbered(DELETING, now_ms, stored.row.id), b"")
        set_look(changes, stored, None)


async def mark_some(changes: Changes, basin: str, now_ms: int, limit: int) -> list[StreamRow]:
    """Mark some streams as deleted that were not; none where all were."""
    end = beyond(STREAM)
    first = STREAM
    marked: list[StreamRow] = []
    while len(marked) < limit and (rows := await changes.scan(first, end, limit)):
        for key, value in rows:
            stored = decode_stream(basin, key[1:].decode(), value)
            if stored.row.deleted_at_ms is None and len(marked) < limit:
                mark(changes, stored, now_ms)
                marked.append(stored.row)
        first = rows[-1][0] + b"\0"
    return marked


async def any_deleting(database: Readable) -> bool:
    """Whether streams are marked as deleted."""
    return bool(await database.scan(DELETING, beyond(DELETING), 1))


async def deleting(changes: Changes, basin: str, limit: int) -> list[StreamRow]:
    """Streams that are marked as deleted, those marked first."""
    keys = await changes.scan(DELETING, beyond(DELETING), limit)
    found = [await by_id(changes, basin, numbers_of(key)[1]) for key, _ in keys]
    return [stored.row for stored in found if stored is not None]


def remove(changes: Changes, stored: Stored) -> None:
    """Remove the row, and what leads to it."""
    row = stored.row
    if row.deleted_at_ms is not None:
        changes.delete(numbered(DELETING, row.deleted_at_ms, row.id))
    set_look(changes, stored, None)
    changes.delete(numbered(STREAM_BY_ID, row.id))
    changes.delete(STREAM + row.name.encode())


def set_look(changes: Changes, stored: Stored, look_at_ms: int | None) -> None:
    """Write down when it is to be seen whether the stream is empty."""
    if stored.look_at_ms is not None:
        changes.delete(numbered(LOOK, stored.look_at_ms, stored.row.id))
    stored.look_at_ms = look_at_ms
    if look_at_ms is not None:
        changes.put(numbered(LOOK, look_at_ms, stored.row.id), b"")
    put(changes, stored)


def put(changes: Changes, stored: Stored) -> None:
    row = stored.row
    members = {
        "id": row.id,
        "uid": None if row.uid is None else row.uid.hex(),
        "config": row.config,
        "cipher": row.cipher,
        "created_at_ms": row.created_at_ms,
        "deleted_at_ms": row.deleted_at_ms,
        "request_key": None if row.request_key is None else row.request_key.hex(),
        "trim_point": row.trim_point,
        "fencing_token": row.fencing_token,
        "keep_ms": row.keep_ms,
        "next_seq_num": row.next_seq_num,
        "last_timestamp": row.last_timestamp,
        "written_ms": stored.written_ms,
        "look_at_ms": stored.look_at_ms,
    }
    changes.put(STREAM + row.name.encode(), json.dumps(members, separators=(",", ":")).encode())


def decode_stream(basin: str, name: str, value: bytes) -> Stored:
    """The row under the stream's name."""
    members: dict[str, Any] = json.loads(value)
    written_ms, look_at_ms = members.pop("written_ms"), members.pop("look_at_ms")
    for member in "uid", "request_key":
        if members[member] is not None:
            members[member] = bytes.fromhex(members[member])
    return Stored(StreamRow(basin, name, **members), written_ms, look_at_ms)


def min_age_ms(config: Mapping[str, Any]) -> int:
    age_s: int = config.get("delete_on_empty", {}).get("min_age_secs", 0)
    return age_s * 1000


def first_look_ms(config: Mapping[str, Any], now_ms: int, *, before: Mapping[str, Any] | None = None) -> int | None:
    """When to see whether a stream with this config is empty: a new one, or one whose config was `before` until now."""
    age_ms = min_age_ms(config)
    if not age_ms:
        return None
    return now_ms if before is not None and min_age_ms(before) else now_ms + age_ms
