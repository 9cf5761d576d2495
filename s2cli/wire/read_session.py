"""The state of a read: its position, the rest of its limits, and the query that continues from there.

It has no socket and no clock. query() makes the query of each new session, receive() takes received bytes, on_end() the
clean end of a session. After a loss the next query() resumes right after the last delivered record (protocol section
9.5).
"""

from __future__ import annotations

from s2cli.errors import FrameError, PreconditionError, ProtocolError, RangeNotSatisfiableError, S2Error
from s2cli.wire.frames import FrameReader
from s2cli.wire.messages import decode_received, read_bodies
from s2cli.wire.protobuf import metered_bodies_bytes
from s2cli.wire.record_rules import metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s2cli.wire.s2_pb2 import ReadBatch, SequencedRecord

# A number from here on, beyond the tail, is likely meant as a time: seconds of 2001 and later, or milliseconds.
FIRST_LIKELY_TIME = 1_000_000_000
# A bound that no stream reaches: a session with one, and without `wait`, ends at the tail that it found at its start.
ENDLESS = (1 << 63) - 1
# So much of what frames hold is delivered together, or a little more.
DELIVERY_BYTES = 1024 * 1024
# With a bound, a session waits for more only if it is told how long (protocol section 5.2). A month; then a new one.
WAIT_S = 30 * 24 * 3600


class Delivered:
    """Records in order: `bodies` where they are nothing else and follow one another from `first_seq_num`, else None
    and `records`."""

    __slots__ = ("bodies", "first_seq_num", "records")

    def __init__(self, first_seq_num: int, bodies: list[bytes] | None, records: Sequence[SequencedRecord] = ()) -> None:
        self.first_seq_num = first_seq_num
        self.bodies = bodies
        self.records = records

    def __len__(self) -> int:
        return len(self.records if self.bodies is None else self.bodies)


