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

from s2cli.server.engines.sqlite_errors import is_full, is_of_the_disk
from s2cli.server.engines.sqlite_format import chunk_id
from s2cli.server.store import Counted, Point

log = logging.getLogger("s2cli.server")

# More than the 90 days that can be asked for (protocol section 12.1).
KEPT_HOURS = 91 * 24
EXPIRY_SLICE = 5000
# What one look at the chunks may take; others wait meanwhile.
MEASURE_CHUNKS = 20_000
MEASURE_STREAMS = 1000


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
    connection: sqlite3.Connection, basin: str, stream: str, series: Sequence[str], first: int, end: int
) -> Counted:
    """Of each series that is one of the names, or begins with one that ends with a colon: minute -> value."""
    found: Counted = {}
    rows = connection.execute(
        "SELECT series, hour, minutes FROM metric WHERE basin=? AND stream=? AND hour BETWEEN ? AND ?",
        (basin.encode(), stream.encode(), first // 60, (end - 1) // 60),
    )
    for name, hour, minutes in rows:
        if not any(name == wanted or (wanted[-1] == ":" and name.startswith(wanted)) for wanted in series):
            continue
        values = found.setdefault(name, {})
        for minute, value in json.loads(minutes).items():
            at = hour * 60 + int(minute)
            if first <= at < end:
                values[at] = value
    return found


def active_basins(connection: sqlite3.Connection, first: int, end: int) -> list[str]:
    """The basins that had a stream in these minutes: one that is still there, or one that was written to."""
    rows = connection.execute(
        "SELECT name FROM basin b WHERE EXISTS"
        " (SELECT 1 FROM stream WHERE basin = b.name AND created_at < ? AND (deleted_at IS NULL OR deleted_at >= ?))"
        " UNION SELECT DISTINCT basin FROM metric WHERE hour BETWEEN ? AND ? AND stream <> X''"
        " ORDER BY 1",
        (end * 60_000, first * 60_000, first // 60, (end - 1) // 60),
    )
    return [name.decode() for (name,) in rows]


def stream_ids(connection: sqlite3.Connection, basin: str) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM stream WHERE basin=?", (basin.encode(),))]


def measure(connection: sqlite3.Connection, ids: Sequence[int], first_chunk: int) -> tuple[int, int, int]:
    """The metered bytes of some of the streams; how many are done, and the chunk of the next one to go on with."""
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
