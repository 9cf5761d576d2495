"""Chooses the transport (S2S session, server-sent events, single calls), falls back if a proxy breaks it, and sends the
batches of an append as a session or as single calls."""

from __future__ import annotations

from s2cli.client.connection import inflated
from s2cli.client.session import SESSION_HEADERS
from s2cli.client.sockets import LostError
from s2cli.client.stream_client import PROTOBUF
from s2cli.errors import ApiError, BrokenAckError, ProtocolError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.connection import Connection
    from s2cli.client.retry import Waiter
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.append_session import AppendSession

AUTO, S2S, SSE, UNARY = "auto", "s2s", "sse", "unary"
READ_TRANSPORTS = (S2S, SSE, UNARY)
APPEND_TRANSPORTS = (S2S, UNARY)

# So many sessions in a row from which nothing came, while single calls are answered: something in between breaks them.
MAX_FAILURES_IN_A_ROW = 2
# A server begins to answer a session at once (protocol section 6.3).
HEAD_S = 5.0
SEND_BYTES = 1024 * 1024  # of batches that are joined to one send
MAX_ANSWER_BYTES = 64 * 1024  # to a call: six numbers, and fields that we do not know


class TransportChoice:
    """`current` is the transport in use: the `chosen` one, or with "auto" the first of `order` that works."""

    __slots__ = ("_failures_in_a_row", "_left", "_notice", "_why", "current", "heard")

    def __init__(self, chosen: str, order: tuple[str, ...], notice: Callable[[str], None]) -> None:
        self.current = order[0] if chosen == AUTO else chosen
        self._left = order[1:] if chosen == AUTO else ()
        self._notice = notice
        self._failures_in_a_row = 0
        self._why = ""
        self.heard = True  # something came in the session that runs

    @property
    def head_s(self) -> float | None:
        """How long the head of an answer may take; None where there is nothing else to try."""
        return HEAD_S if self._left else None

    def on_request(self) -> None:
        """To be called when a session begins: nothing has been heard in it yet."""
        self.heard = False

    def on_data(self) -> None:
        """To be called when a session has brought something of what it is for."""
        self.heard = True
        self._failures_in_a_row = 0

    def on_failure(self, error: S2Error) -> S2Error:
        """A session has failed, which counts for fall_back(). Returns the error to treat it as: `error`, or a LostError
        in place of an answer that is not from an S2 server, while another transport is left and unless a retry may
        help. A BrokenAckError stays: it came in a whole frame, so no proxy made it, and another transport would only
        hide it."""
        if not self._left or self.heard:
            return error
        self.heard = True
        foreign = isinstance(error, ApiError) and error.code == "unknown"
        if isinstance(error, LostError) or (foreign and error.retryable):
            # It may be the server that was gone for a moment.
            self._failures_in_a_row += 1
        elif foreign or (isinstance(error, ProtocolError) and not isinstance(error, BrokenAckError)):
            self._failures_in_a_row = MAX_FAILURES_IN_A_ROW
            error = LostError(error.message)
        else:
            return error
        self._why = error.message
        return error

    def fall_back(self, stream: StreamClient, connection: Connection, waiter: Waiter) -> bool:
        """To be called before a session. Returns True if another transport is used from now on. Raises LostError where
        the server itself is not there."""
        if self._failures_in_a_row < MAX_FAILURES_IN_A_ROW or not self._left:
            return False
        try:
            stream.check_tail(connection, waiter)
        except LostError:
            raise
        except ApiError as error:
            if error.code == "unknown":
                raise LostError(error.message) from error
        self._failures_in_a_row = 0
        before, self.current, self._left = self.current, self._left[0], self._left[1:]
        self._notice(
            f"single calls work, but {before} sessions do not ({self._why}): continuing with --transport {self.current}"
        )
        return True


class SessionTransport:
    """A session. With `eager_batches` under way, a batch that is not full waits for more lines: a hosted stream takes
    200 batches a second, and a queue of tiny ones would grow without end."""

    __slots__ = ("_session", "_stream")

    eager_batches = 32
    ends_with_input = True  # the server hears of the end of the input

    def __init__(self, stream: StreamClient, session: AppendSession) -> None:
        self._stream = stream
        self._session = session

    def begin(self, connection: Connection) -> None:
        connection.request("POST", self._stream.path, self._stream.headers + SESSION_HEADERS, None)
        self._session.start()

    def send(self, connection: Connection) -> None:
        """Sends what the connection takes."""
        session = self._session
        while session.unsent and not connection.pending:
            connection.send(session.take(SEND_BYTES))

    def receive(self, connection: Connection, data: bytes) -> None:
        if data:
            self._session.receive(data)


class UnaryTransport:
    """One call at a time."""

    __slots__ = ("_answer", "_answer_bytes", "_session", "_stream")

    eager_batches = 1
    ends_with_input = False

    def __init__(self, stream: StreamClient, session: AppendSession) -> None:
        self._stream = stream
        self._session = session
        self._answer: list[bytes] = []
        self._answer_bytes = 0

    def begin(self, connection: Connection) -> None:
        self._session.start()

    def send(self, connection: Connection) -> None:
        session, stream = self._session, self._stream
        if not session.unsent or session.unsent < session.in_flight:
            return
        headers = [*stream.headers, ("content-type", PROTOBUF), ("accept", PROTOBUF)]
        message, encoding = session.take_message()
        if encoding is not None:
            headers.append(("content-encoding", encoding))
        self._answer, self._answer_bytes = [], 0
        connection.request("POST", stream.path, headers, message)

    def receive(self, connection: Connection, data: bytes) -> None:
        self._answer.append(data)
        self._answer_bytes += len(data)
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise ProtocolError(f"the server's answer to an append is longer than {MAX_ANSWER_BYTES} bytes")
        if connection.ended:
            self._session.receive_ack(inflated(connection.headers, b"".join(self._answer), MAX_ANSWER_BYTES))
