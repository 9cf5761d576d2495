"""How batches of an append travel: as frames of one session, or each in a call of its own."""

from __future__ import annotations

from s2cli.client.session import SESSION_HEADERS
from s2cli.client.stream_client import PROTOBUF, inflated
from s2cli.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.connection import Connection
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.append_session import AppendSession

SEND_BYTES = 1024 * 1024  # of batches that are joined to one send
MAX_ANSWER_BYTES = 64 * 1024  # to a call: six numbers, and fields that we do not know


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
