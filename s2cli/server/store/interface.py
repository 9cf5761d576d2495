"""What the server asks of a storage engine: rows for basins and streams, chunks of records, and nothing more.

A chunk is what one append made durable: the bytes of a `ReadBatch` message with the records of one batch, which a read
sends as they lie. Every result of a coroutine here is durable (protocol section 13.1). Appends are not coroutines: they
are queued by a plain call. A group is the appends, of any streams, that one transaction makes durable; what became of
them is told by one call on the event loop per group.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from s2cli.errors import S2Error

# What a packed chunk key holds: 23 bits of stream, 40 bits of sequence number.
MAX_STREAMS = 1 << 23
MAX_SEQ_NUM = 1 << 40


@dataclass(slots=True)
class BasinRow:
    """A basin. `deleted_at_ms` is set from the DELETE until its streams are gone and the row is removed. By `version` a
    store that others change too knows whether they have changed the basin since it was read."""

    name: str
    config: dict[str, Any]
    created_at_ms: int
    deleted_at_ms: int | None = None
    request_key: bytes | None = None
    version: str = field(default="", compare=False)


@dataclass(slots=True)
class StreamRow:
    """A stream. The engine assigns `id` and `uid` on insert, and keeps the last five members itself: `insert_stream`
    and `update_stream` do not write them. `next_seq_num` and `last_timestamp` count only while the stream has no chunk.
    `uid` is random and never used again; None where the stream was created before there were any."""

    basin: str
    name: str
    config: dict[str, Any]
    created_at_ms: int
    cipher: str | None = None
    deleted_at_ms: int | None = None
    request_key: bytes | None = None
    id: int = 0
    uid: bytes | None = None
    trim_point: int = 0
    fencing_token: str = ""
    keep_ms: int | None = None  # the retention of its last append
    next_seq_num: int = 0
    last_timestamp: int = 0


@dataclass(slots=True)
class TokenRow:
    """An access token. `hash` is all that is kept of its secret; `expires_at` is the instant as it was set."""

    id: str
    selector: str
    hash: bytes
    scope: dict[str, Any]
    auto_prefix_streams: bool = False
    expires_at: str | None = None
    expires_at_ms: int | None = None


# Replies are kept so long, and so many of them: a client gives up retrying long before, and each takes about 300 bytes.
MAX_REPLY_AGE_MS = 10 * 60 * 1000
MAX_REPLIES = 100_000


@dataclass(slots=True)
class Reply:
    """The answer to a write with a request token. `key` is a hash of the token, `request` of what it came with; `saved`
    says that the store has it."""

    key: bytes
    request: bytes
    status: int
    content_type: bytes | None
    body: bytes
    headers: list[tuple[bytes, bytes]]
    stored_at_ms: int
    saved: bool = False


class Point(NamedTuple):
    """What was counted in one minute since the epoch; `basin` "" for the account, `stream` "" for all of a basin."""

    basin: str
    stream: str
    series: str
    minute: int
    value: int


# Series -> minute -> value; the minutes in order.
Counted = dict[str, dict[int, int]]


class Chunk:
    """Stored records `first_seq_num` to `end_seq_num` (exclusive), as the bytes of a `ReadBatch` without a tail; with a
    `kind` other than 0 they are sealed (server/core/encryption.py)."""

    __slots__ = ("count", "data", "end_seq_num", "first_seq_num", "kind", "last_timestamp", "metered_bytes")

    def __init__(
        self, first_seq_num: int, count: int, metered_bytes: int, last_timestamp: int, data: bytes, kind: int = 0
    ) -> None:
        self.first_seq_num = first_seq_num
        self.count = count
        self.end_seq_num = first_seq_num + count
        self.metered_bytes = metered_bytes
        self.last_timestamp = last_timestamp
        self.data = data
        self.kind = kind


class Tail(NamedTuple):
    """Where a stream ends. `doubt` says why it may have had more records than that, and what to do: until then nothing
    may be appended, for a sequence number is never given twice."""

    next_seq_num: int
    last_timestamp: int
    doubt: str | None = None
    expires_at_ms: int = 0  # the last of its records that there are; 0: never, or there are none


class Lane:
    """A lane is the queue of one stream's appends on their way to the disk, in their order. A failed append breaks its
    lane: whatever is queued behind it fails too, since its sequence numbers would leave a gap, and the stream must be
    loaded again, with a new lane.

    `queue` and `queued_bytes` belong to the engine; `broken`, the error that broke it, is for all to read. `stream_id`
    is 0 until the stream has an id (see `Append.creates`).
    """

    __slots__ = ("broken", "queue", "queued_bytes", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.broken: S2Error | None = None
        self.queue: deque[Append] = deque()
        self.queued_bytes = 0


class Append:
    """One chunk on its way to the disk, with what becomes durable together with it: changes of the stream's row, or the
    row itself, and the reply to the request."""

    __slots__ = (
        "arrived_at_ms",
        "chunk",
        "creates",
        "expires_at_ms",
        "fencing_token",
        "keep_ms",
        "lane",
        "look_at_ms",
        "reply",
        "trim_point",
    )

    def __init__(
        self,
        lane: Lane,
        chunk: Chunk,
        expires_at_ms: int,
        fencing_token: str | None = None,
        trim_point: int | None = None,
    ) -> None:
        self.lane = lane
        self.chunk = chunk
        self.arrived_at_ms = 0
        self.expires_at_ms = expires_at_ms  # 0 never
        # The retention from this append on, 0 for ever; None where it is the one of the append before.
        self.keep_ms: int | None = None
        self.look_at_ms: int | None = None  # when to see whether the stream is to be deleted, being empty
        self.fencing_token = fencing_token
        self.trim_point = trim_point
        self.reply: Reply | None = None
        # The stream that is created by this append, the first on its lane: once that is written, the row and the lane
        # have its id; 0 says that there was a stream of that name, and nothing was written.
        self.creates: StreamRow | None = None


class Histogram:
    """Counts observations by buckets: `counts` has one number for each of `bounds`, of values up to it and beyond the
    one before, and one for all others; `total` is their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class CopyProgress:
    """How far a copy of everything is. `is_cancelled` ends it."""

    __slots__ = ("copied_bytes", "is_cancelled", "total_bytes")

    def __init__(self) -> None:
        self.copied_bytes = self.total_bytes = 0
        self.is_cancelled = False


