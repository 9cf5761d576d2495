"""The two directions of a long exchange, by what the host's `receive` and `send` do beyond ASGI's promises.

`receive()` must never be cancelled: what it would have brought is lost. `send()` has queued its message when the call
returns, and the awaitable that it gives is of one type when there was room in the queue and of another when there was
none: so a callback on the loop can send without a task, and know when to stop. A `send` that is an ordinary coroutine
function is awaited in a task instead. tests/server/http/test_streaming.py holds this against both hosts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.http.exchange import DisconnectedError
from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from asyncio import Future, Task, TimerHandle
    from collections.abc import Awaitable, Iterator

    from s2cli.server.http.asgi import Headers, Message, Receive, Send


log = logging.getLogger(CLIENT_LOG)

# What was held while there was no room goes on in pieces of this size.
MAX_JOINED_BYTES = 128 * 1024


class Inbox:
    """What the client sends. After `read` has given nothing, `ended` says that the body is complete, `disconnected`
    that the client has gone, and neither that `interrupt` was called."""

    __slots__ = ("_interrupted", "_loop", "_pending", "_receive", "_share", "_waiter", "disconnected", "ended")

    def __init__(self, receive: Receive, share: Share | None = None) -> None:
        """`share` is told what is taken."""
        self._share = share or Share()
        self.ended = False
        self.disconnected = False
        self._interrupted = False
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._pending: Future[Message] | None = None
        self._waiter: Future[None] | None = None

    async def read(self) -> bytes:
        """The next bytes of the body, at least one; b"" at its end, and once `interrupt` was called."""
        while not (self.ended or self.disconnected or self._interrupted):
            pending = self._pending
            if pending is None:
                pending = self._pending = asyncio.ensure_future(self._receive())
                pending.add_done_callback(self._wake)
            if not pending.done():
                self._waiter = self._loop.create_future()
                await self._waiter
                continue
            self._pending = None
            message = pending.result()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                break
            body: bytes = message.get("body", b"")
            self.ended = not message.get("more_body", False)
            if body:
                self._share.body_bytes += len(body)
                return body
        return b""

    def interrupt(self) -> None:
        """Let `read` return now, and from now on."""
        self._interrupted = True
        self._wake()

    async def discard(self, quiet_s: float, most_s: float) -> None:
        """Throw away what comes until nothing has come for `quiet_s`, at most for `most_s`. After an error this stands
        before the end of the response: then the host closes the connection, and if too much is still on its way, the
        connection resets and the client may never see the error."""
        self._interrupted = False
        end_s = self._loop.time() + most_s
        data = b"some"
        while data and self._loop.time() < end_s:
            timer = self._loop.call_later(quiet_s, self.interrupt)
            data = await self.read()
            timer.cancel()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ClientWatch:
    """Work that nobody needs once the client has gone: `with` it, the task is cancelled then, and DisconnectedError is
    raised. What the client sends is thrown away. Asking the host costs something, so what takes less than `patience_s`
    does not ask."""

    __slots__ = ("_is_left", "_is_watching", "_patience_s", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive, patience_s: float = 0.0) -> None:
        self._receive = receive
        self._patience_s = patience_s
        self._is_watching = False  # from then on, between two `with`, too
        self._is_left = False
        self._task: Task[Any] | None = None
        self._timer: TimerHandle | None = None

    def __enter__(self) -> None:
        if self._is_left:
            raise DisconnectedError
        self._task = asyncio.current_task()
        if not self._patience_s:
            self._watch()
        elif not self._is_watching:
            self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._watch)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if self._is_left and task is not None:
            task.uncancel()
            if error is None or isinstance(error, asyncio.CancelledError):
                raise DisconnectedError from None

    def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._receive_next()

    def _receive_next(self) -> None:
        asyncio.ensure_future(self._receive()).add_done_callback(self._on_message)

    def _on_message(self, received: Future[Message]) -> None:
        if not (received.cancelled() or received.exception() or received.result()["type"] == "http.disconnect"):
            self._receive_next()
            return
        self._is_left = True
        if self._task is not None:
            self._task.cancel()


class Outlet:
    """A response body that is sent piece by piece, from tasks and callbacks alike."""

    __slots__ = ("_blocked", "_held", "_queued_type", "_send", "_share", "_waiter")

    def __init__(self, send: Send, share: Share | None = None) -> None:
        """`share` is told what is held."""
        self._send = send
        self._share = share or Share()
        self._queued_type: type | None = None
        self._blocked: Future[None] | None = None
        self._held: list[bytes] = []
        self._waiter: Future[None] | None = None

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head at once: clients wait for it before they send."""
        started: Any = self._send({"type": "http.response.start", "status": status, "headers": list(headers)})
        if not asyncio.iscoroutine(started):
            self._queued_type = type(started)
        await started
        # The host holds the head back until the first piece of the body.
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    @property
    def blocked(self) -> bool:
        """Whether the host has no room: what is written now is held, and must be bounded by the writer."""
        return self._blocked is not None

    def write(self, data: bytes) -> None:
        if self._blocked is not None:
            self._held.append(data)
            self._share.held_bytes += len(data)
            return
        try:
            sent: Awaitable[None] = self._send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception:
            # The exchange is over, which whoever reads from the client learns too. A callback of a whole group must
            # not fail because of one of them.
            log.debug("a piece of a response could not be sent", exc_info=True)
            return
        if type(sent) is not self._queued_type:
            self._blocked = asyncio.ensure_future(sent)
            self._blocked.add_done_callback(self._unblock)

    async def drained(self) -> None:
        """Wait until the host has taken everything, or `interrupt` is called."""
        if self._blocked is not None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def interrupt(self) -> None:
        """Let `drained` return now."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def end(self, data: bytes = b"") -> None:
        """The last piece."""
        while self._blocked is not None:
            await self.drained()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _unblock(self, sent: Future[None]) -> None:
        self._blocked = None
        if not sent.cancelled():
            sent.exception()  # seen: a client that has gone is noticed by whoever reads from it
        if self._held:
            held, self._held = self._held, []
            self._share.held_bytes = 0
            for piece in _joined(held):
                self.write(piece)
        if self._blocked is None:
            self.interrupt()


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    """Small pieces together, but none beyond MAX_JOINED_BYTES that was not so: granian queues as many large ones."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if waiting and size + len(piece) > MAX_JOINED_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    yield b"".join(waiting)
