"""Between the thread that reads and the one that writes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Gate:
    """Lets the reader's pages and the writer's checkpoints alternate. Without it readers keep checkpoints from reaching
    the end of the log; with a plain lock they starve the writer."""

    __slots__ = ("_go", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._go.set()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        self._go.wait()
        with self._lock:
            yield

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[None]:
        self._go.clear()
        try:
            with self._lock:
                yield
        finally:
            self._go.set()
