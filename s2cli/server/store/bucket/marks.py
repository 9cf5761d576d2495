"""Who has which basin open, and when something is to be done in one that nobody has open: objects without content,
whose names say all.

| Object | Meaning |
|---|---|
| `runs/RUN` | the server of that run was alive when this was written last |
| `open/RUN/BASIN` | it has opened the basin, and does in it what is due |
| `due/MS-BASIN` | something is due in the basin then, in ms since 1970; it was closed |
| `gone/MS-UID-BASIN` | the basin with that uid was removed then, and its database is still there |

A server that dies leaves its marks: they say which basins nobody looks after. Nobody's ownership of a basin rests on
them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from s2cli.server.store.bucket.objects import Objects

# What expires in a closed basin is deleted so much later at the earliest, so that one basin is not opened all the time.
DUE_AGAIN_MS = 600_000


class Marked(NamedTuple):
    """What the marks of all servers say: when each run has said last that it is alive, and (run, basin) of what is
    open."""

    alive_ms: dict[str, int]
    open: list[tuple[str, str]]

    def held(self, without: frozenset[str] = frozenset()) -> frozenset[str]:
        """The basins that servers have open, without those of these runs."""
        return frozenset(basin for run, basin in self.open if run in self.alive_ms and run not in without)


class Marks:
    """The marks of this server, and those of all. All methods raise ApiError."""

    def __init__(self, objects: Objects, is_open: Callable[[str], bool], clock_ms: Callable[[], int]) -> None:
        self.run = os.urandom(8).hex()
        self._objects = objects
        self._is_open = is_open
        self._clock_ms = clock_ms
        self._own: set[str] = set()
        self._is_known = False

    async def beat(self) -> None:
        """This server is alive."""
        await self._objects.put(f"runs/{self.run}", b"")
        self._is_known = True

    async def hold(self, basin: str) -> None:
        """The basin is open here, or will be."""
        if basin not in self._own:
            if not self._is_known:
                await self.beat()
            await self._objects.put(f"open/{self.run}/{basin}", b"")
            self._own.add(basin)

    async def closed(self, basin: str, due_ms: int | None = None) -> None:
        """The basin was closed, and something is due in it at that time; or another server has it now."""
        if due_ms is not None:
            due_ms = max(due_ms, self._clock_ms() + DUE_AGAIN_MS)
            await self._objects.put(f"due/{due_ms:020d}-{basin}", b"")
        if basin in self._own and not self._is_open(basin):
            self._own.discard(basin)
            await self._objects.delete(f"open/{self.run}/{basin}")

    async def all(self) -> Marked:
        alive_ms = {run: written_ms async for run, written_ms in self._objects.names("runs/")}
        opened = [name.partition("/") async for name, _ in self._objects.names("open/")]
        return Marked(alive_ms, [(run, basin) for run, _, basin in opened])

    async def due(self, until_ms: int, most: int) -> list[tuple[str, str]]:
        """The names of marks of what is due by then, and their basins; at most so many."""
        return await self._first("due/", until_ms, most)

    async def gone(self, basin: str, uid: str) -> None:
        """The basin was removed."""
        await self._objects.put(f"gone/{self._clock_ms():020d}-{uid}-{basin}", b"")

    async def all_gone(self, until_ms: int, most: int) -> list[tuple[str, str, str]]:
        """The names of marks of what was removed by then, and the names and uids of these basins; at most so many."""
        found = await self._first("gone/", until_ms, most)
        return [(name, basin, uid) for name, rest in found for uid, _, basin in [rest.partition("-")]]

    async def _first(self, folder: str, until_ms: int, most: int) -> list[tuple[str, str]]:
        """The names of marks up to that time, and what follows it in them."""
        found: list[tuple[str, str]] = []
        async for name, _ in self._objects.names(folder):
            time_ms, _, rest = name.partition("-")
            if int(time_ms) > until_ms or len(found) == most:
                break
            found.append((folder + name, rest))
        return found

    async def leave(self) -> None:
        """This server ends."""
        if self._is_known and not self._own:
            await self._objects.delete(f"runs/{self.run}")


class Watch:
    """How long something has stayed as it is, as far as was looked."""

    def __init__(self, blind_s: float) -> None:
        self._blind_s = blind_s
        self._looked_s = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    def unchanged_for_s(self, found: Mapping[str, int]) -> dict[str, float]:
        """Name -> for how long it was found with the same value. Where nobody has looked for `blind_s`, because the
        bucket was away perhaps, it begins anew: others had no chance to change anything."""
        now_s = time.monotonic()
        before = self._seen if now_s - self._looked_s < self._blind_s else {}
        self._looked_s = now_s
        self._seen = {
            name: before[name] if name in before and before[name][0] == value else (value, now_s)
            for name, value in found.items()
        }
        return {name: now_s - since_s for name, (_, since_s) in self._seen.items()}
