"""How much a client may send over HTTP/2 that costs it little and the server more: frames that carry nothing, and
streams that are reset before their answer. Honest clients send some of these, so they may send many at once, and more
with time and with what is of use."""

from __future__ import annotations

from s2cli.server.http.http2_frames import (
    DATA,
    GOAWAY,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFaultError,
    ErrorCode,
)

# Frames without use, in units of the budget: at once, and each second.
MAX_IDLE_FRAMES = 10_000
IDLE_FRAMES_PER_S = 100
# Streams that are reset, refused or malformed: at once, and each second. An answer makes up for one.
MAX_RESETS = 200
RESETS_PER_S = 10

# Less in a frame is a waste.
SMALL_DATA_BYTES = 8
# What a frame costs. A change of the settings looks at all streams. The rest is free, or costs by what is in it.
COSTS = {DATA: 1, PRIORITY: 1, RST_STREAM: 1, SETTINGS: 10, PING: 1, GOAWAY: 10, WINDOW_UPDATE: 1}
UNKNOWN_COST = 1
REFUSED_HEAD_COST = 250
# What makes up for it. To each frame of ours a client may answer with two updates of its windows.
SENT_FRAME_GAIN = 3
ANSWER_GAIN = 10


class Budget:
    """`most` at once, and `per_s` more each second."""

    __slots__ = ("_left", "_most", "_per_s", "_since_s")

    def __init__(self, most: int, per_s: int, now_s: float) -> None:
        self._left: float = most
        self._most = most
        self._per_s = per_s
        self._since_s = now_s  # counted up to then

    def spend(self, amount: int, now_s: float) -> None:
        """Raises ConnectionFaultError where nothing is left."""
        self._left -= amount
        if self._left < 0:
            self.earn((now_s - self._since_s) * self._per_s)
            self._since_s = now_s
            if self._left < 0:
                raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM)

    def earn(self, amount: float) -> None:
        self._left = min(self._left + amount, self._most)
