"""Signals as something that a poll loop can wait for: a pipe that becomes readable, and a count."""

from __future__ import annotations

# `signal` wraps this module in enums, which costs each start 3 ms.
import _signal  # type: ignore[import-not-found]  # typeshed does not describe it
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

SIGHUP, SIGINT, SIGTERM = 1, 2, 15  # POSIX fixes these numbers


class Interrupted(Exception):  # an event, not an error: whoever waits decides what it means
    """A signal came that nobody has looked at yet."""


class Interrupts:
    """While it is entered, SIGINT, SIGTERM and SIGHUP are counted instead of ending the process.

    A signal that was ignored at the start (nohup, a background job) stays ignored. An object that is never entered
    counts nothing: what has nothing to tidy up leaves the signals as they are.
    """

    __slots__ = ("_before", "_write_fd", "count", "fd", "number", "seen")

    def __init__(self) -> None:
        self.fd = -1
        self.count = 0
        self.seen = 0  # how many of them the owner has dealt with
        self.number = SIGINT  # of the first one
        self._write_fd = -1
        self._before: list[tuple[int, object]] = []

    def __enter__(self) -> Interrupts:
        self.fd, self._write_fd = os.pipe()
        for fd in (self.fd, self._write_fd):
            os.set_blocking(fd, False)
        _signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (SIGINT, SIGTERM, SIGHUP):
            before = _signal.getsignal(number)
            if before is not _signal.SIG_IGN and before != _signal.SIG_IGN:
                self._before.append((number, _signal.signal(number, self._on_signal)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _signal.set_wakeup_fd(-1)
        for number, before in self._before:
            _signal.signal(number, before)
        os.close(self.fd)
        os.close(self._write_fd)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.count == 0:
            self.number = number
        self.count += 1
        if self.count >= 3:  # whoever should have looked is stuck
            raise KeyboardInterrupt

    def drain(self) -> None:
        """Takes what the wake-up wrote, so that the pipe is quiet until the next signal."""
        try:
            os.read(self.fd, 64)
        except BlockingIOError:
            return

    @property
    def exit_code(self) -> int:
        """128 and the number of the first signal, as a shell counts."""
        return 128 + self.number
