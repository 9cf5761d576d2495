"""The poll loop of `read` and `tail`: receives records, delivers them to the caller, and reconnects after losses."""

from __future__ import annotations

import select
import time

from s2cli.amounts import format_seconds
from s2cli.client.connection import inflated
from s2cli.client.session import REFUSAL_S, SESSION_HEADERS, Advice, Patience, read_refusal
from s2cli.client.sockets import LostError
from s2cli.client.stream_client import PROTOBUF
from s2cli.client.transports import READ_TRANSPORTS, SSE, UNARY, TransportChoice
from s2cli.errors import ApiError, IncompleteError, ProtocolError, RangeNotSatisfiableError, S2Error
from s2cli.wire.frames import MAX_MESSAGE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from s2cli.client.connection import Connection, Headers
    from s2cli.client.retry import RetryPolicy, Waiter
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.read_session import Delivered, ReadSession

    # Delivers what the bytes of a session hold; says how many messages were whole so far, and how many bytes of the
    # next one are there.
    Taker = Callable[[bytes], tuple[int, int]]

    class Idle(Protocol):
        due: float  # monotonic seconds: when on_idle() is called, if nothing comes until then

        def on_idle(self) -> None: ...


# Base64 is exact for any bytes; compression would hold events back.
EVENT_HEADERS = [("accept", "text/event-stream"), ("s2-format", "base64")]
# How long a call that follows waits for the next record.
CALL_WAIT_S = 15
# An output that blocked for so long is to blame for what became of the connection meanwhile.
BLOCKED_S = 5.0
_LARGE_BYTES = 31 << 20  # just below the most that glibc lets its bound grow to


