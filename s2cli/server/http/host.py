"""The HTTP server: accepts connections and passes each to the code for its HTTP version: HTTP/1.1 in
http1_connection.py, HTTP/2 in http2_connection.py.

One Host serves one listening socket; several share the same application.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import resource
import select
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any

from s2cli.errors import S2Error, describe
from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.http.connections import Connections, Receiver
from s2cli.server.http.http1_connection import Connection
from s2cli.server.http.memory_budget import Memory

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Application

log = logging.getLogger(CLIENT_LOG)

LINUX = sys.platform == "linux"
LISTEN_BACKLOG = 1024
# Linux gives a listening socket's silent connections to us only when their first byte is there, or after this time.
DEFER_ACCEPT_S = 10
# A peer that does not answer is given up after 60 + 4 * 15 s.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)) if LINUX else ()
# Open connections of one socket; the number stays below what the process may open.
MAX_CONNECTIONS = 4096
SPARE_DESCRIPTORS = 64
# Accepted in a row, before others have a turn of the loop.
MAX_ACCEPTED = 64
# Until a listener is tried again when there is nothing left to accept with.
ACCEPT_PAUSE_S = 0.1
EXPIRY_CHECK_S = 5.0

_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Host:
    """Serves `application` on `listener`, which it owns from now on. In the running loop."""

    def __init__(self, application: Application, listener: socket.socket, memory: Memory | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self._listener = listener
        self.connections = Connections(application, self._speak_http2, memory or Memory())
        self._max_connections = connection_limit()
        self._arriving: dict[asyncio.Task[Any], Connection] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self.accept_pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.loop.add_reader(self._listener.fileno(), self._accept)
        self._expire()

    def _expire(self) -> None:
        self.connections.expire()
        self.connections.memory.audit()
        self._expiry = self.loop.call_later(EXPIRY_CHECK_S, self._expire)

    def _accept(self) -> None:
        for number in range(MAX_ACCEPTED):
            if self.taken() >= self._max_connections:
                # One in a turn of the loop, in which the other one goes.
                if number or not self._is_asked():
                    return
                if not self.connections.make_room():
                    self._wait()
                    return
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._wait()
                    return
                continue  # this one is gone already
            accepted.setblocking(False)
            self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        connection = Connection(self.connections)
        self.connections.arriving.add(connection)
        arriving = self.loop.create_task(self.loop.connect_accepted_socket(lambda: connection, accepted))
        self._arriving[arriving] = connection
        arriving.add_done_callback(self._arrived)

    def _is_asked(self) -> bool:
        """Whether somebody waits to be accepted. Not every call of `_accept` says so."""
        asked = select.poll()
        asked.register(self._listener, select.POLLIN)
        return bool(asked.poll(0))

    def taken(self) -> int:
        """The descriptors that connections take."""
        return len(self.connections.open) + len(self.connections.arriving)

    def _arrived(self, arriving: asyncio.Task[Any]) -> None:
        self.connections.arriving.discard(self._arriving.pop(arriving))
        if not arriving.cancelled() and not isinstance(arriving.exception(), OSError):
            arriving.result()  # what is not of the network is said in the log

    def _wait(self) -> None:
        """Leaves what comes in the queue of the kernel for a moment."""
        if self.accept_pause is not None:
            return
        self.loop.remove_reader(self._listener.fileno())
        self.accept_pause = self.loop.call_later(ACCEPT_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self.accept_pause = None
        self.loop.add_reader(self._listener.fileno(), self._accept)

    def _speak_http2(self, connection: Receiver, begin: bytes) -> None:
        # Loading it takes some milliseconds that a server without such clients never pays.
        from s2cli.server.http.http2_connection import Http2Connection

        begun = Http2Connection(self.connections, connection.transport)
        connection.transport.set_protocol(begun)
        self.connections.became_http2(connection, begun)
        begun.begin(begin)

    def stop_listening(self) -> None:
        """Has new connections refused. Those that are open do not notice."""
        if self._listener.fileno() < 0:
            return
        for _ in range(0, LISTEN_BACKLOG, MAX_ACCEPTED):
            self._accept()  # who is in the queue was not refused
        if self.accept_pause is not None:
            self.accept_pause.cancel()
        self.loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def stop(self) -> None:
        """Stops accepting at once, and lets running exchanges finish; `finished` waits for them."""
        self.stop_listening()
        self.connections.end()

    async def finished(self, timeout_s: float) -> None:
        """Waits until all connections of a stopped host are closed, at most that long; then none is left."""
        await self.connections.ended(timeout_s)
        if self._expiry is not None:
            self._expiry.cancel()


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
        # These are inherited by what it accepts. Without the first, small acks wait 40 ms for the peer's; without the
        # others a client whose machine is gone stays for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if LINUX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
            for option, value in KEEPALIVE:
                listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.bind((address, port))
        if LINUX and ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
            # Within a machine nothing is congested. Where it paces all its connections (bbr), a reader of large records
            # gets a third less. Inherited too; a kernel without it behaves as before.
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
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
    return S2Error(f"cannot listen on {place}: {describe(error)}")


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
        raise S2Error(f"cannot listen on {path}: {describe(error)}") from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """The address and port of a TCP listener."""
    name: Any = listener.getsockname()
    return name[0], name[1]
