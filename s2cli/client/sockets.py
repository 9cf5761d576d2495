"""Plain non-blocking sockets: connecting within a time limit, sending as much as the kernel takes, receiving.

It uses `_socket`, because importing `socket` costs each start 5 ms and nothing here needs it.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import time

from s2cli.endpoints import is_loopback
from s2cli.errors import UnreachableError, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.retry import Waiter

    AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

LOOKUP_TIMEOUT_S = 10  # of an address; a resolver asks each of its servers twice
CONNECT_TIMEOUT_S = 3  # for each address
RECEIVE_BYTES = 16 * 1024  # acknowledgements and answers
MAX_PARTS = 1000  # of one sendmsg(); POSIX promises 16, Linux and macOS take 1024
# A peer that vanished without a word is noticed after 30 + 3 * 10 s, also by an append that is idle for hours.
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# Scheme of a connection -> the variables that may name a proxy for it, the first one that is set wins.
PROXY_VARIABLES = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}


class LostError(UnreachableError):
    """A connection could not be made, or broke, or stayed silent: trying again may help. `no_side_effect`: the request
    cannot have had any, since the server said so or was never reached."""

    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, no_side_effect: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.no_side_effect = no_side_effect


class Peer:
    """Where to connect: a host and port, by TLS if the scheme says so, or a Unix socket."""

    __slots__ = ("ca_file", "host", "http2", "port", "scheme", "socket_path")

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        socket_path: str | None = None,
        ca_file: str | None = None,
        http2: bool = False,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.socket_path = socket_path
        self.ca_file = ca_file
        self.http2 = http2

    def __str__(self) -> str:
        return self.socket_path or self.authority

    @property
    def authority(self) -> str:
        """The value of the header Host: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class PlainSocket:
    """A connected, non-blocking socket. `pending`: bytes wait until the kernel has room for them."""

    __slots__ = ("_queue", "_socket", "_write_failed", "fd", "receive_bytes")

    protocol = ""  # what ALPN chose; nothing chooses here

    def __init__(self, connected: _socket.socket) -> None:
        self._socket = connected
        self.fd = connected.fileno()
        self._queue: list[bytes | memoryview] = []
        self._write_failed = False
        self.receive_bytes = RECEIVE_BYTES  # at once

    @property
    def pending(self) -> bool:
        return bool(self._queue)

    def send(self, parts: list[bytes]) -> None:
        """Sends what the kernel takes now and keeps the rest."""
        self._queue += parts
        self.flush()

    def flush(self) -> None:
        """Sends more of what is pending."""
        queue = self._queue
        while queue and not self._write_failed:
            try:
                # Many parts in one call: to join them would cost a copy and the memory for it.
                sent = self._socket.sendmsg(queue[:MAX_PARTS])
            except BlockingIOError:
                return
            except OSError:
                # The peer may have said why before it closed: what it sent can still be read, and its end comes next.
                self._write_failed = True
                break
            whole = 0
            for part in queue:
                if sent < len(part):
                    break
                sent -= len(part)
                whole += 1
            del queue[:whole]
            if sent:
                queue[0] = memoryview(queue[0])[sent:]
        queue.clear()

    def receive(self) -> bytes | None:
        """What has come: b"" if nothing has, None at the end of the stream. Raises LostError."""
        try:
            return self._socket.recv(self.receive_bytes) or None
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LostError(f"the connection broke: {describe(error)}") from error

    def close(self) -> None:
        self._queue.clear()
        self._socket.close()


def connect_hint(scheme: str, host: str) -> str | None:
    """What to do where nobody listens."""
    return "is the server running? s2 lite starts one" if scheme == "http" and is_loopback(host) else None


def connect(peer: Peer, waiter: Waiter) -> PlainSocket:
    """Tries the addresses of `peer` in turn. Raises LostError, UsageError where a proxy would be bypassed, or
    UnreachableError where the name does not exist."""
    if peer.socket_path is not None:
        return PlainSocket(_connect(_socket.AF_UNIX, peer.socket_path, peer, waiter))
    refuse_proxy(peer.scheme, peer.host, peer.port)
    reasons: list[str] = []
    hint = None
    for family, address in _addresses(peer, waiter):
        try:
            return PlainSocket(_connect(family, address, peer, waiter))
        except LostError as error:
            if error.message not in reasons:
                reasons.append(error.message)
            hint = error.hint
    raise LostError("; ".join(reasons), hint=hint)


