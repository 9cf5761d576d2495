"""A bounded queue from threads to a poll loop, with a descriptor that is readable while there is something in it."""

from __future__ import annotations

import os
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WakingQueue(Generic[Item]):
    """`fd` is readable while take() would return something. put() waits while more than `max_bytes` are queued."""

    __slots__ = ("_changed", "_items", "_max_bytes", "_size", "_told", "_wake_fd", "_writers", "fd")

    def __init__(self, max_bytes: int, writers: int = 1) -> None:
        """`writers`: how many threads call put(), each of which calls close() at its end."""
        self._max_bytes = max_bytes
        self._writers = writers
        self._items: list[Item] = []
        self._size = 0
        self._told = False  # there is a byte in the pipe
        self._changed = threading.Condition()
        self.fd, self._wake_fd = os.pipe()

    def put(self, items: list[Item], size_bytes: int) -> None:
        """Appends the items, `size_bytes` all together. Waits while the queue is full."""
        with self._changed:
            while self._size > self._max_bytes:
                self._changed.wait()
            self._items += items
            self._size += size_bytes
            self._tell()

    def close(self) -> None:
        """One of the writers has ended."""
        with self._changed:
            self._writers -= 1
            self._tell()

    def take(self) -> tuple[list[Item], bool]:
        """All items in the queue, and whether all writers have ended. Blocks unless `fd` is readable."""
        os.read(self.fd, 1)
        with self._changed:
            self._told = False
            items, self._items = self._items, []
            self._size = 0
            self._changed.notify_all()
            return items, not self._writers

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            os.write(self._wake_fd, b"!")
