"""Large writes go to the socket at once, without being copied: a megabyte takes a fifth of a millisecond to copy, about
as long as to send."""

from __future__ import annotations

import os
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    Part = bytes | memoryview

# Less is copied together, which takes no call of the system of its own.
LEAST_BYTES = 16 * 1024
# No system takes less of them in one call.
MAX_PARTS = 1024


def write(transport: Any, parts: Sequence[Part], size_bytes: int) -> None:
    """Writes the parts, `size_bytes` in all. The transport, which is open, gets a copy of what the socket does not take
    now: a view that is kept would keep all that it is a view of."""
    if size_bytes >= LEAST_BYTES and len(parts) <= MAX_PARTS and not transport.get_write_buffer_size():
        sent_bytes = _send(transport, parts)
        if sent_bytes == size_bytes:
            return
        parts = behind(parts, sent_bytes)
    transport.write(parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts))


def _send(transport: Any, parts: Sequence[Part]) -> int:
    """How much the socket has taken. Of what is wrong with it the transport will know."""
    try:
        return os.writev(transport.get_extra_info("socket").fileno(), parts)
    except OSError:
        return 0


def behind(parts: Sequence[Part], size_bytes: int) -> Sequence[Part]:
    """What is left of the parts without their first bytes, so many."""
    if not size_bytes:
        return parts
    for number, end in enumerate(accumulate(map(len, parts))):
        if end > size_bytes:
            return [memoryview(parts[number])[size_bytes - end :], *parts[number + 1 :]]
    return []
