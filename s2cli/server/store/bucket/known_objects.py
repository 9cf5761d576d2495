"""Objects of a folder as they were a moment ago, so that requests do not each cost one of the bucket's.

However many ask for a name, one request for it is on its way at a time; and whoever asked while it was is given what a
later one finds, for the object may have been changed in between. So what another server has made is found at once.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Task
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from s2cli.server.store.bucket.objects import NOT_MODIFIED, Objects

Value = TypeVar("Value")


class _Known(NamedTuple, Generic[Value]):
    value: Value | None
    version: str  # "" where that is not known
    until_s: float


class KnownObjects(Generic[Value]):
    """What `parse` makes of the objects `folder` + name; None where there is none, or `parse` says that there is none.
    It is taken for true for `fresh_s`, that there is none for `missing_s`; `most` are kept."""

    def __init__(
        self,
        objects: Objects,
        folder: str,
        parse: Callable[[str, bytes], Value | None],
        fresh_s: float,
        missing_s: float,
        most: int,
    ) -> None:
        self._objects = objects
        self._folder = folder
        self._parse = parse
        self._fresh_s = fresh_s
        self._missing_s = missing_s
        self._most = most
        self._known: dict[str, _Known[Value]] = {}
        self._looking: dict[str, Task[Value | None]] = {}

    async def get(self, name: str, *, fresh: bool = False) -> Value | None:
        """The object; with `fresh`, as it is at some time after the call. Raises ApiError."""
        known = self._known.get(name)
        if known is not None and not fresh and time.monotonic() < known.until_s:
            return known.value
        before = self._looking.get(name)
        if before is not None:
            await asyncio.wait([before])
            known = self._known.get(name)
            if known is not None and known.value is not None and not fresh and time.monotonic() < known.until_s:
                return known.value
        looking = self._looking.get(name)
        if looking is None:
            looking = self._looking[name] = asyncio.get_running_loop().create_task(self._look(name))
            looking.add_done_callback(lambda task: self._end(name, task))
        return await asyncio.shield(looking)

    def _end(self, name: str, task: Task[Value | None]) -> None:
        if self._looking.get(name) is task:
            del self._looking[name]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more

    async def _look(self, name: str) -> Value | None:
        began_s = time.monotonic()
        known = self._known.get(name)
        version = "" if known is None else known.version
        found = await self._objects.get_changed(self._folder + name, version)
        if found is NOT_MODIFIED and known is not None:
            value = known.value
        elif isinstance(found, tuple):
            value, version = self._parse(name, found[0]), found[1]
        else:
            value, version = None, ""
        # Not if it was changed by us meanwhile: then this may be what was there before.
        if self._looking.get(name) is asyncio.current_task():
            self._keep(name, value, version, began_s)
        return value

    def _keep(self, name: str, value: Value | None, version: str, since_s: float) -> None:
        self._known.pop(name, None)
        if value is None and not self._missing_s:
            return
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        until_s = since_s + (self._missing_s if value is None else self._fresh_s)
        self._known[name] = _Known(value, version, until_s)

    def changed(self, name: str, value: Value | None) -> None:
        """We have written it; `value` is what is there now."""
        self._looking.pop(name, None)
        self._keep(name, value, "", time.monotonic())
