"""A connection for one HTTP exchange at a time, whose two directions are independent, on a non-blocking socket.

It speaks HTTP/1.1 on http:// and Unix sockets, HTTP/2 by prior knowledge if the Peer asks for it, and over TLS what
ALPN chooses. The caller polls `fd` for `events` and calls on_ready(); call() does this itself for a unary request.
Every network failure is a LostError.
"""

from __future__ import annotations

import select
import time

from s2cli import __version__
from s2cli.amounts import format_seconds
from s2cli.client.http1 import Http1
from s2cli.client.sockets import LostError, Peer, PlainSocket
from s2cli.client.sockets import connect as connect_socket
from s2cli.errors import ApiError, ExitCode, MissingKeyError, ProtocolError, S2Error
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.http2 import Http2
    from s2cli.client.retry import Waiter
    from s2cli.client.tls import TlsSocket
    from s2cli.endpoints import Target

    Headers = list[tuple[str, str]]

USER_AGENT = f"s2cli/{__version__}"
BULK_BYTES = 256 * 1024
PING_S = 20.0
MAX_RESPONSE_BYTES = 16 * 1024 * 1024  # of a response to call(): a page of 1000 names is the longest there is
# Answers to what came (to settings and pings) that may wait for a server which asks on and takes none of them.
MAX_UNTAKEN_BYTES = 1024 * 1024
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Response:
    """A whole response, its body inflated. The names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> object:
        from s2cli.wire.bodies import parse_json

        try:
            return parse_json(self.body)
        except ValueError:
            raise ProtocolError("the server's answer is not JSON: is this the endpoint of an S2 server?") from None


class Connection:
    """An open connection. After request() the parts of its body go out by send() and end(); what comes back is
    in `status`, `headers`, the results of on_ready(), and `ended`."""

    __slots__ = ("_has_ended", "_http", "_next_ping", "_socket", "_untaken_bytes", "fd")

    def __init__(self, socket: PlainSocket | TlsSocket, http: Http1 | Http2) -> None:
        self._socket = socket
        self._http = http
        self.fd = socket.fd
        self._next_ping = 0.0
        self._has_ended = True  # the request that is under way
        self._untaken_bytes = 0

    @property
    def status(self) -> int | None:
        return self._http.status

    @property
    def headers(self) -> dict[str, str]:
        return self._http.headers

    @property
    def ended(self) -> bool:
        """Whether the response is complete."""
        return self._http.ended

    @property
    def reusable(self) -> bool:
        """Whether another request can follow, once the response is complete."""
        return self._http.reusable and self._http.ended

    @property
    def pending(self) -> bool:
        """Whether parts of the request wait for room at the kernel or the server."""
        return self._socket.pending or self._http.pending

    @property
    def events(self) -> int:
        """What to poll for."""
        return select.POLLIN | select.POLLOUT if self._socket.pending else select.POLLIN

    def expect_bulk(self) -> None:
        """A long answer is coming: takes larger pieces of it at once, for smaller ones cost a reader 15 %."""
        self._socket.receive_bytes = BULK_BYTES

    def request(self, method: str, path: str, headers: Headers, body: bytes | None) -> None:
        """Starts a request; with None as `body` send() and end() follow."""
        self._has_ended = body is not None
        self._socket.send([self._http.request(method, path, headers, body)])

    def send(self, parts: list[bytes]) -> None:
        """Sends more of the request's body. What the socket does not take yet is kept: see `pending`."""
        self._socket.send(self._http.body(parts))

    def end(self) -> None:
        """Ends the request's body. Calling it again does nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._socket.send([self._http.end()])

    def on_ready(self, ready: int) -> bytes:
        """The next bytes of the response's body, after poll() returned `ready`. Raises LostError and ProtocolError."""
        if ready & select.POLLOUT:
            self._socket.flush()
            if not ready & ~select.POLLOUT:
                return b""
        data = self._socket.receive()
        if data == b"":
            return data
        body = self._http.receive(data)
        if out := self._http.take():
            self._socket.send([out])
            self._untaken_bytes = self._untaken_bytes + len(out) if self._socket.pending else 0
            if self._untaken_bytes > MAX_UNTAKEN_BYTES:
                raise LostError("the server keeps asking (PING, SETTINGS) but does not read the answers")
        return body

    def keep_alive(self, now: float) -> float | None:
        """Sends the PING of HTTP/2 if it is due (protocol section 1.3). Returns when to call again, on the clock of
        `now`; None over HTTP/1.1, which has none. Raises LostError if the last PING was not answered."""
        if self._http.ping is None:
            return None
        if now >= self._next_ping:
            if self._next_ping:
                self._socket.send([self._http.ping()])
            self._next_ping = now + PING_S
        return self._next_ping

    def close(self) -> None:
        self._socket.close()


