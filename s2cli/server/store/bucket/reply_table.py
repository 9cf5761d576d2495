"""Replies in a basin's database: the answers to writes that carried a request token, each written with its write."""

from __future__ import annotations

import json
from typing import Any

from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.key_layout import REPLY, REPLY_BY_AGE, numbered
from s2cli.server.store.interface import MAX_REPLY_AGE_MS, Reply

# So many that are too old are forgotten with a new one.
FORGOTTEN = 16


async def get(changes: Changes, key: bytes, now_ms: int) -> Reply | None:
    value = await changes.get(REPLY + key)
    return None if value is None else decoded(key, json.loads(value), now_ms)


async def save(changes: Changes, reply: Reply) -> None:
    changes.put(REPLY + reply.key, json.dumps(encoded(reply), separators=(",", ":")).encode())
    changes.put(numbered(REPLY_BY_AGE, reply.stored_at_ms) + reply.key, b"")
    old_ms = max(0, reply.stored_at_ms - MAX_REPLY_AGE_MS)
    for aged, _ in await changes.scan(REPLY_BY_AGE, numbered(REPLY_BY_AGE, old_ms), FORGOTTEN):
        changes.delete(aged)
        key = aged[9:]
        # A later one may have the key by now.
        if await get(changes, key, reply.stored_at_ms) is None:
            changes.delete(REPLY + key)
    reply.saved = True


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
