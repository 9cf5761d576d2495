"""A stream in memory: its positions, its batches that are not durable yet, and what waits for them.

State changes are plain functions on the event loop, without `await`, so each is atomic. `next_seq_num` and
`last_timestamp` are where the next batch continues; `tail_seq_num` and `tail_timestamp` are what is durable: only these
are shown to readers and in acks and errors (protocol section 13.1).
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from s2cli.errors import ApiError, FencingTokenMismatchError, S2Error, SeqNumMismatchError
from s2cli.server.core.batch import assemble
from s2cli.server.core.followers import Followers
from s2cli.server.store.interface import MAX_SEQ_NUM, Append, Chunk, Lane, StreamRow, Tail
from s2cli.wire.record_rules import FENCE

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from s2cli.server.core.batch import Batch
    from s2cli.server.core.encryption import Seal
    from s2cli.server.core.meters import Meters
    from s2cli.server.store.interface import Reply, Store

# What one stream may have admitted that is not durable yet is bounded by the store (`max_pending_bytes`): beyond it no
# more of its appends are read. Without a bound a small append waits behind all that a bulk one has in flight. This is
# the bound while small appends go beside it: they wait for what the writer has of it. Alone it would lose by that.
MAX_PENDING_BYTES_CROWDED = 640 * 1024
MAX_PENDING_BYTES_TOTAL = 32 * 1024 * 1024
# A small batch need not queue behind large ones that wait for room: so much more is for these. The last of the
# large ones may take a half of it.
SMALL_BATCH_BYTES = 4 * 1024
MAX_PENDING_BYTES_SMALL = 2 * 1024 * 1024
# A group of at most this size that completes while more than this waits is one of small appends beside a bulk load. For
# so long after it more small appends are expected.
SMALL_GROUP_BYTES = 64 * 1024
CROWDED_S = 0.1
# For ever, nearly: the end of the time that the engine can write down.
MAX_RETENTION_MS = 1 << 62


class StreamContext:
    """What all streams in memory share. `pending_bytes` are admitted and not durable, `recent_bytes` are durable and
    kept for followers; `room_waiters` wait until the former are fewer."""

    __slots__ = (
        "_crowded_until_s",
        "clock_ms",
        "max_pending_bytes",
        "meters",
        "pending_bytes",
        "recent_bytes",
        "room_waiters",
        "store",
    )

    def __init__(self, store: Store, clock_ms: Callable[[], int], meters: Meters) -> None:
        self.store = store
        self.max_pending_bytes = store.max_pending_bytes
        self.clock_ms = clock_ms
        self.meters = meters
        self.pending_bytes = 0
        self.recent_bytes = 0
        self.room_waiters: list[Future[None]] = []
        self._crowded_until_s = 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether small appends go beside a bulk load."""
        return time.monotonic() < self._crowded_until_s

    def group_written(self, size_bytes: int) -> None:
        """A group of that many bytes is no longer pending."""
        self.pending_bytes -= size_bytes
        if size_bytes <= SMALL_GROUP_BYTES < self.pending_bytes:
            self._crowded_until_s = time.monotonic() + CROWDED_S


class Admission(Enum):
    """Whether a stream admits batches, and what becomes of those that it has admitted: a picture is in the map."""

    OPEN = "admits; what was admitted becomes durable in its order"
    CLOSED = "admits nothing more; what was admitted still becomes durable"
    DOUBTFUL = "admits nothing until a repair: nobody knows where the stream ends; it can be read"
    LOST = "admits nothing more; what was admitted has failed, with a write before it"


# A member of an enum is found by a function of Python's, and every append asks.
_OPEN = Admission.OPEN


class Owner(Protocol):
    """The owner of an append is the request or the session that it came in. It is told of the append's end on the event
    loop, without a task between."""

    def on_written(self, admitted: Admitted, error: S2Error | None) -> bool:
        """The append is durable, or has failed. Returns True if `flush` is to be called after the whole group."""
        ...

    def flush(self) -> None: ...


class Admitted(Append):
    """An append with its sequence numbers, on its way to the disk."""

    __slots__ = ("first_timestamp", "owner", "stream")

    def __init__(
        self, stream: Stream, owner: Owner, chunk: Chunk, first_timestamp: int, arrived_at_ms: int, expires_at_ms: int
    ) -> None:
        super().__init__(stream.lane, chunk, expires_at_ms)
        self.arrived_at_ms = arrived_at_ms
        self.stream = stream
        self.owner = owner
        self.first_timestamp = first_timestamp


