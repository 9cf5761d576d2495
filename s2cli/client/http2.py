"""HTTP/2 for one exchange at a time, by the `h2` package, with the interface of client/http1.py."""

from __future__ import annotations

import hyperframe.frame
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from s2cli.client.http1 import MAX_INFORMATIONAL
from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event
    from hyperframe.frame import Frame

# Receive windows: 100 MiB/s at a round trip of 160 ms. They bound no memory of ours: what nobody takes stays with
# the kernel, since we read from the socket only what we hand on at once.
WINDOW_BYTES = 16 * 1024 * 1024
MAX_FRAME_BYTES = 1024 * 1024  # of DATA that we take: h2 spends its time per frame, not per byte
MAX_HEAD_BYTES = 64 * 1024


PING = b"s2 lives"


def _frame_name(frame: hyperframe.frame.Frame) -> str:
    return type(frame).__name__


# h2 4.x writes every frame that it receives into a log that is switched off, but makes the text first: a hex dump of
# the payload, 40 % of the time of a large read. test_http2.py tells when it stops.
hyperframe.frame.Frame.__repr__ = _frame_name  # type: ignore[method-assign]


class _Connection(H2Connection):
    def _receive_goaway_frame(self, frame: hyperframe.frame.GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """h2 takes GOAWAY for the end, and refuses what still comes. It is not: requests that the server has begun go
        on to their ends (RFC 9113, 6.8). test_http2.py tells if h2 does not ask here any more."""
        answer = super()._receive_goaway_frame(frame)
        self.state_machine.state = ConnectionState.CLIENT_OPEN
        return answer


class Http2:
    """`status`, `headers`, `ended`, `reusable` as in Http1; `pending`: parts of the request's body wait until the
    server's windows have room."""

    __slots__ = (
        "_authority", "_body", "_connection", "_end", "_greeted", "_informational", "_pinged", "_scheme", "_stream_id",
        "ended", "headers", "reusable", "status",
    )  # fmt: skip

    def __init__(self, authority: str, scheme: str) -> None:
        self._authority = authority
        self._scheme = scheme
        self._connection = _Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._connection.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
            },
        )
        self._connection.max_inbound_frame_size = MAX_FRAME_BYTES  # not taken from settings that were there first
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(WINDOW_BYTES - 65_535)
        self._greeted = False  # something has come
        self._informational = 0  # responses before the real one
        self._pinged = False  # and no answer yet
        self._stream_id = 0
        self._body: list[memoryview] = []
        self._end = False  # the request ends after _body
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.ended = False
        self.reusable = True

    @property
    def pending(self) -> bool:
        return bool(self._body)

    def request(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
        self.status, self.headers, self.ended = None, {}, False
        self._informational = 0
        self._body.clear()
        self._end = False
        self._stream_id = self._connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", self._scheme), (":authority", self._authority), (":path", path)]
        try:
            self._connection.send_headers(self._stream_id, [*pseudo, *headers], end_stream=body == b"")
        except H2Error as error:
            raise LostError(f"cannot send a request on this connection: {error}") from error
        if body:
            self._body.append(memoryview(body))
            self._end = True
            self._send_body()
        return self.take()

    def body(self, parts: list[bytes]) -> list[bytes]:
        # Joined: a frame for each part would cost more than the copy.
        self._body.append(memoryview(b"".join(parts)))
        self._send_body()
        return [self.take()]

    def end(self) -> bytes:
        self._end = True
        self._send_body()
        return self.take()

    def ping(self) -> bytes:
        """The bytes of a sign of life. Raises LostError where the last one was not answered."""
        if self._pinged:
            raise LostError("the server does not answer any more")
        self._pinged = True
        try:
            self._connection.ping(PING)
        except H2Error as error:
            raise LostError(f"the connection broke: {error}") from error
        return self.take()

    def take(self) -> bytes:
        """Bytes that are to be sent because of what came: settings, window updates, answers to pings, more body."""
        return self._connection.data_to_send()

    def _send_body(self) -> None:
        connection = self._connection
        try:
            while self._body:
                room = min(connection.local_flow_control_window(self._stream_id), connection.max_outbound_frame_size)
                if room <= 0:
                    return
                first = self._body[0]
                connection.send_data(self._stream_id, bytes(first[:room]))
                if room < len(first):
                    self._body[0] = first[room:]
                else:
                    del self._body[0]
            if self._end:
                self._end = False
                connection.end_stream(self._stream_id)
        except H2Error as error:
            self._body.clear()
            if not self.ended:  # else the server answered without waiting for the whole request
                raise LostError(f"cannot send on this connection: {error}") from error

    def receive(self, data: bytes | None) -> bytes:
        if data is None:
            self.reusable = False
            if not self.ended:
                raise LostError("the server closed the connection")
            return b""
        if not self._greeted:
            if data.startswith(b"HTTP/1"):
                raise ProtocolError("the server does not speak HTTP/2")
            self._greeted = True
        try:
            events = self._connection.receive_data(data)
        except H2Error as error:
            raise LostError(f"the connection broke: {error or type(error).__name__}") from error
        # h2 would gather 64 frames of a head, of MAX_FRAME_BYTES each. test_http2.py tells if they are elsewhere.
        if sum(len(frame.data) for frame in self._connection.incoming_buffer._headers_buffer) > MAX_HEAD_BYTES:
            raise ProtocolError("the server's answer has a head that does not end")
        pieces: list[bytes] = []
        taken = 0
        for event in events:
            if isinstance(event, DataReceived):
                taken += event.flow_controlled_length or 0
                if event.stream_id == self._stream_id and event.data:
                    pieces.append(event.data)
            else:
                self._on_event(event)
        if taken:
            self._return_window(taken)
        if self._body or self._end:
            self._send_body()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _return_window(self, taken: int) -> None:
        try:
            self._connection.acknowledge_received_data(taken, self._stream_id)
        except H2Error:  # the stream has ended, or the connection: nothing more comes that needs room
            return

    def _on_event(self, event: Event) -> None:
        if isinstance(event, (WindowUpdated, RemoteSettingsChanged)):
            return  # receive() sends what there is room for now
        if isinstance(event, PingAckReceived):
            self._pinged = False
            return
        if isinstance(event, ConnectionTerminated):
            self.reusable = False
            if not self.ended and (event.last_stream_id or 0) < self._stream_id:
                raise LostError("the server is closing the connection", no_side_effect=True)
            return
        if getattr(event, "stream_id", None) != self._stream_id:
            return
        if isinstance(event, ResponseReceived):
            self._read_headers(event)
        elif isinstance(event, InformationalResponseReceived):
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise ProtocolError(f"the server sends more than {MAX_INFORMATIONAL} answers before the real one")
        elif isinstance(event, StreamEnded):
            self.ended = True
        elif isinstance(event, StreamReset) and not self.ended:
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                raise LostError("the server refused the request", no_side_effect=True)
            if event.error_code == ErrorCodes.NO_ERROR and self.status is not None:
                self.ended = True  # the whole answer came; only the rest of our request is not wanted
            else:
                raise LostError(f"the server reset the request (code {int(event.error_code or 0)})")

    def _read_headers(self, event: ResponseReceived) -> None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers or ():
            name, value = str(raw_name), str(raw_value)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = headers.pop(":status", "")
        if not (status.isascii() and status.isdigit() and len(status) == 3):
            raise ProtocolError("the server's answer has no status")
        self.status, self.headers = int(status), headers
