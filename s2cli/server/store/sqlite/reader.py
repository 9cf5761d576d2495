"""The thread that reads: pages of chunks, the place of a timestamp, and rows. It sees what is durable and no more. Its
reads and the writer's checkpoints alternate."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

from s2cli.errors import ApiError
from s2cli.server.store.futures import resolve
from s2cli.server.store.interface import Chunk, Tail
from s2cli.server.store.sqlite import gone, loss
from s2cli.server.store.sqlite.checksums import COLUMNS, SEALED, columns_complaint, complaint, is_whole
from s2cli.server.store.sqlite.disk import not_read
from s2cli.server.store.sqlite.keys import chunk_id, seq_num_of
from s2cli.server.store.sqlite.schema import to_unsigned

Result = TypeVar("Result")
Values = TypeVarTuple("Values")
# A look that others may have their turn in: between two `yield`s it takes some milliseconds, and keeps no cursor.
Slices = Generator[None, None, Result]
Job = tuple[Callable[[sqlite3.Connection], Any], Future[Any]]

# Between two looks whether a thread that is to end may still be waited for.
WAIT_S = 0.5
# What one look takes in at most, some milliseconds each; others wait meanwhile.
EXPIRED_IN_A_ROW = 2000
STREAMS_IN_A_ROW = 1000

_REPAIR = f" on disk: {loss.ADVICE}"


class Gate:
    """The gate is a lock between the thread that reads and the one that writes: it lets the reader's pages and the
    writer's checkpoints alternate. Without it readers keep checkpoints from reaching the end of the log; a plain lock
    would let them starve the writer."""

    __slots__ = ("_go", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._go.set()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        self._go.wait()
        with self._lock:
            yield

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[None]:
        self._go.clear()
        try:
            with self._lock:
                yield
        finally:
            self._go.set()


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

    async def in_slices(
        self, begin: Callable[[sqlite3.Connection, *Values], Slices[Result]], *values: *Values
    ) -> Result:
        """What the slices return in the end that `begin` makes."""
        slices: Slices[Result] | None = None
        ended: list[Result] = []

        def run(connection: sqlite3.Connection) -> None:
            nonlocal slices
            slices = slices or begin(connection, *values)
            try:
                next(slices)
            except StopIteration as end:
                ended.append(end.value)

        while not ended:
            await self.submit(run)
        return ended[0]

    def stop(self, may_wait: Callable[[], bool]) -> None:
        """End after what is queued; blocks until the connection is closed, or `may_wait` says no."""
        self._queue.put(None)
        while self._thread.is_alive() and may_wait():
            self._thread.join(WAIT_S)

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
            call_on(self._loop, resolve, future, result, error)
            del job, run, future, result, error
        self._connection.close()


def call_on(loop: AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call the function in the loop, from another thread. Does nothing if the loop is closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def tail(connection: sqlite3.Connection, stream_id: int) -> Tail | None:
    first, last = chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0) - 1
    # In one statement, for both are changed in one transaction.
    row = connection.execute(
        f"SELECT next_seq, last_ts, last.* FROM stream LEFT JOIN (SELECT {COLUMNS} FROM chunk"  # noqa: S608
        " WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1) last WHERE stream.id=?",
        (first, last, stream_id),
    ).fetchone()
    if row is None:
        return None
    next_seq_num, last_timestamp, *columns = row
    last_id, timestamp = columns[1], columns[4]
    end_seq_num = expires_at_ms = 0
    doubt = None
    if last_id is not None:
        end_seq_num = seq_num_of(last_id) + 1
        expires_at_ms = columns[5]
        if columns_complaint(connection, *columns) is not None:
            doubt = f"the last records of the stream, up to sequence number {seq_num_of(last_id)}, are damaged{_REPAIR}"
        if end_seq_num > next_seq_num:
            next_seq_num, last_timestamp = end_seq_num, timestamp
    gap = None if end_seq_num >= next_seq_num else gone.unexplained(connection, stream_id, end_seq_num, next_seq_num)
    if gap is not None:
        doubt = f"the last records of the stream, from sequence number {gap[0]} on, are missing{_REPAIR}"
    return Tail(next_seq_num, to_unsigned(last_timestamp), doubt, expires_at_ms)


def read(
    connection: sqlite3.Connection, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int, now_ms: int
) -> tuple[list[Chunk], int | None]:
    """Some chunks; or none, and the sequence number to continue from, where many have expired. Each must follow the one
    before it, or `first_seq_num`, and the last one reach `end_seq_num`; what is missing must be gone for a reason."""
    # The data of one that has expired is not read, and lies elsewhere if it is large.
    cursor = connection.execute(
        f"SELECT CASE WHEN exp = 0 OR exp > ? THEN data END, {COLUMNS} FROM chunk"  # noqa: S608
        " WHERE id BETWEEN ? AND ? ORDER BY id",
        (now_ms, chunk_id(stream_id, first_seq_num), chunk_id(stream_id, end_seq_num) - 1),
    )
    chunks: list[Chunk] = []
    size_bytes = expired = 0
    due = first_seq_num  # the sequence number that is due
    go_on = gap = damage = None
    for data, crc, row_id, count, metered_bytes, timestamp, expires_at_ms, kind in cursor:
        seq_num = seq_num_of(row_id)
        if data is not None:
            damage = complaint(crc, row_id, count, metered_bytes, timestamp, expires_at_ms, kind, data)
        else:
            columns = crc, row_id, count, metered_bytes, timestamp, expires_at_ms, kind
            damage = columns_complaint(connection, *columns, may_read=False)
        if damage is not None:
            gap = due, seq_num + 1  # where it begins its own columns may say wrongly
            break
        first = seq_num + 1 - count
        if first > due and (gap := gone.unexplained(connection, stream_id, due, first)) is not None:
            break
        due = seq_num + 1
        if data is None:
            expired += 1
            if expired == EXPIRED_IN_A_ROW:
                go_on = None if chunks else due
                break
            continue
        chunks.append(Chunk(first, count, metered_bytes, to_unsigned(timestamp), data, kind))
        size_bytes += len(data)
        if size_bytes >= max_bytes:
            break
    else:
        if due < end_seq_num:
            gap = gone.unexplained(connection, stream_id, due, end_seq_num)
    cursor.close()  # ends the read: a page holds no snapshot once it is made
    if gap is not None and not chunks:  # what lies before the damage can be read
        raise _damaged(gap[0], gap[1] - 1, damage or "they are missing")
    return chunks, go_on


def _damaged(first_seq_num: int, last_seq_num: int, damage: str) -> ApiError:
    return ApiError(
        "storage",
        f"the records from sequence number {first_seq_num} to {last_seq_num} are damaged on disk: {damage}",
        damaged=(first_seq_num, last_seq_num),
    )


def find_timestamp(
    connection: sqlite3.Connection, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int
) -> int | None:
    """Bisection over keys: timestamps never fall within a stream."""
    low, high = chunk_id(stream_id, first_seq_num), chunk_id(stream_id, end_seq_num)
    last = high - 1

    def look(at: int) -> tuple[int, int, int] | None:
        """Key, count and timestamp of the chunk that is there, or the next one."""
        columns = connection.execute(
            f"SELECT {COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",  # noqa: S608
            (at, last),
        ).fetchone()
        if columns is None:
            return None
        _, row_id, count, _, found, _, _ = columns
        if (damage := columns_complaint(connection, *columns)) is not None:
            raise _damaged(seq_num_of(at), seq_num_of(row_id), damage)
        return row_id, count, to_unsigned(found)

    while low < high:
        middle = (low + high) // 2
        chunk = look(middle)
        if chunk is not None and chunk[2] < timestamp:
            low = chunk[0] + 1
        else:
            high = middle
    chunk = look(low)
    # Whether what lies before it is older can be told of what is there alone.
    first = end_seq_num if chunk is None else seq_num_of(chunk[0]) + 1 - chunk[1]
    before = seq_num_of(low)
    if before < first and (gap := gone.unexplained(connection, stream_id, before, first)) is not None:
        raise _damaged(gap[0], gap[1] - 1, "they are missing")
    return None if chunk is None else first


def unfinished_trims(
    connection: sqlite3.Connection, after: tuple[int, int]
) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
    """Stream ids and trim points where chunks are left that a trim should have deleted, of some of the streams behind
    `after`, a trim point and an id; and the `after` to continue with, if there may be more."""
    columns = (
        "id, trim_point,"
        " EXISTS (SELECT 1 FROM chunk c WHERE c.id BETWEEN stream.id << 40 AND (stream.id << 40) + trim_point - 1)"
    )
    trim_point, stream_id = after
    # Not as one comparison of pairs: SQLite seeks to the first of a pair alone.
    rows = connection.execute(
        f"SELECT {columns} FROM stream WHERE trim_point > 0 AND trim_point=? AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
        (trim_point, stream_id, STREAMS_IN_A_ROW),
    ).fetchall()
    rows += connection.execute(
        f"SELECT {columns} FROM stream WHERE trim_point > 0 AND trim_point > ? ORDER BY trim_point, id LIMIT ?",  # noqa: S608
        (trim_point, STREAMS_IN_A_ROW - len(rows)),
    ).fetchall()
    unfinished = [
        (stream_id, trim_point)
        for stream_id, trim_point, is_unfinished in rows
        if is_unfinished and _row_is_whole(connection, stream_id)
    ]
    return unfinished, (rows[-1][1], rows[-1][0]) if len(rows) == STREAMS_IN_A_ROW else None


def _row_is_whole(connection: sqlite3.Connection, stream_id: int) -> bool:
    """Whether what the row of the stream says can be relied on: by a wrong trim point records would be deleted."""
    row = connection.execute(f"SELECT crc, {SEALED['stream']} FROM stream WHERE id=?", (stream_id,)).fetchone()  # noqa: S608
    return row is not None and is_whole(row[0], row[1:])