class Stream:
    """One stream. Whoever uses it keeps a reference: so the registry has exactly one object for a stream in use, and
    may drop it when it is idle."""

    __slots__ = (
        "__weakref__",
        "_admitted_trim_point",
        "_context",
        "_durable_waiters",
        "_expires_at_ms",
        "_kept_ms",
        "_looks_for_emptiness",
        "_retention_ms",
        "_room_waiters",
        "_timestamping",
        "_uncapped",
        "admission",
        "cipher",
        "failure",
        "fencing_token",
        "followers",
        "id",
        "key",
        "lane",
        "last_timestamp",
        "meter",
        "next_seq_num",
        "pending_bytes",
        "tail_seq_num",
        "tail_timestamp",
        "trim_point",
        "uid",
        "used",
    )

    def __init__(self, context: StreamContext, row: StreamRow, lane: Lane, tail: Tail) -> None:
        self._context = context
        self.key = row.basin, row.name
        self.id = row.id
        self.uid = row.uid
        self.lane = lane
        self.cipher = row.cipher
        self.next_seq_num, self.last_timestamp, doubt, self._expires_at_ms = tail
        self.tail_seq_num, self.tail_timestamp = self.next_seq_num, self.last_timestamp
        self.fencing_token = row.fencing_token  # as admitted
        self.trim_point = self._admitted_trim_point = row.trim_point
        self._kept_ms = row.keep_ms  # the retention of the last append
        self.admission = _OPEN
        self.failure: S2Error | None = None  # why it is not open
        if doubt is not None:
            self.admission, self.failure = Admission.DOUBTFUL, _doubtful(doubt, self.next_seq_num)
        self.pending_bytes = 0
        self.followers = Followers(context)
        self.used = True
        self._durable_waiters: list[tuple[int, Future[None]]] = []
        self._room_waiters: list[Future[None]] = []
        self.configure(row)

    def configure(self, row: StreamRow) -> None:
        """Take over the stream's config; it counts from the next append on."""
        self.meter = self._context.meters.meter(self, row.config["storage_class"])
        timestamping = row.config["timestamping"]
        self._timestamping: str = timestamping["mode"]
        self._uncapped: bool = timestamping["uncapped"]
        self._retention_ms: int = min(row.config["retention_policy"].get("age", 0) * 1000, MAX_RETENTION_MS)
        self._looks_for_emptiness: bool = row.config["delete_on_empty"]["min_age_secs"] > 0

    def admit(
        self,
        batch: Batch,
        owner: Owner,
        seal: Seal | None = None,
        reply: Callable[[Admitted], Reply] | None = None,
        creates: StreamRow | None = None,
    ) -> None:
        """Give the batch its place and queue it for the disk; `owner` hears of it when it is durable. Raises what
        refuses it: then nothing has happened, but a reason of section 4.6 may stand on appends that are not durable
        yet, so wait `until_durable` before saying it. `reply` makes the reply that becomes durable with the batch.
        `creates` is the row of the stream if it is created by this batch."""
        if self.admission is not _OPEN:
            assert self.failure is not None
            raise self.failure
        if (stall := self._context.store.stall) is not None:
            raise ApiError("unavailable", stall, without_effect=True)
        if batch.fencing_token is not None and batch.fencing_token != self.fencing_token:
            raise FencingTokenMismatchError(self.fencing_token)
        first_seq_num = self.next_seq_num
        if batch.match_seq_num is not None and batch.match_seq_num != first_seq_num:
            raise SeqNumMismatchError(first_seq_num)
        end_seq_num = first_seq_num + batch.count
        most = MAX_SEQ_NUM if seal is None else seal.end_seq_num
        if end_seq_num > most:
            raise ApiError("invalid", f"this stream cannot hold more than {most} records")
        now_ms = self._context.clock_ms()
        data, first_timestamp, last_timestamp = assemble(
            batch, first_seq_num, now_ms, self.last_timestamp, self._timestamping, uncapped=self._uncapped
        )
        chunk = Chunk(first_seq_num, batch.count, batch.metered_bytes, last_timestamp, data)
        if seal is not None:
            chunk = seal.seal(chunk, {first_seq_num + number for number, _, _ in batch.commands})
        # From here on nothing fails.
        if not self._retention_ms:
            self._expires_at_ms = 0
        elif self._retention_ms != self._kept_ms or now_ms + self._retention_ms > self._expires_at_ms:
            self._expires_at_ms = now_ms + self._retention_ms
        # Else the clock was set back: what comes later does not expire sooner.
        admitted = Admitted(
            self,
            owner,
            chunk,
            first_timestamp,
            now_ms,
            self._expires_at_ms,
        )
        if self._retention_ms != self._kept_ms:
            self._kept_ms = admitted.keep_ms = self._retention_ms
        if reply is not None:
            admitted.reply = reply(admitted)
        if creates is not None:
            admitted.creates = creates
        if batch.commands:
            self._obey(batch, first_seq_num, admitted)
        self.next_seq_num = end_seq_num
        self.last_timestamp = last_timestamp
        self.pending_bytes += len(chunk.data)
        self._context.pending_bytes += len(chunk.data)
        self._context.store.append(admitted)

    def _obey(self, batch: Batch, first_seq_num: int, admitted: Admitted) -> None:
        """Command records count from the next batch on; what they change is written with their own."""
        for number, command, body in batch.commands:
            if command == FENCE:
                self.fencing_token = admitted.fencing_token = body.decode()
                continue
            trim_point = min(int.from_bytes(body, "big"), first_seq_num + number + 1)
            if trim_point > self._admitted_trim_point:
                self._admitted_trim_point = admitted.trim_point = trim_point
                if self._looks_for_emptiness:
                    admitted.look_at_ms = admitted.arrived_at_ms

    @property
    def has_room(self) -> bool:
        """Whether a bulk append is admitted now, by the bounds of the stream and of the whole server."""
        return not self._is_full and self._context.pending_bytes < MAX_PENDING_BYTES_TOTAL

    @property
    def _is_full(self) -> bool:
        if self.pending_bytes < MAX_PENDING_BYTES_CROWDED:
            return False
        return self.pending_bytes >= self._context.max_pending_bytes or self._context.is_crowded

    def has_room_for(self, batch_bytes: int) -> bool:
        """Whether a batch of that metered size is admitted now: a small one does not wait behind bulk appends."""
        if self.has_room:
            return True
        return (
            batch_bytes <= SMALL_BATCH_BYTES
            and self.pending_bytes < self._context.max_pending_bytes + MAX_PENDING_BYTES_SMALL
            and self._context.pending_bytes < MAX_PENDING_BYTES_TOTAL + MAX_PENDING_BYTES_SMALL
        )

    async def room(self, batch_bytes: int) -> None:
        """Wait until there is room for another append, here and in the whole server, or none is admitted anyway."""
        while self.admission is _OPEN and self._context.store.stall is None and not self.has_room_for(batch_bytes):
            waiter = asyncio.get_running_loop().create_future()
            waiters = self._room_waiters if self._is_full else self._context.room_waiters
            waiters.append(waiter)
            await waiter

    def on_stall(self) -> None:
        """The store takes nothing for now: nobody is to wait for room."""
        wake_all(self._room_waiters)

    async def until_durable(self, seq_num: int) -> None:
        """Wait until all that was admitted before `seq_num` is durable. Raises if it cannot become so."""
        if self.tail_seq_num < seq_num:
            waiter: Future[None] = asyncio.get_running_loop().create_future()
            self._durable_waiters.append((seq_num, waiter))
            await waiter

    async def confirm(self) -> None:
        """Wait until it is certain that what was known of the stream at the time of the call was not old: another
        server may have taken it. Raises ApiError if that cannot be said."""
        if (confirm := self._context.store.confirm) is not None:
            await confirm(self.id)

    # What the registry calls, once the store has spoken.

    def on_created(self, row: StreamRow) -> None:
        """It is stored now, with this row."""
        self.id, self.uid = row.id, row.uid

    def on_durable(self, admitted: Admitted) -> None:
        chunk = admitted.chunk
        self.tail_seq_num = chunk.end_seq_num
        self.tail_timestamp = chunk.last_timestamp
        self.pending_bytes -= len(chunk.data)
        meter = self.meter
        meter.append_ops += 1
        meter.append_records += chunk.count
        meter.append_bytes += chunk.metered_bytes
        if admitted.fencing_token is not None:
            meter.fences += 1
        if admitted.trim_point is not None:
            meter.trims += 1
            self.trim_point = admitted.trim_point
        self.followers.remember(chunk)

    def wake(self) -> None:
        """Tell everybody who waits for what has become durable."""
        self.followers.wake()
        if self._durable_waiters:
            waiters, self._durable_waiters = self._durable_waiters, []
            for seq_num, waiter in waiters:
                if self.tail_seq_num < seq_num:
                    self._durable_waiters.append((seq_num, waiter))
                elif not waiter.done():
                    waiter.set_result(None)
        if self._room_waiters and self.pending_bytes < self._context.max_pending_bytes:
            wake_all(self._room_waiters)

    def end(self, admission: Admission, error: S2Error) -> None:
        """Admit nothing more, because of `error`: OPEN and DOUBTFUL become CLOSED or LOST, CLOSED may become LOST when
        a write fails, and of several lost writes the last one tells why."""
        if self.admission in (_OPEN, Admission.DOUBTFUL) or admission is Admission.LOST:
            self.admission, self.failure = admission, error
        wake_all(self._room_waiters)
        if admission is Admission.LOST:
            for _, waiter in self._durable_waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            self._durable_waiters.clear()
        self.followers.fail()

    @property
    def reading_failure(self) -> S2Error | None:
        """Why readers get nothing more from this object; None if they do. After LOST it asks them to retry: the stream
        is loaded again, and they have missed nothing."""
        if self.admission is Admission.DOUBTFUL:
            return None
        return reloaded() if self.admission is Admission.LOST else self.failure


def _doubtful(doubt: str, next_seq_num: int) -> ApiError:
    return ApiError(
        "storage",
        f"no appends: {doubt}",
        without_effect=True,
        damaged=(next_seq_num, MAX_SEQ_NUM - 1),
    )


def reloaded() -> ApiError:
    return ApiError("unavailable", "the stream is being reloaded")


def wake_all(waiters: list[Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
