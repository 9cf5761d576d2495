"""One request over HTTP/2 and its response, adapted from ASGI, which granian speaks.

granian's `receive()` must never be cancelled: the message would be lost. Its `send()` has queued the message when the
call returns; the type of the awaitable that it returns shows whether the queue had room. So a callback of the event
loop can send without a task, and know when to stop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s2cli.server.http.exchange import Exchange

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from s2cli.server.http.exchange import Headers
    from s2cli.server.http.memory_budget import Share

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

# What was held while there was no room goes on in pieces of this size: granian queues as many large ones.
MAX_JOINED_BYTES = 128 * 1024


class Http2Exchange(Exchange):
    """A request on its way in and its response on its way out."""

    __slots__ = (
        "_has_come",
        "_held",
        "_on_sent",
        "_pending",
        "_queued_type",
        "_receive",
        "_send",
        "_sending",
    )

    def __init__(
        self, scope: Message, receive: Receive, send: Send, share: Share, on_sent: Callable[[int], None]
    ) -> None:
        """`on_sent` is told the size of each piece of the response that granian is given."""
        super().__init__(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], share)
        self._receive = receive
        self._send = send
        self._on_sent = on_sent
        self._pending: Future[Message] | None = None
        self._has_come = False
        self._queued_type: type | None = None
        self._sending: Future[None] | None = None  # the message that there was no room for
        self._held: list[bytes] = []

    # The request.

    @property
    def is_complete(self) -> bool:
        return self._has_come

    @property
    def is_disconnected(self) -> bool:
        return self._disconnected

    def take_whole(self) -> bytes | None:
        return None  # granian gives it through its threads, whether it has come or not

    async def read(self) -> bytes:
        while not (self._has_come or self._disconnected or self._is_stopped):
            pending = self._pending
            if pending is None:
                pending = self._pending = asyncio.ensure_future(self._receive())
                pending.add_done_callback(self._wake_reader)
            if not pending.done():
                self._reader = asyncio.get_running_loop().create_future()
                await self._reader
                continue
            self._pending = None
            if body := self._taken(pending.result()):
                return body
        return b""

    async def read_once(self) -> bytes:
        while not (self._has_come or self._disconnected):
            if body := self._taken(await self._receive()):
                return body
        return b""

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            self._disconnected = True
            return b""
        body: bytes = message.get("body", b"")
        self._has_come = not message.get("more_body", False)
        self.share.body_bytes += len(body)
        return body

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        if self._disconnected:
            asyncio.get_running_loop().call_soon(callback)
            return

        def on_message(pending: Future[Message]) -> None:
            if pending.cancelled() or pending.exception() is not None:
                self._disconnected = True
            else:
                self._taken(pending.result())
            if self._disconnected:
                callback()
            else:
                asyncio.ensure_future(self._receive()).add_done_callback(on_message)

        pending, self._pending = self._pending or asyncio.ensure_future(self._receive()), None
        pending.add_done_callback(on_message)

    # The response.

    def _start(self, status: int, headers: Headers) -> None:
        message = {"type": "http.response.start", "status": status, "headers": list(headers)}
        self._queued_type = type(self._send(message))

    def write(self, data: bytes) -> bool:
        if not self.status:
            raise RuntimeError("a piece of a response that has not begun")
        if self._is_over:
            return True
        if self.method == "HEAD":
            self.end()
        elif self._sending is not None:
            self._held.append(data)
            self.share.held_bytes += len(data)
        else:
            self._give({"type": "http.response.body", "body": data, "more_body": True})
        return self._sending is None

    def end(self, data: bytes = b"") -> None:
        if not self.status:
            raise RuntimeError("the end of a response that has not begun")
        if self._is_over:
            return
        self._is_over = True
        if self.method == "HEAD":
            data, self._disconnected = b"", True
        self._give({"type": "http.response.body", "body": data, "more_body": False})

    def _give(self, message: Message) -> None:
        body: bytes = message["body"]
        self.written_bytes += len(body)
        self._on_sent(len(body))
        sent = self._send(message)
        if type(sent) is not self._queued_type:
            self._sending = asyncio.ensure_future(sent)
            self._sending.add_done_callback(self._unblock)

    @property
    def is_blocked(self) -> bool:
        return self._sending is not None

    async def sent(self) -> None:
        """Waits until granian has been given everything."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    def _unblock(self, sent: Future[None]) -> None:
        self._sending = None
        if not sent.cancelled():
            sent.exception()  # seen: a client that has gone is noticed by whoever reads from it
        if self._held:
            held, self._held = self._held, []
            self.share.held_bytes = 0
            for piece in _joined(held):
                self.write(piece)
        if self._sending is None:
            self.wake()


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    """Small pieces together, but none beyond MAX_JOINED_BYTES that was not so."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if waiting and size + len(piece) > MAX_JOINED_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    yield b"".join(waiting)
