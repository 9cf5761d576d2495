"""What was counted in a basin, minute by minute: a row for each hour of a series, with its minutes as a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from s2cli.errors import ApiError
from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.database import Database
from s2cli.server.store.bucket.key_layout import CHUNK, CHUNK_HEAD, FOLDED, METRIC, U64, beyond, numbered
from s2cli.server.store.interface import Counted, Point

# What one question may find, some 40 MB.
MAX_POINTS_FOUND = 1 << 18
# What a series takes beside its points, in these.
SERIES_POINTS = 8
ROWS_IN_A_ROW = 200
CHUNKS_IN_A_ROW = 64
MAX_FOLDED = 1000


async def add(changes: Changes, points: Iterable[Point]) -> None:
    """Add to the series."""
    rows: dict[bytes, dict[str, int]] = {}
    for point in points:
        hour, minute = divmod(point.minute, 60)
        key = _key(point.stream, point.series) + U64.pack(hour)
        if key not in rows:
            present = await changes.get(key)
            rows[key] = {} if present is None else json.loads(present)
        rows[key][str(minute)] = rows[key].get(str(minute), 0) + point.value
    for key, minutes in rows.items():
        changes.put(key, json.dumps(minutes, separators=(",", ":")).encode())


async def deleted(changes: Changes, stream: str, metered_bytes: int, now_ms: int) -> None:
    """Chunks of the stream are deleted."""
    minute = now_ms // 60_000
    await add(changes, [Point("", name, "stored", minute, -metered_bytes) for name in (stream, "")])


def _key(stream: str, series: str) -> bytes:
    # An escape for half a surrogate pair, which a name from a request may have: nothing can write it down.
    return METRIC + b"\0".join((stream.encode(), series.encode("utf-8", "replace"))) + b"\0"


async def counted(database: Database, stream: str, series: Sequence[str], sums: Sums) -> None:
    """Add the points of these series, of a basin or one of its streams; see `Store.counted`."""
    for wanted in series:
        if wanted[-1] == ":":
            low, high = _key(stream, wanted)[:-1], _key(stream, wanted)[:-2] + b";"
        else:
            low, high = _key(stream, wanted), _key(stream, wanted) + b"\xff" * 9
        rows = await database.rows(low, high)
        while page := await rows.take(ROWS_IN_A_ROW):
            for key, value in page:
                # The hour may have a NUL in it: it is the last eight bytes, behind the last separator.
                name = key[:-9].rpartition(b"\0")[2].decode()
                first = U64.unpack(key[-8:])[0] * 60
                sums.add(name, {first + int(minute): value for minute, value in json.loads(value).items()})


async def folded(database: Database) -> frozenset[str]:
    """The objects whose counts are in the database (see counts.py)."""
    rows = await database.scan(FOLDED, beyond(FOLDED), MAX_FOLDED)
    return frozenset(key[len(FOLDED) :].decode() for key, _ in rows)


def note_folded(changes: Changes, names: Iterable[str], before: frozenset[str]) -> None:
    """The counts of these objects are in the database; those of `before` that are not among them are gone."""
    names = frozenset(names)
    for name in before - names:
        changes.delete(FOLDED + name.encode())
    for name in names - before:
        changes.put(FOLDED + name.encode(), b"")


class Sums:
    """Points of series, summed up by intervals."""

    def __init__(self, first: int, end: int, interval: int) -> None:
        self.first, self.end = first, end
        self._interval = interval
        self._points = 0
        self.found: Counted = {}

    def add(self, name: str, minutes: Mapping[int, int]) -> None:
        """Add what was counted in some minutes. Raises ApiError where there are too many by now."""
        for minute, value in sorted(minutes.items()):
            if not self.first <= minute < self.end:
                continue
            if name not in self.found:
                self.found[name] = {}
                self._points += SERIES_POINTS
            sums, at = self.found[name], minute - minute % self._interval
            if at not in sums:
                self._points += 1
            sums[at] = sums.get(at, 0) + value
        if self._points > MAX_POINTS_FOUND:
            raise ApiError("invalid", "there are too many values: ask for a shorter time, or a longer interval")


async def stored_bytes(database: Database, stream_id: int | None) -> int:
    """The metered bytes of a stream, or of all if it is None."""
    first = CHUNK if stream_id is None else numbered(CHUNK, stream_id)
    end = numbered(CHUNK, (1 << 64) - 1) if stream_id is None else numbered(CHUNK, stream_id + 1)
    size_bytes = 0
    rows = await database.rows(first, end)
    while page := await rows.take(CHUNKS_IN_A_ROW):
        size_bytes += sum([CHUNK_HEAD.unpack_from(value)[1] for _, value in page])
    return size_bytes
