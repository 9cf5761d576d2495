"""The thread that reads: pages of chunks, the place of a timestamp, and rows. It sees what is durable and no more."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from s2cli.errors import ApiError
from s2cli.server.engines.sqlite_checksum import complaint
from s2cli.server.engines.sqlite_errors import not_read
from s2cli.server.engines.sqlite_format import chunk_id, seq_num_of, to_unsigned
from s2cli.server.engines.sqlite_gate import Gate
from s2cli.server.store import Chunk

Result = TypeVar("Result")
Job = tuple[Callable[[sqlite3.Connection], Any], Future[Any]]


class Reader:
    """The thread and its connection."""

    def __init__(self, connection: sqlite3.Connection, loop: AbstractEventLoop, gate: Gate) -> None:
        self._connection = connection
        self._loop = loop
        self._gate = gate
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="s2-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, run: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        future: Future[Result] = self._loop.create_future()
        self._queue.put((run, future))
        return future

    def stop(self) -> None:
        """End after what is queued; blocks until the connection is closed."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            run, future = job
            result: Any = None
            error: BaseException | None = None
            if not future.cancelled():
                try:
                    with self._gate.reading():
                        result = run(self._connection)
                except sqlite3.Error as refusal:
                    error = not_read(refusal)
                except BaseException as failure:  # noqa: BLE001 - the thread lives on, the caller gets it
                    error = failure
            # A closed loop: nobody is left to be told.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, future, result, error)
            del job, run, future, result, error
        self._connection.close()


def _resolve(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def tail(connection: sqlite3.Connection, stream_id: int) -> tuple[int, int] | None:
    # In one statement, for both are changed in one transaction.
    row = connection.execute(
        "SELECT next_seq, last_ts, last.id, last.ts FROM stream LEFT JOIN"
        " (SELECT id, ts FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1) last WHERE stream.id=?",
        (chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0) - 1, stream_id),
    ).fetchone()
    if row is None:
        return None
    next_seq_num, timestamp, last_id, last_timestamp = row
    if last_id is not None and seq_num_of(last_id) + 1 > next_seq_num:
        next_seq_num, timestamp = seq_num_of(last_id) + 1, last_timestamp
    return next_seq_num, to_unsigned(timestamp)


def read(
    connection: sqlite3.Connection, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int, now_ms: int
) -> list[Chunk]:
    cursor = connection.execute(
        "SELECT crc, id, n, size, ts, exp, kind, data FROM chunk WHERE id BETWEEN ? AND ? AND (exp = 0 OR exp > ?)"
        " ORDER BY id",
        (chunk_id(stream_id, first_seq_num), chunk_id(stream_id, end_seq_num - 1), now_ms),
    )
    chunks: list[Chunk] = []
    size_bytes = 0
    for row in cursor:
        _, row_id, count, metered_bytes, timestamp, _, kind, data = row
        seq_num = seq_num_of(row_id)
        damage = complaint(*row)
        if damage is not None:
            if chunks:
                break  # what lies before the damage can be read
            raise ApiError("storage", f"the records up to sequence number {seq_num} are damaged on disk: {damage}")
        chunks.append(Chunk(seq_num + 1 - count, count, metered_bytes, to_unsigned(timestamp), data, kind))
        size_bytes += len(data)
        if size_bytes >= max_bytes:
            break
    cursor.close()  # ends the read: a page holds no snapshot once it is made
    return chunks


def find_timestamp(
    connection: sqlite3.Connection, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int
) -> int | None:
    """Bisection over keys: timestamps never fall within a stream."""
    low, high = chunk_id(stream_id, first_seq_num), chunk_id(stream_id, end_seq_num)
    last = high - 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT id, ts FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (middle, last)
        ).fetchone()
        if row is not None and to_unsigned(row[1]) < timestamp:
            low = row[0] + 1
        else:
            high = middle
    row = connection.execute(
        "SELECT id, n FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (low, last)
    ).fetchone()
    return seq_num_of(row[0]) + 1 - row[1] if row else None


def unfinished_trims(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Stream ids and trim points where chunks are left that a trim should have deleted."""
    return connection.execute(
        "SELECT id, trim_point FROM stream WHERE trim_point > 0"
        " AND EXISTS (SELECT 1 FROM chunk c WHERE c.id BETWEEN stream.id << 40 AND (stream.id << 40) + trim_point - 1)"
    ).fetchall()
