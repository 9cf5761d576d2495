"""How long to keep trying without a server: backoff, notices of silence, and when to give up (protocol section 9.2);
and how to wait for a descriptor within these limits."""

from __future__ import annotations

# `signal` wraps this module in enums, which costs each start 3 ms.
import _signal  # type: ignore[import-not-found]  # typeshed does not describe it
import os
import select
import time

from s2cli.amounts import format_seconds
from s2cli.errors import ApiError, S2Error, UnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeVar

    Answer = TypeVar("Answer")

FIRST_DELAY_S = 0.1
LAST_DELAY_S = 1.0
DEFAULT_LIMIT_S = 60.0
ATTEMPTS = 3  # of a call with one answer
# Somebody who watches hears within three seconds that the server says nothing.
NOTICE_S = 2.5
NEVER = float("inf")
SIGHUP, SIGINT, SIGTERM = 1, 2, 15  # POSIX fixes these numbers


class RetryPolicy:
    """The time since something was wanted from the server and did not come: failures and silence alike. `limit_s` and
    `max_attempts` are None where they do not end it; `option` is what chooses the limit.

    expect() before something is waited for, progress() when it has come, calm() where nothing is wanted any more. Who
    waits in between calls check() at `until`: a Waiter does so by itself."""

    __slots__ = ("_attempts", "_bound", "_last", "_limit_s", "_max_attempts", "_notice", "_reason", "_since", "_told")

    def __init__(
        self,
        limit_s: float | None,
        notice: Callable[[str], None],
        *,
        max_attempts: int | None = None,
        option: str = "--max-outage",
    ) -> None:
        self._limit_s = limit_s
        self._max_attempts = max_attempts
        self._notice = notice
        self._bound = "" if limit_s is None else f" for up to {format_seconds(limit_s)} ({option})"
        self._since: float | None = None
        self._attempts = 0
        self._last: S2Error | None = None  # the error of the last attempt
        self._reason = ""  # that was told, without its numbers: how much room a full disk lacks differs each time
        self._told = False  # that the server is silent

    def expect(self) -> None:
        """Something is wanted from the server from now on, or is still wanted."""
        if self._since is None:
            self._since = time.monotonic()

    def calm(self) -> None:
        """Nothing is wanted: the time does not count until it is again."""
        self._since = None
        self._told = False

    def restart(self) -> None:
        """Time has passed in which nothing was wanted from the server: it does not count, nor what failed before."""
        self.calm()
        self._attempts = 0
        self._last = None

    def progress(self) -> None:
        """Something arrived: says so after a failure, and counts from the beginning again."""
        if self._attempts or self._told:
            if self._reason or self._told:
                since = time.monotonic() if self._since is None else self._since
                what = "connected again" if self._reason else "the server answers again"
                if self._reason and isinstance(self._last, ApiError):  # which came through a connection
                    what = "resumed"
                self._notice(f"{what} after {format_seconds(time.monotonic() - since)}")
            self._reason = ""
        self.restart()

    def hear(self) -> None:
        """A part of an answer arrived. After a failure that does not count as progress yet: the answer may break off
        each time."""
        if not self._attempts:
            self.progress()

    def patience_s(self, at_most_s: float) -> float:
        """How long to wait now, before it has lasted too long."""
        left_s = self._left_s()
        return at_most_s if left_s is None or not self._limit_s else min(at_most_s, max(0.001, left_s))

    @property
    def until(self) -> float:
        """When check() is to be called next: monotonic seconds."""
        if self._since is None:
            return NEVER
        # A limit of 0 allows one attempt, and that takes its time.
        end = self._since + self._limit_s if self._limit_s else NEVER
        return end if self._told or self._reason else min(end, self._since + NOTICE_S)

    def check(self) -> None:
        """Raises UnreachableError when it has lasted too long; says before that the server is silent."""
        now = time.monotonic()
        if self._since is None or now < self.until:
            return
        if self._limit_s and now >= self._since + self._limit_s:
            raise self._too_long(self._last or UnreachableError("the server does not answer"))
        self._told = True
        self._notice(
            f"the server has not answered for {format_seconds(round(now - self._since, 1))}; waiting{self._bound}"
        )

    def failed(self, error: S2Error, waiter: Waiter, *, quiet: bool = False) -> None:
        """Says what failed and sleeps: exponential backoff with jitter, or as long as the server asks. Raises
        UnreachableError when it has lasted too long, Interrupted at a signal."""
        self.expect()
        self._last = error
        left_s = self._left_s()
        if self._max_attempts is not None and self._attempts + 1 >= self._max_attempts:
            raise self._over(f"gave up after {self._max_attempts} attempts", error) from error
        if left_s is not None and left_s <= 0:
            raise self._too_long(error) from error
        asked_s = (error.retry_after_ms or 0) / 1000
        if left_s is not None and asked_s > left_s:
            raise self._over(f"gave up, for the server asks to wait {format_seconds(asked_s)}", error) from error
        reason = "".join(letter for letter in error.message if not (letter.isdecimal() or letter == "."))
        if reason != self._reason and not quiet:
            self._reason = reason
            self._notice(f"{error.message}; trying again{self._bound}")
        base_s = min(FIRST_DELAY_S * 2**self._attempts, LAST_DELAY_S)
        self._attempts += 1
        # os.urandom instead of `random`: it is imported already.
        delay_s = max(base_s * (1 + os.urandom(1)[0] / 256), asked_s)
        waiter.sleep(delay_s if left_s is None else min(delay_s, left_s))

    def keep_trying(self, attempt: Callable[[], Answer], waiter: Waiter) -> Answer:
        """What `attempt` returns in the end. Raises what no retry helps, UnreachableError and Interrupted as failed()
        does."""
        waiter.retry = self
        while True:
            self.expect()
            try:
                answer = attempt()
            except S2Error as error:
                if not error.retryable:
                    raise
                self.failed(error, waiter)
            else:
                self.progress()
                return answer

    def _left_s(self) -> float | None:
        if self._limit_s is None or self._since is None:
            return None
        return self._since + self._limit_s - time.monotonic()

    def _too_long(self, error: S2Error) -> UnreachableError:
        assert self._limit_s is not None
        return self._over(f"gave up after {format_seconds(self._limit_s)} without progress", error)

    @staticmethod
    def _over(why: str, error: S2Error) -> UnreachableError:
        return UnreachableError(f"{why}: {error.message}", hint=error.hint)