def connect(peer: Peer, waiter: Waiter) -> Connection:
    """Opens a connection, with TLS for https. Raises LostError; UsageError if the environment asks for a proxy;
    UnreachableError if a retry cannot help."""
    socket: PlainSocket | TlsSocket = connect_socket(peer, waiter)
    http2 = peer.http2
    if peer.scheme == "https":
        from s2cli.client.tls import start_tls

        assert isinstance(socket, PlainSocket)
        socket = start_tls(socket, peer, waiter)
        http2 = socket.protocol == "h2"
        if peer.http2 and not http2:
            socket.close()
            raise LostError(f"{peer} does not speak HTTP/2")
    if not http2:
        return Connection(socket, Http1(peer.authority))
    from s2cli.client.http2 import Http2

    return Connection(socket, Http2(peer.authority, peer.scheme))


def call(
    connection: Connection, waiter: Waiter, method: str, path: str, headers: Headers, body: bytes, timeout_s: float
) -> Response:
    """A request with one answer. Raises LostError, also when the answer is not there in time, and ProtocolError."""
    connection.request(method, path, headers, body)
    deadline = time.monotonic() + timeout_s
    pieces: list[bytes] = []
    size = 0
    while not connection.ended:
        ready = waiter.wait(connection.fd, connection.events, deadline - time.monotonic())
        if not ready:
            raise LostError(f"no answer within {format_seconds(timeout_s)}")
        piece = connection.on_ready(ready)
        pieces.append(piece)
        size += len(piece)
        if size > MAX_RESPONSE_BYTES:
            raise ProtocolError(f"the server's answer is longer than {MAX_RESPONSE_BYTES} bytes")
    body = inflated(connection.headers, b"".join(pieces), MAX_RESPONSE_BYTES)
    return Response(connection.status or 0, connection.headers, body)


def inflated(headers: dict[str, str], body: bytes, limit_bytes: int) -> bytes:
    """`body` without its content coding. Raises ProtocolError if the result would be longer than `limit_bytes`."""
    coding = headers.get("content-encoding", "identity")
    if coding == "identity":
        return body
    if coding not in ("gzip", "zstd"):
        raise ProtocolError(f"the server's answer has the content coding {coding}, which nobody asked for")
    from s2cli.wire.bodies import inflate_content

    return inflate_content(body, coding, limit_bytes)


def basin_peer(target: Target, basin: str) -> tuple[Peer, Headers]:
    """The server of the streams of this basin, and the headers that every request to it carries."""
    scheme, host, port, names_basin = target.basin_origin(basin)
    headers = _common_headers(target)
    if names_basin:
        headers.append(("s2-basin", basin))
    return _peer(target, scheme, host, port), headers


def account_peer(target: Target) -> tuple[Peer, Headers]:
    """The server of the account (basins, tokens, locations), and the headers that every request to it carries."""
    return _peer(target, *target.account_origin()), _common_headers(target)


def explain(error: S2Error, target: Target, basin: str | None, stream: str | None = None) -> S2Error:
    """`error` with a hint on what to type next, for an answer to a request about that basin and stream. An error that
    has a hint already stays as it is."""
    hint = None if error.hint is not None else _hint(error, target, basin, stream)
    return error if hint is None else error.reworded(hint=hint)


def _hint(error: S2Error, target: Target, basin: str | None, stream: str | None) -> str | None:
    if error.exit_code == ExitCode.AUTH:
        without = "export S2_ACCESS_TOKEN=… or give --access-token-file FILE" if target.token is None else None
        return target.withheld or without
    if isinstance(error, MissingKeyError):
        return "give the key with -k FILE, or export S2_ENCRYPTION_KEY=…"
    code = error.code if isinstance(error, ApiError) else ""
    if code == "basin_not_found":
        return f"{target.command} " + (f"create s2://{basin} creates it" if basin else "basins list shows the basins")
    if code == "stream_not_found" and stream is not None:
        return f"{target.command} create {shell_word(f's2://{basin}/{stream}')} creates it"
    if code == "stream_not_found":
        return f"{target.command} streams list {basin} shows the streams of the basin"
    if code == "access_token_not_found":
        return f"{target.command} tokens list shows the access tokens"
    return None


def _peer(target: Target, scheme: str, host: str, port: int) -> Peer:
    return Peer(scheme, host, port, socket_path=target.socket_path, ca_file=target.ca_file, http2=target.http2)


def _common_headers(target: Target) -> Headers:
    headers = [("user-agent", USER_AGENT)]
    if target.token is not None:
        headers.append(("authorization", f"Bearer {target.token}"))
    return headers


def quote(text: str) -> str:
    """Percent-encodes `text` as one segment of a path: all bytes but letters, digits and -._~."""
    data = text.encode()
    if _UNRESERVED.issuperset(data):
        return text
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in data)


def records_path(stream: str) -> str:
    return f"/v1/streams/{quote(stream)}/records"
