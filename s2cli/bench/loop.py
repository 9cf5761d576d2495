"""Drives the clients of a bench: one thread that waits for all of their connections, for signals and for the next time
that something is due."""

from __future__ import annotations

import select
import selectors
import time

from s2cli.client.retry import Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.bench.clients import Client
    from s2cli.client.retry import Interrupts

TICK_S = 0.25  # between two looks at the clients, and at what a terminal shows


class Loop:
    """`tick` is called a few times a second, with the time."""

    def __init__(self, interrupts: Interrupts, tick: Callable[[float], None]) -> None:
        self._interrupts = interrupts
        self._tick = tick
        self._next_tick = 0.0
        self._selector = selectors.DefaultSelector()
        self._selector.register(interrupts.fd, selectors.EVENT_READ)
        self._masks: dict[Client, int] = {}

    def add(self, client: Client) -> None:
        mask = _mask(client)
        self._masks[client] = mask
        self._selector.register(client.connection.fd, mask, client)

    def watch(self, client: Client) -> None:
        """After something was sent: waits for room too, where it is needed."""
        mask = _mask(client)
        if mask != self._masks[client]:
            self._masks[client] = mask
            self._selector.modify(client.connection.fd, mask, client)

    def remove(self, clients: Iterable[Client]) -> None:
        """Closes them."""
        for client in clients:
            if self._masks.pop(client, None) is not None:
                self._selector.unregister(client.connection.fd)
                client.close()

    def close(self) -> None:
        self.remove(list(self._masks))
        self._selector.close()

    def turn(self, until: float) -> list[Client]:
        """Waits until something comes, at the longest until that time (monotonic seconds); the clients that have got
        something. Raises Interrupted at a signal, and what a client raises."""
        selector, interrupts = self._selector, self._interrupts
        wait_s = min(until, self._next_tick) - time.monotonic()
        if wait_s > 0:
            # The selectors themselves wait for whole milliseconds, where a batch may be due in a part of one.
            select.select([selector], [], [], wait_s)
        got: list[Client] = []
        for key, events in selector.select(0):
            if key.data is None:
                interrupts.drain()
                continue
            ready = (select.POLLIN if events & selectors.EVENT_READ else 0) | (
                select.POLLOUT if events & selectors.EVENT_WRITE else 0
            )
            key.data.on_ready(ready, time.monotonic())
            self.watch(key.data)
            got.append(key.data)
        if interrupts.count > interrupts.seen:
            raise Interrupted
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            for client in self._masks:
                client.check(now)
            self._tick(now)
        return got

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(end)


def _mask(client: Client) -> int:
    wants_room = client.connection.events & select.POLLOUT
    return selectors.EVENT_READ | selectors.EVENT_WRITE if wants_room else selectors.EVENT_READ