class ReadLoop:
    """run() returns when the session is done, or when nobody takes the output any more. `write` may block for as long
    as it likes. `notice` tells a person."""

    __slots__ = (
        "_advice", "_blocked", "_idle", "_notice", "_output_fd", "_retry", "_session", "_skipped", "_skips_damaged",
        "_stream", "_transports", "_waiter", "_write",
    )  # fmt: skip

    def __init__(
        self,
        stream: StreamClient,
        session: ReadSession,
        write: Callable[[list[Delivered]], None],
        output_fd: int,
        waiter: Waiter,
        retry: RetryPolicy,
        notice: Callable[[str], None],
        transport: str = "auto",
        *,
        skips_damaged: bool = False,
        idle: Idle | None = None,
    ) -> None:
        # The first and the last sequence number of damaged records, which are left out. Without `skips_damaged` they
        # end the read.
        self._skipped: list[tuple[int, int]] = []
        self._skips_damaged = skips_damaged
        self._idle = idle
        self._stream = stream
        self._session = session
        self._write = write
        self._output_fd = output_fd
        self._waiter = waiter
        self._retry = retry
        self._notice = notice
        self._advice = Advice()
        self._transports = TransportChoice(transport, READ_TRANSPORTS, notice)
        self._blocked = False  # the output has blocked since the connection was made

    def run(self) -> None:
        _keep_freed_memory()
        while not self._session.done:
            connection: Connection | None = None
            try:
                self._blocked = False
                self._retry.expect()
                connection = self._stream.connect(self._waiter)
                if not self._transports.fall_back(self._stream, connection, self._waiter) and self._read(connection):
                    return
            except RangeNotSatisfiableError as error:
                self._session.on_unsatisfiable(error)
            except S2Error as error:
                error = self._stream.explain(self._transports.on_failure(error))
                if self._skip(error):
                    continue
                if not error.retryable:
                    raise error from error.__cause__
                self._retry.failed(error, self._waiter, quiet=self._blocked)
            finally:
                if connection is not None:
                    connection.close()

    def check_complete(self) -> None:
        """After run(): raises IncompleteError if damaged records were left out."""
        if self._skipped:
            ranges = ", ".join(f"{first} to {last}" for first, last in self._skipped)
            raise IncompleteError(f"damaged records were left out: {ranges}")

    def _skip(self, error: S2Error) -> bool:
        """Skips the damaged records of an error. Returns False if it has none, or they may not be skipped."""
        if not (self._skips_damaged and isinstance(error, ApiError) and error.damaged is not None):
            return False
        first, last = error.damaged
        if not self._session.skip(last):
            return False
        self._retry.progress()
        self._skipped.append((first, last))
        self._notice(f"the records {first} to {last} are damaged on the server's disk, and left out")
        return True

    def _read(self, connection: Connection) -> bool:
        """Reads over one connection. Returns True if the read is over."""
        self._transports.on_request()
        if self._transports.current == UNARY:
            return self._ask(connection)
        return self._converse(
            connection, self._take_events() if self._transports.current == SSE else self._take_frames()
        )

    def _converse(self, connection: Connection, take: Taker) -> bool:
        """Runs one read session, whose bytes go to `take`. Returns True if the read is over."""
        stream, session = self._stream, self._session
        connection.expect_bulk()
        is_events = self._transports.current == SSE
        headers: Headers = EVENT_HEADERS if is_events else stream.accepts + SESSION_HEADERS
        connection.request("GET", f"{stream.path}?{session.query()}", stream.headers + headers, b"")
        poll = self._new_poll()
        patience = Patience(self._transports.head_s)
        while True:
            self._expect(waits=session.follow and connection.status == 200)
            data = self._receive(connection, poll, patience)
            if data is None:
                return True
            if connection.status not in (None, 200):
                body = read_refusal(connection, data, self._retry.patience_s(REFUSAL_S))
                raise stream.error(connection.status or 0, body, connection.headers)
            if is_events and connection.status == 200 and not is_event_stream(connection.headers):
                raise ProtocolError("the server's answer is not an event stream")
            if data:
                if session.follow:
                    self._retry.progress()
                else:
                    self._retry.hear()
                delivered = session.delivered
                messages, pending_bytes = take(data)
                if session.error is not None:
                    raise session.error
                if session.done:
                    return True
                counts = session.follow or session.delivered > delivered
                patience.on_data(messages, pending_bytes, session.heartbeats, counts=counts)
                if session.advised and self._advice.is_heeded():
                    return False
            if connection.ended or session.ended:
                if is_events and not session.ended:
                    raise LostError("the server closed the connection in the middle of the session")
                if session.on_end():
                    return True
                if session.follow:
                    raise LostError("the server ended the session")
                return False

    def _expect(self, *, waits: bool) -> None:
        """Before something is waited for. Where the server itself `waits` for records, it may be silent for a while:
        what lasts longer is a lost connection, and retries begin there."""
        if waits:
            self._retry.calm()
        else:
            self._retry.expect()

    def _take_frames(self) -> Taker:
        session = self._session

        def take(data: bytes) -> tuple[int, int]:
            for batches in session.receive(data):
                self._deliver(batches)
            self._transports.on_data()
            return session.messages, session.pending_bytes

        return take

    def _take_events(self) -> Taker:
        from s2cli.client import sse

        session = self._session
        reader = sse.EventReader()

        messages = 0

        def take(data: bytes) -> tuple[int, int]:
            nonlocal messages
            for name, text in reader.events(data):
                messages += 1
                self._transports.on_data()
                if name == "batch":
                    self._deliver(session.receive_batch(sse.decode_batch(text)))
                elif name == "ping":
                    session.on_tail(sse.decode_ping(text))
                elif name == "error":
                    raise sse.decode_error(text)
                elif text == sse.DONE:
                    session.ended = True
                if session.done or session.ended:
                    break
            return messages, reader.pending_bytes

        return take

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        if self._output_fd >= 0:
            poll.register(self._output_fd, 0)  # to hear that its reader has gone
        return poll

    def _receive(self, connection: Connection, poll: select.poll, patience: Patience) -> bytes | None:
        """What comes next of a response; None when the reader of the output has gone."""
        limit_s = patience.limit_s(connection.status is not None)
        poll.register(connection.fd, connection.events)
        ready = 0
        end = patience.heard + limit_s
        while not ready and (now := time.monotonic()) < end:
            until = min(end, self._retry.until)
            if self._idle is not None:
                until = min(until, self._idle.due)
            for fd, found in poll.poll(max(0.0, until - now) * 1000):
                if fd != connection.fd:
                    return None
                ready = found
            if not ready:
                self._retry.check()
                if self._idle is not None and time.monotonic() >= self._idle.due:
                    self._idle.on_idle()
        if not ready:
            raise LostError(f"the server sent nothing for {format_seconds(limit_s)}")
        return connection.on_ready(ready)

    def _ask(self, connection: Connection) -> bool:
        """Makes single calls, one after the other. Returns True if the read is over."""
        session = self._session
        connection.expect_bulk()
        patience = Patience(None)
        empty = 0  # answers in a row
        while True:
            # The position of the read must be known before it waits: a start by time would move.
            knows_place = session.cursor is not None
            self._expect(waits=session.follow and knows_place)
            query = session.call_query(CALL_WAIT_S if session.follow and knows_place else 0)
            try:
                message = self._call(connection, query)
            except RangeNotSatisfiableError as error:
                if not session.follow or knows_place:
                    raise
                session.on_tail(error.tail_seq_num)
                continue
            if message is None:
                return True
            batches = session.receive_message(message)
            if session.follow:
                self._retry.progress()
            self._deliver(batches)
            empty = 0 if batches else empty + 1
            patience.on_data(0, 0, empty, counts=True)
            if session.done:
                return True
            if not batches and not session.follow:
                return session.on_end()
            if not batches and session.has_hidden_limit and session.cursor is not None:
                message = self._call_for_next(connection, session.cursor)
                if message is None:
                    return True
                session.on_next(message)
                if session.done:
                    return True
            if not connection.reusable:
                return False

    def _call_for_next(self, connection: Connection, seq_num: int) -> bytes | None:
        self._retry.expect()
        try:
            return self._call(connection, f"seq_num={seq_num}&count=1")
        except RangeNotSatisfiableError:
            return b""

    def _call(self, connection: Connection, query: str) -> bytes | None:
        """The answer to a call, a ReadBatch; None when the reader of the output has gone."""
        stream = self._stream
        headers = [*stream.headers, *stream.accepts, ("accept", PROTOBUF)]
        connection.request("GET", f"{stream.path}?{query}", headers, b"")
        poll = self._new_poll()
        patience = Patience(None)
        pieces: list[bytes] = []
        size = 0
        while not connection.ended:
            piece = self._receive(connection, poll, patience)
            if piece is None:
                return None
            if piece:
                pieces.append(piece)
                size += len(piece)
                patience.on_data(0, size, 0, counts=True)
                self._retry.hear()
                self._retry.expect()
            if size > MAX_MESSAGE_BYTES:
                raise ProtocolError(f"the server's answer is longer than {MAX_MESSAGE_BYTES} bytes")
        body = inflated(connection.headers, b"".join(pieces), MAX_MESSAGE_BYTES)
        if connection.status != 200:
            raise stream.error(connection.status or 0, body, connection.headers)
        return body

    def _deliver(self, batches: list[Delivered]) -> None:
        if self._session.gap is not None:
            first, last = self._session.gap
            self._session.gap = None
            self._notice(f"the records {first} to {last} were trimmed or expired before they could be read")
        if batches:
            self._retry.progress()
            now = time.monotonic()
            self._write(batches)
            self._blocked |= time.monotonic() - now > BLOCKED_S


def _keep_freed_memory() -> None:
    """Makes glibc keep what is freed, instead of giving it back to the kernel and faulting its pages in anew for each
    batch: that takes two thirds of the time of a read of records of 1000 bytes (tests/bench/compare.py, b1000).

    Freeing one large block raises its bounds for good. Nobody touches the pages of the block, so it costs no memory;
    elsewhere than on glibc it does nothing.
    """
    block = bytes(_LARGE_BYTES)
    del block


def is_event_stream(headers: dict[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"
