"""One run of a bench: write and read live at the same time, wait, and read all of it again."""

from __future__ import annotations

import math
import os
import time

from s2cli.amounts import format_seconds
from s2cli.bench.clients import Reader, Writer
from s2cli.bench.flow import Flow
from s2cli.bench.loop import Loop
from s2cli.bench.payload import RUN_BYTES, Checker, Payload, largest_batch, paced_batch
from s2cli.client.retry import Waiter
from s2cli.client.session import SILENCE_S
from s2cli.client.sockets import LostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s2cli.bench.clients import OnRecords
    from s2cli.client.retry import Interrupts
    from s2cli.client.stream_client import StreamClient

# How long to wait until all live readers are connected before anything is written.
OPEN_S = 5.0
WRITE, WAIT, CATCH_UP = "write", "wait", "catch-up"


class Plan:
    """What a run does. `bytes_per_s`: metered bytes of all streams together, None for as fast as possible. `writers`
    and `readers`: how many each stream has. `batch_records`: None chooses it by the rate."""

    def __init__(
        self,
        *,
        record_bytes: int,
        bytes_per_s: float | None,
        duration_s: float,
        streams: int,
        writers: int,
        readers: int,
        batch_records: int | None,
        inflight_bytes: int,
        catch_up_delay_s: float | None,
    ) -> None:
        self.record_bytes = record_bytes
        self.bytes_per_s = bytes_per_s
        self.duration_s = duration_s
        self.streams = streams
        self.writers = writers
        self.readers = readers
        self.inflight_bytes = inflight_bytes  # of each writer
        self.catch_up_delay_s = catch_up_delay_s  # None: no catch-up
        if batch_records is None and bytes_per_s is not None:
            batch_records = paced_batch(record_bytes, bytes_per_s / record_bytes / (streams * writers))
        self.batch_records = min(batch_records or largest_batch(record_bytes), largest_batch(record_bytes))

    @property
    def batch_every_s(self) -> float | None:
        """The time between two batches of all writers together, in seconds; None where no rate is set."""
        if self.bytes_per_s is None:
            return None
        return self.record_bytes * self.batch_records / self.bytes_per_s


class _Schedule:
    """When a batch is due, and from which writer: they take turns, evenly spread from `started` to `end`. If no rate is
    set, nothing is ever due."""

    def __init__(self, writers: Sequence[Writer], every_s: float | None, started: float, end: float) -> None:
        self._writers = writers
        self._every_s = every_s
        self._started = started
        self._end = end
        self._offered = 0
        self.due = math.inf if every_s is None else started  # the next one
        for at, writer in enumerate(writers):
            if every_s is not None:
                writer.pace(started + at * every_s, len(writers) * every_s)

    def offer(self, now: float) -> set[Writer]:
        """Offers the batches that are due to their writers, and returns these writers."""
        touched: set[Writer] = set()
        while self._every_s is not None and self.due <= now and self.due < self._end:
            writer = self._writers[self._offered % len(self._writers)]
            writer.offer()
            touched.add(writer)
            self._offered += 1
            self.due = self._started + self._offered * self._every_s
        return touched


