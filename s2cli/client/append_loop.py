"""The poll loop of `append`: reads the input, sends batches, receives acknowledgements, and handles lost connections
and signals.

One thread waits for the input, the connection and the signals together. What to send is decided by
wire/append_session.py; this module decides when to read, send, flush, reconnect and stop.
"""

from __future__ import annotations

import select
import time

from s2cli.amounts import format_seconds
from s2cli.client.append_position import AppendPosition
from s2cli.client.retry import Interrupted, RetryPolicy, Waiter
from s2cli.client.session import REFUSAL_S, SILENCE_S, Advice, read_refusal
from s2cli.client.sockets import LostError
from s2cli.client.transports import APPEND_TRANSPORTS, S2S, SessionTransport, TransportChoice, UnaryTransport
from s2cli.errors import S2Error, SeqNumMismatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from s2cli.client.append_position import Creation
    from s2cli.client.connection import Connection
    from s2cli.client.rate_limiter import RateLimiter
    from s2cli.client.retry import Interrupts
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.append_input import Records
    from s2cli.wire.append_session import AppendSession

    class RecordInput(Protocol):
        """What makes batches; see formats/input.py."""

        error: S2Error | None

        @property
        def lines(self) -> int: ...
        @property
        def has_rest(self) -> bool: ...
        @property
        def rest_bytes(self) -> int: ...
        def take_rest(self) -> Records: ...

    class Feed(Protocol):
        """What is read; see client/input_files.py."""

        fd: int
        ended: bool

        def read(self) -> list[Records]: ...


DRAIN_S = 5.0  # how long an interrupted append waits for what is under way
TICK_S = 0.5


