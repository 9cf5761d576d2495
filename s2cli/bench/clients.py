"""The clients of a bench, each with a connection and a session of its own: writers and readers. They are driven by
loop.py, many in one thread, and none of them ever waits.

A connection that is lost, or an error of the server, ends the bench: figures over an outage would say nothing.
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

    # Records that are through, and the batches that are with them, by writer and number.
    OnRecords = Callable[[int, list[tuple[int, int]]], None]


class Client(ABC):
    """A connection to one stream, and when the server was last heard on it (monotonic seconds)."""

    def __init__(self, stream: StreamClient, waiter: Waiter) -> None:
        self.stream = stream
        self.connection: Connection = stream.connect(waiter)
        self.heard = time.monotonic()

    def on_ready(self, ready: int, now: float) -> None:
        """Takes what has come, after poll() found `ready`. Raises what the server answers instead of a session."""
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
        """Now and then: raises LostError where the server has fallen silent, and sends a sign of life if one is due."""
        self.connection.keep_alive(now)
        if self.waits and now - self.heard > SILENCE_S:
            raise LostError(f"the server sent nothing for {format_seconds(SILENCE_S)}")

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether the server owes something."""

    def close(self) -> None:
        self.connection.close()


class Writer(Client):
    """Appends the batches of one writer in a session. `start` is the sequence number where the stream ends; None where
    other writers append to it too."""

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
        # When each batch was due, by its number: at a fixed rate that is the time of the plan, whether or not it could
        # be sent then. So a server that stands still is seen in the latency of all that it held up.
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
        """When its batches are due, of which offer() tells."""
        self._first_due, self._every_s = first_due, every_s

    def offer(self) -> None:
        """One more batch is due, and to be sent now or as soon as the server takes it."""
        self._waiting += 1

    def cancel(self) -> int:
        """Nothing more is to be sent; how many batches were left."""
        left, self._waiting = self._waiting, 0
        return left

    def send(self, now: float, *, endless: bool) -> None:
        """Sends what is waiting, or with `endless` as much as may be under way."""
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
    """Reads a stream from `start` on in a session and checks it: with `count`, so many records, without it what comes
    until it is closed."""

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
