"""Replies in a basin's database: the answers to writes that carried a request token, each written with its write."""

from __future__ import annotations

import json
from typing import Any

from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.key_layout import (
    REPLY,
    REPLY_BY_AGE,
    REPLY_COUNTERS_KEY,
    U64,
    beyond,
    numbered,
    numbers_of,
)
from s2cli.server.store.interface import MAX_REPLIES, MAX_REPLY_AGE_MS, Reply

# So many that are too old, or too many, are forgotten with a new one.
FORGOTTEN = 16


async def get(changes: Changes, key: bytes, now_ms: int) -> Reply | None:
    value = await changes.get(REPLY + key)
    return None if value is None else decoded(key, json.loads(value), now_ms)


async def save(changes: Changes, reply: Reply) -> None:
    """Keep the reply, and forget some that are too old, or too many."""
    count, number = await _counters(changes)
    present = await changes.get(REPLY + reply.key)
    if present is None:
        count += 1
    else:
        members = json.loads(present)
        changes.delete(_by_age(members["stored_at_ms"], members["number"], reply.key))
    members = {**encoded(reply), "number": number}
    changes.put(REPLY + reply.key, json.dumps(members, separators=(",", ":")).encode())
    changes.put(_by_age(reply.stored_at_ms, number, reply.key), b"")
    for aged, _ in await changes.scan(REPLY_BY_AGE, beyond(REPLY_BY_AGE), FORGOTTEN):
        stored_at_ms, _, key = _parts_by_age(aged)
        if stored_at_ms > reply.stored_at_ms - MAX_REPLY_AGE_MS and count <= MAX_REPLIES:
            break
        changes.delete(aged)
        changes.delete(REPLY + key)
        count -= 1
    changes.put(REPLY_COUNTERS_KEY, U64.pack(count) + U64.pack(number + 1))
    reply.saved = True


async def _counters(changes: Changes) -> tuple[int, int]:
    """How many replies there are, and the number of the next one."""
    value = await changes.get(REPLY_COUNTERS_KEY)
    return (0, 0) if value is None else (U64.unpack(value[:8])[0], U64.unpack(value[8:])[0])


def _by_age(stored_at_ms: int, number: int, key: bytes) -> bytes:
    return numbered(REPLY_BY_AGE, stored_at_ms, number) + key


def _parts_by_age(aged: bytes) -> tuple[int, int, bytes]:
    stored_at_ms, number = numbers_of(aged[:17])
    return stored_at_ms, number, aged[17:]


def encoded(reply: Reply) -> dict[str, Any]:
    """The reply as JSON, without its key."""
    return {
        "request": reply.request.hex(),
        "status": reply.status,
        "content_type": None if reply.content_type is None else reply.content_type.decode("latin-1"),
        "body": reply.body.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in reply.headers],
        "stored_at_ms": reply.stored_at_ms,
    }


def decoded(key: bytes, members: dict[str, Any], now_ms: int) -> Reply | None:
    """The reply with that key; None if it is too old."""
    if members["stored_at_ms"] <= now_ms - MAX_REPLY_AGE_MS:
        return None
    content_type = members["content_type"]
    return Reply(
        key,
        bytes.fromhex(members["request"]),
        members["status"],
        None if content_type is None else content_type.encode("latin-1"),
        members["body"].encode("latin-1"),
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in members["headers"]],
        members["stored_at_ms"],
        saved=True,
    )
