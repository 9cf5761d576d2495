"""What was counted of the account, minute by minute: an object for each hour and each run of a server, rewritten as the
hour goes on. Nothing is shared between servers but the sum."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

from s2cli.server.store.bucket.metric_table import Sums
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.interface import Counted, Point

# More than the 90 days that can be asked for (protocol section 12.1).
KEPT_HOURS = 91 * 24


class AccountMetrics:
    """The points of this server, and what the bucket has of all. Names are `metrics/HOUR-RUN`, with the hour since 1970
    in ten digits; in each is series -> minute -> value."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._run = os.urandom(8).hex()
        self._hours: dict[int, dict[str, dict[str, int]]] = {}

    async def add(self, points: Iterable[Point]) -> None:
        """Add to the series, all points or none of an hour."""
        added: dict[int, list[Point]] = {}
        for point in points:
            added.setdefault(point.minute // 60, []).append(point)
        for hour, some in added.items():
            series = {name: dict(minutes) for name, minutes in self._hours.get(hour, {}).items()}
            for point in some:
                minutes = series.setdefault(point.series, {})
                minute = str(point.minute % 60)
                minutes[minute] = minutes.get(minute, 0) + point.value
            await self._objects.put(self._name(hour), json.dumps(series, separators=(",", ":")).encode())
            self._hours[hour] = series
        for hour in sorted(self._hours)[:-2]:
            del self._hours[hour]

    def _name(self, hour: int) -> str:
        return f"metrics/{hour:010d}-{self._run}"

    async def counted(self, series: Sequence[str], first: int, end: int, interval: int) -> Counted:
        """What `Store.counted` returns, of the account."""
        sums = Sums(first, end, interval)
        async for name, _ in self._objects.names("metrics/", f"{first // 60:010d}"):
            hour = int(name[:10])
            if hour * 60 >= end:
                break
            found = await self._objects.get(f"metrics/{name}")
            for counted, minutes in ({} if found is None else json.loads(found[0])).items():
                if any(counted.startswith(wanted) if wanted[-1] == ":" else counted == wanted for wanted in series):
                    sums.add(counted, hour, minutes)
        return sums.found

    async def forget(self, now_ms: int) -> None:
        """Delete what is too old to be asked for."""
        last = f"{now_ms // 3_600_000 - KEPT_HOURS:010d}"
        async for name, _ in self._objects.names("metrics/"):
            if name >= last:
                break
            await self._objects.delete(f"metrics/{name}")
