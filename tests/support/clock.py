"""A clock that stands still until a test turns it."""

import time


class Clock:
    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        """The time, in milliseconds since 1970."""
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
