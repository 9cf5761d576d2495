"""What is in the bucket beside the basins' databases: basins, access tokens, and replies to writes of these
(catalogue_objects.py), which any server reads and writes.

What is removed leaves its object, which says so: one that is deleted, and made again by somebody else, could be deleted
once more by whoever comes late.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from s2cli.errors import ApiError
from s2cli.server.store.bucket.catalogue_objects import (
    Basin,
    DamagedObjectError,
    Members,
    encode_basin,
    encode_members,
    encode_token,
    has_expired,
    keep_reply,
    parse_basin,
    parse_members,
    parse_token,
    token_name,
)
from s2cli.server.store.bucket.known_objects import KnownObjects
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.reply_table import decoded, encoded
from s2cli.server.store.interface import MAX_REPLY_AGE_MS, BasinRow, Reply, TokenRow

# How long a basin that was read is taken for what it is.
FRESH_S = 1.0
# Of which token a secret is never changes, but for that the token goes.
SELECTOR_FRESH_S = 600.0
GUESS_S = 10.0
MAX_KNOWN = 1000
# So many objects are read at once for a list.
TOGETHER = 64
NAMES_TOGETHER = 1000
ATTEMPTS = 10

Row = TypeVar("Row")


class Catalogue:
    """Basins, tokens, and replies to writes of these."""

    def __init__(self, objects: Objects, clock_ms: Callable[[], int]) -> None:
        self._objects = objects
        self._clock_ms = clock_ms
        # That there is no basin is not kept: another server may have just made it. A secret that is asked for before it
        # was issued is a guess.
        self._basins = KnownObjects(objects, "basins/", parse_basin, FRESH_S, 0.0, MAX_KNOWN)
        self._tokens = KnownObjects(objects, "tokens/", _parse_token_of, 0.0, 0.0, MAX_KNOWN)
        self._selectors = KnownObjects(objects, "selectors/", _parse_selector, SELECTOR_FRESH_S, GUESS_S, MAX_KNOWN)

    # Basins.

    async def basin(self, name: str, *, fresh: bool = False) -> Basin | None:
        """The basin; as it was at most a second ago, unless it is to be `fresh`."""
        return await self._basins.get(name, fresh=fresh)

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        """As `Store.list_basins`."""

        async def read(name: str) -> BasinRow | None:
            basin = await self.basin(name)
            return None if basin is None else basin.row

        rows = await self._listed("basins/", prefix, start_after, limit + 1, read)
        return rows[:limit], len(rows) > limit

    async def _listed(
        self, folder: str, prefix: str, start_after: str, most: int, read: Callable[[str], Awaitable[Row | None]]
    ) -> list[Row]:
        """What `read` makes of the first names with that prefix behind `start_after`; it may be called for more names
        than needed."""
        rows: list[Row] = []
        names: list[str] = []

        async def read_names() -> None:
            found = await asyncio.gather(*[read(name) for name in names])
            rows.extend(row for row in found if row is not None)
            names.clear()

        async for name, _ in self._objects.names(folder, start_after):
            if name < prefix:
                continue
            if not name.startswith(prefix):
                break
            names.append(name)
            if len(names) >= min(TOGETHER, most - len(rows)):
                await read_names()
                if len(rows) >= most:
                    break
        await read_names()
        return rows[:most]

    async def all_basins(self) -> AsyncIterator[BasinRow]:
        rows, has_more = await self.list_basins("", "", NAMES_TOGETHER)
        while rows:
            for row in rows:
                yield row
            rows, has_more = await self.list_basins("", rows[-1].name, NAMES_TOGETHER) if has_more else ([], False)

    async def insert_basin(self, row: BasinRow, reply: Reply | None) -> BasinRow | None:
        """As `Store.insert_basin`."""
        row.version = _new_version()
        basin = Basin(row, os.urandom(16).hex(), {})
        await self._point_to(reply, row.name)
        keep_reply(basin, reply)
        data = encode_basin(basin)
        if not await self._objects.create(f"basins/{row.name}", data):
            present = await self._insert_over(basin, data)
            if present is not None:
                return present.row
        self._basins.changed(row.name, basin)
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
            present = parse_basin(name, found[0])
            if present is not None:
                return None if present.uid == basin.uid else present
            if await self._objects.replace(f"basins/{name}", data, found[1]):
                return None
        raise _contended(name)

    async def update_basin(self, row: BasinRow, reply: Reply | None) -> None:
        """Write its config or its mark, which stays. As `Store.update_basin`."""
        version = _new_version()
        await self._point_to(reply, row.name)
        if row.deleted_at_ms is not None:
            await self._objects.put(f"deleting/{row.name}", b"")
        for _ in range(ATTEMPTS):
            found = await self._objects.get(f"basins/{row.name}")
            basin = None if found is None else parse_basin(row.name, found[0])
            is_marking = row.deleted_at_ms is not None
            is_ours = basin is not None and basin.row.version == version  # written before, and the reply was lost
            is_as_read = not row.version or (basin is not None and basin.row.version == row.version)
            if not (is_ours or is_as_read or is_marking):
                self._basins.changed(row.name, basin)
                message = f"another server has changed basin `{row.name}` meanwhile"
                raise ApiError("transaction_conflict", message, without_effect=True)
            if found is None or basin is None:
                return
            if is_as_read:
                basin.row.config = row.config
            if is_marking and basin.row.deleted_at_ms is None:
                basin.row.deleted_at_ms = row.deleted_at_ms
            basin.row.version = version
            keep_reply(basin, reply)
            if is_ours or await self._objects.replace(f"basins/{row.name}", encode_basin(basin), found[1]):
                self._basins.changed(row.name, basin)
                row.version = version
                if reply is not None:
                    reply.saved = True
                return
        raise _contended(row.name)

    async def remove_basin(self, name: str) -> None:
        """The basin's object says that it is gone, from now on."""
        for _ in range(ATTEMPTS):
            found = await self._objects.get(f"basins/{name}")
            basin = None if found is None else parse_basin(name, found[0])
            if found is None or basin is None or basin.row.deleted_at_ms is None:
                break
            if await self._objects.replace(f"basins/{name}", encode_members({"removed": True}), found[1]):
                break
        else:
            raise _contended(name)
        self._basins.changed(name, None)
        await self._objects.delete(f"deleting/{name}")

    async def deletions(self) -> dict[str, int]:
        """The basins that may be marked as deleted, and when that was, in ms since 1970."""
        return {name: marked_ms async for name, marked_ms in self._objects.names("deleting/")}

    async def deleting_basins(self) -> list[str]:

        async def read(name: str) -> str | None:
            basin = await self.basin(name, fresh=True)
            return None if basin is None or basin.row.deleted_at_ms is None else name

        return await self._listed("deleting/", "", "", sys.maxsize, read)

    # Replies.

    async def _point_to(self, reply: Reply | None, basin: str) -> None:
        if reply is not None:
            await self._objects.put(f"replies/{reply.key.hex()}", encode_members({"basin": basin}))

    async def get_reply(self, key: bytes, now_ms: int) -> Reply | None:
        found = await self._objects.get(f"replies/{key.hex()}")
        if found is None:
            return None
        members: Members | None = parse_members(found[0])
        if members is not None and "basin" in members:
            basin = await self.basin(members["basin"], fresh=True)
            members = None if basin is None else basin.replies.get(key.hex())
        return None if members is None else decoded(key, members, now_ms)

    async def save_reply(self, reply: Reply) -> None:
        await self._objects.put(f"replies/{reply.key.hex()}", encode_members(encoded(reply)))
        reply.saved = True

    async def forget_replies(self) -> None:
        """Delete those that are too old."""
        async for name, written_ms in self._objects.names("replies/"):
            if written_ms <= self._clock_ms() - 2 * MAX_REPLY_AGE_MS:
                await self._objects.delete(f"replies/{name}")

    # Tokens.

    async def get_token(self, selector: str) -> TokenRow | None:
        """As `Store.get_token`: the token as it is at some time after the call."""
        token_id = await self._selectors.get(selector)
        row = None if token_id is None else await self._token(token_id)
        return None if row is None or row.selector != selector else row

    async def _token(self, token_id: str) -> TokenRow | None:
        return await self._tokens.get(token_id.encode().hex(), fresh=True)

    async def list_tokens(self, prefix: str, start_after: str, limit: int, now_ms: int) -> tuple[list[TokenRow], bool]:
        """As `Store.list_tokens`."""

        async def read(name: str) -> TokenRow | None:
            row = await self._tokens.get(name, fresh=True)
            return None if row is None or has_expired(row, now_ms) else row

        rows = await self._listed("tokens/", prefix.encode().hex(), start_after.encode().hex(), limit + 1, read)
        return rows[:limit], len(rows) > limit

    async def insert_token(self, row: TokenRow, now_ms: int) -> bool:
        """As `Store.insert_token`."""
        await self._objects.put(f"selectors/{row.selector}", encode_members({"id": row.id}))
        self._selectors.changed(row.selector, row.id)
        name, data = token_name(row.id), encode_token(row)
        for _ in range(ATTEMPTS):
            found = await self._objects.get(name)
            if found is None:
                if await self._objects.create(name, data):
                    return True
                continue
            present = parse_token(row.id, found[0])
            if present is not None and not has_expired(present, now_ms):
                return present.selector == row.selector
            if await self._objects.replace(name, data, found[1]):
                return True
        raise _contended(row.id)

    async def remove_token(self, token_id: str, now_ms: int) -> bool:
        """As `Store.remove_token`."""
        name = token_name(token_id)
        for attempt in range(ATTEMPTS):
            found = await self._objects.get(name)
            row = None if found is None else parse_token(token_id, found[0])
            if found is None or row is None or has_expired(row, now_ms):
                return attempt > 0  # it was there before: whoever removed it, it is gone
            if await self._objects.replace(name, encode_members({"removed": True}), found[1]):
                await self._objects.delete(f"selectors/{row.selector}")
                return True
        raise _contended(token_id)

    async def expire_tokens(self, now_ms: int) -> int | None:
        """As `Store.expire_tokens`."""
        next_ms: int | None = None
        async for name, _ in self._objects.names("tokens/"):
            found = await self._objects.get(f"tokens/{name}")
            row = None if found is None else parse_token(bytes.fromhex(name).decode(), found[0])
            if found is None or row is None or row.expires_at_ms is None:
                continue
            if not has_expired(row, now_ms):
                next_ms = row.expires_at_ms if next_ms is None else min(next_ms, row.expires_at_ms)
            elif await self._objects.replace(f"tokens/{name}", encode_members({"removed": True}), found[1]):
                await self._objects.delete(f"selectors/{row.selector}")
        return next_ms


def _parse_token_of(name: str, data: bytes) -> TokenRow | None:
    return parse_token(bytes.fromhex(name).decode(), data)


def _parse_selector(_name: str, data: bytes) -> str:
    token_id = parse_members(data).get("id")
    if not isinstance(token_id, str):
        raise DamagedObjectError
    return token_id


def _new_version() -> str:
    return os.urandom(8).hex()


def _contended(name: str) -> ApiError:
    return ApiError("unavailable", f"others are changing `{name}` all the time", without_effect=True)
