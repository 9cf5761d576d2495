"""All streams in memory: looked up, loaded on demand, created on first use, and notified of what the store has
written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from s2cli.errors import ApiError, S2Error
from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.core.stream import (
    MAX_PENDING_BYTES_TOTAL,
    Admission,
    Admitted,
    Owner,
    Stream,
    StreamContext,
    reloaded,
    wake_all,
)
from s2cli.server.store.interface import Append, Lane, StreamRow, Tail

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncIterator, Callable, Sequence

    from s2cli.server.core.auth import Grant
    from s2cli.server.core.batch import Batch
    from s2cli.server.core.meters import Meters
    from s2cli.server.store.interface import Store
    from s2cli.wire.configs import Layer

log = logging.getLogger(CLIENT_LOG)

# Streams that stay in memory while nobody uses them.
MAX_IDLE_STREAMS = 1024

_CREATES = attrgetter("creates")

# The failure of one of a group is kept from the others, who would wait for ever.
NOT_TOLD = "an append or a follower could not be told"


class _Loading:
    """A stream on its way into memory; `stale` if its row has changed meanwhile. Or one that is `closed` for now, which
    is looked up again then: where an append creates it, `on_present` is called if there was one of that name."""

    __slots__ = ("_done", "closed", "on_present", "stale")

    def __init__(self, *, closed: bool = False, on_present: Callable[[], None] | None = None) -> None:
        self.stale = False
        self.closed = closed
        self.on_present = on_present
        self._done: Future[Stream | None] | None = None  # somebody waits

    @property
    def done(self) -> Future[Stream | None]:
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
        return self._done

    def wake(self) -> None:
        """Has those who wait look at it once more."""
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(None)

    def end(self, stream: Stream | None = None, error: Exception | None = None) -> None:
        """To be called once, when it is no more to be found."""
        if self._done is None or self._done.done():
            return
        if error is None:
            self._done.set_result(stream)
        else:
            self._done.set_exception(error)
            self._done.exception()  # seen, even if nobody else waits


class Creator(Protocol):
    """What is asked where a stream is not there."""

    async def create_on_use(
        self, basin: str, name: str, use: str, layer: Layer, confirm: Callable[[], None]
    ) -> StreamRow | None: ...

    def begin_creation(self, basin: str, name: str, layer: Layer) -> StreamRow | None: ...

    def end_creation(self, basin: str) -> None: ...

    async def missing_stream(self, basin: str, name: str) -> ApiError: ...


class StreamRegistry:
    """The streams in memory, and what they share."""

    def __init__(self, store: Store, clock_ms: Callable[[], int], meters: Meters) -> None:
        self.context = StreamContext(store, clock_ms, meters)
        # Set by whoever can create streams.
        self.resources: Creator | None = None
        self._known: WeakValueDictionary[tuple[str, str], Stream] = WeakValueDictionary()
        self._idle: deque[Stream] = deque()  # keeps them from being forgotten; the oldest first
        self._loading: dict[tuple[str, str], _Loading] = {}
        self._basins_deleted = 0
        # Whether an append to a stream that is not in memory most likely creates it: so it was the last time.
        self.expects_new = False
        store.on_written = self._on_written
        store.on_stall = self._on_stall
        store.on_lost = self._on_lost
        store.is_used = self._is_used

    def find(self, basin: str, name: str) -> Stream | None:
        """The stream if it is in memory; without an await, so for the many."""
        stream = self._known.get((basin, name))
        if stream is not None:
            stream.used = True
        return stream

    async def open(
        self, basin: str, name: str, create_on: str | None, grant: Grant | None = None, layer: Layer | None = None
    ) -> Stream:
        """The stream, loaded or, if its basin says so for `create_on` ("append" or "read"), created with `layer` over
        what its basin says, and if the `grant` of who asks for it still holds."""

        def confirm() -> None:
            if grant is not None:
                grant.check_valid(self.context.clock_ms())

        while True:
            stream = self.find(basin, name) or await self._load_once(basin, name)
            if stream is not None:
                return stream
            assert self.resources is not None
            if create_on is None:
                raise await self.resources.missing_stream(basin, name)
            basins_deleted = self._basins_deleted
            row = await self.resources.create_on_use(basin, name, create_on, layer or {}, confirm)
            self.expects_new = row is not None
            if basins_deleted != self._basins_deleted:
                continue  # it may have been this one, right before the stream was made
            if row is not None and not (self._known.get((basin, name)) or self._loading.get((basin, name))):
                stream = Stream(self.context, row, Lane(row.id), Tail(0, 0))  # as it would be loaded
                self._remember(stream)
                return stream

    def append_to_new(
        self, basin: str, name: str, layer: Layer, batch: Batch, owner: Owner, on_present: Callable[[], None]
    ) -> bool:
        """Appends the batch to a stream that is not in memory and is created by it, both in one transaction, if that is
        worth a try and nothing has to be waited for. Returns False if not, and raises what refuses the batch: then
        nothing has happened. `owner` hears of it as with Stream.admit(), except where there was a stream of that name:
        then `on_present` is called instead, and nothing was appended."""
        key = basin, name
        if not self.expects_new or key in self._loading or batch.commands:
            return False
        assert self.resources is not None
        row = self.resources.begin_creation(basin, name, layer)
        if row is None:
            return False
        stream = Stream(self.context, row, Lane(0), Tail(0, 0))
        is_admitted = False
        try:
            if stream.has_room:
                stream.admit(batch, owner, creates=row)
                is_admitted = True
        finally:
            if not is_admitted:
                self.resources.end_creation(basin)
        if is_admitted:
            self._loading[key] = _Loading(closed=True, on_present=on_present)
        return is_admitted

    def _on_created(self, admitted: Append, error: S2Error | None) -> bool:
        """The store has spoken of a stream that was to be created. Returns False if there was one of that name."""
        assert isinstance(admitted, Admitted)
        stream, row = admitted.stream, admitted.creates
        assert row is not None
        loading = self._loading.pop(stream.key)
        assert self.resources is not None
        assert loading.on_present is not None
        self.resources.end_creation(row.basin)
        loading.end()
        if error is not None:
            return True
        if not row.id:
            self.expects_new = False
            self.context.pending_bytes -= len(admitted.chunk.data)
            loading.on_present()
            return False
        stream.on_created(row)
        if loading.stale:  # its basin was deleted
            stream.end(Admission.CLOSED, deletion_pending())
        else:
            self._remember(stream)
        return True

    async def _load_once(self, basin: str, name: str) -> Stream | None:
        """The stream as it is stored; None where it is not there. Of several who want it, one loads it."""
        key = basin, name
        loading = self._loading.get(key)
        while loading is not None and loading.closed:
            if (stall := self.context.store.stall) is not None:
                raise ApiError("unavailable", stall, without_effect=True)
            await loading.done
            if (stream := self.find(basin, name)) is not None:
                return stream
            loading = self._loading.get(key)
        if loading is not None:
            return await loading.done
        loading = self._loading[key] = _Loading()
        try:
            stream = await self._load(basin, name, loading)
            if stream is not None:
                self._remember(stream)
        except BaseException as error:
            loading.end(error=error if isinstance(error, Exception) else ApiError("unavailable", "gone"))
            raise
        finally:
            del self._loading[key]
        loading.end(stream)
        return stream

    async def _load(self, basin: str, name: str, loading: _Loading) -> Stream | None:
        store = self.context.store
        while True:
            loading.stale = False
            row = await store.get_stream(basin, name)
            if row is None:
                if loading.stale:
                    continue
                return None
            if row.deleted_at_ms is not None:
                raise deletion_pending()
            tail = await store.tail(row.id)
            if tail is not None and not loading.stale:
                return Stream(self.context, row, Lane(row.id), tail)

    def _remember(self, stream: Stream) -> None:
        self._known[stream.key] = stream
        self._idle.append(stream)
        while len(self._idle) > MAX_IDLE_STREAMS:
            oldest = self._idle.popleft()
            if oldest.used and oldest.admission is Admission.OPEN:
                oldest.used = False
                self._idle.append(oldest)

    @contextlib.asynccontextmanager
    async def closed(self, row: StreamRow) -> AsyncIterator[None]:
        """Inside, nobody has the stream in memory nor gets it: whoever wants it waits."""
        key = row.basin, row.name
        while (loading := self._loading.get(key)) is not None:
            await asyncio.wait([loading.done])
        closing = self._loading[key] = _Loading(closed=True)
        if (stream := self._known.pop(key, None)) is not None:
            stream.end(Admission.CLOSED, reloaded())
        try:
            yield
        finally:
            del self._loading[key]
            closing.end()

    def created(self, row: StreamRow) -> None:
        """The stream is stored. A lookup that is under way may have found that it was not, and who made the stream may
        wait for that lookup: it is made again."""
        self._mark_stale((row.basin, row.name))

    def config_changed(self, row: StreamRow) -> None:
        stream = self._known.get((row.basin, row.name))
        if stream is not None:
            stream.configure(row)
        self._mark_stale((row.basin, row.name))

    def deleted(self, row: StreamRow) -> None:
        """The stream is marked as deleted."""
        self._drop((row.basin, row.name))

    def gone(self, row: StreamRow) -> None:
        """The stream is removed. Its name may be another one's by now, which stays open: what it has admitted would be
        missed by whoever loads it again."""
        key = row.basin, row.name
        stream = self._known.get(key)
        if stream is None or (stream.id, stream.uid) == (row.id, row.uid):
            self._drop(key)

    def basin_deleted(self, basin: str) -> None:
        """The basin is marked as deleted, and so are all its streams."""
        self._basins_deleted += 1
        for key in {*self._known, *self._loading}:
            if key[0] == basin:
                self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        stream = self._known.pop(key, None)
        if stream is not None:
            stream.end(Admission.CLOSED, deletion_pending())
        self._mark_stale(key)

    async def close(self) -> None:
        """Turn away whoever is left."""
        for stream in list(self._known.values()):
            stream.end(Admission.CLOSED, ApiError("server_draining", "the server is shutting down"))

    def _mark_stale(self, key: tuple[str, str]) -> None:
        if (loading := self._loading.get(key)) is not None:
            loading.stale = True

    def _on_stall(self) -> None:
        for stream in list(self._known.values()):
            stream.on_stall()
        for loading in list(self._loading.values()):
            if loading.closed:
                loading.wake()
        wake_all(self.context.room_waiters)

    def _on_lost(self, basin: str, error: S2Error) -> None:
        """Streams of the basin are loaded again, by whoever asks for them next."""
        for key in [key for key in self._known if key[0] == basin]:
            if (stream := self._known.pop(key, None)) is not None:
                stream.end(Admission.LOST, error)
        for key in [key for key in self._loading if key[0] == basin]:
            self._mark_stale(key)

    def _is_used(self, basin: str) -> bool:
        self._idle = deque(stream for stream in self._idle if stream.key[0] != basin)
        # What is left is held by whoever uses it.
        return any(key[0] == basin for key in [*self._known, *self._loading])

    def _on_written(self, group: Sequence[Append], error: S2Error | None) -> None:
        """What the store has to say about a group of appends. Acks leave from here: a task in between would cost each
        small append a turn of the loop."""
        touched: dict[Stream, None] = {}
        size_bytes = 0
        if any(map(_CREATES, group)):
            group = [append for append in group if append.creates is None or self._on_created(append, error)]
        for admitted in group:
            assert isinstance(admitted, Admitted)
            stream = admitted.stream
            touched[stream] = None
            size_bytes += len(admitted.chunk.data)
            if error is None:
                stream.on_durable(admitted)
            else:
                stream.pending_bytes -= len(admitted.chunk.data)
        context = self.context
        context.group_written(size_bytes)
        if error is not None:
            for stream in touched:
                if self._known.get(stream.key) is stream:
                    del self._known[stream.key]
                stream.end(Admission.LOST, error)
        owners: dict[Owner, None] = {}
        for admitted in group:
            assert isinstance(admitted, Admitted)
            try:
                if admitted.owner.on_written(admitted, error):
                    owners[admitted.owner] = None
            except Exception:
                log.exception(NOT_TOLD)
        for owner in owners:
            try:
                owner.flush()
            except Exception:
                log.exception(NOT_TOLD)
        if error is None:
            for stream in touched:
                try:
                    stream.wake()
                except Exception:
                    log.exception(NOT_TOLD)
        if context.room_waiters and context.pending_bytes < MAX_PENDING_BYTES_TOTAL:
            wake_all(context.room_waiters)


def deletion_pending() -> ApiError:
    return ApiError("stream_deletion_pending", "stream deletion pending")
