"""What is in the bucket beside the basins' databases: basins and access tokens, each an object that any server reads
and writes.

| Object | JSON in it |
|---|---|
| `basins/NAME` | a basin; `uid` is part of its database's path; `replies` are the last ones that were stored with it |
| `tokens/ID` (in hex) | an access token |
| `selectors/SELECTOR` | the id of the token with that selector |
| `deleting/NAME` | nothing: the basin may be marked as deleted |
| `replies/KEY` (in hex) | a reply, or the name of the basin that has it |

What is removed leaves its object, which says so: one that is deleted, and made again by somebody else, could be deleted
once more by whoever comes late.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from s2cli.errors import ApiError
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.reply_table import decoded, encoded
from s2cli.server.store.interface import MAX_REPLY_AGE_MS, BasinRow, Reply, TokenRow

FORMAT = 1
# How long a basin that was read is taken for what it is.
FRESH_S = 1.0
MAX_KNOWN = 1000
# Replies that a basin's object keeps.
MAX_REPLIES_OF_BASIN = 16
ATTEMPTS = 10

Members = dict[str, Any]


class Basin:
    """A basin as its object has it."""

    __slots__ = ("replies", "row", "uid")

    def __init__(self, row: BasinRow, uid: str, replies: Members) -> None:
        self.row = row
        self.uid = uid
        self.replies = replies


class Catalogue:
    """Basins, tokens, and replies to writes of these."""

    def __init__(self, objects: Objects, clock_ms: Callable[[], int]) -> None:
        self._objects = objects
        self._clock_ms = clock_ms
        self._known: dict[str, tuple[float, Basin]] = {}

    # Basins.

    async def basin(self, name: str, *, fresh: bool = False) -> Basin | None:
        """The basin; as it was at most a second ago, unless it is to be `fresh`."""
        if not fresh and (known := self._known.get(name)) is not None and time.monotonic() < known[0]:
            return known[1]
        found = await self._objects.get(f"basins/{name}")
        basin = None if found is None else _basin(name, _parsed(found[0]))
        self._remember(name, basin)
        return basin

    def _remember(self, name: str, basin: Basin | None) -> None:
        if basin is None:
            self._known.pop(name, None)
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[name] = time.monotonic() + FRESH_S, basin

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        rows: list[BasinRow] = []
        async for name, _ in self._objects.names("basins/", start_after):
            if name < prefix:
                continue
            if not name.startswith(prefix):
                break
            basin = await self.basin(name)
            if basin is not None:
                rows.append(basin.row)
            if len(rows) > limit:
                break
        return rows[:limit], len(rows) > limit

    async def insert_basin(self, row: BasinRow, reply: Reply | None) -> BasinRow | None:
        """As `Store.insert_basin`."""
        basin = Basin(row, os.urandom(16).hex(), {})
        await self._point_to(reply, row.name)
        _keep(basin, reply)
        data = _basin_data(basin)
        if not await self._objects.create(f"basins/{row.name}", data):
            present = await self._insert_over(basin, data)
            if present is not None:
                return present.row
        self._remember(row.name, basin)
        if reply is not None:
            reply.saved = True
        return None

    async def _insert_over(self, basin: Basin, data: bytes) -> Basin | None:
        """Put the new basin in the place of one that was removed; else that which is there, unless it is ours."""
        name = basin.row.name
        for _ in range(ATTEMPTS):
            found = await self._objects.get(f"basins/{name}")
            if found is None:
                if await self._objects.create(f"basins/{name}", data):
                    return None
                continue
            present = _basin(name, _parsed(found[0]))
            if present is not None:
                return None if present.uid == basin.uid else present
            if await self._objects.replace(f"basins/{name}", data, found[1]):
                return None
        raise _contended(name)

    async def update_basin(self, row: BasinRow, reply: Reply | None) -> None:
        """Write its config and its mark; a mark stays."""
        await self._point_to(reply, row.name)
        if row.deleted_at_ms is not None:
            await self._objects.put(f"deleting/{row.name}", b"")
        for _ in range(ATTEMPTS):
            found = await self._objects.get(f"basins/{row.name}")
            basin = None if found is None else _basin(row.name, _parsed(found[0]))
            if found is None or basin is None:
                return
            basin.row.config = row.config
            if basin.row.deleted_at_ms is None:
                basin.row.deleted_at_ms = row.deleted_at_ms
            _keep(basin, reply)
            if await self._objects.replace(f"basins/{row.name}", _basin_data(basin), found[1]):
                self._remember(row.name, basin)
                if reply is not None:
                    reply.saved = True
                return
        raise _contended(row.name)

    async def remove_basin(self, name: str) -> None:
        """The basin's object says that it is gone, from now on."""
        for _ in range(ATTEMPTS):
            found = await self._objects.get(f"basins/{name}")
            basin = None if found is None else _basin(name, _parsed(found[0]))
            if found is None or basin is None or basin.row.deleted_at_ms is None:
                break
            if await self._objects.replace(f"basins/{name}", _data({"removed": True}), found[1]):
                break
        else:
            raise _contended(name)
        self._remember(name, None)
        await self._objects.delete(f"deleting/{name}")

    async def deleting_basins(self) -> list[str]:
        names = [name async for name, _ in self._objects.names("deleting/")]
        basins = [(name, await self.basin(name, fresh=True)) for name in names]
        return [name for name, basin in basins if basin is not None and basin.row.deleted_at_ms is not None]

    # Replies.

    async def _point_to(self, reply: Reply | None, basin: str) -> None:
        if reply is not None:
            await self._objects.put(f"replies/{reply.key.hex()}", _data({"basin": basin}))

    async def get_reply(self, key: bytes, now_ms: int) -> Reply | None:
        found = await self._objects.get(f"replies/{key.hex()}")
        if found is None:
            return None
        members: Members | None = _parsed(found[0])
        if members is not None and "basin" in members:
            basin = await self.basin(members["basin"], fresh=True)
            members = None if basin is None else basin.replies.get(key.hex())
        return None if members is None else decoded(key, members, now_ms)

    async def save_reply(self, reply: Reply) -> None:
        await self._objects.put(f"replies/{reply.key.hex()}", _data(encoded(reply)))
        reply.saved = True

    async def forget_replies(self) -> None:
        """Delete those that are too old."""
        async for name, written_ms in self._objects.names("replies/"):
            if written_ms <= self._clock_ms() - 2 * MAX_REPLY_AGE_MS:
                await self._objects.delete(f"replies/{name}")

    # Tokens.

    async def get_token(self, selector: str) -> TokenRow | None:
        found = await self._objects.get(f"selectors/{selector}")
        row = None if found is None else await self._token(_parsed(found[0])["id"])
        return None if row is None or row.selector != selector else row

    async def _token(self, token_id: str) -> TokenRow | None:
        found = await self._objects.get(_token_name(token_id))
        return None if found is None else _token(token_id, _parsed(found[0]))

    async def list_tokens(self, prefix: str, start_after: str, limit: int, now_ms: int) -> tuple[list[TokenRow], bool]:
        rows: list[TokenRow] = []
        first = prefix.encode().hex()
        async for name, _ in self._objects.names("tokens/", start_after.encode().hex()):
            if name < first:
                continue
            if not name.startswith(first):
                break
            row = await self._token(bytes.fromhex(name).decode())
            if row is not None and not _has_expired(row, now_ms):
                rows.append(row)
            if len(rows) > limit:
                break
        return rows[:limit], len(rows) > limit

    async def insert_token(self, row: TokenRow, now_ms: int) -> bool:
        """As `Store.insert_token`."""
        await self._objects.put(f"selectors/{row.selector}", _data({"id": row.id}))
        name, data = _token_name(row.id), _token_data(row)
        for _ in range(ATTEMPTS):
            found = await self._objects.get(name)
            if found is None:
                if await self._objects.create(name, data):
                    return True
                continue
            present = _token(row.id, _parsed(found[0]))
            if present is not None and not _has_expired(present, now_ms):
                return present.selector == row.selector
            if await self._objects.replace(name, data, found[1]):
                return True
        raise _contended(row.id)

    async def remove_token(self, token_id: str, now_ms: int) -> bool:
        """As `Store.remove_token`."""
        name = _token_name(token_id)
        for attempt in range(ATTEMPTS):
            found = await self._objects.get(name)
            row = None if found is None else _token(token_id, _parsed(found[0]))
            if found is None or row is None or _has_expired(row, now_ms):
                return attempt > 0  # it was there before: whoever removed it, it is gone
            if await self._objects.replace(name, _data({"removed": True}), found[1]):
                await self._objects.delete(f"selectors/{row.selector}")
                return True
        raise _contended(token_id)

    async def expire_tokens(self, now_ms: int) -> int | None:
        """As `Store.expire_tokens`."""
        next_ms: int | None = None
        async for name, _ in self._objects.names("tokens/"):
            found = await self._objects.get(f"tokens/{name}")
            row = None if found is None else _token(bytes.fromhex(name).decode(), _parsed(found[0]))
            if found is None or row is None or row.expires_at_ms is None:
                continue
            if not _has_expired(row, now_ms):
                next_ms = row.expires_at_ms if next_ms is None else min(next_ms, row.expires_at_ms)
            elif await self._objects.replace(f"tokens/{name}", _data({"removed": True}), found[1]):
                await self._objects.delete(f"selectors/{row.selector}")
        return next_ms


