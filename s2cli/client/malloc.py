"""How the C library deals with freed memory."""

from __future__ import annotations

_LARGE_BYTES = 31 << 20  # just below the most that glibc lets its bound grow to


def keep_freed_memory() -> None:
    """Makes glibc keep what is freed, instead of giving it back to the kernel and faulting its pages in anew for each
    batch: that takes two thirds of the time of a read of records of 1000 bytes (tests/bench/compare.py, b1000).

    Freeing one large block raises its bounds for good. Nobody touches the pages of the block, so it costs no memory;
    elsewhere than on glibc it does nothing.
    """
    block = bytes(_LARGE_BYTES)
    del block
