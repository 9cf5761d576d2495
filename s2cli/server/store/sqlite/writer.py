"""The thread that writes: group commit over all streams, checkpoints, deletion in slices, and what happens when the
disk says no.

Everything that changes the database goes through one connection in one thread, in this order: what the control plane
asked for, then one group of appends, then maintenance; what is small and came meanwhile goes before that. Appends of
one stream keep their order; streams do not wait for each other longer than a group takes. Numbers in comments were
measured on two cores with an SSD.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.futures import resolve
from s2cli.server.store.interface import Append, Histogram
from s2cli.server.store.sqlite import chunks, creations, page_copy
from s2cli.server.store.sqlite.cleaner import Cleaner
from s2cli.server.store.sqlite.creations import InsertStreams
from s2cli.server.store.sqlite.disk import (
    LOOK_S,
    Complaints,
    Room,
    is_full,
    is_of_the_disk,
    is_of_the_moment,
    not_written,
)
from s2cli.server.store.sqlite.lanes import SMALL_LANE_BYTES, Lanes, by_lane, has_trim
from s2cli.server.store.sqlite.mark import Marker
from s2cli.server.store.sqlite.operations import Operation, refuse, resolve_all, run_together, take_next
from s2cli.server.store.sqlite.page_copy import CancelledError, PageCopy
from s2cli.server.store.sqlite.reader import Gate, call_on
from s2cli.server.store.sqlite.schema import PAGE_BYTES
from s2cli.server.store.sqlite.write_log import WriteLog
from s2cli.server.store.sqlite.writer_messages import Expire, Message, NoteTails, Stop, Trim

IDLE_S = 0.01

# A disk that has not answered for so long is not waited for: what comes is refused, and a stop proceeds without it.
STALL_S = 10.0

COMMIT_TIMES_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)  # bounds of the histogram

log = logging.getLogger("s2cli.server")


class Writer:
    """The thread and its connection. `on_written` is called on the loop, once per group."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: AbstractEventLoop,
        gate: Gate,
        room: Room,
        on_written: Callable[[list[Append], S2Error | None], None],
        insert_streams: InsertStreams,
        marker: Marker | None = None,
    ) -> None:
        self.failure: str | None = None  # for good: nothing is written any more
        # Since when it has been waiting for the disk, by time.monotonic(); None while it waits for something to do.
        self.busy_since_s: float | None = None
        self.commit_times = Histogram(COMMIT_TIMES_S)
        self._connection = connection
        self._loop = loop
        self._room = room
        self._on_written = on_written
        self._insert_streams = insert_streams
        self._log = WriteLog(connection, gate, room, marker)
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._lanes = Lanes()
        self._operations: deque[Operation] = deque()
        self._refused: list[Append] = []
        self._cleaner = Cleaner(connection)
        self._copies: deque[PageCopy] = deque()
        self._is_copying = False
        self._stopping = False
        self._complaints = Complaints()
        self._bulk = False  # the last group was a large one
        self._thread = threading.Thread(target=self._run, name="s2-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, message: tuple[Append, ...] | Operation | PageCopy) -> None:
        """Write it in its turn. A copy of the database is made in slices, between which all else proceeds."""
        self._queue.put(message)

    def trim(self, trim_points: list[tuple[int, int]]) -> None:
        """Have chunks deleted later, in slices: those of each stream id that end at or before its trim point."""
        self._queue.put(Trim(trim_points))

    def expire(self, now_ms: int) -> None:
        """Have what has expired by `now_ms` deleted later, in slices."""
        self._queue.put(Expire(now_ms))

    def note_tails(self, stream_ids: set[int]) -> None:
        """The rows of these streams do not say yet where they end: the next checkpoint is to see to it."""
        self._queue.put(NoteTails(stream_ids))

    def stop(self) -> None:
        """Write what is queued, then end; blocks until the connection is closed, or the disk has not answered for
        `STALL_S`: then what nobody was told of may be lost."""
        self._queue.put(Stop())
        while self._thread.is_alive() and not self.is_stalled:
            self._thread.join(LOOK_S)

    @property
    def is_stalled(self) -> bool:
        """Whether it has been waiting for the disk for so long that nobody should wait for it."""
        since_s = self.busy_since_s
        return since_s is not None and time.monotonic() - since_s > STALL_S

    # From here on in the thread.

    def _run(self) -> None:
        try:
            while not self._stopping or self._lanes or self._operations or self._refused:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it was, nobody may be left waiting
            self._give_up(error)
            self.busy_since_s = None
            self._refuse_everything()
        while not self._stopping:
            self._sort(self._queue.get())
            self._refuse_everything()
        self.busy_since_s = time.monotonic()
        with contextlib.suppress(sqlite3.Error):
            if self.failure is None:
                self._log.close()
        self._connection.close()

    def _turn(self) -> None:
        self._take()
        while self._operations:
            self._operate(take_next(self._operations))
        if self._lanes:
            self._commit(self._lanes.next_group())
        if self._refused:
            self._refused_written()
        if self._log.is_large:
            if self._bulk:
                self._let_small_pass()
            self.busy_since_s = time.monotonic()
            self._log.checkpoint()
        if self._cleaner.busy:
            self._clean_up()
        if self._copies and not self._is_copying:
            self._copy(self._copies.popleft())

    def _copy(self, item: PageCopy) -> None:
        """Between two slices turns are made as ever, and what fails in them fails as ever."""
        self._is_copying = True
        try:
            error = page_copy.make(self._connection, item, self._between_slices)
        except BaseException as failure:
            self._give_up(failure)
            self._tell(resolve, item.future, None, self._refusal())
            raise
        finally:
            self._is_copying = False
        self._tell(resolve, item.future, None, error)

    def _between_slices(self, pause_s: float) -> None:
        """A turn; if anybody waited for it, then what comes within so long is not kept waiting either."""
        if self._stopping:
            raise CancelledError("the server is shutting down")
        end_s = time.monotonic() + pause_s
        is_busy = self._queue.qsize() or self._lanes or self._operations
        self._turn()
        while is_busy and (left_s := end_s - time.monotonic()) > 0:
            self.busy_since_s = None
            if self._take_within(left_s):
                self._turn()
        self.busy_since_s = time.monotonic()

    def _take(self) -> None:
        """Sort what has come; waits for it if there is nothing else to do."""
        queue = self._queue
        count = queue.qsize()
        if not count:
            waiting = self._lanes or self._operations or self._refused or self._copies or self._cleaner.busy
            if waiting or self._is_copying or self._stopping:
                return
            self._wait()
            count = queue.qsize()
        for _ in range(count):
            self._sort(queue.get_nowait())

    def _wait(self) -> None:
        """Wait for a message, or for room on a full disk. A pause is used for a checkpoint, but not the one between an
        ack and the next append, unless that was a large one: the next is being parsed then, on another core."""
        self.busy_since_s = None
        if self._log.is_worth_a_pause:
            if not self._bulk and self._take_within(IDLE_S):
                return
            self.busy_since_s = time.monotonic()
            self._log.checkpoint()
            self.busy_since_s = None
        if self._log.is_unsynced:
            if self._take_within(max(IDLE_S, self._log.sync_in_s)):
                return
            self.busy_since_s = time.monotonic()
            self._log.sync_mark()
            self.busy_since_s = None
        while self._room.shortage is not None:
            if self._take_within(LOOK_S):
                return
            if self._room.check():
                self._cleaner.vacuum()
                return
        self._sort(self._queue.get())

    def _take_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(Empty):
            self._sort(self._queue.get(timeout=timeout_s))
            return True
        return False

    def _sort(self, message: Message) -> None:
        if isinstance(message, tuple):
            self._refused += [append for append in message if append.lane.broken is not None]
            self._lanes.put([append for append in message if append.lane.broken is None])
        elif isinstance(message, Operation):
            self._operations.append(message)
        elif isinstance(message, PageCopy):
            self._copies.append(message)
        elif isinstance(message, Trim):
            self._cleaner.trim(message.trim_points)
        elif isinstance(message, Expire):
            self._cleaner.expire(message.now_ms)
        elif isinstance(message, NoteTails):
            self._log.note_grown(message.stream_ids)
        else:
            self._stopping = True

    def _let_small_pass(self) -> None:
        """What is small and came during a bulk commit does not wait for the checkpoint after it, too."""
        for _ in range(self._queue.qsize()):
            self._sort(self._queue.get_nowait())
        if self._lanes.any_small:
            self._commit(self._lanes.next_group())

    def _commit(self, group: list[Append], behind: Sequence[Append] = ()) -> None:
        """Make a group durable, or as much of it as can be. `behind` was taken from the lanes together with it."""
        self.busy_since_s = time.monotonic()
        started_s = time.perf_counter()
        # Outside of the `try`: the parts of a group that is split tell of their own errors.
        if not self._may_write(group):
            self._no_room(group, behind)
            return
        size_bytes = sum([len(append.chunk.data) for append in group])
        tails = self._log.due_tails(group, size_bytes)
        try:
            self._insert(group, tails)
        except BaseException as error:
            if is_full(error):
                self._no_room(group, behind)
            elif is_of_the_disk(error) or not isinstance(error, Exception):
                self._give_up(error)
                self._refuse_all([*group, *behind])
                raise
            else:
                self._commit_apart(group, behind, error)
            return
        self._room.found()
        self._log.changed(group)
        self._tell(self._on_written, group, None)
        self.commit_times.add(time.perf_counter() - started_s)
        self._log.note_ends(group, with_tails=tails is not None)
        for append in group:
            if append.trim_point is not None:
                self._cleaner.trim([(append.lane.stream_id, append.trim_point)])
        self._bulk = size_bytes > SMALL_LANE_BYTES

    def _may_write(self, group: list[Append]) -> bool:
        """Without the ballast only a trim is written, which makes room in the end, and nothing together with it."""
        return self._room.may_grow() or (has_trim(group) and all(append.lane is group[0].lane for append in group))

    def _insert(self, group: list[Append], tails: chunks.Ends | None) -> None:
        try:
            creations.insert(self._connection, group, tails, self._insert_streams)
        except sqlite3.Error as error:
            if not (is_full(error) and has_trim(group) and self._room.make()):
                raise
            creations.insert(self._connection, group, tails, self._insert_streams)

    def _no_room(self, group: list[Append], behind: Sequence[Append]) -> None:
        """Refuse the group; but if it is of several streams, what is small may pass by itself."""
        parts = [*by_lane(group).values()]
        if len(parts) > 1:
            for number, part in enumerate(parts, 1):
                self._commit(part, [*chain.from_iterable(parts[number:]), *behind])
        else:
            self._room.lack(sum(len(append.chunk.data) for append in group))
            self._refuse(group, behind, self._refusal())

    def _commit_apart(self, group: list[Append], behind: Sequence[Append], error: Exception) -> None:
        """Something in the group cannot be stored: it is refused, and all others are committed, half by half. A lock
        is in the way of all of them, and each attempt would wait for it."""
        if len(group) == 1 or is_of_the_moment(error):
            self._complaints.log("an append was refused", error)
            to_followers = ApiError("unavailable", "an earlier append to this stream was refused", without_effect=True)
            self._refuse(group, behind, not_written(error), to_followers)
            return
        middle = len(group) // 2
        for half, after in (group[:middle], [*group[middle:], *behind]), (group[middle:], behind):
            whole = [append for append in half if append.lane.broken is None]
            if whole:
                self._commit(whole, after)

    def _operate(self, operations: list[Operation]) -> None:
        """In one transaction; if anything is wrong with that, each by itself, so that it hears of its own error."""
        self.busy_since_s = time.monotonic()
        if len(operations) > 1:
            try:
                results = self._run_with_room(lambda one: run_together(one, operations), grows=True)
            except BaseException as error:
                if is_of_the_moment(error):  # it is in the way of all of them, and each would wait for it
                    self._tell(refuse, operations, not_written(error))
                    return
                if not isinstance(error, Exception) or is_of_the_disk(error):
                    self._operations.extendleft(operations)  # they are refused with all others
                    raise
            else:
                self._log.operated()
                self._tell(resolve_all, operations, results)
                return
        self._operations.extendleft(reversed(operations))
        for _ in operations:
            self._operate_alone(self._operations.popleft())

    def _operate_alone(self, operation: Operation) -> None:
        try:
            for group in self._lanes.take_stream(operation.stream_id):
                self._commit(group)
            result = self._run_with_room(operation.run, grows=operation.grows)
        except BaseException as error:
            if not isinstance(error, Exception) or is_of_the_disk(error):
                self._give_up(error)
                self._tell(refuse, [operation], self._refusal())
                raise
            if not isinstance(error, S2Error):
                self._complaints.log("a change was refused", error)
            self._tell(refuse, [operation], not_written(error))
        else:
            self._log.operated()
            if operation.stream_id is not None:
                self._log.forget_end(operation.stream_id)
                self._cleaner.vacuum()
            self._tell(resolve_all, [operation], [result])

    def _run_with_room(self, run: Callable[[sqlite3.Connection], Any], *, grows: bool = False) -> Any:
        """Run in a transaction; if the disk is full, and it does not grow, once more without the ballast."""
        if grows and not self._room.may_grow():
            self._room.lack()
            raise self._refusal()
        self._log.grow_by_operations()
        while True:
            try:
                return chunks.in_transaction(self._connection, run)
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                made = not grows and self._room.make()
                self._room.lack()
                if not made:
                    raise self._refusal() from error

    def _clean_up(self) -> None:
        self.busy_since_s = time.monotonic()
        pages = 0
        while self._cleaner.busy:
            try:
                pages = self._cleaner.step(self._run_with_room)
                break
            except Exception as error:
                if is_of_the_disk(error):
                    raise
                if not is_full(error):
                    self._complaints.log("a deletion was given up for now", error)
                    self._cleaner.drop()
                    continue
                made = self._room.make()
                self._room.lack()
                if not made:
                    self._cleaner.stop_vacuuming()
        self._log.grow(pages * PAGE_BYTES, pages * PAGE_BYTES)
        if not self._cleaner.busy:
            self._room.restore()

    # Refusing.

    def _give_up(self, error: BaseException) -> None:
        """Nothing is written any more."""
        if self.failure is None:
            self.failure = f"{type(error).__name__}: {error}"
            log.critical("no more writes, the storage has failed: %s", self.failure)

    def _refuse(
        self, group: list[Append], behind: Sequence[Append], error: S2Error, after: S2Error | None = None
    ) -> None:
        """Break the lanes of the group: what is behind it in them has no place any more, and fails with `after`, if
        that is another error."""
        lanes = {append.lane: None for append in group}
        followers = [append for append in behind if append.lane in lanes]
        for lane in lanes:
            followers += self._lanes.break_lane(lane, after or error)
        self._tell(self._on_written, group, error)
        if followers:
            self._tell(self._on_written, followers, after or error)

    def _refuse_everything(self) -> None:
        self._refused_written()
        self._refuse_all(self._lanes.take_all())
        self._tell(refuse, [*self._operations, *self._copies], self._refusal())
        self._operations.clear()
        self._copies.clear()

    def _refuse_all(self, appends: list[Append]) -> None:
        """Those of them that were not refused before."""
        appends = [append for append in appends if append.lane.broken is None]
        if appends:
            self._refuse(appends, (), self._refusal())

    def _refused_written(self) -> None:
        """Refuse what came on a lane that was already broken."""
        refused, self._refused = self._refused, []
        for lane, appends in by_lane(refused).items():
            self._tell(self._on_written, appends, lane.broken)

    def _refusal(self) -> S2Error:
        if self.failure is not None:
            return ApiError("storage", f"the storage has failed: {self.failure}")
        return ApiError("storage", self._room.shortage or "the disk is full", without_effect=True)

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        call_on(self._loop, function, *arguments)
