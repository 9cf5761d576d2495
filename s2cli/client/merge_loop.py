"""Several reads at once, each in a thread of its own, merged by the timestamps of their records.

As long as a source may still bring older records, those of the others wait for it. A source that follows its stream,
and has reached the tail that it found at its start, brings new records: then the records that come within GATHER_S are
put in order."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import deque

from s2cli.errors import S2Error
from s2cli.wire.read_session import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s2cli.wire.read_session import ReadSession
    from s2cli.wire.s2_pb2 import SequencedRecord

    # Reads a stream to its end, and passes the records to put() of its argument.
    Read = Callable[["MergeSource"], None]
    Run = tuple["MergeSource", list[SequencedRecord]]

# How long new records wait for older ones of other sources.
GATHER_S = 0.1
# How often to check whether the reader of the output is still there, and whether a source has reached its tail.
TICK_S = 0.2
# How many records of one source may wait for the others: a few MiB, with those that are being delivered.
_MOST_PENDING = 2000


class MergeSource:
    """One stream. `read` runs in a thread of its own. It sets `session` and `tail` as soon as they are known, and calls
    put()."""

    def __init__(self, uri: str, read: Read) -> None:
        self.uri = uri
        self.read = read
        self.session: ReadSession | None = None
        self.tail: int | None = None  # at the start
        self.first_seq_num: int | None = None  # of what has come
        self.error: S2Error | None = None
        self.finished = False
        self.pending: deque[SequencedRecord] = deque()
        self._changed = threading.Condition()

    def join(self, changed: threading.Condition) -> None:
        """Shares the condition of a MergeLoop. To be called before start()."""
        self._changed = changed

    def start(self) -> None:
        # A daemon: the process does not wait for it at its end.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        error: S2Error | None = None
        try:
            self.read(self)
        except S2Error as failure:
            error = failure
        with self._changed:
            self.error = error
            self.finished = True
            self._changed.notify_all()

    def put(self, batches: list[Delivered]) -> None:
        """Takes records that came, with all of their fields. Blocks while as many are waiting as may."""
        with self._changed:
            for batch in batches:
                if self.first_seq_num is None:
                    self.first_seq_num = batch.first_seq_num
                while len(self.pending) >= _MOST_PENDING:
                    self._changed.wait()
                self.pending.extend(batch.records)
                # Before it blocks for the next of them: nobody else wakes whoever takes these.
                self._changed.notify_all()

    @property
    def size(self) -> int | None:
        """How many records the read can bring, those that have come included; None if that is not known."""
        if self.session is None or self.first_seq_num is None:
            return 0 if self.finished else None
        last = self.session.last_seq_num(self.first_seq_num)
        return None if last is None else last + 1 - self.first_seq_num

    def may_bring_older(self) -> bool:
        """Whether the time of the next record is unknown. The caller holds the condition."""
        if self.finished or self.pending:
            return False
        session = self.session
        if session is None or session.cursor is None:
            return True
        tail = session.tail if self.tail is None else self.tail
        return not session.follow or tail is None or session.cursor < tail


class MergeLoop:
    """Writes the records of all sources in the order of their timestamps. `write` gets them as runs: consecutive
    records of one source. `tick` is called every TICK_S while nothing comes, and may raise what ends the loop. With
    `grows` sources may be added at any time, so run() returns only after stop()."""

    def __init__(self, write: Callable[[list[Run]], None], tick: Callable[[], None], *, grows: bool) -> None:
        self.sources: list[MergeSource] = []
        self._write = write
        self._tick = tick
        self._grows = grows
        self._stopped = False
        self._changed = threading.Condition()

    def add(self, source: MergeSource) -> None:
        """Starts the source. May be called from any thread."""
        source.join(self._changed)
        with self._changed:
            self.sources.append(source)
        source.start()

    def stop(self) -> None:
        """Makes run() return without writing any more."""
        self._stopped = True

    def run(self, on_failure: Callable[[MergeSource, S2Error], None]) -> None:
        """Returns when all sources have ended. `on_failure` is called for each that fails, and may raise."""
        while True:
            failed = self._wait()
            for source in failed:
                assert source.error is not None
                error, source.error = source.error, None
                on_failure(source, error)
            with self._changed:
                runs = list(self._take())
                self._changed.notify_all()
                over = not self._grows and all(source.finished and not source.pending for source in self.sources)
            if runs:
                self._write(runs)
            if self._stopped or (over and not runs):
                return

    def _wait(self) -> list[MergeSource]:
        """Waits until records can be taken. Returns early if sources have failed: these."""
        next_tick = time.monotonic() + TICK_S
        with self._changed:
            while not (failed := [source for source in self.sources if source.error is not None]):
                waited_for = any(source.may_bring_older() for source in self.sources)
                if not waited_for and any(source.pending for source in self.sources):
                    break
                if not self._grows and all(source.finished for source in self.sources):
                    break
                self._changed.wait(max(0.0, next_tick - time.monotonic()))
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + TICK_S
            is_live = any(not source.finished and not source.pending for source in self.sources)
            most = max((len(source.pending) for source in self.sources), default=0)
            end = time.monotonic() + GATHER_S
            # Once this many records of one source are there, older ones of the others have come as well.
            while not failed and is_live and most < _MOST_PENDING // 2 and (left_s := end - time.monotonic()) > 0:
                self._changed.wait(left_s)
        return failed

    def _take(self) -> Iterator[Run]:
        """Takes runs in order, as long as it is known which record is next. The caller holds the condition."""
        while not any(source.may_bring_older() for source in self.sources):
            heads = sorted(
                (source.pending[0].timestamp, at) for at, source in enumerate(self.sources) if source.pending
            )
            if not heads:
                return
            source = self.sources[heads[0][1]]
            records = source.pending
            if len(heads) == 1:
                count = len(records)
            else:
                # Of records with the same time, those of the source that was added first come first.
                timestamp, other = heads[1]
                limit = timestamp if heads[0][1] < other else timestamp - 1
                count = max(1, bisect_right(records, limit, key=lambda record: record.timestamp))
            yield source, [records.popleft() for _ in range(count)]