class ReadSession:
    """`start` is the name and value of a start parameter: "seq_num", "timestamp" or "tail_offset". All ends are
    exclusive: `end_seq_num`, and `until` in milliseconds. With `bodies_only` the records are taken apart no further
    than their bodies, where that is possible."""

    __slots__ = (
        "_bytes_left", "_clamp", "_count_left", "_end_seq_num", "_got_any", "_reader", "_start", "_until",
        "advised", "bodies_only", "cursor", "delivered", "done", "ended", "error", "follow", "gap", "heartbeats",
        "messages", "tail",
    )  # fmt: skip

    def __init__(
        self,
        start: tuple[str, int],
        *,
        follow: bool = False,
        clamp: bool = False,
        count: int | None = None,
        bytes_limit: int | None = None,
        until: int | None = None,
        end_seq_num: int | None = None,
        bodies_only: bool = False,
    ) -> None:
        self._start = start
        self._clamp = clamp
        self._count_left = count
        self._bytes_left = bytes_limit
        self._until = until
        self._end_seq_num = end_seq_num
        self._reader = FrameReader()
        self._got_any = False  # in the session that runs
        self.advised = False  # the server asked for a new connection (protocol section 6.5)
        self.ended = False  # by the server, with a terminal frame
        self.error: S2Error | None = None
        self.heartbeats = 0  # since the last record
        self.messages = 0  # whole frames, ever
        self.follow = follow
        self.bodies_only = bodies_only
        # The next sequence number; None until something tells it
        self.cursor: int | None = start[1] if start[0] == "seq_num" and not clamp else None
        self.delivered = 0  # records
        self.tail: int | None = None  # of the stream, as the server said last
        self.gap: tuple[int, int] | None = None  # sequence numbers that are gone, both included; the owner clears it
        self.done = count == 0 or bytes_limit == 0
        self._check_end()

    # The request

    def query(self) -> str:
        """The query of the session that starts or resumes the read."""
        terms = self._terms()
        if len(terms) == 1 and not self.follow:
            terms.append(f"count={ENDLESS}")
        elif len(terms) > 1 and self.follow:
            terms.append(f"wait={WAIT_S}")
        return self._joined(terms)

    def call_query(self, wait_s: int) -> str:
        """The query of a call for what is next; it waits so long for the first of it."""
        terms = self._terms()
        if wait_s:
            terms.append(f"wait={wait_s}")
        return self._joined(terms)

    def _joined(self, terms: list[str]) -> str:
        if self._clamp and self.cursor is None:
            terms.append("clamp=true")
        return "&".join(terms)

    def _terms(self) -> list[str]:
        """The start and, where there are any, the limits."""
        self._reader = FrameReader()
        self._got_any = False
        self.advised = False
        self.ended = False
        self.error = None
        self.heartbeats = 0
        name, value = self._start if self.cursor is None else ("seq_num", self.cursor)
        terms = [f"{name}={value}"]
        count = self._count()
        if count is not None:
            terms.append(f"count={count}")
        if self._bytes_left is not None:
            terms.append(f"bytes={self._bytes_left}")
        if self._until is not None:
            terms.append(f"until={self._until}")
        return terms

    def _count(self) -> int | None:
        """How many records are wanted at the most, as far as that is known."""
        if self._end_seq_num is None or self.cursor is None:
            return self._count_left
        left = self._end_seq_num - self.cursor
        return left if self._count_left is None else min(left, self._count_left)

    # What comes

    def receive(self, data: bytes) -> Iterator[list[Delivered]]:
        """Yields the batches that have come, a few at a time; they are decompressed only when they are asked for. The
        caller must take all of them. `error` then has what went wrong after them: a terminal frame, or a
        ProtocolError. Raises FrameError for bytes that are not frames."""
        delivered: list[Delivered] = []
        size = 0
        try:
            for frame in self._reader.frames(data):
                if frame.status is not None:
                    self.ended = True
                    if frame.status >= 400:
                        from s2cli.wire.bodies import error_from_response

                        self.error = error_from_response(frame.status, frame.message)
                if self.ended or self.done:
                    break
                self.messages += 1
                self.advised |= frame.reconnect_advised
                batch = self._take(frame.message)
                if batch is None:
                    continue
                delivered.append(batch)
                size += len(frame.message)
                if size >= DELIVERY_BYTES:
                    yield delivered
                    delivered, size = [], 0
        except (ProtocolError, PreconditionError) as error:
            if isinstance(error, FrameError):
                raise
            self.error = error
        if delivered:
            yield delivered

    def receive_message(self, message: bytes) -> list[Delivered]:
        """The batch in the answer to a call, if there is any. Raises ProtocolError."""
        batch = self._take(message)
        return [] if batch is None else [batch]

    def receive_batch(self, batch: ReadBatch) -> list[Delivered]:
        """The decoded batch as it is delivered; nothing for a heartbeat. Raises ProtocolError."""
        delivered = self._take_decoded(batch)
        return [] if delivered is None else [delivered]

    def skip(self, last_seq_num: int) -> bool:
        """Continues behind records that cannot be read, up to this one; False where the read is behind it already."""
        if self.cursor is not None and last_seq_num < self.cursor:
            return False
        self.cursor = last_seq_num + 1
        self._check_end()
        return True

    def stop(self, seq_num: int) -> None:
        """Ends the read before this record, although it has come."""
        self.cursor = seq_num
        self.done = True

    def on_tail(self, tail_seq_num: int | None) -> None:
        """There is nothing more right now; None where the server does not say what the tail is. Raises
        PreconditionError where the stream was recreated."""
        self._on_heartbeat(tail_seq_num)

    def last_seq_num(self, first_seq_num: int) -> int | None:
        """The last that a read which begins there can come to, where a limit says so."""
        ends = [] if self._end_seq_num is None else [self._end_seq_num]
        if self._count_left is not None:
            ends.append(first_seq_num + self.delivered + self._count_left)
        return min(ends) - 1 if ends else None

    def limits(self) -> dict[str, int]:
        """What is left of the limits, by their names on the command line."""
        limits = {"to": self._end_seq_num, "count": self._count_left, "bytes": self._bytes_left, "until": self._until}
        # Two ends have one option each, and cannot be combined.
        if self._until is not None:
            del limits["to"]
        return {name: value for name, value in limits.items() if value is not None}

    @property
    def has_hidden_limit(self) -> bool:
        """Whether a limit may be reached without our seeing it: by a record that does not come because of it."""
        return self._until is not None or self._bytes_left is not None

    def on_next(self, message: bytes) -> None:
        """The answer to a call without limits, after one that gave nothing: is the next record within the limits?"""
        for record in decode_received(message).records[:1]:
            self.done |= self._until is not None and record.timestamp >= self._until
            self.done |= self._bytes_left is not None and _metered_record(record) > self._bytes_left

    def _take(self, message: bytes) -> Delivered | None:
        cursor = self.cursor
        if cursor is not None and self.bodies_only:
            bodies = read_bodies(message, cursor)
            if bodies:
                return self._deliver(Delivered(cursor, bodies))
        return self._take_decoded(decode_received(message))

    def _take_decoded(self, batch: ReadBatch) -> Delivered | None:
        cursor = self.cursor
        records = batch.records
        if not records:
            self._on_heartbeat(batch.tail.seq_num if batch.HasField("tail") else None)
            return None
        first = records[0].seq_num
        if cursor is not None and first != cursor:
            if first < cursor:
                raise ProtocolError(f"the server sent sequence number {first} where {cursor} was next")
            if self.delivered or self._got_any:
                self.gap = cursor, first - 1
        for expected, record in enumerate(records, first):
            if record.seq_num < expected:
                raise ProtocolError(f"the server sent sequence number {record.seq_num} twice")
        self.cursor = first
        if batch.HasField("tail"):
            self.tail = batch.tail.seq_num
        return self._deliver(Delivered(first, None, records))

    def _deliver(self, batch: Delivered) -> Delivered:
        """Counts a batch, and cuts it where a limit says so."""
        keep = len(batch)
        if self._count_left is not None:
            keep = min(keep, self._count_left)
        if self._end_seq_num is not None:
            keep = min(keep, self._before_end(batch, self._end_seq_num))
        if keep < len(batch):
            batch = Delivered(
                batch.first_seq_num, None if batch.bodies is None else batch.bodies[:keep], batch.records[:keep]
            )
            self.done = True
        if not keep:
            return batch
        last = batch.records[-1].seq_num if batch.bodies is None else batch.first_seq_num + keep - 1
        self.cursor = last + 1
        self.delivered += keep
        self.heartbeats = 0
        self._got_any = True
        if self._count_left is not None:
            self._count_left -= keep
            self.done |= self._count_left == 0
        if self._bytes_left is not None:
            self._bytes_left = max(0, self._bytes_left - _metered(batch))
        self._check_end()
        return batch

    @staticmethod
    def _before_end(batch: Delivered, end_seq_num: int) -> int:
        if batch.bodies is not None:
            return max(0, end_seq_num - batch.first_seq_num)
        return sum(record.seq_num < end_seq_num for record in batch.records)

    def _on_heartbeat(self, tail_seq_num: int | None) -> None:
        self.heartbeats += 1
        if tail_seq_num is None:
            return
        self.tail = tail_seq_num
        if self.cursor is None:
            # A start by time or from the tail, at the tail: that is where to resume after a loss.
            self.cursor = tail_seq_num
            self._check_end()
        elif tail_seq_num < self.cursor:
            raise self._recreated(tail_seq_num)
        self.done |= not self.follow and tail_seq_num == self.cursor

    def _check_end(self) -> None:
        if self._end_seq_num is not None and self.cursor is not None and self.cursor >= self._end_seq_num:
            self.done = True

    @property
    def pending_bytes(self) -> int:
        """How many bytes are here of a frame that is not complete."""
        return self._reader.size_bytes

    def on_end(self) -> bool:
        """A session has ended cleanly. Returns True if that was all. Raises ProtocolError in the middle of a frame."""
        if not self._reader.at_boundary and not self.ended:
            raise ProtocolError("the server ended the session in the middle of a frame")
        bounded = self._until is not None or self._bytes_left is not None or self._count_left is not None
        if self.follow:
            # Only a limit ends a session that follows, or a month of silence.
            self.done |= bounded and self._count_left is None
        elif bounded or self._end_seq_num is None or self.cursor is None or not self._got_any:
            self.done = True
        return self.done

    def on_unsatisfiable(self, error: RangeNotSatisfiableError) -> None:
        """A 416: the end of the read, where there is just nothing more. Raises PreconditionError where it is more."""
        tail = error.tail_seq_num
        name, value = self._start
        if self.cursor is not None and self.delivered:
            if tail < self.cursor:
                raise self._recreated(tail)
        elif name == "seq_num" and value > tail and not self._clamp:
            raise beyond_tail(value, tail)
        self.done = True

    @staticmethod
    def _recreated(tail_seq_num: int) -> PreconditionError:
        return PreconditionError(
            "the stream was deleted and created again while it was read: "
            f"it now ends at sequence number {tail_seq_num}, before what was read already"
        )


def beyond_tail(seq_num: int, tail_seq_num: int) -> PreconditionError:
    """The error of a read that is to start where nothing can be yet."""
    hint = "to start at the end instead: --clamp"
    if seq_num >= FIRST_LIKELY_TIME:
        hint = f"a time is written with an @: --from @{seq_num}; {hint}"
    return PreconditionError(
        f"the stream ends at sequence number {tail_seq_num}: a read cannot start at {seq_num}", hint=hint
    )


def _metered(batch: Delivered) -> int:
    if batch.bodies is not None:
        return metered_bodies_bytes(batch.bodies)
    return sum(map(_metered_record, batch.records))


def _metered_record(record: SequencedRecord) -> int:
    return metered_bytes(record.body, [(header.name, header.value) for header in record.headers])