class Run:
    """One run. run() fills `write`, `live` and `catch_up`, which keep what was measured even if it raises. `show` is
    called a few times a second with this object and the time; `phase` is what the run is doing."""

    def __init__(
        self,
        plan: Plan,
        streams: Sequence[StreamClient],
        interrupts: Interrupts,
        show: Callable[[Run, float], None],
        *,
        are_empty: bool,
    ) -> None:
        """`are_empty`: the streams are new, so their tails need not be asked for."""
        self.plan = plan
        self.phase = WRITE
        self.phase_ends: float | None = None  # monotonic seconds
        now = time.monotonic()
        self.write = Flow(plan.record_bytes, now, plan.duration_s)
        self.live: Flow | None = None
        self.catch_up: Flow | None = None
        self.cpu_s = 0.0  # CPU time of this process during the write and the live read
        self.unsent = 0  # batches that were due, but not sent before the end
        self._streams = streams
        self._waiter = Waiter(interrupts)
        self._loop = Loop(interrupts, lambda now: show(self, now))
        self._payload = Payload(plan.record_bytes, plan.batch_records, os.urandom(RUN_BYTES))
        self._starts = [0] * len(streams)  # where the streams end before the run
        self._are_empty = are_empty
        self._durable = [0] * len(streams)  # records of each stream

    @property
    def client_cpu(self) -> float:
        """The part of one core that this process used during the write and the live read, from 0 to 1."""
        seconds = max(flow.seconds for flow in (self.write, self.live) if flow is not None)
        return self.cpu_s / seconds if seconds > 0 else 0.0

    def run(self) -> None:
        """Writes and reads live, waits, and reads again. Raises MismatchError if something that was read is not what
        was written, LostError for a lost connection, the error that the server answers, and Interrupted at a signal."""
        try:
            if not self._are_empty:
                self._starts = [self._find_tail(stream) for stream in self._streams]
            self._write_and_read()
            if self.plan.catch_up_delay_s is not None:
                self._enter(WAIT, self.plan.catch_up_delay_s)
                self._loop.wait(self.plan.catch_up_delay_s)
                self._catch_up()
        finally:
            self._loop.close()

    def _enter(self, phase: str, lasts_s: float | None) -> None:
        self.phase = phase
        self.phase_ends = None if lasts_s is None else time.monotonic() + lasts_s

    def _find_tail(self, stream: StreamClient) -> int:
        connection = stream.connect(self._waiter)
        try:
            tail = stream.check_tail(connection, self._waiter)[0]
        except BaseException:
            connection.close()
            raise
        stream.keep(connection)
        return tail

    def _writers_of(self, stream: int) -> range:
        """The numbers of the writers of a stream, given by its index."""
        return range(stream * self.plan.writers, (stream + 1) * self.plan.writers)

    # Write and live read

    def _write_and_read(self) -> None:
        plan = self.plan
        writers: list[Writer] = []
        live = self.live = Flow(plan.record_bytes, 0.0, plan.duration_s) if plan.readers else None

        def on_read(records: int, batches: list[tuple[int, int]]) -> None:
            now = time.monotonic()
            assert live is not None
            live.add(records, now, [now - writers[writer].due[number] for writer, number in batches])

        def on_acked(records: int, batches: list[tuple[int, int]]) -> None:
            now = time.monotonic()
            self.write.add(records, now, [now - writers[writer].due[number] for writer, number in batches])

        readers = [
            self._open_reader(at, "live read", None, on_read)
            for at in range(len(self._streams))
            for _ in range(plan.readers)
        ]
        opened_by = time.monotonic() + OPEN_S
        while not all(reader.is_open for reader in readers) and time.monotonic() < opened_by:
            self._loop.turn(opened_by)
        for at, stream in enumerate(self._streams):
            for number in self._writers_of(at):
                start = self._starts[at] if plan.writers == 1 else None
                writer = Writer(stream, self._waiter, self._payload, number, start, plan.inflight_bytes, on_acked)
                writers.append(writer)
                self._loop.add(writer)
        self._enter(WRITE, plan.duration_s)
        cpu_s = time.process_time()
        self.write.restart(time.monotonic())
        if live is not None:
            live.restart(self.write.started)
        try:
            self._send_all(writers)
            for writer in writers:
                self._durable[writer.number // plan.writers] += writer.durable
            self._loop.remove(writers)
            self._read_rest(readers)
            for flow in (self.write, self.live):
                if flow is not None:
                    flow.last_until(self.write.started + plan.duration_s)
        finally:
            self.cpu_s = time.process_time() - cpu_s
        self._loop.remove(readers)

    def _send_all(self, writers: list[Writer]) -> None:
        """Sends for as long as the plan says, then waits for the acks of what is in flight."""
        started, every_s = self.write.started, self.plan.batch_every_s
        end = started + self.plan.duration_s
        endless = every_s is None
        schedule = _Schedule(writers, every_s, started, end)
        if endless:
            self._send(writers, started, endless=True)
        while (now := time.monotonic()) < end:
            self._send(schedule.offer(now), now, endless=False)
            got = self._loop.turn(min(schedule.due, end))
            self._send([client for client in got if isinstance(client, Writer)], time.monotonic(), endless=endless)
        self._send(schedule.offer(end), time.monotonic(), endless=False)
        self.unsent = sum(writer.cancel() for writer in writers)
        while any(writer.waits for writer in writers):
            got = self._loop.turn(time.monotonic() + 1)
            self._send([client for client in got if isinstance(client, Writer)], time.monotonic(), endless=False)

    def _send(self, writers: set[Writer] | list[Writer], now: float, *, endless: bool) -> None:
        for writer in writers:
            writer.send(now, endless=endless)
            self._loop.watch(writer)

    def _read_rest(self, readers: list[Reader]) -> None:
        """Waits until the live readers have all that was written. Raises MismatchError if they never do."""
        wanted = [self._durable[at] for at in range(len(self._streams)) for _ in range(self.plan.readers)]
        read, since = -1, 0.0
        while any(reader.checker.records < count for reader, count in zip(readers, wanted, strict=True)):
            now = time.monotonic()
            if (records := sum(reader.checker.records for reader in readers)) > read:
                read, since = records, now
            elif now - since > SILENCE_S:
                break
            self._loop.turn(now + 1)
        for reader, count in zip(readers, wanted, strict=True):
            reader.checker.check_count(count)

    # Catch-up

    def _catch_up(self) -> None:
        self._enter(CATCH_UP, None)
        flow = self.catch_up = Flow(self.plan.record_bytes, time.monotonic(), 0.0)

        def on_read(records: int, batches: list[tuple[int, int]]) -> None:
            flow.add(records, time.monotonic(), ())

        wanted = [(at, count) for at, count in enumerate(self._durable) if count]
        readers = [self._open_reader(at, "catch-up read", count, on_read) for at, count in wanted]
        heard = flow.started
        while not all(reader.done for reader in readers):
            now = time.monotonic()
            if self._loop.turn(now + 1):
                heard = now
            elif now - heard > SILENCE_S:
                raise LostError(f"the server sent nothing for {format_seconds(SILENCE_S)}")
        for reader, (_, count) in zip(readers, wanted, strict=True):
            reader.checker.check_count(count)
        self._loop.remove(readers)

    def _open_reader(self, at: int, name: str, count: int | None, on_read: OnRecords) -> Reader:
        stream = self._streams[at]
        start = self._starts[at]
        name = f"{name} of s2://{stream.basin}/{stream.stream}"
        checker = Checker(self._payload, self._writers_of(at), start, name)
        reader = Reader(stream, self._waiter, checker, start, count, on_read)
        self._loop.add(reader)
        return reader
