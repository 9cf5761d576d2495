"""Counts in objects: those of the account, and those of basins that are not open where they were counted. There is one
object for each folder, hour and run of a server, rewritten as the hour goes on and left alone from then on."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable

from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.interface import Point

HOUR_MS = 3_600_000
# Counts are written so much later than they were counted at most, where the bucket was away.
LATE_HOURS = 24
# After so many hours nobody writes to an object any more: clocks differ, and a request may be on its way for long.
SETTLED_HOURS = 2
# More than the 90 days that can be asked for (protocol section 12.1).
KEPT_HOURS = 91 * 24

# (stream, series) -> minute -> value; the stream is "" for all of a basin, and for the account.
Counts = dict[tuple[str, str], dict[int, int]]


class CountObjects:
    """The points of this server, and what the bucket has of all. The name of an object is `HOUR-RUN` in its folder,
    with the hour in which it was written, since 1970, in ten digits; in it is stream -> series -> minute -> value."""

    def __init__(self, objects: Objects, clock_ms: Callable[[], int]) -> None:
        self._objects = objects
        self._clock_ms = clock_ms
        self._run = os.urandom(8).hex()
        # Folder -> the hour in which this server has written there last, and what.
        self._written: dict[str, tuple[int, Counts]] = {}

    def _hour(self) -> int:
        return self._clock_ms() // HOUR_MS

    async def add(self, folder: str, points: Iterable[Point]) -> None:
        """Add to the series, all points or none. Raises ApiError."""
        hour = self._hour()
        before_hour, before = self._written.get(folder, (hour, {}))
        counts = {key: dict(minutes) for key, minutes in before.items()} if before_hour == hour else {}
        for point in points:
            minutes = counts.setdefault((point.stream, point.series), {})
            minutes[point.minute] = minutes.get(point.minute, 0) + point.value
        await self._objects.put(f"{folder}{hour:010d}-{self._run}", _encoded(counts))
        self._written = {name: written for name, written in self._written.items() if written[0] == hour}
        self._written[folder] = hour, counts

    async def written(self, folder: str, first: int, end: int) -> AsyncIterator[tuple[str, Counts]]:
        """The names of the objects that may have points from minute `first` until `end`, and what is in them."""
        async for name, _ in self._objects.names(folder, f"{first // 60:010d}"):
            if int(name[:10]) > end // 60 + LATE_HOURS:
                break
            found = await self._objects.get(folder + name)
            if found is not None:
                yield name, _decoded(found[0])

    def is_settled(self, name: str) -> bool:
        """Whether nobody writes to the object with this name any more."""
        return int(name[:10]) < self._hour() - SETTLED_HOURS

    async def delete(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            await self._objects.delete(folder + name)

    async def forget(self, folder: str, *, all_of_it: bool = False) -> None:
        """Delete what is too old to be asked for."""
        last = f"{self._hour() - KEPT_HOURS:010d}"
        async for name, _ in self._objects.names(folder):
            if name >= last and not all_of_it:
                break
            await self._objects.delete(folder + name)


def _encoded(counts: Counts) -> bytes:
    streams: dict[str, dict[str, dict[int, int]]] = {}
    for (stream, series), minutes in counts.items():
        streams.setdefault(stream, {})[series] = minutes
    return json.dumps(streams, separators=(",", ":")).encode()


def _decoded(data: bytes) -> Counts:
    streams: dict[str, dict[str, dict[str, int]]] = json.loads(data)
    return {
        (stream, series): {int(minute): value for minute, value in minutes.items()}
        for stream, some in streams.items()
        for series, minutes in some.items()
    }
