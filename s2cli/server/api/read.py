"""Reads (protocol section 5): one answer, or a session that may follow the stream. And where a stream ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, S2Error
from s2cli.server.api.event_framing import EVENT_HEADERS, EventFramer, last_event_id, resume
from s2cli.server.api.follow import PAGE_BYTES, ReadSession
from s2cli.server.api.framing import SessionFramer
from s2cli.server.api.media import JSON, PROTOBUF, SESSION_HEADERS, Media
from s2cli.server.api.read_query import parse_read_query
from s2cli.server.api.record_json import expansion, render_batch
from s2cli.server.core.encryption import seal_of
from s2cli.server.core.range_scan import Limits, find_start
from s2cli.server.http.client_watch import ClientWatch
from s2cli.server.http.content_coding import encode_pieces
from s2cli.server.http.exchange import DisconnectedError
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, encode_tail

if TYPE_CHECKING:
    from asyncio import Future

    from s2cli.server.api.framing import Framer
    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.core.stream import Stream
    from s2cli.server.http.exchange import Exchange, Headers
    from s2cli.server.store.interface import Chunk

# Protocol section 14.3, for unary reads.
MAX_WAIT_S = 60
# A unary read that takes longer is given up once its client has gone.
PATIENCE_S = 1.0


async def read(server: Server, exchange: Exchange, basin: str, name: str) -> None:
    """Answer a read, as one call or as a session."""
    media = Media(exchange)
    if media.is_session or media.wants_events:
        exchange.client_paced = True
        await _read_session(server, exchange, basin, name, media)
    else:
        await _read_one(server, exchange, basin, name, media)


async def tail(server: Server, exchange: Exchange, basin: str, name: str) -> None:
    """Answer a check-tail. The stream is created if the basin creates streams on a read."""
    grant: Grant | None = exchange.grant
    stream = server.streams.find(basin, name) or await server.streams.open(basin, name, "read", grant)
    stream.meter.tail_checks += 1
    await stream.confirm()
    exchange.answer_json(200, b'{"tail":{"seq_num":%d,"timestamp":%d}}' % (stream.tail_seq_num, stream.tail_timestamp))


async def _read_one(server: Server, exchange: Exchange, basin: str, name: str, media: Media) -> None:
    query = parse_read_query(exchange.query)
    layer = media.stream_layer
    grant: Grant | None = exchange.grant
    stream = server.streams.find(basin, name) or await server.streams.open(basin, name, "read", grant, layer)
    seal = seal_of(stream, media.encryption_key)
    stream.meter.reads += 1
    limits = Limits(query, stream.meter, seal, most_count=MAX_BATCH_RECORDS, most_bytes=MAX_BATCH_BYTES)
    chunks: list[Chunk] = []
    tail = None
    memory, share = server.memory, exchange.share
    times = 1 + (1 if media.wants_protobuf else expansion(as_base64=media.as_base64))
    with ClientWatch(exchange, PATIENCE_S):
        if not query.wants_nothing:
            # A unary read is always bounded, so it follows only where it is told to wait.
            wait_s = min(query.wait_s or 0, MAX_WAIT_S)
            await memory.reserve(share, MAX_BATCH_BYTES * times)  # until it is handed over
            start = await find_start(server.store, stream, query, server.rendering, seal, may_follow=wait_s > 0)
            chunks = await _take_stored(server, stream, start, limits)
            memory.keep(share, _size(chunks) * times)
            if not chunks and wait_s and not limits.reached:
                arrived = await _FirstBatch(server, stream).arrived(wait_s, grant)
                # All who have waited for it are here at once.
                await memory.reserve(share, _size(arrived) * times)
                chunks = await _take_arrived(server, arrived, limits)
                tail = (stream.tail_seq_num, stream.tail_timestamp) if chunks else None
        if query.start == "tail_offset" or not chunks or chunks[-1].end_seq_num >= stream.tail_seq_num:
            await stream.confirm()  # what it says rests on where the stream ends
        if grant is not None:
            grant.check_valid(server.clock_ms())
        if media.wants_protobuf:
            parts = [chunk.data for chunk in chunks]
            if tail is not None:
                parts.append(encode_tail(*tail))
            content_type, pieces = PROTOBUF, [b"".join(parts)]
        else:
            steps = render_batch([chunk.data for chunk in chunks], tail, as_base64=media.as_base64)
            content_type, pieces = JSON, (await server.rendering.pass_by(_size(chunks), steps)).pieces
    del chunks
    memory.keep(share, sum(map(len, pieces)))
    pieces, headers = await encode_pieces(exchange, pieces)
    if len(pieces) == 1:
        exchange.answer(200, content_type, pieces[0], headers)
        return
    memory.keep(share, 0)
    exchange.client_paced = True
    await _answer_in_pieces(exchange, [(b"content-type", content_type), *headers], pieces)


async def _answer_in_pieces(exchange: Exchange, headers: Headers, pieces: list[bytes]) -> None:
    """The answer as its client takes it: joining and writing megabytes at once takes the loop for 10 ms."""
    share = exchange.share
    share.held_bytes = sum(map(len, pieces))
    exchange.start(200, [(b"content-length", b"%d" % share.held_bytes), *headers])
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        share.held_bytes -= len(piece)
        if not exchange.write(piece):
            await exchange.drained()
    exchange.end()


def _size(chunks: list[Chunk]) -> int:
    return sum([len(chunk.data) for chunk in chunks])


async def _take_stored(server: Server, stream: Stream, start: int, limits: Limits) -> list[Chunk]:
    """What there is at one moment, as far as the limits let it: a later record beside one that a trim before it has
    removed was never there."""
    taken: list[Chunk] = []
    start, end = max(start, stream.trim_point), stream.tail_seq_num
    while start < end and not limits.reached:
        try:
            page = await server.store.read(stream.id, start, end, PAGE_BYTES)
        except ApiError as error:
            if error.damaged is None or not taken:
                raise
            break  # what lies before the damage is given; the next read begins with it
        if stream.trim_point > start and (not page or page[0].first_seq_num > start):
            # A trim has come since, and some of what it removes is deleted, in slices, by now.
            if taken:
                break
            start, end = stream.trim_point, stream.tail_seq_num
            continue
        for chunk in page:
            part = await server.rendering.pass_by(len(chunk.data), limits.steps(chunk, start))
            if part is not None:
                taken.append(part)
            start = chunk.end_seq_num
            if limits.reached:
                break
        if not page:
            if taken:
                break
            # Nothing is left of what was there: what is there now counts.
            start, end = max(end, stream.trim_point), stream.tail_seq_num
    return taken


async def _take_arrived(server: Server, arrived: list[Chunk], limits: Limits) -> list[Chunk]:
    """What the limits let through of it. Raises what refuses the first of it."""
    taken: list[Chunk] = []
    for chunk in arrived:
        if limits.reached:
            break
        try:
            part = await server.rendering.pass_by(len(chunk.data), limits.steps(chunk, chunk.first_seq_num))
        except S2Error:
            if not taken:
                raise
            break
        if part is not None:
            taken.append(part)
    return taken


class _FirstBatch:
    """A follower that waits at the tail for one batch."""

    __slots__ = ("_arrived", "_server", "_stream", "next_seq_num")

    def __init__(self, server: Server, stream: Stream) -> None:
        self.next_seq_num = stream.tail_seq_num
        self._server = server
        self._stream = stream
        self._arrived: Future[list[Chunk]] = asyncio.get_running_loop().create_future()

    async def arrived(self, wait_s: float, grant: Grant | None) -> list[Chunk]:
        """What came; nothing if nothing did. Raises what ends the wait otherwise."""
        if self._stream.reading_failure is not None:
            raise self._stream.reading_failure
        timer = asyncio.get_running_loop().call_later(wait_s, self._end, [])
        on_drain = self._server.on_drain(self._on_drain)
        if grant is not None:
            grant.watch(self._end, self._server.clock_ms)
        self._stream.followers.follow(self)
        try:
            return await self._arrived
        finally:
            self._stream.followers.unfollow(self)
            self._server.off_drain(on_drain)
            if grant is not None:
                grant.unwatch(self._end)
            timer.cancel()

    def on_durable(self) -> None:
        if self._arrived.done() or self.next_seq_num >= self._stream.tail_seq_num:
            return
        self._end([chunk for chunk in self._stream.followers.recent if chunk.first_seq_num >= self.next_seq_num])
        self.next_seq_num = self._stream.tail_seq_num

    def on_failure(self) -> None:
        self._end(self._stream.reading_failure)

    def _on_drain(self) -> None:
        self._end(ApiError("server_draining", "the server is shutting down"))

    def _end(self, outcome: list[Chunk] | Exception | None) -> None:
        if self._arrived.done():
            return
        if isinstance(outcome, list):
            self._arrived.set_result(outcome)
        else:
            self._arrived.set_exception(outcome or ApiError("unavailable", "the stream has gone"))


async def _read_session(server: Server, exchange: Exchange, basin: str, name: str, media: Media) -> None:
    """A session of frames, or of events where the client wants these."""
    query = parse_read_query(exchange.query)
    after = None
    if not media.is_session:
        after = last_event_id(exchange)
        if after is not None:
            resume(query, after)
    layer = media.stream_layer
    grant: Grant | None = exchange.grant
    stream = server.streams.find(basin, name) or await server.streams.open(basin, name, "read", grant, layer)
    seal = seal_of(stream, media.encryption_key)
    refusal = None
    start = stream.tail_seq_num
    client = ClientWatch(exchange)
    if not query.wants_nothing:
        try:
            with client:
                start = await find_start(
                    server.store, stream, query, server.rendering, seal, may_follow=query.may_follow
                )
        except ApiError as error:
            if error.code != "decryption_failed":
                raise
            refusal = error
    await stream.confirm()

    framer: Framer
    if media.is_session:
        framer = SessionFramer(exchange, media.compression)
    else:
        framer = EventFramer(exchange, after, server.clock_ms, as_base64=media.as_base64)
    session = ReadSession(server, stream, start, query, exchange, framer, seal)
    if refusal is not None:
        session.end(refusal)  # it travels in the session, wherever it is found
    if grant is not None:
        grant.watch(session.end, server.clock_ms)
    stream.meter.read_sessions += 1
    server.meters.totals.read_sessions += 1
    try:
        with contextlib.suppress(DisconnectedError):
            await session.run(client, SESSION_HEADERS if media.is_session else EVENT_HEADERS)
    finally:
        server.meters.totals.read_sessions -= 1
        if grant is not None:
            grant.unwatch(session.end)