class AppendOptions:
    """`linger_ms` None: a batch leaves when it is full or when the input pauses."""

    __slots__ = (
        "create",
        "create_on_append",
        "inflight_bytes",
        "linger_ms",
        "max_outage_s",
        "rate_limiter",
        "transport",
    )

    def __init__(
        self,
        *,
        inflight_bytes: int,
        linger_ms: int | None = None,
        max_outage_s: float = 60.0,
        create: Creation | None = None,
        create_on_append: bool = False,
        transport: str = "auto",
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self.inflight_bytes = inflight_bytes
        self.linger_ms = linger_ms
        self.max_outage_s = max_outage_s
        self.create = create
        self.transport = transport
        self.rate_limiter = rate_limiter
        self.create_on_append = create_on_append  # a missing stream may be made by the first batch


class Stopped(Exception):
    """A signal ended the append before everything was durable, or before the input was at its end."""


class _Advised(Exception):
    """The server asked for a new connection, and everything on this one is acknowledged."""


class AppendLoop:
    """run() returns when the input has ended and every record of it is durable; else it raises Stopped or an S2Error,
    and the AppendSession has the account. `notice` and `detail` tell a person; `tick` is called twice a second."""

    def __init__(
        self,
        stream: StreamClient,
        session: AppendSession,
        source: RecordInput,
        inputs: Feed | None,
        options: AppendOptions,
        interrupts: Interrupts,
        notice: Callable[[str], None],
        detail: Callable[[str], None],
        tick: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._session = session
        self._source = source
        self._inputs = inputs
        self._input_fd = -1 if inputs is None else inputs.fd
        self._options = options
        self._interrupts = interrupts
        self._waiter = Waiter(interrupts)
        self._notice = notice
        self._detail = detail
        self._tick = tick
        self._next_tick = time.monotonic() + TICK_S
        self._retry = self._waiter.retry = RetryPolicy(options.max_outage_s, notice)
        self._position = AppendPosition(stream, session, self._waiter, options.create, options.create_on_append, detail)
        self._ready: list[Records] = []  # batches that wait until the session takes them
        self._input_open = inputs is not None
        self._input_poll = select.poll()
        if self._input_open:
            self._input_poll.register(self._input_fd, select.POLLIN)
        self._in_session = False  # errors answer what was appended, not a question about it
        self._mismatches = 0  # since the last progress
        self._rest_since = 0.0  # when the batch that is not full got its first record
        self._advice = Advice()
        self._transports = TransportChoice(options.transport, APPEND_TRANSPORTS, notice)
        self._transport = self._new_transport()

    def _new_transport(self) -> SessionTransport | UnaryTransport:
        chosen = SessionTransport if self._transports.current == S2S else UnaryTransport
        return chosen(self._stream, self._session)

    def add(self, records: Records) -> None:
        """A batch that is there from the start."""
        self._ready.append(records)

    def run(self) -> None:
        while not self._turn():
            if self._waiter.deadline is not None and time.monotonic() >= self._waiter.deadline:
                raise Stopped

    def _turn(self) -> bool:
        """Appends over one connection. Returns True if it was the last one."""
        self._in_session = False
        try:
            if self._position.began and self._is_idle():
                self._wait_for_input()
            if not self._is_done() or not self._position.began or self._missing() is not None:
                self._connect_and_converse()
        except Interrupted:
            self._on_signal()
        except _Advised:
            self._detail("the server asked for a new connection")
        except S2Error as error:
            try:
                self._on_error(self._stream.explain(self._transports.on_failure(error)))
            except Interrupted:
                self._on_signal()
        else:
            return True
        return False

    def _connect_and_converse(self) -> None:
        self._retry.expect()
        connection = self._stream.connect(self._waiter)
        try:
            self._prepare(connection)
            if not self._is_done():
                self._converse(connection)
            missing = self._missing()
            if missing is not None:
                raise missing
        finally:
            connection.close()

    def _missing(self) -> S2Error | None:
        """The error of a stream that was not there, and that nothing was appended to."""
        return None if self._session.durable else self._position.missing

    # Before and after a session

    def _is_idle(self) -> bool:
        """Whether there is nothing to send and nothing to wait for but input."""
        return self._input_open and not (self._ready or self._source.has_rest or self._session.in_flight)

    def _is_done(self) -> bool:
        return not (self._input_open or self._ready or self._source.has_rest or self._session.in_flight)

    def _wait_for_input(self) -> None:
        """Reads it, too: whether there is anything to send decides whether a server is wanted at all."""
        started = time.monotonic()
        self._retry.calm()
        while not self._waiter.wait(self._input_fd, select.POLLIN, 3600):
            pass
        if time.monotonic() - started > 1:
            self._retry.restart()
        self._read()

    def _prepare(self, connection: Connection) -> None:
        """Finds out where the next batch belongs, and after a loss what became of those under way."""
        position = self._position
        if self._transports.fall_back(self._stream, connection, self._waiter):
            self._transport = self._new_transport()
        if not position.began:
            position.begin(connection)
        if self._session.needs_resolution() and self._resolve(connection):
            self._retry.progress()
            self._mismatches = 0

    def _resolve(self, connection: Connection) -> int:
        """After a loss: finds out which batches are durable. Returns how many."""
        return self._position.resolve_lost_acks(connection)

    def _on_error(self, error: S2Error) -> None:
        """Decides whether to continue; sleeps first, if something is to get better."""
        session = self._session
        if isinstance(error, LostError):
            if self._in_session and not error.no_side_effect:
                session.lose()
            # That an idle connection goes away is nothing to talk about.
            self._retry.failed(error, self._waiter, quiet=self._position.began and self._is_idle())
            return
        if self._in_session:
            before = session.state
            session.refused(error)  # raises what ends the append
            if session.state != before:
                self._detail("another writer appends to this stream: continuing without conditions")
        elif not error.retryable:
            raise error
        if error.retryable or self._mismatches:
            self._retry.failed(error, self._waiter)
        if isinstance(error, SeqNumMismatchError):
            self._mismatches += 1

    def _on_signal(self) -> None:
        """The first signal: no more input, and a bound for the rest. The second: Stopped."""
        interrupts = self._interrupts
        interrupts.seen = interrupts.count
        self._input_open = False
        if interrupts.count > 1 or not self._position.began or self._is_done():
            raise Stopped
        self._waiter.deadline = time.monotonic() + DRAIN_S
        self._notice(
            f"stopping: waiting up to {format_seconds(DRAIN_S)} for outstanding acknowledgements; "
            "a second Ctrl-C stops at once"
        )

    # The session

    def _converse(self, connection: Connection) -> None:
        """One append session, until everything is durable. Raises what ends it before."""
        session, source, interrupts, retry = self._session, self._source, self._interrupts, self._retry
        self._transport.begin(connection)
        self._transports.on_request()
        self._in_session = True
        poll = select.poll()
        if interrupts.fd >= 0:
            poll.register(interrupts.fd, select.POLLIN)
        polls_input = False
        heard = time.monotonic()
        while True:
            if not session.in_flight:
                if self._is_done():
                    return
                heard = time.monotonic()
                retry.calm()
            if self._send(connection):
                connection.end()
            if session.in_flight:
                retry.expect()
            wants_input = self._wants_input(connection)
            if wants_input != polls_input:
                # Not a mask of 0: a pipe whose writer is gone would report that again and again.
                polls_input = wants_input
                if wants_input:
                    poll.register(self._input_fd, select.POLLIN)
                else:
                    poll.unregister(self._input_fd)
            poll.register(connection.fd, connection.events)
            ready, readable = 0, False
            for fd, found in poll.poll(self._timeout_ms(connection, heard, wants_input)):
                if fd == connection.fd:
                    ready = found
                elif fd == self._input_fd:
                    readable = True
                else:
                    interrupts.drain()
            now = time.monotonic()
            if interrupts.count > interrupts.seen:
                self._on_signal()
            if ready and self._receive(connection, ready):
                heard = now
            elif session.in_flight and now - heard > self._patience_s(connection):
                raise LostError(f"no acknowledgement within {format_seconds(self._patience_s(connection))}")
            if session.in_flight and now >= retry.until:
                retry.check()  # whatever comes: only an acknowledgement is progress
            if readable and self._input_open:
                self._read()
                if source.has_rest and self._leaves_at_once():
                    self._ready.append(source.take_rest())
            elif source.has_rest and self._may_flush(now, wants_input):
                self._ready.append(source.take_rest())
            if self._waiter.deadline is not None and now >= self._waiter.deadline:
                raise Stopped
            if self._tick is not None and now >= self._next_tick:
                self._next_tick = now + TICK_S
                self._tick()

    def _send(self, connection: Connection) -> bool:
        """Sends what there is. Returns True if that was all, and nothing will follow on this connection."""
        session, ready = self._session, self._ready
        if session.advised:
            return True
        limiter = self._options.rate_limiter
        while ready and session.can_add and (limiter is None or limiter.try_acquire(ready[0])):
            session.add(ready.pop(0))
        self._transport.send(connection)
        done = self._transport.ends_with_input and not (self._input_open or ready or self._source.has_rest)
        return done and not session.unsent and not connection.pending

    def _patience_s(self, connection: Connection) -> float:
        """How long the next thing from the server may take."""
        head_s = self._transports.head_s
        return head_s if head_s is not None and connection.status is None else SILENCE_S

    def _wants_input(self, connection: Connection) -> bool:
        session = self._session
        return (
            self._input_open
            and not self._ready
            and not connection.pending
            and session.in_flight_bytes + self._source.rest_bytes < self._options.inflight_bytes
            and session.can_add
        )

    def _timeout_ms(self, connection: Connection, heard: float, wants_input: bool) -> float | None:
        now = time.monotonic()
        ends = [self._waiter.deadline, self._next_tick if self._tick is not None else None]
        if self._ready and self._options.rate_limiter is not None:
            ends.append(self._options.rate_limiter.until)
        if self._source.has_rest:
            if not self._input_open:
                return 0  # nothing can join the last batch any more
            if self._options.linger_ms is not None:
                ends.append(self._rest_since + self._options.linger_ms / 1000)
            elif wants_input and self._session.in_flight < self._transport.eager_batches:
                return 0  # if the input has nothing more right now, the batch leaves as it is
        ends.append(connection.keep_alive(now))
        if self._session.in_flight:
            ends += (heard + self._patience_s(connection), self._retry.until)
        end = min((end for end in ends if end is not None), default=None)
        return None if end is None else max(0.0, (end - now) * 1000)

    def _may_flush(self, now: float, looked: bool) -> bool:
        """Whether a batch that is not full leaves: we `looked`, and the input has nothing more right now, or the linger
        is over."""
        if not self._input_open:
            return True
        if self._options.linger_ms is not None:
            return now >= self._rest_since + self._options.linger_ms / 1000
        return looked and self._session.in_flight < self._transport.eager_batches

    def _leaves_at_once(self) -> bool:
        """Whether what was just read is all that the input has right now, and need not wait for more."""
        if (
            self._options.linger_ms is not None
            or self._session.in_flight >= self._transport.eager_batches
            or self._ready
        ):
            return False
        # Asked here and not in the next turn of the loop: a quarter of the time from a line to its sending.
        return not self._input_poll.poll(0)

    def _read(self) -> None:
        source, inputs = self._source, self._inputs
        assert inputs is not None
        if not source.has_rest:
            self._rest_since = time.monotonic()
        self._ready += inputs.read()
        if inputs.ended or source.error is not None:
            self._input_open = False
        if not self._input_open and source.has_rest:
            self._ready.append(source.take_rest())  # nothing can join it any more

    def _receive(self, connection: Connection, ready: int) -> bool:
        """Takes what has come. Returns False if nothing had."""
        data = connection.on_ready(ready)
        if connection.status not in (None, 200):
            body = read_refusal(connection, data, self._retry.patience_s(REFUSAL_S))
            raise self._stream.error(connection.status or 0, body, connection.headers)
        session = self._session
        if data or connection.ended:
            before = session.durable
            self._transport.receive(connection, data)
            if session.durable > before:
                self._transports.on_data()
                self._retry.progress()
                self._mismatches = 0
            if session.advised and not self._advice.is_heeded():
                session.advised = False
        if session.advised and session.in_flight == session.unsent:
            connection.end()
            raise _Advised
        if connection.ended and session.in_flight > session.unsent:
            raise LostError("the server ended the session before it acknowledged everything")
        if connection.ended and not self._is_done():
            if self._transport.ends_with_input:
                raise LostError("the server ended the session")
            if not connection.reusable:
                raise _Advised
        return bool(data)