def _addresses(peer: Peer, waiter: Waiter) -> list[tuple[int, object]]:
    try:
        # Bytes: a str would be encoded by `idna`, whose import costs 6 ms.
        host = peer.host.encode("ascii" if peer.host.isascii() else "idna")
    except UnicodeError as error:
        raise UnreachableError(f'"{peer.host}" is not a valid host name') from error
    try:
        found = _resolve_host(host, peer, waiter)
    except _socket.gaierror as error:
        message = f"cannot look up the address of {peer.host}: {describe(error)}"
        if error.errno == _socket.EAI_AGAIN:
            raise LostError(message) from error
        raise UnreachableError(message) from error
    except UnicodeError as error:
        raise UnreachableError(f'"{peer.host}" is not a valid host name') from error
    return [(family, address) for family, _, _, _, address in found]


def _resolve_host(host: bytes, peer: Peer, waiter: Waiter) -> list[AddressInfo]:
    """What getaddrinfo() gives, within a time limit. It cannot be interrupted: whoever asks the network does so in a
    thread, which is left alone where it takes too long."""

    def ask(flags: int = 0) -> list[AddressInfo]:
        return _socket.getaddrinfo(host, peer.port, 0, _socket.SOCK_STREAM, 0, flags)

    if is_loopback(peer.host):
        return ask()
    try:
        return ask(_socket.AI_NUMERICHOST)
    except _socket.gaierror:
        pass  # a name
    import _thread

    answers: list[list[AddressInfo] | Exception] = []
    read_fd, write_fd = os.pipe()

    def run() -> None:
        try:
            answers.append(ask())
        except (OSError, UnicodeError) as error:
            answers.append(error)
        finally:
            os.close(write_fd)

    try:
        _thread.start_new_thread(run, ())
        if not waiter.wait(read_fd, select.POLLIN, LOOKUP_TIMEOUT_S):
            raise LostError(f"cannot look up the address of {peer.host}: no name server answers")
    finally:
        os.close(read_fd)
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connect(family: int, address: object, peer: Peer, waiter: Waiter) -> _socket.socket:
    connection = _socket.socket(family, _socket.SOCK_STREAM, 0)
    try:
        connection.setblocking(False)
        if family != _socket.AF_UNIX:
            _configure(connection, peer.host)
        code = connection.connect_ex(address)  # type: ignore[arg-type]  # an address of the family, from getaddrinfo
        if family == _socket.AF_UNIX and code == errno.EAGAIN:
            code = _connect_to_busy(connection, address, waiter)
        elif code in (errno.EINPROGRESS, errno.EINTR):
            ready = waiter.wait(connection.fileno(), select.POLLOUT, CONNECT_TIMEOUT_S)
            code = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR) if ready else errno.ETIMEDOUT
        if code:
            hint = connect_hint(peer.scheme, peer.host) if peer.socket_path is None else None
            raise LostError(f"cannot connect to {peer}: {os.strerror(code).lower()}", hint=hint)
    except OSError as error:  # a socket path that is too long, an address family that is switched off
        connection.close()
        raise LostError(f"cannot connect to {peer}: {describe(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_to_busy(connection: _socket.socket, address: object, waiter: Waiter) -> int:
    """A Unix socket whose queue of new connections is full says so at once, and nothing tells when it has room."""
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while time.monotonic() < deadline:
        waiter.sleep(0.01)
        code = connection.connect_ex(address)  # type: ignore[arg-type]  # as above
        if code != errno.EAGAIN:
            return code
    return errno.ETIMEDOUT


def _configure(connection: _socket.socket, host: str) -> None:
    # A batch must not wait for the acknowledgement of the bytes before it.
    connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        option = getattr(_socket, name, None)  # macOS has the second name for the first
        if option is not None:
            connection.setsockopt(_socket.IPPROTO_TCP, option, value)
    if is_loopback(host) and hasattr(_socket, "TCP_CONGESTION"):
        # Within a machine nothing is congested. Where it paces all its connections (bbr), that is a third slower.
        try:  # noqa: SIM105  # contextlib would be imported for this alone
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_CONGESTION, b"reno")
        except OSError:
            pass


def refuse_proxy(scheme: str, host: str, port: int) -> None:
    """Raises UsageError if the environment says that a connection to that place goes through a proxy: none is ever
    bypassed, and proxies are not supported.

    A loopback address never does: a proxy would look for it on its own machine.
    """
    if is_loopback(host):
        return
    for variable in PROXY_VARIABLES[scheme]:
        # A web server passes the header `Proxy:` on as HTTP_PROXY: like everybody, we read the lower-case name alone
        # where such a server calls us.
        if variable == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ:
            continue
        if os.environ.get(variable) and not _is_exempt(host, port):
            raise UsageError(
                f"{variable} sets a proxy for {host}, but proxies are not supported",
                hint=f"to connect directly: NO_PROXY={host}",
            )


def _is_exempt(host: str, port: int) -> bool:
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    host = host.lower()
    for entry in exempt.replace(",", " ").split():
        if entry == "*":
            return True
        name = entry.lower().lstrip(".")
        if name in (host, f"{host}:{port}") or host.endswith("." + name):
            return True
    return False
