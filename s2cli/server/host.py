"""The HTTP server: granian, embedded in our own event loop. Nothing else imports it.

One Host serves one listening socket; several share the same application. What its makers do not promise and we rely
on is written at each place, and tests/server/test_host.py holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, TaskImpl
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server as EmbeddedServer

from s2cli.errors import S2Error
from s2cli.server.silent import close_silent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.exchange import Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MIB = 1024 * 1024
LISTEN_BACKLOG = 1024
# Linux gives a listening socket's silent connections to us only when their first byte is there, or after this time.
DEFER_ACCEPT_S = 10
# Open connections of one socket; granian's own default is 128. Its accept loop spins where descriptors run out, so the
# number stays below what the process may open.
MAX_CONNECTIONS = 4096
SPARE_DESCRIPTORS = 64
REFUSING_POLL_S = 0.002
SILENCE_CHECK_S = 10.0

_HTTP1 = HTTP1Settings(header_read_timeout=30_000, max_buffer_size=MIB, pipeline_flush=False)
_HTTP2 = HTTP2Settings(
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

# granian binds with SO_REUSEPORT, so that a second server on a taken port would share it in silence. We bind ourselves
# and give the socket in through this method, which is private: a granian without it must not be used unseen.
if not callable(getattr(EmbeddedServer, "_init_shared_socket", None)):
    raise ImportError("this version of granian cannot take over a listening socket; s2 needs granian 2.8")


class _SocketServer(EmbeddedServer):
    def __init__(self, application: Application, listener: socket.socket) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            websockets=False,
            task_impl=TaskImpl.asyncio,
            backlog=LISTEN_BACKLOG,
            backpressure=connection_limit(),
            http1_settings=_HTTP1,
            http2_settings=_HTTP2,
            log_enabled=False,
        )
        self._listener = listener
        self._descriptor: int | None = None  # granian's own of the listener, while it accepts

    def _init_shared_socket(self) -> None:
        # granian owns and closes the descriptor that it is given. Its stubs leave the constructor out.
        holder: Any = SocketHolder
        descriptor: Any = os.dup(self._listener.fileno())
        is_unix = self._listener.family == socket.AF_UNIX
        self._sfd = descriptor
        self._shd = holder(descriptor, is_unix, LISTEN_BACKLOG)
        self._descriptor = descriptor

    def stop_listening(self) -> bool:
        """Takes the listener away from granian, which closes it only when it also announces the end on each connection.
        False if that cannot be done now."""
        if self._descriptor is None:
            return False
        try:
            # It waits at a socket that nobody knows from now on. After a shutdown of the listener it would spin, and
            # not end when it is told to.
            with socket.create_server(("127.0.0.1", 0)) as unknown:
                unknown.setblocking(False)
                os.dup2(unknown.fileno(), self._descriptor, inheritable=False)
        except OSError:
            return False
        self._descriptor = None
        return True


class Host:
    """Serves `application` on `listener`, which it owns from now on."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        self._listener = listener
        self._server: Any = _SocketServer(application, listener)  # granian is not typed
        self._address: Any = listener.getsockname()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._server.serve())
        self._timer = loop.call_later(SILENCE_CHECK_S, self._look_for_silence)

    def _look_for_silence(self) -> None:
        close_silent(self._listener)
        self._timer = asyncio.get_running_loop().call_later(SILENCE_CHECK_S, self._look_for_silence)

    @property
    def failed(self) -> bool:
        """Whether it has ended without being asked to."""
        return self._task is not None and self._task.done()

    def stop_listening(self) -> None:
        """Has new connections refused; those that are open do not notice. Where it cannot, `stop` does it."""
        if self.failed or not self._server.stop_listening():
            return
        self._close_listener()

    def _close_listener(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()

    def stop(self) -> None:
        """Stops accepting at once, and lets running exchanges go on; `finished` waits for them."""
        self._close_listener()
        # Cancelling the task would leave the threads of granian running.
        self._server.stop()

    async def refusing(self, timeout_s: float) -> None:
        """Waits until new connections are refused, at most that long: granian closes its own copy of the listener in a
        thread of its own, and gives no sign."""
        deadline = time.monotonic() + timeout_s
        while self._is_listening() and time.monotonic() < deadline:  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(REFUSING_POLL_S)

    def _is_listening(self) -> bool:
        with socket.socket(self._listener.family, socket.SOCK_STREAM) as probe:
            # This machine answers at once, unless the queue of connections is full: not refused either.
            probe.settimeout(REFUSING_POLL_S)
            return probe.connect_ex(self._address) not in (errno.ECONNREFUSED, errno.ENOENT)

    async def finished(self, timeout_s: float) -> None:
        """Waits until stopped granian is done, at most that long."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=timeout_s)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # seen


def connection_limit() -> int:
    """How many connections a socket may have open, after raising the soft limit of descriptors as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, soft - SPARE_DESCRIPTORS))


def listen_tcp(address: str, port: int) -> socket.socket:
    """A listening socket on that address; port 0 takes any free one. Raises S2Error for a taken port and the like."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Not SO_REUSEPORT; this one only frees a port from connections that are closing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what it accepts. Without it small acks wait 40 ms for the peer's.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
        listener.bind((address, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise _bind_error(address, port, error) from error
    listener.setblocking(False)
    return listener


def _bind_error(address: str, port: int, error: OSError) -> S2Error:
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return S2Error(f"cannot listen on {place}: the port is in use", hint="choose another with --port, or --port 0")
    if error.errno == errno.EACCES:
        return S2Error(f"cannot listen on {place}: no permission to use that port", hint="choose one above 1023")
    return S2Error(f"cannot listen on {place}: {error.strerror or error}")


def listen_unix(path: str) -> socket.socket:
    """A listening Unix socket at `path`, for our own user only. A socket file that is there already is replaced: the
    caller holds the lock that says nobody else listens on it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise S2Error(f"cannot listen on {path}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """The address and port of a TCP listener."""
    name: Any = listener.getsockname()
    return name[0], name[1]
