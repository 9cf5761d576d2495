"""What threads read, handed to a poll loop: a bounded queue with a descriptor that tells when there is something."""

from __future__ import annotations

import os
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WakingQueue(Generic[Item]):
    """`fd` is readable when take() has something to give. It holds `max_bytes`, or an item more."""

    __slots__ = ("_changed", "_items", "_max_bytes", "_size", "_told", "_wake_fd", "_writers", "fd")

    def __init__(self, max_bytes: int, writers: int = 1) -> None:
        """`writers` threads put() and, when they have done, close()."""
        self._max_bytes = max_bytes
        self._writers = writers
        self._items: list[Item] = []
        self._size = 0
        self._told = False  # that there is something
        self._changed = threading.Condition()
        self.fd, self._wake_fd = os.pipe()

    def put(self, items: list[Item], size_bytes: int) -> None:
        """Waits while the queue is full."""
        with self._changed:
            while self._size > self._max_bytes:
                self._changed.wait()
            self._items += items
            self._size += size_bytes
            self._tell()

    def close(self) -> None:
        """A writer has done."""
        with self._changed:
            self._writers -= 1
            self._tell()

    def take(self) -> tuple[list[Item], bool]:
        """All that is there, where `fd` was readable, and whether that was the last of it."""
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
