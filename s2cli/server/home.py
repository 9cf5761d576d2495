"""Where a server keeps its data: in memory, in a directory, or in a bucket; and what is there beside its store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from s2cli.errors import S2Error
from s2cli.server.core.background import attempt
from s2cli.server.data_directory import LockedDirectory, lock_directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.store.bucket.bucket_url import BucketUrl
    from s2cli.server.store.bucket.joining import Joined
    from s2cli.server.store.interface import Store

    OpenStore = Callable[[Path | None], Awaitable[Store]]

# How often a server on a bucket says there that it runs: more often than the day by which a clock may be ahead.
NOTE_USE_S = 3600.0
# A bucket that does not answer is not waited for longer (protocol section 14.3).
LEAVE_S = 3.0

log = logging.getLogger("s2cli.server")


@dataclass(kw_only=True)
class Home:
    """What a server is on. `locked` is where clients of this machine find it: the directory with the data, or one that
    has nothing else. `last_used_ms`: when data was there last. `token_key` is that of all servers on a bucket."""

    store: Store
    locked: LockedDirectory | None = None
    directory: Path | None = None
    socket_path: str | None = None
    bucket: str | None = None
    last_used_ms: int | None = None
    token_key: bytes | None = None
    joined: Joined | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the data directory was deleted."""
        return self.directory is not None and self.locked is not None and self.locked.is_gone

    async def keep_noting_use(self, clock_ms: Callable[[], int]) -> None:
        """Have later starts know when a server ran; where that is known anyway, nothing."""
        joined = self.joined
        while joined is not None:
            await attempt("note that the bucket is used", lambda: joined.note_use(clock_ms()))
            await asyncio.sleep(NOTE_USE_S)


async def move_in(stack: AsyncExitStack, data: str | None, socket_path: str | None, open_store: OpenStore) -> Home:
    """A home in the directory `data`, in memory without one. What `stack` ends is behind it. Raises S2Error."""
    locked = None if data is None else await lock_directory(data)
    if locked is None:
        home = Home(store=await open_store(None), socket_path=socket_path)
    else:
        stack.callback(locked.release)
        home = Home(
            store=await open_store(locked.path),
            locked=locked,
            directory=locked.path,
            socket_path=socket_path,
            last_used_ms=locked.last_used_ms,
        )
    stack.push_async_callback(home.store.close)
    return home


async def move_into_bucket(
    stack: AsyncExitStack, url: BucketUrl, cache_bytes: int, place: str | None, socket_path: str | None
) -> Home:
    """A home in that bucket. In the directory `place` clients of this machine find the server; it needs none. Raises
    S2Error."""
    from s2cli.server.store.bucket.joining import join

    locked = None if place is None else _lock_place(Path(place))
    if locked is not None:
        stack.callback(locked.release)
    joined = await join(url, cache_bytes)
    stack.push_async_callback(_leave, joined.store)
    return Home(
        store=joined.store,
        locked=locked,
        socket_path=None if locked is None else socket_path,
        bucket=str(url),
        last_used_ms=joined.last_used_ms,
        token_key=joined.token_key,
        joined=joined,
    )


async def _leave(store: Store) -> None:
    """What was acknowledged is in the bucket: to let go of basins only spares the next server some time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await store.close()


def _lock_place(place: Path) -> LockedDirectory | None:
    try:
        return LockedDirectory(place, allow_network=True)
    except S2Error as error:
        log.warning("s2 lite status will not find this server: %s", error.message)
        return None