def call_policy(timeout_s: float, notice: Callable[[str], None]) -> RetryPolicy:
    """For a call with one answer: ATTEMPTS times, all of them within `timeout_s`."""
    return RetryPolicy(timeout_s, notice, max_attempts=ATTEMPTS, option="--timeout")


class Interrupted(Exception):  # an event, not an error: whoever waits decides what it means
    """A signal came that has not been handled yet."""


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


class PassedInterrupts(Interrupts):
    """Those of work in a thread of its own: pass_on() is called by whoever gets the signals."""

    __slots__ = ()

    def __enter__(self) -> PassedInterrupts:
        self.fd, self._write_fd = os.pipe()
        for fd in (self.fd, self._write_fd):
            os.set_blocking(fd, False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        os.close(self._write_fd)

    def pass_on(self, number: int) -> None:
        if self.count == 0:
            self.number = number
        self.count += 1
        os.write(self._write_fd, b"!")


class Waiter:
    """Waits for one descriptor, for a signal, and never past `deadline` (monotonic seconds; None: no such bound) nor
    past the time that `retry` allows."""

    __slots__ = ("deadline", "interrupts", "retry")

    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts = interrupts
        self.deadline: float | None = None
        self.retry: RetryPolicy | None = None

    def wait(self, fd: int, events: int, timeout_s: float) -> int:
        """Waits for `events` on `fd`. Returns those that occurred (and POLLERR, POLLHUP); 0 after timeout_s. Raises
        Interrupted, and UnreachableError where the server has been away for too long."""
        end = time.monotonic() + timeout_s
        if self.deadline is not None:
            end = min(end, self.deadline)
        interrupts, retry = self.interrupts, self.retry
        poll = select.poll()
        if interrupts.fd >= 0:
            poll.register(interrupts.fd, select.POLLIN)
        if fd >= 0:
            poll.register(fd, events)
        while True:
            if interrupts.count > interrupts.seen:
                raise Interrupted
            left_s = end - time.monotonic()
            wait_s = left_s
            if retry is not None:
                retry.check()
                wait_s = min(left_s, retry.until - time.monotonic())
            found = 0
            for ready_fd, ready in poll.poll(max(0, wait_s * 1000)):
                if ready_fd == fd:
                    found = ready
                else:
                    interrupts.drain()
            if found:
                return found
            if time.monotonic() >= end and interrupts.count <= interrupts.seen:
                return 0

    def sleep(self, seconds: float) -> None:
        """Raises Interrupted when a signal ends it."""
        self.wait(-1, 0, seconds)
