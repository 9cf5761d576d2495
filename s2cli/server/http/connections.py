"""The open connections of a listener, over either HTTP version: the receive buffer that they share, the timers that
close idle ones, and the choice of which to close at the limit."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from abc import abstractmethod
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.http.exchange import Application
    from s2cli.server.http.memory_budget import Memory

# Of what a connection receives at once.
RECEIVE_BYTES = 256 * 1024
# The same where there is no room, from one that has little here: enough for a small append.
LEAST_RECEIVE_BYTES = 1024
# A connection that has been idle for less is between two requests, and makes room for nobody.
LEAST_IDLE_S = 1.0
# How many of those that may make room are found at once, and how soon again.
FOUND_AT_ONCE = 64
SEARCH_PAUSE_S = 0.05


class Receiver(asyncio.BufferedProtocol):
    """A connection that receives into the buffer of its host, and where the budget has no room no more than each may
    always send: whatever waits in the kernel, thousands of them take no more than that in one turn of the loop."""

    def __init__(self, shared: Connections) -> None:
        self.shared = shared
        self.memory = shared.memory
        self.transport: Any = None  # asyncio.Transport, once there is one
        # When `expire` is to be called; since when it has had no request under way, inf while it has.
        self.deadline_s = self.idle_since_s = math.inf
        # What the budget asks of a Holder (memory_budget.py).
        self.share = Share()
        self.marked_s = math.inf
        self.is_ending = False
        self.taken_mark = 0
        self.is_short_of_memory = False  # and so not read

    @abstractmethod
    def data_received(self, data: bytes) -> None: ...

    @abstractmethod
    def input_bytes(self) -> int:
        """How many bytes it holds of what it has received."""

    @abstractmethod
    def unsent_bytes(self) -> int: ...

    @abstractmethod
    def unacked_bytes(self) -> int: ...

    @abstractmethod
    def taken_bytes(self) -> int: ...

    @abstractmethod
    def may_read(self) -> None: ...

    @abstractmethod
    def expire(self) -> None: ...

    @abstractmethod
    def end_soon(self) -> None:
        """The host ends: no further request is taken."""

    def get_buffer(self, sizehint: int) -> memoryview:
        buffer, memory = self.shared.buffer, self.memory
        if not memory.is_full_of_input:
            return buffer
        return buffer[: max(LEAST_RECEIVE_BYTES, memory.least_read_bytes - self.input_bytes())]

    def buffer_updated(self, nbytes: int) -> None:
        self.memory.spend_input(nbytes)
        self.data_received(bytes(self.shared.buffer[:nbytes]))

    def is_beyond_least(self) -> bool:
        """Whether it holds so much that it has to wait for room, where the budget has none."""
        return self.input_bytes() >= self.memory.least_read_bytes

    def abort(self) -> None:
        self.transport.abort()

    def end_reader(self) -> None:
        self.abort()


class Connections:
    """The open connections of a host, and what they share. In the running loop."""

    def __init__(self, application: Application, on_preface: Callable[[Receiver, bytes], None], memory: Memory) -> None:
        """`on_preface` takes over a connection that begins with these bytes, which are of HTTP/2."""
        self.application = application
        self.memory = memory
        self.on_preface = on_preface
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        self.loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = time.monotonic
        # Those of HTTP/2, too.
        self.open: set[Receiver] = set()
        # Of HTTP/2 alone, and the exchanges that are under way on them.
        self.http2_connections = self.http2_exchanges = 0
        # Those that are accepted, and will be open in a moment.
        self.arriving: set[Receiver] = set()
        # Some of those that have been idle for longest, the longest last, with since when.
        self._longest_idle: list[tuple[float, int, Receiver]] = []
        self._next_search_s = 0.0
        self.ending = False
        self._none_left = asyncio.Event()
        self._date = self._date_line = b""
        self._date_s = 0

    def date(self) -> bytes:
        """When a response is made, as its header `date` says."""
        now_s = int(time.time())
        if now_s != self._date_s:
            self._date_s = now_s
            self._date = formatdate(now_s, usegmt=True).encode()
            self._date_line = b"date: %b\r\n" % self._date
        return self._date

    def date_line(self) -> bytes:
        """The same as a line of a head of HTTP/1.1."""
        self.date()
        return self._date_line

    def opened(self, connection: Receiver) -> None:
        self.arriving.discard(connection)
        self.open.add(connection)
        connection.idle_since_s = self.now()

    def became_http2(self, connection: Receiver, begun: Receiver) -> None:
        """The connection speaks HTTP/2, and is `begun` from now on."""
        self.http2_connections += 1
        self.opened(begun)
        self.closed(connection)
        self.memory.holders.discard(connection)
        self.memory.holders.add(begun)

    def left_http2(self, connection: Receiver) -> None:
        self.http2_connections -= 1
        self.closed(connection)

    def make_room(self) -> bool:
        """Ends the connection that has been idle for longest, so that a new one gets its place. Returns False if
        there was none."""
        now_s = self.now()
        if not self._longest_idle and now_s >= self._next_search_s:
            # Some at once: many may come one after the other, and to search thousands takes milliseconds.
            self._next_search_s = now_s + SEARCH_PAUSE_S
            idle = ((one.idle_since_s, id(one), one) for one in self.open if one.idle_since_s < math.inf)
            self._longest_idle = heapq.nsmallest(FOUND_AT_ONCE, idle)[::-1]
        while self._longest_idle:
            since_s, _, connection = self._longest_idle[-1]
            if connection in self.open and connection.idle_since_s == since_s:
                if now_s - since_s < LEAST_IDLE_S:
                    return False
                self._longest_idle.pop()
                self.closed(connection)
                connection.abort()
                return True
            self._longest_idle.pop()  # it has gone, or has had a request since
        return False

    def expire(self) -> None:
        """Ends the connections that have had their time. To be called every few seconds."""
        now_s = self.now()
        for connection in list(self.open):
            if connection.deadline_s < now_s:
                connection.expire()

    def end(self) -> None:
        """Ends each connection once it has answered what it was asked."""
        self.ending = True
        for connection in list(self.open):
            connection.end_soon()
        self._check_none_left()

    def closed(self, connection: Receiver) -> None:
        self.open.discard(connection)
        self._check_none_left()

    def _check_none_left(self) -> None:
        if self.ending and not self.open:
            self._none_left.set()

    async def ended(self, timeout_s: float) -> None:
        """Waits until none is open, and breaks off those that last longer."""
        try:
            await asyncio.wait_for(self._none_left.wait(), timeout_s)
        except TimeoutError:
            for connection in list(self.open):
                connection.abort()
            await asyncio.sleep(0)  # for them to hear of it