# Called on the event loop once per group: the appends, those of one stream in order, and why they failed if they did.
OnWritten = Callable[[Sequence[Append], S2Error | None], None]


class Store(Protocol):
    """The smallest interface that works. Coroutines raise `ApiError("storage", …)` where the disk says no. A `reply`
    is saved in the transaction of the change, and not where nothing was changed."""

    on_written: OnWritten
    # How much of one stream is to be queued at most, and not durable yet.
    max_pending_bytes: int
    clock_ms: Callable[[], int]
    # The time by which what has expired is deleted, which may be behind the other one.
    deletion_clock_ms: Callable[[], int]
    # Why nothing is to be queued for now: what was has been waiting for long. `on_stall` is called when that begins.
    stall: str | None
    on_stall: Callable[[], None]
    # Called with a basin of which nothing that is in memory counts any more, and why: another server may have it.
    on_lost: Callable[[str, S2Error], None]
    # Called with a basin that nobody has asked anything of for long: forgets what is in memory for whoever comes next,
    # and returns whether somebody still uses one of its streams. If not, ids of streams may become invalid.
    is_used: Callable[[str], bool]
    # Called when there are streams for deleting_streams(), or basins for deleting_basins(), that nobody of this process
    # has marked.
    on_deleting: Callable[[], None]

    @property
    def confirm(self) -> Callable[[int], Awaitable[None]] | None:
        """Called with the id of a stream, returns when it is certain that nobody else had it at the time of the call;
        raises ApiError where that cannot be said. None for a store that nobody else can write to. What is answered from
        memory, and not with a write of its own, is confirmed so."""
        ...

    async def close(self) -> None:
        """Write what is queued, and let go of the directory."""
        ...

    @property
    def failure(self) -> str | None:
        """Why the store takes no more writes; None while it is well."""
        ...

    @property
    def failing_since_ms(self) -> int | None:
        """Since when there is a `failure`, to a second or so."""
        ...

    @property
    def doubtful(self) -> Sequence[str]:
        """The places (`s2://basin/stream`, or another name) of which it is known that something is missing or damaged
        there: the store looks for that in the background when it is opened."""
        ...

    @property
    def contended(self) -> Sequence[str]:
        """The basins that this server and another one take from each other, because both get requests for them."""
        ...

    async def get_basin(self, name: str) -> BasinRow | None: ...

    def known_basin(self, name: str) -> BasinRow | None:
        """The basin, not to be changed, if it is known without a wait, and appends can create streams in it; always
        None of an engine that does not do that."""
        ...

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[list[BasinRow], bool]:
        """At most `limit` basins in byte order, and whether more match."""
        ...

    async def insert_basin(self, row: BasinRow, reply: Reply | None = None) -> BasinRow | None:
        """None: inserted. Else the basin that already has the name; nothing is changed then."""
        ...

    async def update_basin(
        self, row: BasinRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        """Write `config` and `deleted_at_ms`. `made` is called once that is durable, also where this was cancelled, or
        raised because the disk did not answer for long. Raises ApiError `transaction_conflict`, and changes nothing,
        where another server has changed the basin since the row was read; then the next read says how."""
        ...

    async def remove_basin(self, name: str) -> None: ...

    async def get_stream(self, basin: str, name: str) -> StreamRow | None:
        """Here and in lists the streams of a basin that is marked as deleted are deleted with it."""
        ...

    async def list_streams(
        self, basin: str, prefix: str, start_after: str, limit: int
    ) -> tuple[list[StreamRow], bool]: ...

    async def insert_stream(self, row: StreamRow, reply: Reply | None = None) -> StreamRow | None:
        """None: inserted, and `row.id` is set. Else the stream that already has the name; nothing is changed then."""
        ...

    async def update_stream(
        self, row: StreamRow, reply: Reply | None = None, made: Callable[[], None] = lambda: None
    ) -> None:
        """Write `config` and `deleted_at_ms`. `made` is called as by update_basin()."""
        ...

    async def mark_streams(self, basin: str, limit: int) -> list[StreamRow]:
        """Mark some streams of the basin as deleted: those that were not, none where all were."""
        ...

    async def remove_stream(self, stream_id: int, uid: bytes | None) -> None:
        """Remove the row, and whatever chunks are left; the id may be given to a new stream from now on. A stream with
        another `uid`, which has the id by now, stays: the removal may have been made before, although an error was
        raised."""
        ...

    async def delete_chunks(self, stream_id: int, uid: bytes | None) -> bool:
        """Delete a slice of the stream's chunks, as much as takes some milliseconds; True while more are left. `uid` is
        as for remove_stream()."""
        ...

    def expire(self) -> None:
        """Delete, in time, what has expired, and what a trim has left."""
        ...

    async def empty_streams(self, limit: int) -> tuple[list[StreamRow], bool]:
        """Looks at some of the streams that are due for it: those that are to be deleted, being empty for long, and
        whether more may be due. For all others the time of the next look is put down."""
        ...

    async def delete_if_empty(self, row: StreamRow) -> bool:
        """Mark the stream as deleted if it still is empty for long, with all that was queued for it written."""
        ...

    async def deleting_basins(self) -> list[str]:
        """The basins that are marked as deleted and not yet removed, by nobody else either. A restart resumes their
        removal."""
        ...

    async def deleting_streams(self, limit: int) -> list[StreamRow]:
        """The streams that are marked as deleted and not yet removed: at most `limit`, those marked first."""
        ...

    async def get_token(self, selector: str) -> TokenRow | None:
        """The token whose secret has that selector; also an expired one."""
        ...

    async def list_tokens(
        self, prefix: str, start_after: str, limit: int, now_ms: int
    ) -> tuple[list[TokenRow], bool]: ...

    async def insert_token(self, row: TokenRow, now_ms: int) -> bool:
        """Insert the token. Returns False, and changes nothing, if an unexpired token has its id."""
        ...

    async def remove_token(self, token_id: str, now_ms: int) -> bool:
        """Remove the token. Returns False if no unexpired token has the id."""
        ...

    async def expire_tokens(self, now_ms: int) -> int | None:
        """Remove some of those that have expired. Returns when the next one expires; None if none does."""
        ...

    async def get_reply(self, basin: str, key: bytes, now_ms: int) -> Reply | None:
        """The reply with that key to a write in the basin (""; to one of the account), if it is not too old."""
        ...

    async def save_reply(self, basin: str, reply: Reply) -> None: ...

    async def add_counts(self, points: Sequence[Point]) -> None:
        """Add these points to the metric series, all or none. The store itself reduces the series `stored` by what it
        deletes."""
        ...

    async def counted(
        self, basin: str, stream: str, series: Sequence[str], first: int, end: int, interval: int
    ) -> Counted:
        """The points of these series from minute `first` until `end`, summed up by intervals of so many minutes; a name
        that ends with ":" stands for all that begin with it. Raises ApiError `invalid` where they are too many."""
        ...

    async def active_basins(self, first: int, end: int) -> list[str]:
        """The basins that had a stream between these minutes."""
        ...

    async def stored_bytes(self, basin: str, stream: str) -> int:
        """The metered bytes of a stream, or of a whole basin if `stream` is "". Looked up slice by slice."""
        ...

    @property
    def commit_times(self) -> Histogram:
        """How long it took to make groups of appends durable."""
        ...

    def disk_bytes(self) -> int:
        """What the store takes on the disk."""
        ...

    async def copy(self, path: Path, progress: CopyProgress) -> None:
        """Copy everything into a new file, as it is when the copy is complete. Appends continue meanwhile; the file is
        not synced. Raises S2Error, also where `progress` was cancelled."""
        ...

    def append(self, append: Append) -> None:
        """Queue one chunk. `on_written` gets it later, durable or failed; also where this store has failed already.
        With `creates` only where `known_basin` has found the basin in this turn of the loop."""
        ...

    async def tail(self, stream_id: int) -> Tail | None:
        """None if there is no such stream."""
        ...

    def read(self, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int) -> Awaitable[list[Chunk]]:
        """Chunks in order from the one that holds `first_seq_num` (or the next there is) up to the one before
        `end_seq_num`, until they have `max_bytes` or more. Those that have expired are passed over. Raises ApiError
        `storage` with `damaged` where the first of them is damaged or missing; it ends before others that are."""
        ...

    async def find_timestamp(self, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int) -> int | None:
        """The first sequence number of the first chunk in the range whose last timestamp is not below `timestamp`."""
        ...
