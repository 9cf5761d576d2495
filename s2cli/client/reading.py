"""The poll loop of `read` and `tail`: records from the server to whoever takes them, through losses."""

from __future__ import annotations

import select
import time

from s2cli.client.memory import keep_freed_memory
from s2cli.client.session import SESSION_HEADERS, SILENCE_S, Advice, read_refusal
from s2cli.client.sockets import LostError
from s2cli.errors import ApiError, RangeNotSatisfiableError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.duplex import Connection
    from s2cli.client.interrupts import Waiter
    from s2cli.client.outage import Outage
    from s2cli.client.records import StreamClient
    from s2cli.wire.read import Delivered, ReadSession

# An output that blocked for so long is to blame for what became of the connection meanwhile.
BLOCKED_S = 5.0


class ReadLoop:
    """run() returns when the session is done, or when nobody takes the output any more. `write` may block for as long
    as it likes. `notice` tells a person."""

    __slots__ = ("_advice", "_blocked", "_notice", "_outage", "_output_fd", "_session", "_stream", "_waiter", "_write")

    def __init__(
        self,
        stream: StreamClient,
        session: ReadSession,
        write: Callable[[list[Delivered]], None],
        output_fd: int,
        waiter: Waiter,
        outage: Outage,
        notice: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._session = session
        self._write = write
        self._output_fd = output_fd
        self._waiter = waiter
        self._outage = outage
        self._notice = notice
        self._advice = Advice()
        self._blocked = False  # the output has blocked since the connection was made

    def run(self) -> None:
        keep_freed_memory()
        while not self._session.done:
            connection: Connection | None = None
            try:
                self._blocked = False
                connection = self._stream.connect(self._waiter)
                if self._converse(connection):
                    return
            except RangeNotSatisfiableError as error:
                self._session.on_unsatisfiable(error)
            except S2Error as error:
                error = self._stream.explain(error)
                if not isinstance(error, LostError) and not (isinstance(error, ApiError) and error.retryable):
                    raise error from error.__cause__
                self._outage.failed(error, self._waiter, quiet=self._blocked)
            finally:
                if connection is not None:
                    connection.close()

    def _converse(self, connection: Connection) -> bool:
        """One read session; whether the read is over."""
        stream, session = self._stream, self._session
        connection.expect_bulk()
        connection.request("GET", f"{stream.path}?{session.query()}", stream.headers + SESSION_HEADERS, b"")
        poll = select.poll()
        if self._output_fd >= 0:
            poll.register(self._output_fd, 0)  # to hear that its reader has gone
        heard = time.monotonic()
        while True:
            poll.register(connection.fd, connection.events)
            ready = 0
            for fd, found in poll.poll(max(0.0, heard + SILENCE_S - time.monotonic()) * 1000):
                if fd != connection.fd:
                    return True
                ready = found
            if not ready:
                raise LostError(f"the server sent nothing for {SILENCE_S:g} s")
            data = connection.on_ready(ready)
            heard = time.monotonic()
            if connection.status not in (None, 200):
                body = read_refusal(connection, data)
                raise stream.error(connection.status or 0, body, connection.headers)
            if data:
                self._outage.progress()
                if self._deliver(session.receive(data), heard):
                    # What the output took is no silence of the server.
                    heard = time.monotonic()
                if session.error is not None:
                    raise session.error
                if session.done:
                    return True
                if session.advised and self._advice.is_heeded():
                    return False
            if connection.ended:
                if session.on_end():
                    return True
                if session.follow:
                    raise LostError("the server ended the session")
                return False

    def _deliver(self, batches: list[Delivered], now: float) -> bool:
        if self._session.gap is not None:
            first, last = self._session.gap
            self._session.gap = None
            self._notice(f"the records {first} to {last} are gone, trimmed or expired before they could be read")
        if not batches:
            return False
        self._write(batches)
        self._blocked |= time.monotonic() - now > BLOCKED_S
        return True
