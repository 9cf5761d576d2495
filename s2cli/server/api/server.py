"""The state that all handlers share: the streams, the counters, the limits, and whether the server is shutting down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from s2cli.errors import ApiError
from s2cli.server.api.pages import Pages
from s2cli.server.core.auth import Auth, Secrets
from s2cli.server.core.cleanup import Cleanup
from s2cli.server.core.copying import Copying
from s2cli.server.core.deletion_clock import DeletionClock, steady_clock_s
from s2cli.server.core.idempotency import Replies
from s2cli.server.core.meters import Meters
from s2cli.server.core.registry import StreamRegistry
from s2cli.server.core.resources import Resources
from s2cli.server.core.turnstile import Turnstile
from s2cli.server.http.host_names import HostNames
from s2cli.server.http.memory_budget import DEFAULT_LIMIT_BYTES, Memory
from s2cli.wire.frames import RECONNECT_ADVISED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s2cli.server.http.cors import Cors
    from s2cli.server.store.interface import Store

log = logging.getLogger("s2cli.server")


class Phase(IntEnum):
    """Where a server is between its start and its end, in this order: a picture is in the map."""

    SERVING = 0
    REFUSING = 1  # nobody can connect any more; acks advise append sessions to reconnect
    DRAINING = 2  # sessions end; what comes on connections that are open is held, unanswered
    CLOSING = 3  # connections end after their answer; what was held is refused
    CLOSED = 4


class Server:
    """One server without its sockets. It keeps its data in a `directory`, or in a `bucket`, whose URL this is."""

    def __init__(
        self,
        store: Store,
        *,
        directory: Path | None = None,
        last_used_ms: int | None = None,
        bucket: str | None = None,
        token_key: bytes | None = None,
        base_domain: str | None = None,
        root_token: str | None = None,
        memory_limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self.store = store
        self.bucket = bucket
        self.base_domain = base_domain
        self.clock_ms: Callable[[], int] = wall_clock_ms

        def clock_ms() -> int:
            return self.clock_ms()

        store.clock_ms = clock_ms
        self.deletion_clock = DeletionClock(clock_ms, steady_clock_s, last_used_ms)
        store.deletion_clock_ms = self.deletion_clock
        self.now: Callable[[], float] = time.monotonic
        self.cors: Cors | None = None
        self.host_names = HostNames()
        self.logs_requests = False
        self.phase = Phase.SERVING
        # Whether nothing new is begun: in DRAINING and what follows.
        self.draining = False
        # The flag of each ack: once the server is about to go, that its client had better reconnect.
        self.advice = 0
        # Exchanges that are running, and since when there may be none.
        self.exchanges = 0
        self.quiet_since = self.now()
        self._on_drain: list[Callable[[], None]] = []
        self._held = 0
        self._quiet = asyncio.Event()
        self._appenders_left = asyncio.Event()
        self._closing = asyncio.Event()
        self.turnstile = Turnstile()
        # Of what readers get: those who write do not wait for it.
        self.rendering = Turnstile()
        # Of what they get as it is stored: none of them waits for what is made for others.
        self.sending = Turnstile()
        self.pages = Pages()
        self.memory = Memory(memory_limit_bytes)
        self.memory.elsewhere_bytes = self._bytes_of_streams
        self.meters = Meters(store, clock_ms)
        self.streams = StreamRegistry(store, clock_ms, self.meters)
        self.replies = Replies(store, clock_ms)
        changing = asyncio.Lock()
        self.cleanup = Cleanup(store, self.deletion_clock, self.streams, changing)
        self.resources = Resources(store, clock_ms, self.streams, self.cleanup, changing)
        self.secrets = Secrets(directory, token_key)
        self.copying = Copying(store)
        # None where everybody may do everything.
        self.auth = None if root_token is None else Auth(store, clock_ms, self.secrets, root_token)

    def _bytes_of_streams(self) -> int:
        context = self.streams.context
        return context.pending_bytes + context.recent_bytes

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Has `callback` called once, when the server begins to shut down; also at once if it has begun."""
        self._on_drain.append(callback)
        if self.draining:
            callback()
        return callback

    def off_drain(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(ValueError):
            self._on_drain.remove(callback)

    def enter(self, phase: Phase) -> None:
        """The next phase, and what begins with it."""
        assert phase == self.phase + 1, f"{phase} after {self.phase}"
        self.phase = phase
        self.draining = phase >= Phase.DRAINING
        if phase is Phase.REFUSING:
            self.advice = RECONNECT_ADVISED
            self.check_appenders_left()
        elif phase is Phase.DRAINING:
            for callback in list(self._on_drain):
                try:
                    callback()
                except Exception:
                    log.exception("a session could not be told to end")
        elif phase is Phase.CLOSING:
            self._quiet.clear()
            self._closing.set()

    async def appenders_left(self, timeout_s: float) -> None:
        """Waits until no append session is left that was advised to reconnect; at most that long. A client that heeds
        the advice chooses the moment: it ends its input between two batches, and knows the fate of each."""
        await _wait(self._appenders_left, timeout_s)

    def check_appenders_left(self) -> None:
        """To be called when an append session has ended."""
        if self.advice and not self.meters.totals.append_sessions:
            self._appenders_left.set()

    def exchange_ended(self) -> None:
        self.exchanges -= 1
        self.quiet_since = self.now()
        if self.draining:
            self._check_quiet()

    async def refuse(self) -> ApiError:
        """The answer to what comes, on connections that are open, while the server shuts down. It waits until they are
        told to end: a client that has its answer at once comes back at once, again and again, and is then cut off."""
        self._held += 1
        self._check_quiet()
        await self._closing.wait()
        self._held -= 1
        return ApiError("server_draining", "the server is shutting down")

    async def quiet(self, timeout_s: float) -> None:
        """Waits until no exchange is running, except those that `refuse` holds; at most that long."""
        self._check_quiet()
        await _wait(self._quiet, timeout_s)

    def _check_quiet(self) -> None:
        if self.draining and self.exchanges <= self._held:
            self._quiet.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