def _basin(name: str, members: Members) -> Basin | None:
    """None for one that was removed."""
    if members.get("removed"):
        return None
    key = members["request_key"]
    row = BasinRow(
        name,
        members["config"],
        members["created_at_ms"],
        members["deleted_at_ms"],
        None if key is None else bytes.fromhex(key),
    )
    return Basin(row, members["uid"], members["replies"])


def _basin_data(basin: Basin) -> bytes:
    row = basin.row
    return _data(
        {
            "uid": basin.uid,
            "config": row.config,
            "created_at_ms": row.created_at_ms,
            "deleted_at_ms": row.deleted_at_ms,
            "request_key": None if row.request_key is None else row.request_key.hex(),
            "replies": basin.replies,
        }
    )


def _keep(basin: Basin, reply: Reply | None) -> None:
    """Have the basin's object keep the reply with what it answers."""
    if reply is not None:
        basin.replies[reply.key.hex()] = encoded(reply)
        for key in list(basin.replies)[:-MAX_REPLIES_OF_BASIN]:
            del basin.replies[key]


def _token_name(token_id: str) -> str:
    return f"tokens/{token_id.encode().hex()}"


def _token(token_id: str, members: Members) -> TokenRow | None:
    """None for one that was removed."""
    if members.get("removed"):
        return None
    return TokenRow(
        token_id,
        members["selector"],
        bytes.fromhex(members["hash"]),
        members["scope"],
        members["auto_prefix_streams"],
        members["expires_at"],
        members["expires_at_ms"],
    )


def _token_data(row: TokenRow) -> bytes:
    return _data(
        {
            "selector": row.selector,
            "hash": row.hash.hex(),
            "scope": row.scope,
            "auto_prefix_streams": row.auto_prefix_streams,
            "expires_at": row.expires_at,
            "expires_at_ms": row.expires_at_ms,
        }
    )


def _has_expired(row: TokenRow, now_ms: int) -> bool:
    return row.expires_at_ms is not None and row.expires_at_ms <= now_ms


def _data(members: Members) -> bytes:
    return json.dumps({"format": FORMAT, **members}, separators=(",", ":")).encode()


def _parsed(data: bytes) -> Members:
    """Raises ApiError for an object that this version cannot use."""
    try:
        members: Members = json.loads(data)
        known = members["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError("storage", "an object in the bucket is damaged: it is not what a server has written") from error
    if known > FORMAT:
        raise ApiError("storage", f"an object in the bucket was written by a newer version: format {known}")
    return members


def _contended(name: str) -> ApiError:
    return ApiError("unavailable", f"others are changing `{name}` all the time", without_effect=True)
