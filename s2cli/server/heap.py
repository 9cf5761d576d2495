"""How much freed memory the C library keeps: large blocks for the next batch, but not beyond the memory budget.

When memory is short, pages of a megabyte and pieces of 128 KiB come and go in thousands. A freed block between two live
ones stays with the process, and would add to the budget.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

# The pause between two trims, as a multiple of how long the last one took: a trim walks over all free memory.
PAUSE_FACTOR = 10


def keep_freed() -> None:
    """Makes glibc keep large freed blocks for their next use. If it returned them to the system, each use would fault
    their pages in again: that costs reads of 100 kB records a third of their throughput."""
    if (library := _library()) is not None:
        library.mallopt(-3, 32 * 1024 * 1024)  # M_MMAP_THRESHOLD, at its maximum
        library.mallopt(-1, 64 * 1024 * 1024)  # M_TRIM_THRESHOLD


def bounded(limit_bytes: int) -> Heap | None:
    """The heap of this process, bounded; None if the C library is not glibc."""
    library = _library()
    return None if library is None else Heap(library.malloc_trim, limit_bytes)


class Heap:
    """The heap of this process, which is to grow by at most `limit_bytes` from now on."""

    def __init__(self, trim: Any, limit_bytes: int) -> None:
        self._trim = trim
        self._began_bytes = resident_bytes()
        # An eighth is left for growth between two calls.
        self._most_bytes = self._began_bytes + limit_bytes - limit_bytes // 8
        self._next_s = 0.0

    def added_bytes(self) -> int:
        """By how many bytes the process has grown. If that is too much, returns free memory to the system first."""
        size_bytes = resident_bytes()
        began_s = time.monotonic()
        if size_bytes > self._most_bytes and began_s >= self._next_s:
            self._trim(0)
            ended_s = time.monotonic()
            self._next_s = ended_s + PAUSE_FACTOR * (ended_s - began_s)
            size_bytes = resident_bytes()
        return size_bytes - self._began_bytes


def resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _library() -> Any:
    """The C library if it is glibc, else None."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError):
        return None
