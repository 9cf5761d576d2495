"""What append and read sessions share: their limits, and what to make of an answer that is none."""

from __future__ import annotations

import select
import time

from s2cli.client.interrupts import Interrupts, Waiter
from s2cli.client.sockets import LostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.duplex import Connection

# Protocol section 5.5: a server sends something every 15 s at the least.
SILENCE_S = 20.0
# An answer that says why a session was refused: how long its rest may take, and how much of it is read.
REFUSAL_S = 5.0
REFUSAL_BYTES = 64 * 1024

ADVICE_S = 60.0  # at most one advised reconnect in so many seconds (section 6.5)

SESSION_HEADERS = [("content-type", "s2s/proto")]


class Advice:
    """A server that is about to go asks for a new connection; one that always asks is not always obeyed."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = -ADVICE_S

    def is_heeded(self) -> bool:
        """Whether to follow it now."""
        now = time.monotonic()
        if now - self._last < ADVICE_S:
            return False
        self._last = now
        return True


def read_refusal(connection: Connection, data: bytes, timeout_s: float) -> bytes:
    """The whole body of an error response that began with `data`; what there is of it, if the connection breaks or the
    time is over."""
    pieces, size = [data], len(data)
    waiter = Waiter(Interrupts())  # a signal has to wait for this little
    deadline = time.monotonic() + timeout_s
    try:
        while not connection.ended and size < REFUSAL_BYTES:
            ready = waiter.wait(connection.fd, select.POLLIN, deadline - time.monotonic())
            if not ready:
                break
            piece = connection.on_ready(ready)
            pieces.append(piece)
            size += len(piece)
    except LostError:
        pass
    return b"".join(pieces)
