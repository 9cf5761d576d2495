"""The clients of a bench: writers and readers, each with a connection and a session of its own. None of them waits:
bench/loop.py drives all of them in one thread.

A lost connection or an error of the server ends the bench: figures that include an outage would say nothing.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array

from s2cli.amounts import format_seconds
from s2cli.client.session import REFUSAL_S, SESSION_HEADERS, SILENCE_S, read_refusal
from s2cli.client.sockets import LostError
from s2cli.client.transports import SessionTransport
from s2cli.wire.append_session import CHECK, RESEND, AppendSession
from s2cli.wire.read_session import ReadSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.bench.payload import Checker, Payload
    from s2cli.client.connection import Connection
    from s2cli.client.retry import Waiter
    from s2cli.client.stream_client import StreamClient

    # Called with how many records were acked or read, and the batches that are complete with them: writer and number.
    OnRecords = Callable[[int, list[tuple[int, int]]], None]


class Client(ABC):
    """A connection to one stream. `heard`: when the server last sent something on it, in monotonic seconds."""

    def __init__(self, stream: StreamClient, waiter: Waiter) -> None:
        self.stream = stream
        self.connection: Connection = stream.connect(waiter)
        self.heard = time.monotonic()

    def on_ready(self, ready: int, now: float) -> None:
        """Receives and takes what has come, after poll() found `ready`. Raises the error that the server answers
        instead of a session."""
        connection = self.connection
        data = connection.on_ready(ready)
        if connection.status not in (None, 200):
            body = read_refusal(connection, data, REFUSAL_S)
            raise self.stream.error(connection.status or 0, body, connection.headers)
        if data:
            self.heard = now
        self.receive(data)

    @abstractmethod
    def receive(self, data: bytes) -> None:
        """Takes what the server has sent, in any pieces."""

    def check(self, now: float) -> None:
        """To be called every few moments: keeps the connection alive. Raises LostError if the server owes something,
        and has sent nothing for SILENCE_S."""
        self.connection.keep_alive(now)
        if self.waits and now - self.heard > SILENCE_S:
            raise LostError(f"the server sent nothing for {format_seconds(SILENCE_S)}")

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether the server owes an ack or records."""

    def close(self) -> None:
        self.connection.close()


class Writer(Client):
    """Appends the batches of one writer in a session. `start` is the tail of the stream; None if other writers append
    to the same stream."""

    def __init__(
        self,
        stream: StreamClient,
        waiter: Waiter,
        payload: Payload,
        number: int,
        start: int | None,
        inflight_bytes: int,
        on_acked: OnRecords,
    ) -> None:
        super().__init__(stream, waiter)
        self.number = number
        self._payload = payload
        self._inflight_bytes = inflight_bytes
        self._on_acked = on_acked
        self._session = AppendSession(policy=RESEND if start is None else CHECK)
        if start is not None:
            self._session.begin(start)
        self._transport = SessionTransport(stream, self._session)
        self._transport.begin(self.connection)
        # When each batch was due, by its number. At a fixed rate that is the planned time, even if the batch could not
        # be sent then: so a server that stalls shows in the latency of every batch that it held up.
        self.due = array("d")
        self._waiting = 0  # batches that are due and have not been sent
        self._first_due = self._every_s = 0.0
        self._acked = 0  # batches

    @property
    def durable(self) -> int:
        """Records that are acknowledged."""
        return self._session.durable

    @property
    def waits(self) -> bool:
        return self._session.in_flight > 0

    def pace(self, first_due: float, every_s: float) -> None:
        """Sets when its batches are due: the first one, and the time between two. offer() is called for each."""
        self._first_due, self._every_s = first_due, every_s

    def offer(self) -> None:
        """One more batch is due: send() sends it as soon as the server takes it."""
        self._waiting += 1

    def cancel(self) -> int:
        """Drops the batches that are due and were not sent. Returns how many."""
        left, self._waiting = self._waiting, 0
        return left

    def send(self, now: float, *, endless: bool) -> None:
        """Sends the batches that are due; with `endless` as many as may be in flight."""
        session = self._session
        if not session.in_flight:
            self.heard = now
        while (endless or self._waiting) and session.in_flight_bytes < self._inflight_bytes:
            number = len(self.due)
            session.add(self._payload.records(self.number, number))
            if endless:
                self.due.append(now)
            else:
                self.due.append(self._first_due + number * self._every_s)
                self._waiting -= 1
        self._transport.send(self.connection)

    def receive(self, data: bytes) -> None:
        session = self._session
        if data:
            durable = session.durable
            self._transport.receive(self.connection, data)
            acked = range(self._acked, session.batches)
            self._acked = session.batches
            self._on_acked(session.durable - durable, [(self.number, batch) for batch in acked])
        if self.connection.ended:
            raise LostError("the server ended an append session")


class Reader(Client):
    """Reads a stream in a session, from `start` on, and checks each record. It reads `count` records; if that is None,
    it follows the stream until it is closed."""

    def __init__(
        self,
        stream: StreamClient,
        waiter: Waiter,
        checker: Checker,
        start: int,
        count: int | None,
        on_read: OnRecords,
    ) -> None:
        super().__init__(stream, waiter)
        self.checker = checker
        self._on_read = on_read
        end = None if count is None else start + count
        self._session = ReadSession(("seq_num", start), follow=count is None, end_seq_num=end, bodies_only=True)
        self.connection.expect_bulk()
        headers = stream.headers + stream.accepts + SESSION_HEADERS
        self.connection.request("GET", f"{stream.path}?{self._session.query()}", headers, b"")

    @property
    def waits(self) -> bool:
        return not self.done

    @property
    def done(self) -> bool:
        return self._session.done

    @property
    def is_open(self) -> bool:
        """Whether the server has begun its answer."""
        return self.connection.status == 200

    def receive(self, data: bytes) -> None:
        session, checker = self._session, self.checker
        for delivered in session.receive(data):
            batches: list[tuple[int, int]] = []
            before = checker.records
            for piece in delivered:
                batches += checker.take(piece)
            self._on_read(checker.records - before, batches)
        if session.error is not None:
            raise self.stream.explain(session.error)
        has_ended = session.ended or self.connection.ended
        if has_ended and not session.done and (session.follow or not session.on_end()):
            raise LostError("the server ended a read session")
