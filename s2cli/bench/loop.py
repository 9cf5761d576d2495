"""Drives the clients of a bench: one thread waits for all of their connections, for signals, and for the next time at
which something is due."""

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

TICK_S = 0.25  # between two checks of the clients, and between two updates of the terminal


class Loop:
    """Drives the clients that were added. `tick` is called every TICK_S, with the time in monotonic seconds."""

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
        """To be called after the client was given something to send: waits for room in its socket, if it needs that."""
        mask = _mask(client)
        if mask != self._masks[client]:
            self._masks[client] = mask
            self._selector.modify(client.connection.fd, mask, client)

    def remove(self, clients: Iterable[Client]) -> None:
        """Closes the clients, and drives them no longer."""
        for client in clients:
            if self._masks.pop(client, None) is not None:
                self._selector.unregister(client.connection.fd)
                client.close()

    def close(self) -> None:
        self.remove(list(self._masks))
        self._selector.close()

    def turn(self, until: float) -> list[Client]:
        """Waits until something comes, but not beyond `until` (monotonic seconds). Returns the clients that something
        came for. Raises Interrupted at a signal, and what a client raises."""
        selector, interrupts = self._selector, self._interrupts
        wait_s = min(until, self._next_tick) - time.monotonic()
        if wait_s > 0:
            # A selector waits for whole milliseconds, and a batch may be due earlier.
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
        """Drives the clients for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(end)


def _mask(client: Client) -> int:
    wants_room = client.connection.events & select.POLLOUT
    return selectors.EVENT_READ | selectors.EVENT_WRITE if wants_room else selectors.EVENT_READ
