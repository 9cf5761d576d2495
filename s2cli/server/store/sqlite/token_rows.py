"""Rows of access tokens, as functions over a connection."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from s2cli.server.store.interface import TokenRow
from s2cli.server.store.sqlite.resource_rows import names_within

_TOKEN = "id, selector, hash, scope, auto_prefix, expires, expires_ms"  # noqa: S105 - columns
_LIVING = "(expires_ms IS NULL OR expires_ms > ?)"
# Tokens that one page of a list looks at.
PAGE_ROWS = 1000
# And that one transaction removes.
EXPIRY_SLICE = 1000


def get(connection: sqlite3.Connection, selector: str) -> TokenRow | None:
    row = connection.execute(f"SELECT {_TOKEN} FROM token WHERE selector=?", (selector,)).fetchone()  # noqa: S608
    return _row(row) if row else None


def listed(
    connection: sqlite3.Connection, prefix: str, start_after: str, limit: int, now_ms: int
) -> tuple[list[TokenRow], str | None]:
    """At most `limit` of the next tokens that have not expired, and the id after which to look for more; None where
    there are no more. A page ends early where thousands of expired ones stand between two others."""
    rows = connection.execute(
        f"SELECT {_TOKEN} FROM token WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
        (*names_within(prefix, start_after), PAGE_ROWS),
    )
    living: list[TokenRow] = []
    for count, row in enumerate(rows, 1):
        last_id: bytes = row[0]
        expires_at_ms = row[-1]
        if expires_at_ms is None or expires_at_ms > now_ms:
            living.append(_row(row))
        if len(living) == limit or count == PAGE_ROWS:
            rows.close()  # ends the read: a page holds no snapshot once it is made
            return living, last_id.decode()
    return living, None


def insert(connection: sqlite3.Connection, row: TokenRow, now_ms: int) -> bool:
    token_id = row.id.encode()
    connection.execute("DELETE FROM token WHERE id=? AND expires_ms <= ?", (token_id, now_ms))
    added = connection.execute(
        f"INSERT INTO token({_TOKEN}) VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO NOTHING",
        (
            token_id,
            row.selector,
            row.hash,
            json.dumps(row.scope),
            row.auto_prefix_streams,
            row.expires_at,
            row.expires_at_ms,
        ),
    )
    return added.rowcount == 1


def remove(connection: sqlite3.Connection, token_id: str, now_ms: int) -> bool:
    removed = connection.execute(f"DELETE FROM token WHERE id=? AND {_LIVING}", (token_id.encode(), now_ms))  # noqa: S608
    return removed.rowcount == 1


def expire(connection: sqlite3.Connection, now_ms: int) -> int | None:
    connection.execute(
        "DELETE FROM token WHERE id IN (SELECT id FROM token WHERE expires_ms <= ? LIMIT ?)", (now_ms, EXPIRY_SLICE)
    )
    next_ms: int | None = connection.execute(
        "SELECT min(expires_ms) FROM token WHERE expires_ms IS NOT NULL"
    ).fetchone()[0]
    return next_ms


def _row(row: tuple[Any, ...]) -> TokenRow:
    return TokenRow(row[0].decode(), row[1], row[2], json.loads(row[3]), bool(row[4]), row[5], row[6])
