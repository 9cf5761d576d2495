"""Relays the bytes of one HTTP/2 connection between the client and granian (http2_relay.py), and counts what is queued
in between.

granian does not say how much it has queued for a client. The frames that pass show how much of each stream the client
has received; what the application has written beyond that is queued. A stream whose client receives nothing for too
long while memory is short is reset in both directions: with a window of 0 no error message could be delivered.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from s2cli.server.http.connections import Receiver
from s2cli.server.http.http1_connection import LINGER_S, MAX_UNSENT_BYTES
from s2cli.server.http.http2_frames import RequestFrames, ResponseFrames, reset
from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.http.connections import Connections

# A client that takes nothing is given up then: granian looks for those that have gone, but not past what they do not
# take.
STALL_S = 600.0
# What granian has sent of a stream before it heard of its end has passed by then.
RESET_DELAY_S = 0.5


class RelayEnd(asyncio.BaseProtocol):
    """One of the two ends of a connection that is relayed: what it receives, the other one sends."""

    def __init__(self, other: RelayEnd | None = None) -> None:
        self.other = other
        self.transport: Any = None  # asyncio.Transport
        self.is_lost = False
        self.is_full = False  # of what it cannot send yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(MAX_UNSENT_BYTES)

    def pause_writing(self) -> None:
        self.is_full = True
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.other is not None and not self.other.is_lost:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.other is not None and not self.other.is_lost:
            self.other.finish()

    def finish(self) -> None:
        """Closes the connection once everything that is queued has been sent."""
        self.transport.close()


class Stream:
    """One stream of HTTP/2: how many bytes the application has written to it, and how many of them the relay has passed
    on."""

    __slots__ = (
        "_client",
        "_number",
        "handed_bytes",
        "is_closed",
        "is_ending",
        "is_running",
        "marked_s",
        "passed_bytes",
        "received_bytes",
        "share",
        "taken_mark",
    )

    def __init__(self, client: ClientEnd, number: int) -> None:
        self._client = client
        self._number = number
        self.handed_bytes = 0
        # Whether it has passed the last of it, and whether the application is at it.
        self.is_closed = False
        self.is_running = False
        self.passed_bytes = 0
        self.received_bytes = 0
        self.share = Share()
        self.is_ending = False
        self.taken_mark = 0
        self.marked_s = math.inf

    def unsent_bytes(self) -> int:
        waiting_bytes = self.handed_bytes - self.passed_bytes
        # granian has a copy, and of the last piece we have one too: by measure of the resident memory a third more.
        return waiting_bytes + waiting_bytes // 3 + self.share.held_bytes

    def unacked_bytes(self) -> int:
        return self.received_bytes - self.share.body_bytes

    def taken_bytes(self) -> int:
        return self.passed_bytes

    def end_reader(self) -> None:
        if not self.is_closed:
            self._client.end_stream(self._number)

    def begin(self) -> None:
        self.is_running = True
        self._client.running += 1

    def end(self) -> None:
        """The application is done with the exchange: what it held is no longer counted."""
        self.is_running = False
        self._client.running -= 1
        self._client.memory.keep(self.share, 0)
        self.share.clear()
        if self.is_closed:
            self._client.forget(self)

    def may_read(self) -> None:
        """Does nothing: reading is paused and resumed for the whole connection (ClientEnd.may_read)."""


class ClientEnd(RelayEnd, Receiver):
    """The end towards the client: one of the connections of the host."""

    def __init__(self, shared: Connections, name: bytes, transport: Any, on_lost: Callable[[ClientEnd], None]) -> None:
        RelayEnd.__init__(self)
        Receiver.__init__(self, shared)
        self.name = name
        self.streams: dict[int, Stream] = {}
        self.running = 0  # of them, that the application is at
        self._on_lost = on_lost
        self._requests = RequestFrames(name, self)
        self.responses = ResponseFrames(self)
        self._passed_bytes = 0
        # Streams that are ended, and whose frames wait for the end of another one.
        self._ending_requests: list[int] = []
        self._ending_responses: list[int] = []
        self.transport = transport

    def join(self, server: RelayEnd, begin: bytes) -> None:
        self.other = server
        if self.is_lost:
            server.transport.abort()
            return
        self.data_received(begin)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.transport.write(self._requests.passed(data))
        if self._ending_requests:
            self._end_requests()
        if self.memory.is_full_of_input and self.is_beyond_least():
            self.is_short_of_memory = True
            self.transport.pause_reading()

    def pass_on(self, data: bytes) -> None:
        """Sends `data`, which granian wrote, to the client."""
        self._passed_bytes += len(data)
        self.transport.write(self.responses.observe(data))
        if self._ending_responses:
            self._end_responses()

    # What passes.

    def on_request(self, stream: int) -> None:
        self.idle_since_s = math.inf
        added = self.streams[stream] = Stream(self, stream)
        self.memory.holders.add(added)

    def on_request_data(self, stream: int, size_bytes: int) -> None:
        if (known := self.streams.get(stream)) is not None:
            known.received_bytes += size_bytes

    def on_response_data(self, stream: int, size_bytes: int) -> None:
        if (known := self.streams.get(stream)) is not None:
            known.passed_bytes += size_bytes

    def on_closed(self, stream: int) -> None:
        if (known := self.streams.pop(stream, None)) is not None:
            known.is_closed = True
            if not self.streams and not self.is_lost:
                self.idle_since_s = self.shared.now()
            if not known.is_running:
                self.forget(known)

    def forget(self, stream: Stream) -> None:
        self.memory.holders.discard(stream)

    # What the budget asks.

    def unsent_bytes(self) -> int:
        size_bytes: int = self.transport.get_write_buffer_size()
        return size_bytes

    def unacked_bytes(self) -> int:
        size_bytes: int = 0 if self.other is None else self.other.transport.get_write_buffer_size()
        return size_bytes

    def input_bytes(self) -> int:
        return self.unacked_bytes() + sum(stream.unacked_bytes() for stream in self.streams.values())

    def taken_bytes(self) -> int:
        return self._passed_bytes - self.unsent_bytes()

    def may_read(self) -> None:
        if self.is_short_of_memory:
            self.is_short_of_memory = False
            if self.other is not None and not (self.is_lost or self.other.is_full):
                self.transport.resume_reading()

    def end_stream(self, number: int) -> None:
        """Resets the stream at both ends."""
        if self.is_lost:
            return
        self.on_closed(number)
        self._ending_requests.append(number)
        self._end_requests()
        # The client is told when nothing of the stream is under way any more.
        self.shared.loop.call_later(RESET_DELAY_S, self._end_response, number)

    def _end_requests(self) -> None:
        if self.other is not None and self._requests.at_boundary:
            ending, self._ending_requests = self._ending_requests, []
            self.other.transport.write(b"".join(map(reset, ending)))

    def _end_response(self, number: int) -> None:
        if number in self._ending_requests:
            # In the middle of a frame that does not go on.
            self.abort()
        else:
            self._ending_responses.append(number)
            self._end_responses()

    def _end_responses(self) -> None:
        if not self.is_lost and self.responses.at_boundary:
            ending, self._ending_responses = self._ending_responses, []
            self.transport.write(b"".join(map(reset, ending)))

    # What the transport and the host say.

    def eof_received(self) -> bool:
        # A client of HTTP/2 that sends no more has gone, also if it has yet to take what was sent to it.
        if self.other is not None:
            self.other.finish()
        self.finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.memory.holders.discard(self)
        for number in list(self.streams):
            self.on_closed(number)
        self._on_lost(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.deadline_s = self.shared.now() + STALL_S

    def resume_writing(self) -> None:
        self.deadline_s = math.inf
        super().resume_writing()

    def finish(self) -> None:
        self.deadline_s = self.shared.now() + LINGER_S
        super().finish()

    def expire(self) -> None:
        self.abort()

    def end_soon(self) -> None:
        """Does nothing: granian ends its connections itself."""


class GranianEnd(RelayEnd, asyncio.Protocol):
    """The end towards granian."""

    def __init__(self, client: ClientEnd) -> None:
        super().__init__(client)
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.pass_on(data)
