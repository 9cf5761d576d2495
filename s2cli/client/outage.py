"""How long to go on without a server: backoff, and the point where it is enough (protocol section 9.2)."""

from __future__ import annotations

import os
import time

from s2cli.amounts import format_seconds
from s2cli.errors import S2Error, UnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.interrupts import Waiter

FIRST_DELAY_S = 0.1
LAST_DELAY_S = 1.0


class Outage:
    """Counts failures since the last progress. `limit_s` and `max_attempts` are None where they do not end it."""

    __slots__ = ("_attempts", "_limit_s", "_max_attempts", "_notice", "_reason", "_since")

    def __init__(
        self, limit_s: float | None, notice: Callable[[str], None], *, max_attempts: int | None = None
    ) -> None:
        self._limit_s = limit_s
        self._max_attempts = max_attempts
        self._notice = notice
        self._attempts = 0
        self._since = 0.0
        self._reason = ""

    def failed(self, error: S2Error, waiter: Waiter, *, quiet: bool = False) -> None:
        """Says what failed and sleeps. Raises UnreachableError when it has lasted too long, Interrupted at a signal."""
        now = time.monotonic()
        if not self._attempts:
            self._since = now
        limit_s = self._limit_s
        left_s = None if limit_s is None else self._since + limit_s - now
        if self._max_attempts is not None and self._attempts + 1 >= self._max_attempts:
            raise self._over(f"gave up after {self._max_attempts} attempts", error) from error
        if limit_s is not None and left_s is not None and left_s <= 0:
            raise self._over(f"gave up after {format_seconds(limit_s)} without progress", error) from error
        if error.message != self._reason and not quiet:
            self._reason = error.message
            self._notice(f"{error.message}; trying again{self._bound()}")
        base_s = min(FIRST_DELAY_S * 2**self._attempts, LAST_DELAY_S)
        self._attempts += 1
        # os.urandom instead of `random`: it is imported already.
        delay_s = base_s * (1 + os.urandom(1)[0] / 256)
        retry_after_ms = getattr(error, "retry_after_ms", None)
        if retry_after_ms is not None:
            delay_s = max(delay_s, retry_after_ms / 1000)
        waiter.sleep(delay_s if left_s is None else min(delay_s, left_s))

    def _bound(self) -> str:
        if self._limit_s is None or self._max_attempts is not None:
            return ""
        return f" for up to {format_seconds(self._limit_s)} (--max-outage)"

    @staticmethod
    def _over(why: str, error: S2Error) -> UnreachableError:
        return UnreachableError(f"{why}: {error.message}", hint=error.hint)

    def progress(self) -> None:
        """Something arrived: says so after a failure, and counts from the beginning again."""
        if self._attempts:
            if self._reason:
                self._notice(f"connected again after {format_seconds(time.monotonic() - self._since)}")
            self._attempts = 0
            self._reason = ""

    def restart(self) -> None:
        """Time has passed in which nothing was wanted from the server: it does not count."""
        self._attempts = 0
