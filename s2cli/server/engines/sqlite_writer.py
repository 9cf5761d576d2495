"""The thread that writes: group commit over all streams, checkpoints, deletion in slices, and what happens when the
disk says no.

Everything that changes the database goes through one connection in one thread, in this order: what the control plane
asked for, then one group of appends, then maintenance; what is small and came meanwhile goes before that. Appends of
one stream keep their order; streams do not wait for each other longer than a group takes. Numbers in comments were
measured on two cores with an SSD.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.engines import sqlite_chunks as chunks
from s2cli.server.engines.ballast import Ballast
from s2cli.server.engines.sqlite_cleaner import Cleaner
from s2cli.server.engines.sqlite_format import PAGE_BYTES
from s2cli.server.engines.sqlite_gate import Gate
from s2cli.server.histogram import Histogram
from s2cli.server.store import Append, Lane

GROUP_BYTES = 4 * 1024 * 1024
# Streams that load in bulk take turns of this size in a group.
TURN_BYTES = 1024 * 1024
# A stream with more than this in its queue is loading in bulk, and waits for those that are not.
SMALL_LANE_BYTES = 64 * 1024
# So many groups of small appends may go while a bulk one waits: bulk never starves.
SMALL_GROUPS_IN_A_ROW = 8
# A checkpoint of 4 MiB takes 2.5 ms, and the log stays in the page cache.
CHECKPOINT_BYTES = 4 * 1024 * 1024
IDLE_CHECKPOINT_BYTES = 2 * 1024 * 1024
IDLE_S = 0.01
# About what an operation or a slice of deletion writes into the log.
OPERATION_PAGES = 16

# Bounds of the histogram.
COMMIT_TIMES_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

DISK_FULL = "the disk is full: trim or delete streams, or make room"


class Operation:
    """A change that the control plane asked for: `run` in a transaction, its result into `future`, on the loop.
    What is queued for `stream_id` is written before. `grows`: it adds, and does not get the room that is kept for what
    deletes."""

    __slots__ = ("future", "grows", "run", "stream_id")

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        future: Future[Any],
        stream_id: int | None = None,
        *,
        grows: bool = False,
    ) -> None:
        self.run = run
        self.future = future
        self.stream_id = stream_id
        self.grows = grows


Item = Append | Operation | list[tuple[int, int]] | int | None


class Writer:
    """The thread and its connection. `settle` is called on the loop, once per group."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: AbstractEventLoop,
        gate: Gate,
        ballast: Ballast,
        settle: Callable[[list[Append], S2Error | None], None],
    ) -> None:
        self.failure: str | None = None  # for good: nothing is written any more
        self.commit_times = Histogram(COMMIT_TIMES_S)
        self.full = False  # for now: the last write found no room
        self._connection = connection
        self._loop = loop
        self._gate = gate
        self._ballast = ballast
        self._settle = settle
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._lanes: deque[Lane] = deque()  # those with something queued
        self._operations: deque[Operation] = deque()
        self._refused: list[Append] = []
        self._cleaner = Cleaner(connection)
        self._stopping = False
        self._small_groups = 0
        self._bulk = False  # the last group was a large one
        self._log_bytes = 0  # about what is in the write-ahead log and not yet in the database
        self._thread = threading.Thread(target=self._run, name="s2-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: Append | Operation) -> None:
        self._queue.put(item)

    def trim(self, trim_points: list[tuple[int, int]]) -> None:
        """Delete, in time, the chunks of streams that end at or before a sequence number."""
        self._queue.put(trim_points)

    def expire(self, now_ms: int) -> None:
        """Delete, in time, what has expired by then."""
        self._queue.put(now_ms)

    def stop(self) -> None:
        """Write what is queued, then end; blocks until the connection is closed."""
        self._queue.put(None)
        self._thread.join()

    # From here on in the thread.

    def _run(self) -> None:
        try:
            while not self._stopping or self._lanes or self._operations or self._refused:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it was, nobody may be left waiting
            self.failure = f"{type(error).__name__}: {error}"
            self._refuse_everything()
        while not self._stopping:
            self._take()
            self._refuse_everything()
        with contextlib.suppress(sqlite3.Error):
            if self.failure is None:
                # Readers are gone by now: this one may empty the log.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()

    def _turn(self) -> None:
        self._take()
        while self._operations:
            self._operate(self._operations.popleft())
        if self._lanes:
            self._commit(self._next_group())
        if self._refused:
            refused, self._refused = self._refused, []
            self._tell(self._settle, refused, self._refusal())
        if self._log_bytes >= CHECKPOINT_BYTES:
            if self._bulk:
                self._let_small_pass()
            self._checkpoint()
        if self._cleaner.busy:
            self._clean_up()

    def _take(self) -> None:
        """Sort what has come; waits for it if there is nothing else to do."""
        queue = self._queue
        count = queue.qsize()
        if not count:
            if self._lanes or self._operations or self._refused or self._stopping or self._cleaner.busy:
                return
            self._sort(self._wait())
            count = queue.qsize()
        for _ in range(count):
            self._sort(queue.get_nowait())

    def _wait(self) -> Item:
        """The next item. A pause is used for a checkpoint, but not the one between an ack and the next append, unless
        that was a large one: the next is being parsed then, on another core."""
        if self._log_bytes >= IDLE_CHECKPOINT_BYTES:
            if not self._bulk:
                with contextlib.suppress(Empty):
                    return self._queue.get(timeout=IDLE_S)
            self._checkpoint()
        return self._queue.get()

    def _sort(self, item: Item) -> None:
        if isinstance(item, Append):
            lane = item.lane
            if lane.broken:
                self._refused.append(item)
                return
            if not lane.queue:
                self._lanes.append(lane)
            lane.queue.append(item)
            lane.queued_bytes += len(item.chunk.data)
        elif item is None:
            self._stopping = True
        elif isinstance(item, Operation):
            self._operations.append(item)
        elif isinstance(item, int):
            self._cleaner.expire(item)
        else:
            self._cleaner.trim(item)

    def _let_small_pass(self) -> None:
        """What is small and came during a bulk commit does not wait for the checkpoint after it, too."""
        for _ in range(self._queue.qsize()):
            self._sort(self._queue.get_nowait())
        if any(lane.queued_bytes <= SMALL_LANE_BYTES for lane in self._lanes):
            self._commit(self._next_group())

    def _next_group(self) -> list[Append]:
        small: list[Lane] = []
        bulk: list[Lane] = []
        for lane in self._lanes:
            (small if lane.queued_bytes <= SMALL_LANE_BYTES else bulk).append(lane)
        group: list[Append] = []
        if small and (not bulk or self._small_groups < SMALL_GROUPS_IN_A_ROW):
            self._small_groups = self._small_groups + 1 if bulk else 0
            taken_bytes = 0
            while small and taken_bytes < GROUP_BYTES:
                lane = small.pop()
                taken_bytes += lane.queued_bytes
                group.extend(lane.queue)
                lane.queue.clear()
                lane.queued_bytes = 0
            self._lanes = deque(bulk + small)
            return group
        self._small_groups = 0
        turns = deque(bulk)
        left_bytes = GROUP_BYTES
        while turns and left_bytes > 0:
            lane = turns.popleft()
            left_bytes -= self._take_turn(lane, min(left_bytes, TURN_BYTES), group)
            if lane.queue:
                turns.append(lane)
        self._lanes = deque((*small, *turns))
        return group

    @staticmethod
    def _take_turn(lane: Lane, most_bytes: int, group: list[Append]) -> int:
        taken_bytes = 0
        while lane.queue and taken_bytes < most_bytes:
            append = lane.queue.popleft()
            taken_bytes += len(append.chunk.data)
            group.append(append)
        lane.queued_bytes -= taken_bytes
        return taken_bytes

    def _commit(self, group: list[Append]) -> None:
        started_s = time.perf_counter()
        # A trim makes room in the end, but it is written first.
        trims = any(append.trim_point is not None for append in group)
        if not (self._ballast.aboard or self._ballast.restore()):
            alone = all(append.lane is group[0].lane for append in group)
            if not (trims and alone):
                self._no_room(group)
                return
        try:
            try:
                chunks.insert(self._connection, group)
            except sqlite3.Error as error:
                if not self._is_full(error):
                    raise
                if not (trims and self._ballast.release()):
                    self._no_room(group)
                    return
                chunks.insert(self._connection, group)
        except BaseException as error:
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            self._refuse(group)
            raise
        self.full = False
        self._tell(self._settle, group, None)
        self.commit_times.add(time.perf_counter() - started_s)
        lanes = set()
        size_bytes = 0
        for append in group:
            lanes.add(append.lane)
            size_bytes += len(append.chunk.data)
            if append.trim_point is not None:
                self._cleaner.trim([(append.lane.stream_id, append.trim_point)])
        self._bulk = size_bytes > SMALL_LANE_BYTES
        # The last page of each stream is written whole, and those above.
        self._log_bytes += size_bytes + (len(lanes) + 2) * PAGE_BYTES

    def _no_room(self, group: list[Append]) -> None:
        """Refuse the group; but if it is of several streams, what is small may pass by itself."""
        self.full = True
        by_lane: dict[Lane, list[Append]] = {}
        for append in group:
            by_lane.setdefault(append.lane, []).append(append)
        if len(by_lane) > 1:
            for part in by_lane.values():
                self._commit(part)
        else:
            self._refuse(group)

    def _operate(self, operation: Operation) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            for lane in [lane for lane in self._lanes if lane.stream_id == operation.stream_id]:
                group: list[Append] = []
                self._take_turn(lane, lane.queued_bytes, group)
                self._lanes.remove(lane)
                self._commit(group)
            result = self._run_with_room(operation.run, grows=operation.grows)
            if operation.stream_id is not None:
                self._cleaner.vacuum()
        except S2Error as refusal:
            error = refusal
        except BaseException as fatal:
            self.failure = self.failure or f"{type(fatal).__name__}: {fatal}"
            self._tell(_resolve, operation.future, None, self._refusal())
            raise
        self._tell(_resolve, operation.future, result, error)

    def _run_with_room(self, run: Callable[[sqlite3.Connection], Any], *, grows: bool = False) -> Any:
        """Run in a transaction; if the disk is full, and it does not grow, once more without the ballast."""
        if grows and not (self._ballast.aboard or self._ballast.restore()):
            self.full = True
            raise ApiError("storage", DISK_FULL)
        self._log_bytes += OPERATION_PAGES * PAGE_BYTES
        while True:
            try:
                return chunks.in_transaction(self._connection, run)
            except sqlite3.Error as error:
                if not self._is_full(error):
                    raise
                self.full = True
                if grows or not self._ballast.release():
                    raise ApiError("storage", DISK_FULL) from error

    def _clean_up(self) -> None:
        pages = 0
        while self._cleaner.busy:
            try:
                pages = self._cleaner.step(self._run_with_room)
                break
            except sqlite3.Error as error:
                if not self._is_full(error):
                    raise
                self.full = True
                if not self._ballast.release():
                    self._cleaner.stop_vacuuming()
        self._log_bytes += pages * PAGE_BYTES
        if not self._cleaner.busy:
            self._ballast.restore()

    def _checkpoint(self) -> None:
        with self._gate.checkpoint():
            try:
                _, log_pages, moved_pages = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                if not self._is_full(error):
                    raise
                self.full = True
                return
        self._log_bytes = max(0, log_pages - moved_pages) * PAGE_BYTES

    @staticmethod
    def _is_full(error: sqlite3.Error) -> bool:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL

    # Refusing.

    def _refuse(self, group: list[Append]) -> None:
        """Break the lanes of the group: what is behind it in them has no place to stand."""
        for lane in {append.lane: None for append in group}:
            lane.broken = True
            if lane.queue:
                self._lanes.remove(lane)
                group.extend(lane.queue)
                lane.queue.clear()
                lane.queued_bytes = 0
        self._tell(self._settle, group, self._refusal())

    def _refuse_everything(self) -> None:
        refused, self._refused = self._refused, []
        for lane in self._lanes:
            lane.broken = True
            refused.extend(lane.queue)
            lane.queue.clear()
            lane.queued_bytes = 0
        self._lanes.clear()
        if refused:
            self._tell(self._settle, refused, self._refusal())
        while self._operations:
            self._tell(_resolve, self._operations.popleft().future, None, self._refusal())

    def _refusal(self) -> S2Error:
        return ApiError("storage", DISK_FULL if self.failure is None else f"the storage has failed: {self.failure}")

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        # A closed loop: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _resolve(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
