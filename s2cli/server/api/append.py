"""Appends (protocol sections 4 and 6.3): one batch in a request, or a session of many."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from s2cli.errors import ApiError, FencingTokenMismatchError, FrameError, S2Error, SeqNumMismatchError
from s2cli.server.api.acks import ack, positions
from s2cli.server.api.append_body import proto_steps
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.media import SESSION_HEADERS, Media
from s2cli.server.api.request_body import decode_body, identify
from s2cli.server.core.batch import Batch
from s2cli.server.core.encryption import seal_of
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.wire.bodies import ContentError
from s2cli.wire.frames import (
    MAX_MESSAGE_BYTES,
    FrameReader,
    encode_terminal,
    frame_header,
    not_inflated,
    only_message,
)
from s2cli.wire.protobuf import encode_ack

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.core.encryption import Seal
    from s2cli.server.core.idempotency import Draft
    from s2cli.server.core.stream import Admitted, Stream
    from s2cli.server.http.exchange import Exchange
    from s2cli.server.store.interface import Reply
    from s2cli.wire.configs import Layer
    from s2cli.wire.frames import Frame

Result = TypeVar("Result")

# A session that has failed ends when its client has stopped sending for the first time, or after the second.
QUIET_S = 0.1
LINGER_S = 2.0
# How long it waits then for a client that takes no acks.
PATIENCE_S = 1.0

# From the first byte of a frame to its last.
FRAME_TIMEOUT_S = 30.0

# Then others have a turn of the loop: what one piece of a body brings may take long, and many may come at once.
INPUTS_IN_A_ROW = 8
TURN_S = 0.0005


async def append(server: Server, exchange: Exchange, basin: str, name: str) -> None:
    """Answer an append, as one call or as a session."""
    media = Media(exchange)
    if media.is_session:
        exchange.client_paced = True
        await _append_session(server, exchange, basin, name, media)
    else:
        await _append_one(server, exchange, basin, name, media)


async def _append_one(server: Server, exchange: Exchange, basin: str, name: str, media: Media) -> None:
    layer = media.stream_layer
    if media.sends_protobuf:
        code, decode = "bad_proto", proto_steps
    elif media.sends_json:
        # The decoder takes 10 ms to load.
        from s2cli.server.api.append_json import json_steps, json_steps_base64

        code, decode = "bad_json", json_steps_base64 if media.as_base64 else json_steps
    else:
        raise ApiError("bad_json", "Expected request with `Content-Type: application/json`")
    data, batch = await decode_body(server, exchange, code, decode)
    grant: Grant | None = exchange.grant
    if grant is not None:
        # It may have ended while the body was on its way.
        grant.check_valid(server.clock_ms())
        if batch.commands:
            grant.require_commands(batch.commands, basin, name)
    if media.request_token is not None:
        exchange.share.collected_bytes += len(data)  # it is kept, beside the batch
        await _append_once(server, exchange, (basin, name, layer), (data, batch), media)
        return
    del data  # whoever waits for room holds the batch alone

    def answer(admitted: Admitted) -> bool:
        exchange.answer(200, *ack(media, positions(admitted)))
        return True

    if server.streams.find(basin, name) is None and await _append_to_new(server, (basin, name, layer), batch, answer):
        return
    stream, seal = await _opened(server, basin, name, grant, layer, media, batch)
    request = _Request(answer)
    await _admit(stream, batch, request, seal)
    await request.done


async def _append_to_new(
    server: Server, target: tuple[str, str, Layer | None], batch: Batch, answer: Callable[[Admitted], bool]
) -> bool:
    """Whether the batch was appended to a stream that it has created."""
    basin, name, layer = target
    request = _Request(answer)

    def on_present() -> None:
        if not request.done.done():
            request.done.set_result(False)

    try:
        if not server.streams.append_to_new(basin, name, layer or {}, batch, request, on_present):
            return False
    except S2Error:
        return False  # what refuses it is told of the stream, which is created all the same
    return await request.done


async def _opened(
    server: Server, basin: str, name: str, grant: Grant | None, layer: Layer | None, media: Media, batch: Batch
) -> tuple[Stream, Seal | None]:
    """The stream of a unary append, with room for the batch, and what seals it. Whoever asks may still append when both
    are there."""
    stream = server.streams.find(basin, name) or await server.streams.open(basin, name, "append", grant, layer)
    seal = None if stream.cipher is None else seal_of(stream, media.encryption_key)
    if not stream.has_room_for(batch.metered_bytes):
        await stream.room(batch.metered_bytes)
    if grant is not None:
        grant.check_valid(server.clock_ms())
    return stream, seal


async def _admit(
    stream: Stream, batch: Batch, owner: Any, seal: Seal | None, reply: Callable[[Admitted], Reply] | None = None
) -> None:
    """Admit a batch; if a condition refuses it, say so only when the state that it observed is durable."""
    try:
        stream.admit(batch, owner, seal, reply)
    except (SeqNumMismatchError, FencingTokenMismatchError):
        await stream.until_durable(stream.next_seq_num)
        await stream.confirm()
        raise


class _Request(Generic[Result]):
    """The owner of a unary append. `done` is what `conclude` makes of it once it is durable, in the callback of the
    group."""

    __slots__ = ("_conclude", "done")

    def __init__(self, conclude: Callable[[Admitted], Result]) -> None:
        self._conclude = conclude
        self.done: Future[Result] = asyncio.get_running_loop().create_future()

    def on_written(self, admitted: Admitted, error: S2Error | None) -> bool:
        if self.done.done():
            return False
        if error is not None:
            self.done.set_exception(error)
            return False
        try:
            self.done.set_result(self._conclude(admitted))
        except Exception as failure:  # noqa: BLE001 - it belongs to this request, not to the group
            self.done.set_exception(failure)
        return False

    def flush(self) -> None: ...


def _reply_of(admitted: Admitted) -> Reply:
    """What was written with the batch, to be given to whoever repeats the request."""
    if admitted.reply is None:
        raise ApiError("other", "the reply was lost")
    return admitted.reply


async def _append_once(
    server: Server,
    exchange: Exchange,
    target: tuple[str, str, Layer | None],
    content: tuple[bytes, Batch],
    media: Media,
) -> None:
    """Append the batch unless a request with the same token did; the answer is the first one's, byte for byte."""
    assert media.request_token is not None
    (basin, name, layer), (data, batch) = target, content
    grant: Grant | None = exchange.grant

    async def execute(draft: Draft) -> Reply:
        def reply(admitted: Admitted) -> Reply:
            # It is written with the records: all that is known of the tail yet is that it is not before their end.
            start, start_timestamp, end, end_timestamp, _, _ = positions(admitted)
            written = start, start_timestamp, end, end_timestamp, end, end_timestamp
            content_type, body = ack(media, written)
            return draft.reply(200, body, [], content_type)

        stream, seal = await _opened(server, basin, name, grant, layer, media, batch)
        request = _Request(_reply_of)
        await _admit(stream, batch, request, seal, reply)
        return await request.done

    reply = await server.replies.once(grant, basin, media.request_token, identify(exchange, basin, data), execute)
    exchange.answer(reply.status, reply.content_type, reply.body, reply.headers)


