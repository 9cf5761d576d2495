"""A time that stands still until a test turns it on."""

import asyncio
import threading
import time

from support.waiting import TIMEOUT_S


class Clock:
    """The clock of a server, in milliseconds since 1970, and with `hold` that of its event loop too: its timers are due
    when `advance` says so. `steady_s` is the clock that nobody sets: `step` sets the other one alone."""

    def __init__(self) -> None:
        self._now_ms = time.time_ns() // 1_000_000
        self._steady_s = 0.0
        self._loop_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> int:
        return self._now_ms

    def steady_s(self) -> float:
        return self._steady_s

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._now_ms += round(seconds * 1000)

    def hold(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop_s = loop.time()
        self._loop = loop
        loop.time = lambda: self._loop_s

    def advance(self, seconds: float) -> None:
        turned = threading.Event()

        def turn() -> None:
            self._now_ms += round(seconds * 1000)
            self._steady_s += seconds
            self._loop_s += seconds
            self._loop.call_later(0, turned.set)  # behind all that are due by now

        self._loop.call_soon_threadsafe(turn)
        assert turned.wait(TIMEOUT_S)

    def release(self) -> None:
        """The loop goes by the real time again."""
        del self._loop.time
