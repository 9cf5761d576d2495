"""What append and read sessions share: their limits, and the errors for a response that does not open a session."""

from __future__ import annotations

import select
import time

from s2cli.amounts import format_seconds
from s2cli.client.retry import Interrupts, Waiter
from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.connection import Connection

# Protocol section 5.5: a server sends something every 15 s at the least.
SILENCE_S = 20.0
# An answer that says why a session was refused: how long its rest may take, and how much of it is read.
REFUSAL_S = 5.0
REFUSAL_BYTES = 64 * 1024

# A message that has begun must come faster than this in the end, and heartbeats slower (they come every 5 to 15 s).
LOWEST_BYTES_PER_S = 8 * 1024
FREE_HEARTBEATS = 100
HEARTBEATS_PER_S = 1

ADVICE_S = 60.0  # at most one advised reconnect in so many seconds (section 6.5)

SESSION_HEADERS = [("content-type", "s2s/proto")]


class Patience:
    """How long to listen to a server in one session: it must neither fall silent, nor begin a message and let it
    trickle, nor send heartbeats without end."""

    __slots__ = ("_began", "_first_s", "_messages", "_started", "heard")

    def __init__(self, first_s: float | None) -> None:
        """`first_s`: how long the head of the answer may take; SILENCE_S if that is None."""
        self._first_s = SILENCE_S if first_s is None else first_s
        self._started = time.monotonic()
        self._messages = 0
        self._began: float | None = None  # the message that is under way
        self.heard = self._started  # something came that the session is for

    def limit_s(self, has_head: bool) -> float:
        """How long nothing may come, counted from `heard`."""
        return SILENCE_S if has_head else self._first_s

    def on_data(self, messages: int, pending_bytes: int, heartbeats: int, *, counts: bool) -> None:
        """Notes that something came and was handled. So far there were `messages` whole messages, `pending_bytes` of
        the next one, and `heartbeats` since the last record. `counts`: it was more than a heartbeat, or heartbeats are
        all that can be expected. Raises LostError and ProtocolError."""
        now = time.monotonic()
        if counts or pending_bytes:
            self.heard = now
        if not pending_bytes:
            self._began = None
        elif self._began is None or messages != self._messages:
            self._began = now
            self._messages = messages
        elif now - self._began > SILENCE_S + pending_bytes / LOWEST_BYTES_PER_S:
            took = format_seconds(now - self._began)
            raise LostError(f"the server sent only {pending_bytes} bytes of a message in {took}")
        if heartbeats > FREE_HEARTBEATS + HEARTBEATS_PER_S * (now - self._started):
            raise ProtocolError("the server sends only heartbeats, without end")


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
