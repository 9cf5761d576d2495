"""What is in the objects of the bucket that are not of basins' databases.

| Object | JSON in it |
|---|---|
| `basins/NAME` | a basin; `uid` is part of its database's path, `version` is another one after each change of its |
| | config or mark; `replies` are the last ones that were stored with it |
| `tokens/ID` (in hex) | an access token |
| `selectors/SELECTOR` | the id of the token with that selector |
| `deleting/NAME` | nothing: the basin may be marked as deleted |
| `replies/KEY` (in hex) | a reply, or the name of the basin that has it |
"""

from __future__ import annotations

import json
from typing import Any

from s2cli.errors import ApiError
from s2cli.server.store.bucket.bucket_format import FORMAT, NewerFormatError
from s2cli.server.store.bucket.reply_table import encoded
from s2cli.server.store.interface import BasinRow, Reply, TokenRow

# Replies that a basin's object keeps.
MAX_REPLIES_OF_BASIN = 16

Members = dict[str, Any]


class DamagedObjectError(ApiError):
    """An object is not what a server has written."""

    def __init__(self) -> None:
        super().__init__("storage", "an object in the bucket is damaged: it is not what a server has written")


class Basin:
    """A basin as its object has it."""

    __slots__ = ("replies", "row", "uid")

    def __init__(self, row: BasinRow, uid: str, replies: Members) -> None:
        self.row = row
        self.uid = uid
        self.replies = replies


def database_path(prefix: str, name: str, uid: str) -> str:
    """Where the database of a basin is, in a bucket in which all names begin with `prefix`."""
    return f"{prefix}data/{name}/{uid}"


def parse_basin(name: str, data: bytes) -> Basin | None:
    """None for one that was removed. Raises as parse_members()."""
    members = parse_members(data)
    if members.get("removed"):
        return None
    try:
        key = members["request_key"]
        request_key = None if key is None else bytes.fromhex(key)
        row = BasinRow(
            name,
            _as_object(members["config"]),
            members["created_at_ms"],
            members["deleted_at_ms"],
            request_key,
            members["version"],
        )
        return Basin(row, str(members["uid"]), _as_object(members["replies"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedObjectError from error


def _as_object(value: object) -> Members:
    if not isinstance(value, dict):
        raise TypeError
    return value


def encode_basin(basin: Basin) -> bytes:
    row = basin.row
    return encode_members(
        {
            "uid": basin.uid,
            "version": row.version,
            "config": row.config,
            "created_at_ms": row.created_at_ms,
            "deleted_at_ms": row.deleted_at_ms,
            "request_key": None if row.request_key is None else row.request_key.hex(),
            "replies": basin.replies,
        }
    )


def keep_reply(basin: Basin, reply: Reply | None) -> None:
    """Have the basin's object keep the reply with what it answers."""
    if reply is not None:
        basin.replies[reply.key.hex()] = encoded(reply)
        for key in list(basin.replies)[:-MAX_REPLIES_OF_BASIN]:
            del basin.replies[key]


def token_name(token_id: str) -> str:
    return f"tokens/{token_id.encode().hex()}"


def parse_token(token_id: str, data: bytes) -> TokenRow | None:
    """None for one that was removed. Raises as parse_members()."""
    members = parse_members(data)
    if members.get("removed"):
        return None
    try:
        return TokenRow(
            token_id,
            members["selector"],
            bytes.fromhex(members["hash"]),
            _as_object(members["scope"]),
            members["auto_prefix_streams"],
            members["expires_at"],
            members["expires_at_ms"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedObjectError from error


def encode_token(row: TokenRow) -> bytes:
    return encode_members(
        {
            "selector": row.selector,
            "hash": row.hash.hex(),
            "scope": row.scope,
            "auto_prefix_streams": row.auto_prefix_streams,
            "expires_at": row.expires_at,
            "expires_at_ms": row.expires_at_ms,
        }
    )


def has_expired(row: TokenRow, now_ms: int) -> bool:
    return row.expires_at_ms is not None and row.expires_at_ms <= now_ms


def encode_members(members: Members) -> bytes:
    return json.dumps({"format": FORMAT, **members}, separators=(",", ":")).encode()


def parse_members(data: bytes) -> Members:
    """Raises DamagedObjectError, and NewerFormatError for an object that a newer version can use."""
    try:
        members: Members = json.loads(data)
        written_by = members["format"]
        is_newer = written_by > FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedObjectError from error
    if is_newer:
        raise NewerFormatError("an object in the bucket", written_by)
    return members
