"""HTTP/2 by prior knowledge: granian, embedded in our own event loop. Nothing else imports it, and it is imported when
the first client speaks HTTP/2: HTTP/1.1 is ours (http1.py).

granian can only accept connections by itself. So it listens on a Unix socket that nobody else can reach, and what
begins as HTTP/2 on our own listener is passed on to it byte by byte.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
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
from s2cli.server.http1 import LINGER_S, MAX_UNSENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.connections import Connections
    from s2cli.server.exchange import Application
    from s2cli.server.http1 import Connection

log = logging.getLogger(CLIENT_LOG)

MIB = 1024 * 1024
LISTEN_BACKLOG = 1024
EXTRA_DESCRIPTORS = 2
# A client that takes nothing is given up then.
STALL_S = 600.0
# The path of a Unix socket ends there on macOS; the name in it takes 15 bytes.
MAX_PATH_BYTES = 103

_SETTINGS = HTTP2Settings(
    max_frame_size=256 * 1024,
    # Were the two windows equal, one stream that nobody reads would starve the others of its connection.
    initial_stream_window_size=4 * MIB,
    initial_connection_window_size=64 * MIB,
    max_concurrent_streams=200,
    max_headers_size=64 * 1024,
    max_send_buffer_size=MIB,
    keep_alive_interval=20_000,  # milliseconds
    keep_alive_timeout=20,  # but seconds
)

# The way to give granian a listening socket of our own is a private method: a granian without it must not be used
# unseen.
if not callable(getattr(EmbeddedServer, "_init_shared_socket", None)):
    raise ImportError("this version of granian cannot take over a listening socket; s2 needs granian 2.8")


class _SocketServer(EmbeddedServer):
    def __init__(self, application: Application, listener: socket.socket, max_connections: int) -> None:
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
        self._place = _PrivatePlace()
        self._server: Any = _SocketServer(shared.application, self._place.listener, max_connections)
        self._serving = shared.loop.create_task(self._server.serve())
        self._opening: set[asyncio.Task[None]] = set()
        self._stopped = False
        # That its connections take beside one each: our end of the way to granian, and granian's.
        self.extra_descriptors = 0

    @property
    def failed(self) -> bool:
        """Whether it has ended without being asked to."""
        return self._serving.done() and not self._stopped

    def take(self, connection: Connection, begin: bytes) -> None:
        """Serves the connection from now on. `begin` is what it has received."""
        transport = connection.transport
        transport.pause_reading()
        client = _Client(self._shared, transport, self._left)
        self.extra_descriptors += EXTRA_DESCRIPTORS
        transport.set_protocol(client)
        self._shared.open.discard(connection)
        self._shared.open.add(client)
        opening = self._shared.loop.create_task(self._open(client, begin))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, client: _Client, begin: bytes) -> None:
        try:
            _, server = await self._shared.loop.create_unix_connection(lambda: _End(client), self._place.address)
        except OSError as error:
            log.error("cannot pass an HTTP/2 connection on: %s", error)
            client.abort()
            return
        client.join(server, begin)

    def _left(self, client: _Client) -> None:
        self.extra_descriptors -= EXTRA_DESCRIPTORS
        self._shared.closed(client)

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


class _End(asyncio.Protocol):
    """One of the two ends of a connection that is passed on: what it receives, the other one sends."""

    def __init__(self, other: _End | None = None) -> None:
        self.other = other
        self.transport: Any = None  # asyncio.Transport
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(MAX_UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_lost:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.other is not None and not self.other.is_lost:
            self.other.finish()

    def finish(self) -> None:
        """Ends it after what has yet to be sent."""
        self.transport.close()


class _Client(_End):
    """The client's end: one of the connections of the host."""

    def __init__(self, shared: Connections, transport: Any, on_lost: Callable[[_Client], None]) -> None:
        super().__init__()
        self._shared = shared
        self._on_lost = on_lost
        self.transport = transport
        # granian looks for clients that are gone, but not past what such a one does not take.
        self.deadline_s = math.inf

    def join(self, server: _End, begin: bytes) -> None:
        self.other = server
        if self.is_lost:
            server.transport.abort()
            return
        server.transport.write(begin)
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        # A client of HTTP/2 that sends no more has gone, also if it has yet to take what was sent to it.
        if self.other is not None:
            self.other.finish()
        self.finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.deadline_s = self._shared.now() + STALL_S

    def resume_writing(self) -> None:
        self.deadline_s = math.inf
        super().resume_writing()

    def finish(self) -> None:
        self.deadline_s = self._shared.now() + LINGER_S
        super().finish()

    def expire(self) -> None:
        self.abort()

    def end_soon(self) -> None:
        """granian does that."""

    def abort(self) -> None:
        self.transport.abort()


class _PrivatePlace:
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
