"""Read sessions (protocol sections 5.5 and 6.4): first a scan of the stored records, then new records as they come.

A session scans the store page by page, in its task. At the tail it becomes a follower: the callback of the group that
made new chunks durable sends them, the same bytes to all followers. If a client does not keep up, its session goes back
to its task and scans again, from the chunks that the stream keeps in memory or from the store. A slow reader holds at
most a page, and one that takes nothing only what the host has of it: its page is read again when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, S2Error
from s2cli.server.api.framing import PIECE_BYTES, Cursor, Shared
from s2cli.server.core.range_scan import Limits
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.server.http.exchange import DisconnectedError
from s2cli.wire.protobuf import MAX_BATCH_BYTES

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable

    from s2cli.server.api.framing import Framer
    from s2cli.server.api.server import Server
    from s2cli.server.core.encryption import Seal
    from s2cli.server.core.range_scan import ReadQuery
    from s2cli.server.core.stream import Stream
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.client_watch import ClientWatch
    from s2cli.server.http.exchange import Exchange, Headers
    from s2cli.server.store.interface import Chunk

# One page of a scan. Batches of a megabyte come one by one.
PAGE_BYTES = 768 * 1024
# A page, and the batch that may be larger than what is left of it.
RESERVED_BYTES = PAGE_BYTES + MAX_BATCH_BYTES
HEARTBEAT_S = (5.0, 15.0)
# How long a session that is to end waits for a client that does not read.
PATIENCE_S = 2.0


class ReadSession:
    """One session, from the first byte of its response to the last. Also a Follower. `framer` gives it its form."""

    def __init__(
        self,
        server: Server,
        stream: Stream,
        start: int,
        query: ReadQuery,
        exchange: Exchange,
        framer: Framer,
        seal: Seal | None = None,
    ) -> None:
        self.next_seq_num = start
        self._memory = server.memory
        self._share = exchange.share
        self._server = server
        self._stream = stream
        self._limits = Limits(query, stream.meter, seal)
        self._may_follow = query.may_follow
        self._wait_s = query.wait_s
        self._stop_seq_num = stream.tail_seq_num  # where a session ends that does not follow
        self._exchange = exchange
        self._framer = framer
        self._sends_shared = self._framer.sends_shared and self._limits.unlimited
        # Whether chunks are sent as they are. What is made of large ones is made one at a time.
        self._sends_stored = not self._framer.expansion and seal is None and self._limits.unlimited
        self._loop = asyncio.get_running_loop()
        # For a page; whether it is to be let go of.
        self._has_room = self._is_asked = False
        self._live = False  # it is at the tail, and all before that is sent
        self._error: S2Error | None = None
        self._woken: Future[None] | None = None
        self._sent_s = 0.0  # when the last batch was sent

    async def run(self, client: ClientWatch, headers: Headers) -> None:
        """Raises DisconnectedError."""
        on_drain = self._server.on_drain(self._on_drain)
        try:
            with client:
                self._exchange.start(200, headers)
                self._exchange.write(b"")
                while not self._ended():
                    await self._scan()
                    if self._ended() or not self._may_follow or not await self._wait_at_tail():
                        break
        except S2Error as error:
            self._error = error
        finally:
            self._server.off_drain(on_drain)
            self._stream.followers.unfollow(self)
        if self._framer.is_cut:
            return
        self._framer.flush()  # the end of a message whose beginning has filled the exchange
        last = self._framer.ending(self._error, (self._stream.tail_seq_num, self._stream.tail_timestamp))
        # An exchange that is left without an end is aborted.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exchange.finish(last), None if self._error is None else PATIENCE_S)

    def _ended(self) -> bool:
        """Whether nothing more is to be sent. Raises what ends the session as a failure."""
        failure = self._error or self._stream.reading_failure
        if failure is not None:
            raise failure
        return self._limits.reached

    async def _scan(self) -> None:
        """Send what is stored, up to where the stream ends when that is sent, or ended at first if that is all."""
        stream = self._stream
        while not self._ended():
            if self._exchange.is_blocked:
                await self._exchange.drained()
                continue
            end = stream.tail_seq_num if self._may_follow else self._stop_seq_num
            self.next_seq_num = max(self.next_seq_num, min(stream.trim_point, end))
            if self.next_seq_num >= end:
                return
            await self._take_room()
            try:
                await self._send_page(end)
            finally:
                self._leave_room()

    async def _send_page(self, end: int) -> None:
        """Sends the next page of what there is before `end`."""
        stream, memory, share = self._stream, self._memory, self._share
        times = 1 + self._framer.expansion
        page = self._remembered()
        stored = not page
        if stored:
            await memory.reserve(share, RESERVED_BYTES * times)
            page = await self._server.store.read(stream.id, self.next_seq_num, end, PAGE_BYTES)
            memory.keep(share, _size(page) * times)
            if page and self.next_seq_num < min(stream.trim_point, page[0].first_seq_num):
                return  # a trim has come since, and some of what it removes is deleted, in slices, by now
        elif not self._sends_stored:
            await memory.reserve(share, _size(page) * times)
        # Without a page: trimmed up to the end.
        cursor = Cursor(page, self.next_seq_num if page else end, self._limits)
        walk = self._walk(_size(page))
        del page  # a client that does not read must not hold it as a whole
        self._framer.waits_for_room = not self._framer.expansion
        is_kept = True
        while is_kept:
            began_seq_num = cursor.next_seq_num
            steps = self._message(cursor)
            if not (in_one_go(steps) if walk is None else await walk(steps)):
                break
            if self._exchange.is_blocked:
                is_kept = await self._send_rest(cursor, began_seq_num)
                if self._ended():
                    return
        self._framer.waits_for_room = False
        self._framer.flush()
        memory.keep(share, 0)
        self.next_seq_num = cursor.next_seq_num
        if self.next_seq_num >= end and self._may_follow:
            # What comes from now on the stream remembers for us, so that no writer is too fast to be caught up.
            stream.followers.follow(self)
        elif stored:
            stream.followers.unfollow(self)

    async def _send_rest(self, cursor: Cursor, began_seq_num: int) -> bool:
        """Sends the rest of the message that began there, but for less than a piece, and waits until there is room for
        the next one. Returns False if the page was let go of meanwhile."""
        exchange, framer, memory, share = self._exchange, self._framer, self._memory, self._share
        page_bytes = share.reserved_bytes
        is_kept = True
        while exchange.is_blocked:
            if self._has_room and cursor.is_whole and framer.can_let_go:
                is_asked = await self._stall()
                self._ended()
                if is_asked:
                    cursor.let_go()
                    framer.let_go()
                    self._leave_room()
                    is_kept, page_bytes = False, 0
            else:
                self._leave_room()  # the budget alone counts what cannot be made again
                await exchange.drained()
                self._ended()
            if framer.is_cut and not exchange.is_blocked:
                await self._take_room()
                if not framer.resume(await self._read_again(began_seq_num, cursor.next_seq_num)):
                    raise DisconnectedError  # a trim has come since: the client is to ask again
            framer.go_on()
            memory.keep(share, page_bytes + framer.waiting_bytes)
        memory.keep(share, page_bytes)
        return is_kept

    async def _take_room(self) -> None:
        """Room for a page, where it can be let go of and read again."""
        if not self._framer.expansion:
            await self._server.pages.acquire()
            self._has_room = True

    def _leave_room(self) -> None:
        if self._has_room:
            self._has_room = False
            self._server.pages.release()

    async def _stall(self) -> bool:
        """Waits until there is room for the client, or the page is to be let go of. Returns whether it is."""
        self._is_asked = False
        pages = self._server.pages
        pages.stall(self._let_go)
        try:
            if not self._is_asked:
                await self._exchange.drained()
        finally:
            pages.proceed(self._let_go)
        return self._is_asked

    def _let_go(self) -> None:
        self._is_asked = True
        self._exchange.wake()

    async def _read_again(self, start: int, end: int) -> list[bytes]:
        """The parts of the message with these records; fewer where they have been trimmed."""
        await self._memory.reserve(self._share, RESERVED_BYTES)
        parts: list[bytes] = []
        while start < end:
            page = await self._server.store.read(self._stream.id, start, end, PAGE_BYTES)
            if not page or page[0].first_seq_num != start:
                break
            parts += [chunk.data for chunk in page]
            start = page[-1].end_seq_num
        return parts

    def _walk(self, size_bytes: int) -> Callable[[Steps[bool]], Awaitable[bool]] | None:
        """How messages of so many bytes are made and sent one at a time, among those of all readers; None for few."""
        if self._sends_stored:
            return self._server.sending.walk if size_bytes > PIECE_BYTES else None
        return self._server.rendering.walk if size_bytes > LARGE_BYTES else None

    def _message(self, cursor: Cursor) -> Steps[bool]:
        """Sends the next message. Returns False if there was none."""
        if self._ended():
            return False  # while it waited for its turn
        stream, memory, share = self._stream, self._memory, self._share
        parts = yield from cursor.message()
        if not parts:
            return False
        size_bytes = sum(map(len, parts)) * (1 + self._framer.expansion)
        tail = stream.tail_seq_num, stream.tail_timestamp
        yield from self._framer.add(parts, cursor.metered_bytes, tail if cursor.end_seq_num == tail[0] else None)
        # It waits at the host now, if it waits.
        memory.keep(share, max(0, share.reserved_bytes - size_bytes))
        return True

    def _remembered(self) -> list[Chunk]:
        """A page of chunks that the stream has in memory, if the next one is among them."""
        page: list[Chunk] = []
        recent = self._stream.followers.recent
        if recent and recent[0].first_seq_num <= self.next_seq_num:
            size_bytes = 0
            for chunk in recent:
                if chunk.end_seq_num > self.next_seq_num:
                    page.append(chunk)
                    size_bytes += len(chunk.data)
                    if size_bytes >= PAGE_BYTES:
                        break
        return page

    async def _wait_at_tail(self) -> bool:
        """Follow until the client lags or something ends the session. Returns whether the session continues."""
        if self._wait_s == 0:
            return False
        self._stream.followers.follow(self)
        self._live = True
        beaten_s = self._sent_s = self._loop.time()
        pause_s = 0.0  # where the tail is, it says at once
        try:
            while self._live and not self._ended():
                # Batches move both times without touching a timer.
                now_s = self._loop.time()
                beat_s = max(beaten_s, self._sent_s) + pause_s
                end_s = beat_s if self._wait_s is None else self._sent_s + self._wait_s
                if self._wait_s is not None and now_s >= end_s:
                    return False
                if now_s >= beat_s:
                    await self._stream.confirm()
                    self._beat()
                    beaten_s, pause_s = now_s, _pause_s()
                else:
                    await self._sleep_until(min(beat_s, end_s))
        finally:
            self._live = False
        return True

    async def _sleep_until(self, time_s: float) -> None:
        self._woken = self._loop.create_future()
        timer = self._loop.call_at(time_s, self._wake)
        try:
            await self._woken
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
        self._exchange.wake()

    def _beat(self) -> None:
        if self.next_seq_num < self._stream.tail_seq_num:
            return  # a broadcast is due: a tail must not be told before the records that precede it
        self._framer.beat((self._stream.tail_seq_num, self._stream.tail_timestamp))
        self._framer.flush()

    def on_durable(self) -> None:
        stream = self._stream
        if not self._live or self.next_seq_num >= stream.tail_seq_num:
            return
        if self._memory.is_short:
            self._live = False  # it continues from the store, when there is room
            self._wake()
            return
        if not (self._sends_shared and self._send_shared()):
            chunks = self._new_chunks()
            if self._walk(_size(chunks)) is not None:
                self._live = (
                    False  # there may be many of us: the broadcast continues, and we follow one after the other
                )
                self._wake()
                return
            tail = stream.tail_seq_num, stream.tail_timestamp
            cursor = Cursor(chunks, self.next_seq_num, self._limits)
            try:
                while not self._exchange.is_blocked and (parts := in_one_go(cursor.message())):
                    in_one_go(self._framer.add(parts, cursor.metered_bytes, tail))
            except S2Error as error:
                self.end(error)
            self._framer.flush()
            self.next_seq_num = cursor.next_seq_num
        self._sent_s = self._loop.time()
        if self._exchange.is_blocked or self._limits.reached:
            self._live = False
            self._wake()

    def _new_chunks(self) -> list[Chunk]:
        return [chunk for chunk in self._stream.followers.recent if chunk.first_seq_num >= self.next_seq_num]

    def _send_shared(self) -> bool:
        """Send the same bytes as every follower at the same place; False where they have to be made for us."""
        stream = self._stream
        alike = stream.followers.shared
        shared = alike.get(self.next_seq_num)
        if shared is None:
            shared = Shared(self._new_chunks(), (stream.tail_seq_num, stream.tail_timestamp))
            alike[self.next_seq_num] = shared
        if not shared.data:
            return False
        self._exchange.write(shared.data)
        self._limits.count(shared.count, shared.metered_bytes)
        self.next_seq_num = stream.tail_seq_num
        return True

    def on_failure(self) -> None:
        self.end(self._stream.reading_failure or ApiError("unavailable", "the stream has gone"))

    def _on_drain(self) -> None:
        self.end(ApiError("server_draining", "the server is shutting down"))

    def end(self, error: S2Error) -> None:
        """Have the session end with this error, after what is under way."""
        self._error = self._error or error
        self._wake()


def _size(chunks: list[Chunk]) -> int:
    return sum([len(chunk.data) for chunk in chunks])


def _pause_s() -> float:
    return random.uniform(*HEARTBEAT_S)  # noqa: S311 - spreads the load, guards nothing
