"""HTTP/2 by prior knowledge, served by granian in our own event loop. Only this module imports granian, and it is
itself imported when the first client speaks HTTP/2.

granian can only accept connections by itself. So it listens on a Unix socket that nobody else can reach, and our
listener passes the bytes of each HTTP/2 connection to that socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, TaskImpl
from granian.http import HTTP2Settings
from granian.server.embed import Server as EmbeddedServer

from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.http.exchange import encode_json
from s2cli.server.http.http1_connection import MAX_HEAD_BYTES
from s2cli.server.http.http2_connection import ClientEnd, GranianEnd
from s2cli.server.http.http2_exchange import Http2Exchange
from s2cli.server.http.http2_frames import STREAM_HEADER
from s2cli.server.http.memory_budget import Share

if TYPE_CHECKING:
    from s2cli.server.http.connections import BegunConnection, Connections
    from s2cli.server.http.http2_exchange import Message, Receive, Send

log = logging.getLogger(CLIENT_LOG)

MIB = 1024 * 1024
LISTEN_BACKLOG = 1024
EXTRA_DESCRIPTORS = 2
# The path of a Unix socket ends there on macOS; the name in it takes 15 bytes.
MAX_PATH_BYTES = 103

# Exchanges of all connections, as many as there may be over HTTP/1.1. Beyond it none gets more than its part.
MAX_EXCHANGES = 4096
_BUSY = encode_json(
    {"code": "unavailable", "message": "too many requests are under way over HTTP/2", "error": "unavailable"}
)

_SETTINGS = HTTP2Settings(
    max_frame_size=256 * 1024,
    # Were the two windows equal, one stream that nobody reads would starve the others of its connection.
    initial_stream_window_size=4 * MIB,
    initial_connection_window_size=64 * MIB,
    max_concurrent_streams=200,
    # Out of the table of headers a client sends it in a few bytes.
    max_headers_size=MAX_HEAD_BYTES,
    max_send_buffer_size=MIB,
    keep_alive_interval=20_000,  # milliseconds
    keep_alive_timeout=20,  # but seconds
)

# The way to give granian a listening socket of our own is a private method: a granian without it must not be used
# unseen.
if not callable(getattr(EmbeddedServer, "_init_shared_socket", None)):
    raise ImportError("this version of granian cannot take over a listening socket; s2 needs granian 2.8")


class _SocketServer(EmbeddedServer):
    def __init__(self, application: Any, listener: socket.socket, max_connections: int) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            websockets=False,
            task_impl=TaskImpl.asyncio,
            backlog=LISTEN_BACKLOG,
            backpressure=max_connections,
            http2_settings=_SETTINGS,
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # granian owns and closes the descriptor that it is given. Its stubs leave the constructor out.
        holder: Any = SocketHolder
        descriptor: Any = os.dup(self._listener.fileno())
        self._sfd = descriptor
        self._shd = holder(descriptor, True, LISTEN_BACKLOG)


class Http2:
    """granian for the application of these connections, and the way to it. In the running loop."""

    def __init__(self, shared: Connections, max_connections: int) -> None:
        self._shared = shared
        self._place = _PrivateSocket()
        self._clients: dict[bytes, ClientEnd] = {}
        self._running = 0  # exchanges
        self._server: Any = _SocketServer(self._answer, self._place.listener, max_connections)
        self._serving = shared.loop.create_task(self._server.serve())
        self._opening: set[asyncio.Task[None]] = set()
        self._stopped = False
        # That its connections take beside one each: our end of the way to granian, and granian's.
        self.extra_descriptors = 0

    @property
    def failed(self) -> bool:
        """Whether it has ended without being asked to."""
        return self._serving.done() and not self._stopped

    def take(self, connection: BegunConnection, begin: bytes) -> None:
        """Serves the connection from now on. `begin` is what it has received."""
        transport = connection.transport
        transport.pause_reading()
        name = secrets.token_hex(8).encode()
        client = self._clients[name] = ClientEnd(self._shared, name, transport, self._left)
        self.extra_descriptors += EXTRA_DESCRIPTORS
        transport.set_protocol(client)
        self._shared.opened(client)
        self._shared.closed(connection)
        self._shared.memory.holders.discard(connection)
        self._shared.memory.holders.add(client)
        opening = self._shared.loop.create_task(self._open(client, begin))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, client: ClientEnd, begin: bytes) -> None:
        try:
            _, server = await self._shared.loop.create_unix_connection(lambda: GranianEnd(client), self._place.address)
        except OSError as error:
            log.error("cannot pass an HTTP/2 connection on: %s", error)
            client.abort()
            return
        client.join(server, begin)

    def _left(self, client: ClientEnd) -> None:
        self.extra_descriptors -= EXTRA_DESCRIPTORS
        del self._clients[client.name]
        self._shared.closed(client)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """The application, for an exchange whose memory is counted."""
        mark = b""
        for name, value in reversed(scope["headers"]):
            if name == STREAM_HEADER:
                mark = value
                break
        connection, _, number = mark.partition(b".")
        client = self._clients.get(connection)
        stream = None if client is None else client.streams.get(int(number))
        if client is None or stream is None:
            # It has gone, or its client has kept the mark from us.
            Http2Exchange(scope, receive, send, Share(), self._shared.memory.spend).answer(400, None, b"")
            return
        memory = self._shared.memory

        def on_sent(size_bytes: int) -> None:
            stream.handed_bytes += size_bytes
            memory.spend(size_bytes)

        exchange = Http2Exchange(scope, receive, send, stream.share, on_sent)
        if self._running >= MAX_EXCHANGES and client.running >= MAX_EXCHANGES // len(self._clients):
            exchange.answer_json(503, _BUSY)
            return
        self._running += 1
        stream.begin()
        try:
            await self._shared.application(exchange)
            await exchange.sent()
        finally:
            self._running -= 1
            stream.end()

    def stop(self) -> None:
        """Tells the clients that it ends, and lets running exchanges go on."""
        self._stopped = True
        # Cancelling the task would leave the threads of granian running.
        self._server.stop()

    async def finished(self, timeout_s: float) -> None:
        """Waits until stopped granian is done, at most that long."""
        await asyncio.wait([self._serving], timeout=timeout_s)
        if self._serving.done() and not self._serving.cancelled():
            self._serving.exception()  # seen
        self._place.release()


class _PrivateSocket:
    """A listening socket that only this process finds: without a name on Linux, elsewhere in a directory of ours."""

    def __init__(self) -> None:
        self._directory: str | None = tempfile.mkdtemp(prefix="s2-", dir=_short_directory())
        self._descriptor: int | None = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.address = os.path.join(self._directory, "h2")
            self.listener.bind(self.address)
            self.listener.listen(LISTEN_BACKLOG)
            self.listener.setblocking(False)
            if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
                # A server that is killed leaves nothing behind.
                self._descriptor = os.open(self.address, os.O_PATH | os.O_CLOEXEC)
                self.address = f"/proc/self/fd/{self._descriptor}"
                self._remove_directory()
        except OSError:
            self.release()
            raise

    def _remove_directory(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def release(self) -> None:
        self.listener.close()
        self._remove_directory()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _short_directory() -> str | None:
    """None for the usual one, if its path leaves room for a name."""
    usual = tempfile.gettempdir()
    return None if len(os.fsencode(usual)) + 20 <= MAX_PATH_BYTES else "/tmp"  # noqa: S108  # a directory of ours in it