async def _append_session(server: Server, exchange: Exchange, basin: str, name: str, media: Media) -> None:
    layer = media.stream_layer
    grant: Grant | None = exchange.grant
    stream = server.streams.find(basin, name) or await server.streams.open(basin, name, "append", grant, layer)
    seal = seal_of(stream, media.encryption_key)
    session = _Session(server, stream, seal, exchange, grant)
    exchange.start(200, SESSION_HEADERS)
    exchange.write(b"")
    on_drain = server.on_drain(session.drain)
    if grant is not None:
        grant.watch(session.end, server.clock_ms)
    server.meters.totals.append_sessions += 1
    try:
        await session.run()
    finally:
        server.meters.totals.append_sessions -= 1
        server.check_appenders_left()
        server.off_drain(on_drain)
        if grant is not None:
            grant.unwatch(session.end)


class _Session:
    """The owner of the appends of a session: acks in the order of the inputs, those of a group in one piece."""

    __slots__ = (
        "_acks",
        "_all_done",
        "_begun_s",
        "_error",
        "_exchange",
        "_frame_expiry",
        "_frames",
        "_grant",
        "_pending",
        "_seal",
        "_server",
        "_share",
        "_stream",
    )

    def __init__(
        self, server: Server, stream: Stream, seal: Seal | None, exchange: Exchange, grant: Grant | None
    ) -> None:
        self._exchange = exchange
        self._server = server
        self._stream = stream
        self._seal = seal
        self._grant = grant
        self._share = exchange.share
        self._frames = FrameReader(inflates=False)
        self._begun_s: float | None = None  # when the frame began that is not complete
        self._frame_expiry: asyncio.TimerHandle | None = None
        self._acks: list[bytes] = []
        self._pending = 0
        self._all_done: Future[None] | None = None  # somebody waits until none is pending
        self._error: S2Error | None = None  # what ends the session, beside what its own inputs do

    def drain(self) -> None:
        self.end(ApiError("server_draining", "the server is shutting down"))

    def end(self, error: S2Error) -> None:
        if self._error is None:
            self._error = error
        # Whatever it waits for: the next input, or room for acks that its client does not take.
        self._exchange.stop_reading()
        self._exchange.wake()

    async def run(self) -> None:
        error = None
        try:
            await self._take_inputs()
        except S2Error as refusal:
            error = refusal
            # Its traceback holds the input, whose two mebibytes may have become 60 of objects, and the client may take
            # its time to leave.
            error.__traceback__ = error.__cause__ = error.__context__ = None
        finally:
            self._share.collected_bytes = 0
            self._server.memory.keep(self._share, 0)
            if self._frame_expiry is not None:
                self._frame_expiry.cancel()
        # Whatever was accepted is acked before an error is said.
        if self._pending:
            self._all_done = asyncio.get_running_loop().create_future()
            await self._all_done
        error = error or self._error
        if self._exchange.is_disconnected:
            return
        if error is None:
            await self._exchange.finish()
            return
        status, body, _ = error_response(error)
        self._exchange.write(encode_terminal(status, body))
        await self._exchange.discard(QUIET_S, LINGER_S)
        # An exchange that is left without an end is aborted.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exchange.finish(), PATIENCE_S)

    async def _take_inputs(self) -> None:
        self._exchange.take_at_once = self._take_at_once
        try:
            # What a piece has brought is let go of before the next one is waited for.
            while await self._take_piece(self._frames):
                pass
        except FrameError as error:
            raise ApiError("bad_frame", error.message) from error
        finally:
            self._exchange.take_at_once = None
        if self._error is None and self._exchange.is_complete and not self._frames.at_boundary:
            raise ApiError("bad_frame", "the body ends within a frame")

    def _take_at_once(self, data: bytes) -> bool:
        """Admits a small input that is the whole of what has come since the last ack: of many that come together,
        others must have their turns between them. Whatever would have to wait or is to be refused goes the general way,
        as if nothing had been tried: so each error is said in one place."""
        stream = self._stream
        if (
            self._pending
            or len(data) > LARGE_BYTES
            or self._error is not None
            or self._share.reserved_bytes
            or self._exchange.is_blocked
            or not self._frames.at_boundary
            or not stream.has_room
            or (message := only_message(data)) is None
        ):
            return False
        try:
            batch = in_one_go(proto_steps(message))
            if batch.commands:
                return False
            stream.admit(batch, self, self._seal)
        except Exception:  # noqa: BLE001 - the general way finds it once more, and says it
            return False
        self._pending += 1
        return True

    async def _take_piece(self, frames: FrameReader) -> bool:
        """Takes the inputs in the next piece of the body. Returns False if there was none, or no more can follow."""
        share = self._share
        data = await self._exchange.read()
        if not data:
            return False
        began_s = time.monotonic()
        for number, frame in enumerate(frames.frames(data), 1):
            self._begun_s = None  # what this one waits for from now on is not its client
            if self._error is not None:
                return False  # one piece of a body may hold thousands of inputs
            share.collected_bytes = len(data) + len(frame.message)
            if frame.status is not None:
                raise ApiError("bad_frame", "a terminal frame from the client")
            if not await self._take_input(frame):
                return False
            if number % INPUTS_IN_A_ROW == 0 or time.monotonic() - began_s > TURN_S:
                await asyncio.sleep(0)
                began_s = time.monotonic()
        share.collected_bytes = frames.size_bytes
        if self._begun_s is None and not frames.at_boundary:
            self._expect_frame()
        return True

    async def _take_input(self, frame: Frame) -> bool:
        """Admits the batch in the frame; not where the session has ended while it waited."""
        stream = self._stream
        batch = await self._batch(frame)
        if batch.commands and self._grant is not None:
            self._grant.require_commands(batch.commands, *stream.key)
        if not stream.has_room_for(batch.metered_bytes):
            await stream.room(batch.metered_bytes)
        if self._exchange.is_blocked:
            await self._exchange.drained()
        if self._error is not None:
            return False
        await _admit(stream, batch, self, self._seal)
        if self._share.reserved_bytes:
            self._server.memory.keep(self._share, 0)
        self._pending += 1
        return True

    async def _batch(self, frame: Frame) -> Batch:
        turnstile, memory = self._server.turnstile, self._server.memory
        try:
            if frame.encoding is None:
                if len(frame.message) <= LARGE_BYTES:
                    return in_one_go(proto_steps(frame.message))  # as the turnstile would have it: most are so
                _, batch = await turnstile.decode(frame.message, None, MAX_MESSAGE_BYTES, proto_steps)
                return batch
            # The message, and the batch that is made of it.
            await memory.reserve(self._share, 2 * MAX_MESSAGE_BYTES)
            message, batch = await turnstile.decode(frame.message, frame.encoding, MAX_MESSAGE_BYTES, proto_steps)
            memory.keep(self._share, 2 * len(message))  # until it is admitted
            return batch
        except ContentError as error:
            raise not_inflated(error) from error
        except ApiError as error:
            if error.code == "bad_proto":
                raise ApiError("bad_frame", error.message) from error
            raise

    def _expect_frame(self) -> None:
        """A frame has begun: its rest must come in time, or it would hold memory for as long as its client likes."""
        loop = asyncio.get_running_loop()
        self._begun_s = loop.time()
        if self._frame_expiry is None:
            self._frame_expiry = loop.call_later(FRAME_TIMEOUT_S, self._check_for_frame)

    def _check_for_frame(self) -> None:
        # One timer for all frames: most are complete with the next piece.
        self._frame_expiry = None
        if self._begun_s is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._begun_s + FRAME_TIMEOUT_S - loop.time()
        if left_s <= 0:
            self.end(ApiError("request_timeout", f"a frame was not complete after {FRAME_TIMEOUT_S:.0f} s"))
        else:
            self._frame_expiry = loop.call_later(left_s, self._check_for_frame)

    def on_written(self, admitted: Admitted, error: S2Error | None) -> bool:
        self._pending -= 1
        if error is not None:
            self.end(error)
        else:
            message = encode_ack(*positions(admitted))
            self._acks.append(frame_header(len(message), self._server.advice) + message)
        return True

    def flush(self) -> None:
        if self._acks:
            acks, self._acks = b"".join(self._acks), []
            self._exchange.write(acks)
        if not self._pending and self._all_done is not None and not self._all_done.done():
            self._all_done.set_result(None)
