"""What was counted, minute by minute: one row for each hour of a series, with its minutes as a JSON object.

So nothing has to be summed up later, and 90 days of a series are 2160 rows at most. The series `stored` has what was
added to a stream or a basin, less what was deleted; the deletion writes its part itself, in its own transaction.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence

from s2cli.errors import ApiError
from s2cli.server.store.interface import Counted, Point
from s2cli.server.store.sqlite.disk import is_full, is_of_the_disk
from s2cli.server.store.sqlite.keys import chunk_id
from s2cli.server.store.sqlite.reader import Slices

log = logging.getLogger("s2cli.server")

# More than the 90 days that can be asked for (protocol section 12.1).
KEPT_HOURS = 91 * 24
EXPIRY_SLICE = 1000
# What one question may find, some 40 MB: two series by the minute for 90 days, or many with few points.
MAX_POINTS = 1 << 18
# What a series takes beside its points, in these.
SERIES_POINTS = 8
# How many chunks one step may read; others wait meanwhile.
MEASURE_CHUNKS = 20_000
MEASURE_STREAMS = 1000
# The same for the other looks, some milliseconds each.
COUNTED_ROWS = 200
BASINS_IN_A_ROW = 200
STREAMS_IN_A_ROW = 2000
JUMPS_IN_A_ROW = 1000


def add(connection: sqlite3.Connection, points: Iterable[Point]) -> None:
    """Add to the series, and drop some of what is too old to be asked for."""
    by_row: dict[tuple[str, str, str, int], dict[str, int]] = {}
    dropped: list[str] = []
    last_hour = 0
    for point in points:
        try:
            hour, minute = divmod(point.minute, 60)
            row = by_row.setdefault((point.basin, point.stream, point.series, hour), {})
            row[str(minute)] = row.get(str(minute), 0) + point.value
        except Exception as error:  # noqa: BLE001 - see below
            dropped.append(f"{point!r:.200}: {error}")
    for key, added in by_row.items():
        try:
            _add_to_row(connection, *key, added)
        except Exception as error:
            if is_full(error) or is_of_the_disk(error):
                raise
            # Nobody's write is to fail, now or again and again, because something about it cannot be counted.
            dropped.append(f"{key!r:.200}: {error}")
        else:
            last_hour = key[-1]
    if dropped:
        log.warning("metrics of %d series cannot be stored and are dropped: %s", len(dropped), dropped[0])
    connection.execute(
        "DELETE FROM metric WHERE (basin, stream, series, hour) IN"
        " (SELECT basin, stream, series, hour FROM metric WHERE hour < ? LIMIT ?)",
        (last_hour - KEPT_HOURS, EXPIRY_SLICE),
    )


def _add_to_row(
    connection: sqlite3.Connection, basin: str, stream: str, series: str, hour: int, added: dict[str, int]
) -> None:
    key = basin.encode(), stream.encode(), series, hour
    present = connection.execute(
        "SELECT minutes FROM metric WHERE basin=? AND stream=? AND series=? AND hour=?", key
    ).fetchone()
    minutes = json.loads(present[0]) if present else {}
    for name, value in added.items():
        minutes[name] = minutes.get(name, 0) + value
    connection.execute(
        "INSERT OR REPLACE INTO metric(basin, stream, series, hour, minutes) VALUES(?,?,?,?,?)",
        (*key, json.dumps(minutes, separators=(",", ":"))),
    )


def deleted(connection: sqlite3.Connection, stream_id: int, metered_bytes: int) -> None:
    """Chunks of a stream are deleted in this transaction."""
    names = connection.execute("SELECT basin, name FROM stream WHERE id=?", (stream_id,)).fetchone()
    if names is None:
        return
    basin, stream = names[0].decode(), names[1].decode()
    minute = int(time.time()) // 60
    add(connection, [Point(basin, name, "stored", minute, -metered_bytes) for name in (stream, "")])


def counted(
    connection: sqlite3.Connection, basin: str, stream: str, series: Sequence[str], first: int, end: int, interval: int
) -> Slices[Counted]:
    """Of each series that is one of the names, or begins with one that ends with a colon: the first minute of each
    interval -> the sum of its values."""
    found: Counted = {}
    points = 0
    for wanted in series:
        beyond = wanted[:-1] + chr(ord(":") + 1) if wanted[-1] == ":" else wanted + "\0"
        name, hour = wanted, -1
        more = True
        while more:
            rows = connection.execute(
                "SELECT series, hour, CASE WHEN hour BETWEEN ? AND ? THEN minutes ELSE '{}' END FROM metric"
                " WHERE basin=? AND stream=? AND (series, hour) > (?, ?) AND series < ? ORDER BY series, hour LIMIT ?",
                (first // 60, (end - 1) // 60, basin.encode(), stream.encode(), name, hour, beyond, COUNTED_ROWS),
            ).fetchall()
            for name, hour, minutes in rows:
                counts = {hour * 60 + int(minute): value for minute, value in json.loads(minutes).items()}
                for minute in sorted(counts):
                    if first <= minute < end:
                        if name not in found:
                            found[name] = {}
                            points += SERIES_POINTS
                        sums, at = found[name], minute - minute % interval
                        if at not in sums:
                            sums[at] = 0
                            points += 1
                        sums[at] += counts[minute]
            if points > MAX_POINTS:
                raise ApiError("invalid", "there are too many values: ask for a shorter time, or a longer interval")
            more = len(rows) == COUNTED_ROWS
            yield
    return found


def active_basins(connection: sqlite3.Connection, first: int, end: int) -> Slices[list[str]]:
    """The basins that had a stream in these minutes: one that is still there, or one that was written to."""
    found: set[bytes] = set()
    basins: list[tuple[bytes]] = [(b"",)]
    while basins:
        basins = connection.execute(
            "SELECT name FROM basin WHERE name > ? ORDER BY name LIMIT ?", (basins[-1][0], BASINS_IN_A_ROW)
        ).fetchall()
        yield
        for (basin,) in basins:
            if (yield from _had_stream(connection, basin, first * 60_000, end * 60_000)):
                found.add(basin)
    for hour in range(first // 60, (end - 1) // 60 + 1):
        yield from _written_to(connection, hour, found)
    return [name.decode() for name in sorted(found)]


def _had_stream(connection: sqlite3.Connection, basin: bytes, first_ms: int, end_ms: int) -> Slices[bool]:
    name: bytes | None = b""
    limit = 1  # mostly the first one is
    while name is not None:
        name, had = connection.execute(
            "SELECT max(name), max(created_at < ? AND (deleted_at IS NULL OR deleted_at >= ?)) FROM"
            " (SELECT name, created_at, deleted_at FROM stream WHERE basin=? AND name > ? ORDER BY name LIMIT ?)",
            (end_ms, first_ms, basin, name, limit),
        ).fetchone()
        if had:
            return True
        if limit == STREAMS_IN_A_ROW:
            yield
        limit = STREAMS_IN_A_ROW
    return False


def _written_to(connection: sqlite3.Connection, hour: int, found: set[bytes]) -> Slices[None]:
    """Adds the basins of which a stream was counted in that hour, by jumps from each to the next."""
    basin = b""  # the account, which comes first
    jumps = 0
    while True:
        row = connection.execute(
            "SELECT basin FROM metric INDEXED BY metric_hour WHERE hour=? AND basin > ? ORDER BY basin LIMIT 1",
            (hour, basin),
        ).fetchone()
        jumps += 1
        if row is None or jumps % JUMPS_IN_A_ROW == 0:
            yield
        if row is None:
            return
        (basin,) = row
        if basin not in found:
            stream = connection.execute(
                "SELECT 1 FROM metric INDEXED BY metric_hour WHERE hour=? AND basin=? AND stream > X'' LIMIT 1",
                (hour, basin),
            ).fetchone()
            if stream is not None:
                found.add(basin)


def stored_bytes(connection: sqlite3.Connection, basin: str, stream: str) -> Slices[int]:
    """The metered bytes of a stream, or of a whole basin if `stream` is ""."""
    size_bytes = 0
    name = b""
    more = True
    while more:
        if stream:
            query, key = "SELECT id, name FROM stream WHERE basin=? AND name=? LIMIT ?", stream.encode()
        else:
            query, key = "SELECT id, name FROM stream WHERE basin=? AND name>? ORDER BY name LIMIT ?", name
        rows = connection.execute(query, (basin.encode(), key, MEASURE_STREAMS)).fetchall()
        ids = [row[0] for row in rows]
        at = first_chunk = 0
        while at < len(ids):
            found, done, first_chunk = measure(connection, ids[at:], first_chunk)
            size_bytes += found
            at += done
            yield
        more = len(rows) == MEASURE_STREAMS
        if more:
            name = rows[-1][1]
    return size_bytes


def measure(connection: sqlite3.Connection, ids: Sequence[int], first_chunk: int) -> tuple[int, int, int]:
    """Returns the metered bytes of some of the streams, how many of them are done, and the chunk of the next one to
    continue with."""
    size_bytes = chunks = done = 0
    for stream_id in ids[:MEASURE_STREAMS]:
        count, added, last = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0), max(id) FROM"
            " (SELECT id, size FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
            (max(first_chunk, chunk_id(stream_id, 0)), chunk_id(stream_id + 1, 0) - 1, MEASURE_CHUNKS),
        ).fetchone()
        size_bytes += added
        chunks += count
        if count == MEASURE_CHUNKS:
            return size_bytes, done, last + 1
        done += 1
        first_chunk = 0
        if chunks >= MEASURE_CHUNKS:
            break
    return size_bytes, done, 0
