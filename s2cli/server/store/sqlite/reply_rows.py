"""Rows of replies: the answers to writes that carried a request token, each written in the transaction of its write."""

from __future__ import annotations

import json
import sqlite3

from s2cli.errors import ApiError
from s2cli.server.store.interface import MAX_REPLIES, MAX_REPLY_AGE_MS, Reply
from s2cli.server.store.sqlite.checksums import SEALED, is_whole, seal


def get(connection: sqlite3.Connection, key: bytes, now_ms: int) -> Reply | None:
    row = connection.execute(
        f"SELECT crc, {SEALED['reply']} FROM reply WHERE key=?",  # noqa: S608
        (key,),
    ).fetchone()
    if row is None:
        return None
    crc, *values = row
    if not is_whole(crc, values):
        # Whether the request was executed cannot be told, and it must not be executed twice.
        raise ApiError("storage", "the stored answer to this request token is damaged on disk")
    _, _, request, status, content_type, headers, body, stored_at_ms = values
    if stored_at_ms <= now_ms - MAX_REPLY_AGE_MS:
        return None
    pairs = [(name.encode(), value.encode()) for name, value in json.loads(headers)]
    return Reply(key, request, status, content_type, body, pairs, stored_at_ms, saved=True)


def save(connection: sqlite3.Connection, reply: Reply) -> None:
    """Insert the reply, and forget what is too old or too many."""
    headers = json.dumps([(name.decode(), value.decode()) for name, value in reply.headers])
    # One that has expired may still be there under the same key.
    row_id = connection.execute(
        "INSERT OR REPLACE INTO reply(key, request, status, content_type, headers, body, stored_at)"
        " VALUES(?,?,?,?,?,?,?)",
        (reply.key, reply.request, reply.status, reply.content_type, headers, reply.body, reply.stored_at_ms),
    ).lastrowid
    assert row_id is not None
    seal(connection, "reply", "id=?", (row_id,))
    # Ids grow with time, so what goes is a piece at the beginning, and this reply ends the search for it.
    connection.execute(
        "DELETE FROM reply WHERE id < max(?, (SELECT id FROM reply WHERE stored_at > ? ORDER BY id LIMIT 1))",
        (row_id - MAX_REPLIES + 1, reply.stored_at_ms - MAX_REPLY_AGE_MS),
    )
    reply.saved = True
