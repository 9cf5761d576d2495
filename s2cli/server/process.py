"""The life of a server process: directory, engine, sockets, signals, and an end in which nothing acked is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2cli import __version__
from s2cli.errors import S2Error
from s2cli.server import heap
from s2cli.server.api.app import application
from s2cli.server.api.server import Phase, Server
from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.core.background import Background
from s2cli.server.home import Home, move_in, move_into_bucket
from s2cli.server.http.cors import Cors
from s2cli.server.http.host import Host, address_of, listen_tcp, listen_unix
from s2cli.server.http.host_names import HostNames
from s2cli.server.http.memory_budget import DEFAULT_LIMIT_BYTES
from s2cli.server.init_file import ensure_initial
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.lock_file import encode_note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from s2cli.server.init_file import InitialBasin
    from s2cli.server.store.bucket.bucket_url import BucketUrl
    from s2cli.server.store.interface import Store

log = logging.getLogger("s2cli.server")
client_log = logging.getLogger(CLIENT_LOG)

# The end takes 10 s at most (protocol section 14.3). Sessions end within milliseconds, unless a client does not read.
SESSIONS_END_S = 2.0
# Before that append sessions may leave by themselves.
ADVICE_S = 0.2
EXCHANGES_END_S = 5.0
HOST_STOP_S = 1.0
# New objects until the youngest are collected. With the default of 700 the objects of 64 requests outlive that, and a
# tenth of the time goes into looking at them.
YOUNG_OBJECTS = 5000
# In collections of the middle generation, of ten times as many objects.
FULL_COLLECTION_EVERY = 4
# How often an idle server checks the time, and that its socket is still there.
WATCH_S = 5.0


@dataclass(kw_only=True, slots=True)
class Options:
    """How to serve. `data` None means memory, unless there is a `bucket`; `port` None no TCP, `idle_exit_s` None for
    ever, `cors` None no web pages. On a bucket, `cache_bytes` of memory are for what was read from it, and clients of
    this machine find the server in the directory `place`. A `listener` is one for `host` and `port` that listens
    already. With a `base_domain` requests to BASIN.base-domain are about that basin; with a
    `root_token` every request needs a token, except those that come through the socket file, which nobody else can
    open. Without one the server answers to its own names and `allowed_hosts` alone (host_names.py). With
    `logs_requests` each request is a line in the log."""

    data: str | None
    bucket: BucketUrl | None = None
    cache_bytes: int = 0
    place: str | None = None
    host: str = "127.0.0.1"
    port: int | None = 8080
    socket_path: str | None = None
    idle_exit_s: float | None = None
    started_by: str = "user"
    base_domain: str | None = None
    initial: Sequence[InitialBasin] = ()
    root_token: str | None = None
    open_store: Callable[[Path | None], Awaitable[Store]] = SqliteStore.open
    cors: Cors | None = None
    allowed_hosts: Sequence[str] = ()
    listener: socket.socket | None = None
    logs_requests: bool = False
    memory_limit_bytes: int = DEFAULT_LIMIT_BYTES


def run(options: Options, on_ready: Callable[[str | None], None]) -> None:
    """Serves until a signal says stop. Calls `on_ready` with the origin (None without TCP) once requests are answered.
    Raises S2Error if it cannot begin."""
    heap.keep_freed()
    # How long a thread may keep the interpreter when another wants it. With the default of 5 ms a commit beside a busy
    # loop takes 15 ms; 1e-4 costs a bulk load 10 %.
    sys.setswitchinterval(5e-4)
    # A full collection stops the loop for 50 ms where 4096 clients wait. What is loaded by now it need not walk over,
    # and of what comes some 200,000 new objects are worth it.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, FULL_COLLECTION_EVERY)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.get_loop().set_exception_handler(_on_loop_exception)
        runner.run(_serve_until_signal(options, on_ready))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve_until_signal(options: Options, on_ready: Callable[[str | None], None]) -> None:
    await serve(options, on_ready, _stop_on_signals())


async def serve(options: Options, on_ready: Callable[[str | None], None], stopped: asyncio.Event) -> None:
    """Serves in the running loop until `stopped` is set, and then drains; see `run`."""
    async with contextlib.AsyncExitStack() as stack:
        listeners: list[socket.socket] = []
        origin = None
        if options.port is not None:
            # First of all: a taken port is the most likely failure, and changes nothing.
            listeners.append(options.listener or listen_tcp(options.host, options.port))
            stack.callback(listeners[0].close)
            origin = _origin(*address_of(listeners[0]))
        if options.bucket is None:
            home = await move_in(stack, options.data, options.socket_path, options.open_store)
        else:
            home = await move_into_bucket(
                stack, options.bucket, options.cache_bytes, options.place, options.socket_path
            )
        server = Server(
            home.store,
            directory=home.directory,
            bucket=home.bucket,
            last_used_ms=home.last_used_ms,
            token_key=home.token_key,
            base_domain=options.base_domain,
            root_token=options.root_token,
            memory_limit_bytes=options.memory_limit_bytes,
        )
        if (own := heap.bounded(options.memory_limit_bytes)) is not None:
            server.memory.added_bytes = own.added_bytes
        server.cors = options.cors
        domains = [] if options.base_domain is None else [options.base_domain]
        server.host_names = HostNames([options.host], domains, options.allowed_hosts)
        server.logs_requests = options.logs_requests
        server.meters.start()
        # Behind all that counts, before the store.
        stack.push_async_callback(server.meters.stop)
        stack.push_async_callback(server.streams.close)
        await server.cleanup.start()
        stack.push_async_callback(server.cleanup.stop)
        background = Background()
        background.start(home.keep_noting_use(server.deletion_clock))
        stack.push_async_callback(background.stop)
        await ensure_initial(server.resources, options.initial)
        if home.socket_path is not None:
            # Only now: the lock says that nobody else listens on it.
            listeners.append(listen_unix(home.socket_path))
            stack.callback(_remove_socket, home.socket_path, os.stat(home.socket_path).st_ino)
        hosts = [
            Host(application(server, is_private=listener.family == socket.AF_UNIX), listener, server.memory)
            for listener in listeners
        ]
        for host in hosts:
            host.start()
        if home.locked is not None:
            home.locked.write_note(encode_note(_note(options, home, origin)))
        log.info(
            "s2 %s serves %s at %s", __version__, home.bucket or options.data or "memory", origin or home.socket_path
        )
        on_ready(origin)
        await _until_end(server, options, home, stopped)
        await _drain(server, hosts)


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stopped.is_set():
            # Whoever insists does not want to wait. What was acked is on the disk.
            os._exit(128 + number)
        log.info("stopping on %s", number.name)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stopped


async def _until_end(server: Server, options: Options, home: Home, stopped: asyncio.Event) -> None:
    socket_inode = None if home.socket_path is None else os.stat(home.socket_path).st_ino
    while not stopped.is_set():
        wait_s = WATCH_S if options.idle_exit_s is None else min(WATCH_S, options.idle_exit_s / 4)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), wait_s)
        if home.is_gone:
            raise S2Error(f"the data directory {home.directory} was removed: appended records would be lost")
        if options.idle_exit_s is None:
            continue
        if server.exchanges == 0 and server.now() - server.quiet_since >= options.idle_exit_s:
            log.info("stopping after %d s without a request", options.idle_exit_s)
            return
        # Nobody finds us any more, and nobody else can have the directory while we live.
        if home.socket_path is not None and _inode(home.socket_path) != socket_inode:
            log.warning("stopping: %s is gone", home.socket_path)
            return


async def _drain(server: Server, hosts: list[Host]) -> None:
    """From SERVING to CLOSED, phase by phase."""
    # Whoever leaves us must not come back to us: a session of the official Python library whose connection is taken and
    # then ended has already sent inputs, and loses one of those that follow more often than not.
    for host in hosts:
        host.stop_listening()
    server.enter(Phase.REFUSING)
    await server.appenders_left(ADVICE_S)
    # Sessions first, while everything is open: to a client of the Python library h2 a GOAWAY ends the connection, and
    # with it the acks that are still on their way. New requests are held meanwhile, so this phase is short.
    server.enter(Phase.DRAINING)
    await server.quiet(SESSIONS_END_S)
    for host in hosts:
        host.stop()
    server.enter(Phase.CLOSING)
    await server.quiet(EXCHANGES_END_S)
    if server.exchanges:
        log.warning("%d exchanges did not end in time", server.exchanges)
    await asyncio.gather(*(host.finished(HOST_STOP_S) for host in hosts))
    server.enter(Phase.CLOSED)


def _note(options: Options, home: Home, origin: str | None) -> dict[str, str]:
    note = {"version": __version__, "pid": str(os.getpid()), "started": options.started_by}
    if home.bucket is not None:
        note["bucket"] = home.bucket
    if home.socket_path is not None:
        note["socket"] = home.socket_path
    if origin is not None:
        note["url"] = origin
    return note


def _origin(address: str, port: int) -> str:
    # An address that means all of them is none to connect to.
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104  # compared, not bound
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _remove_socket(path: str, inode: int) -> None:
    if _inode(path) == inode:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _on_loop_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    client_log.error("in the event loop: %s", context.get("message"), exc_info=context.get("exception"))
