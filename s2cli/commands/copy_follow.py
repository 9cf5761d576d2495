"""`s2 copy --follow` of all streams below a name: each in a thread of its own, also those that appear later."""

from __future__ import annotations

import select
import threading
import time

from s2cli.amounts import format_bytes, format_count, format_rate
from s2cli.cli import console
from s2cli.client.retry import PassedInterrupts
from s2cli.client.waking_queue import WakingQueue
from s2cli.errors import S2Error, UsageError
from s2cli.positions import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.client.retry import Interrupts
    from s2cli.commands.copy_stream import Pair, StreamCopy

    # Pairs that were found, what made it impossible to look, or a copy that has ended
    Event = list[Pair] | S2Error | StreamCopy

# Each has two threads, two connections and up to 2 MiB of records under way, or a delivery more.
MAX_STREAMS = 100
# How often streams are looked for that have appeared.
LIST_S = 1.0
TICK_S = 0.5


def follow_streams(
    find: Callable[[], Iterable[Pair]],
    new_copy: Callable[[Pair], StreamCopy],
    start: Position | None,
    interrupts: Interrupts,
) -> int:
    """Copies what there is and what comes, until a signal or a failure ends it, and the other copies in good order
    then. Raises the failure."""
    following = _Following(find, new_copy, start)
    following.run(interrupts)
    if following.failure is not None:
        raise following.failure
    return interrupts.exit_code


class _Following:
    def __init__(
        self, find: Callable[[], Iterable[Pair]], new_copy: Callable[[Pair], StreamCopy], start: Position | None
    ) -> None:
        self._find = find
        self._new_copy = new_copy
        self._start = start
        self._events: WakingQueue[Event] = WakingQueue(1)
        self._running: dict[StreamCopy, PassedInterrupts] = {}
        self._known: set[str] = set()  # sources
        self._ended: list[StreamCopy] = []
        self._began = time.monotonic()
        self._too_many_told = False
        self.failure: S2Error | None = None

    def run(self, interrupts: Interrupts) -> None:
        found = list(self._find())
        if len(found) > MAX_STREAMS:
            raise UsageError(f"{len(found)} streams are too many to follow at once: {MAX_STREAMS} at most")
        if not found:
            console.notice("no stream is there yet: waiting for the first")
        self._add(found, self._start)
        # What appears while all others are followed is copied as a whole, unless a time was given.
        is_time = self._start is not None and self._start.kind == "timestamp"
        later = self._start if is_time else Position("start", 0)
        threading.Thread(target=self._look_for_more, daemon=True).start()
        poll = select.poll()
        poll.register(interrupts.fd, select.POLLIN)
        poll.register(self._events.fd, select.POLLIN)
        while self._running or not (interrupts.count or self.failure):
            for fd, _ in poll.poll(TICK_S * 1000):
                if fd == interrupts.fd:
                    interrupts.drain()
                    continue
                for event in self._events.take()[0]:
                    self._on_event(event, later, stopping=bool(interrupts.count or self.failure))
            while interrupts.seen < interrupts.count:
                interrupts.seen += 1
                self._stop(interrupts.number)
            self._show_progress()
        console.status("")

    def _add(self, pairs: Iterable[Pair], start: Position | None) -> None:
        for pair in pairs:
            if str(pair[0]) in self._known:
                continue
            if len(self._known) == MAX_STREAMS:
                if not self._too_many_told:
                    self._too_many_told = True
                    console.warn(f"{MAX_STREAMS} streams are followed, and no more: {pair[0]} is not copied")
                return
            self._known.add(str(pair[0]))
            one = self._new_copy(pair)
            passed = PassedInterrupts()
            passed.__enter__()
            self._running[one] = passed
            threading.Thread(target=self._work, args=(one, start, passed), daemon=True).start()

    def _work(self, one: StreamCopy, start: Position | None, passed: PassedInterrupts) -> None:
        try:
            one.run(start, None, passed, live=False)
        except BaseException as error:  # noqa: BLE001 - a bug is told by the thread that main watches
            one.crash = error
        self._events.put([one], 0)

    def _look_for_more(self) -> None:
        """In a thread of its own, as long as the command runs."""
        while True:
            time.sleep(LIST_S)
            try:
                self._events.put([list(self._find())], 0)
            except UsageError as error:
                self._events.put([error], 0)
                return
            except S2Error as error:
                console.detail(f"cannot look for new streams: {error.message}")

    def _on_event(self, event: Event, later: Position | None, *, stopping: bool) -> None:
        if isinstance(event, list):
            if not stopping:
                self._add(event, later)
        elif isinstance(event, S2Error):
            self._fail(event)
        else:
            self._on_end(event)

    def _on_end(self, one: StreamCopy) -> None:
        self._running.pop(one).__exit__(None, None, None)
        self._ended.append(one)
        if one.crash is not None:
            raise one.crash
        console.status("")
        if one.is_source_gone:
            one.forgive()
        one.show()
        if one.is_source_gone:
            console.notice(f"{one.source_uri} has been deleted")
        if one.failure is not None:
            self._fail(one.failure.reworded(f"{one.source_uri}: {one.failure.message}"))

    def _fail(self, error: S2Error) -> None:
        if self.failure is None:
            self.failure = error
            self._stop(15)

    def _stop(self, number: int) -> None:
        for passed in self._running.values():
            passed.pass_on(number)

    def _show_progress(self) -> None:
        copies = [*self._running, *self._ended]
        copied = sum(one.copied for one in copies)
        seconds = time.monotonic() - self._began
        console.status(
            f"{copied} copied",
            format_bytes(sum(one.copied_bytes for one in copies)),
            format_rate(copied, seconds, "records"),
            format_count(len(self._running), "stream", "streams"),
        )
