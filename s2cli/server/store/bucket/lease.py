"""A lease: an object that says which server does what one of them is to do. A server that stops renewing it loses it,
without a clock that two of them would have to share: whoever has seen the same version of the object for long takes it.

It keeps two from doing the same work at once, and nothing else depends on it.
"""

from __future__ import annotations

import itertools
import time

from s2cli.server.store.bucket.objects import Objects


class Lease:
    """The lease on the object `name`, for the server with that `run`. In the object is the run, and how often it has
    renewed the lease, which makes another version of it."""

    def __init__(self, objects: Objects, name: str, run: str) -> None:
        self._objects = objects
        self._name = name
        self._run = run
        self._renewals = itertools.count(1)
        # The last version of the object that was seen, and since when.
        self._seen: tuple[str, float] = "", 0.0

    async def renew(self, lasts_s: float) -> bool:
        """Take it, or keep it. False if somebody else has it, and was seen to renew it in the last `lasts_s`. Raises
        ApiError."""
        data = f"{self._run} {next(self._renewals)}".encode()
        found = await self._objects.get(self._name)
        if found is None:
            return await self._objects.create(self._name, data)
        holder, version = found[0].decode().partition(" ")[0], found[1]
        if holder not in (self._run, ""):
            if version != self._seen[0]:
                self._seen = version, time.monotonic()
            if time.monotonic() - self._seen[1] < lasts_s:
                return False
        return await self._objects.replace(self._name, data, version)

    async def release(self) -> None:
        """Let somebody else have it at once. Raises ApiError."""
        found = await self._objects.get(self._name)
        if found is not None and found[0].decode().partition(" ")[0] == self._run:
            await self._objects.replace(self._name, b" ", found[1])
