"""The state of an append: which batches are sent, which are durable, and which to send again after a loss.

It has no socket and no clock. The owner of a connection calls start() when a session begins, take() for bytes to send,
receive() with received bytes, and lose() when the connection breaks. If batches may have arrived without an ack,
doubtful() says so; lost_acks() with resolve() (wire/lost_acks.py) finds out before anything is sent again.

While there is no other writer, every batch carries the sequence number at which it must start, so that a late copy of
it is refused. Once another writer is seen, batches carry no condition: shared mode. The states are drawn in
s2cli/README.md.
"""

from __future__ import annotations

from s2cli.errors import (
    ApiError,
    BrokenAckError,
    FencingTokenMismatchError,
    PreconditionError,
    ProtocolError,
    S2Error,
    SeqNumMismatchError,
    UndecidedError,
)
from s2cli.wire.append_input import DOUBTFUL, SENT, WAITING, PendingBatch, encode_conditions
from s2cli.wire.frames import COMPRESSION_THRESHOLD_BYTES, FrameReader, compress, encode_frame, frame_header
from s2cli.wire.protobuf import decode_ack
from s2cli.wire.ranges import Ranges, format_lines, merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.wire.append_input import Records
    from s2cli.wire.lost_acks import LostAckResolver
    from s2cli.wire.ranges import Range

# The states of a session, and which may follow which. START: nobody has told where the stream ends. Texts, no enum: its
# import would cost each start 4 ms.
START, ALONE, SHARED = "start", "alone", "shared"
FOLLOWS = {START: (ALONE, SHARED), ALONE: (SHARED,), SHARED: ()}

# What a batch costs in memory beside its bytes, roughly: it keeps tiny batches from piling up without bound.
BATCH_OVERHEAD_BYTES = 256

# What to do when acknowledgements were lost (--on-lost-ack)
CHECK, RESEND, STOP = "check", "resend", "stop"


class AppendSession:
    """`demanded` is the match_seq_num of the user: then another writer ends the append instead of being put up with.
    `describe_lines` puts input lines into words."""

    __slots__ = (
        "_bytes", "_compression", "_demanded", "_describe_lines", "_fenced", "_floor", "_head", "_in_flight", "_next",
        "_policy", "_reader", "_sent", "_token", "advised", "batches", "bytes", "durable", "durable_beyond", "lines",
        "recognized", "repeated", "sent", "seq_nums", "state", "tail",
    )  # fmt: skip

    def __init__(
        self,
        *,
        fencing_token: bytes | None = None,
        demanded: int | None = None,
        policy: str = CHECK,
        compression: str | None = None,
        describe_lines: Callable[[list[Range]], str] = format_lines,
    ) -> None:
        self._token = fencing_token
        self._describe_lines = describe_lines
        self._compression = compression
        self._demanded = demanded
        self._policy = policy
        self.state = START
        self._floor: int | None = (
            None  # nothing of ours that is not acknowledged lies below; None until something tells
        )
        self._next = 0  # where the next batch belongs, in ALONE
        if demanded is not None:
            self.begin(demanded)
        elif policy == RESEND:
            self._enter(SHARED)
        self._reader = FrameReader()
        self._in_flight: list[PendingBatch] = []  # from _head on; what lies before is acknowledged
        self._head = 0
        self._sent = 0  # how many of them went out on this connection
        self._bytes = 0
        self._fenced: FencingTokenMismatchError | None = None
        self.advised = False  # the server asked for a new connection (protocol section 6.5)
        # The account
        self.lines = 0  # the last input line that was given to add()
        self.sent = 0  # records that ever went out
        self.durable = 0
        self.batches = 0  # durable ones
        self.bytes = 0  # of durable bodies and headers
        self.seq_nums = Ranges()  # of the durable records: with gaps where others wrote in between
        self.tail: tuple[int, int] | None = None  # sequence number and timestamp, as of the last acknowledgement
        self.repeated: list[Range] = []  # lines that may be in the stream twice
        # Lines that no ack but the resolution of lost acks found: equal ones of another writer look the same
        self.recognized: list[Range] = []
        self.durable_beyond: list[Range] = []  # durable lines after one that is not: only where an end comes early

    # What the owner asks

    @property
    def in_flight_bytes(self) -> int:
        return self._bytes

    @property
    def in_flight(self) -> int:
        """Batches without an acknowledgement."""
        return len(self._in_flight) - self._head

    @property
    def unsent(self) -> int:
        """Batches that have not gone out on this connection."""
        return self.in_flight - self._sent

    @property
    def can_add(self) -> bool:
        """Whether another batch may be added: not while the first one has to find out where it is."""
        return self.state != START or not self.in_flight

    @property
    def doubtful(self) -> bool:
        """Whether a batch may be in the stream without our knowing."""
        return any(batch.state == DOUBTFUL for batch in self._unacknowledged())

    @property
    def next_line(self) -> int:
        """The first input line that is not known to be durable."""
        return self._in_flight[self._head].line if self.in_flight else self.lines + 1

    @property
    def first_seq_num(self) -> int | None:
        return self.seq_nums.first

    @property
    def last_seq_num(self) -> int | None:
        return self.seq_nums.last

    @property
    def unknown(self) -> list[Range]:
        """Lines that may be durable or not: out on this connection, or on one that was lost."""
        rest = self._unacknowledged()
        return _lines_of(batch for at, batch in enumerate(rest) if batch.state == DOUBTFUL or at < self._sent)

    @property
    def unknown_place(self) -> tuple[int, int, int] | None:
        """Where the stream ends if none of the unknown lines arrived, where if all did, and the first line after them.
        None where another writer is here, or nothing has told where the stream ends."""
        if self.state != ALONE or self._floor is None or self.durable_beyond:
            return None
        rest = self._unacknowledged()
        unknown = [batch for at, batch in enumerate(rest) if batch.state == DOUBTFUL or at < self._sent]
        if not unknown or unknown != rest[: len(unknown)]:
            return None
        after = rest[len(unknown)].line if len(rest) > len(unknown) else self.lines + 1
        return self._floor, self._floor + sum(batch.count for batch in unknown), after

    def _unacknowledged(self) -> list[PendingBatch]:
        return self._in_flight[self._head :]

    def _enter(self, state: str) -> None:
        assert state in FOLLOWS[self.state]
        self.state = state

    # Sending

    def begin(self, tail_seq_num: int) -> None:
        """Where the stream ends, before anything was sent. Without it the first acknowledgement tells."""
        self._enter(ALONE)
        self._floor = self._next = tail_seq_num

    def add(self, records: Records) -> None:
        """Puts a batch under way."""
        lines = records.lines or ((self.lines + 1, self.lines + records.count),)
        self._in_flight.append(PendingBatch(records, lines, self._next if self.state == ALONE else None))
        self.lines = lines[-1][1]
        self._bytes += records.encoded_bytes + BATCH_OVERHEAD_BYTES
        self._next += records.count

    def start(self) -> None:
        """A new session begins: everything without an acknowledgement is to be sent on it."""
        self._reader = FrameReader()
        self._sent = 0
        self.advised = False

    def take(self, limit_bytes: int) -> list[bytes]:
        """The frames that are to be sent next, in parts to be joined: no more once there are `limit_bytes` of them."""
        parts: list[bytes] = []
        size = 0
        while self._sent < self.in_flight and size < limit_bytes:
            records, conditions = self._take_next()
            encoded_bytes = records.encoded_bytes + len(conditions)
            size += encoded_bytes
            if self._compression is not None and encoded_bytes >= COMPRESSION_THRESHOLD_BYTES:
                parts.append(encode_frame(b"".join([*records.parts, conditions]), self._compression))
                continue
            parts.append(frame_header(encoded_bytes))
            parts += records.parts
            parts.append(conditions)
        return parts

    def take_message(self) -> tuple[bytes, str | None]:
        """The next batch as a message of its own, and how it is compressed. For those that travel one by one."""
        records, conditions = self._take_next()
        message = b"".join([*records.parts, conditions])
        if self._compression is not None and len(message) >= COMPRESSION_THRESHOLD_BYTES:
            return compress(message, self._compression), self._compression
        return message, None

    def _take_next(self) -> tuple[Records, bytes]:
        batch = self._in_flight[self._head + self._sent]
        self._sent += 1
        if batch.state == WAITING:
            batch.state = SENT
            self.sent += batch.count
        elif batch.state == DOUBTFUL and batch.start is None:
            _add_lines(self.repeated, batch)
        return batch.records, encode_conditions(batch.start, self._token)

    # Receiving

    def receive(self, data: bytes) -> None:
        """Raises the error of a terminal frame (see refused()), BrokenAckError, or another ProtocolError."""
        for frame in self._reader.frames(data):
            if frame.status is not None:
                if frame.status >= 400:
                    from s2cli.wire.bodies import error_from_response

                    raise error_from_response(frame.status, frame.message)
                if self._sent:
                    raise ProtocolError(f"the server ended the session early, with status {frame.status}")
                return
            self.advised |= frame.reconnect_advised
            self._on_ack(frame.message)

    def receive_ack(self, message: bytes) -> None:
        """The answer to a message that travelled by itself. Raises BrokenAckError."""
        self._on_ack(message)

    def _on_ack(self, message: bytes) -> None:
        try:
            start, _, end, _, tail, tail_timestamp = decode_ack(message)
        except ProtocolError as error:
            raise BrokenAckError(f"the server's answer is not a valid acknowledgement: {error.message}") from error
        if not self._sent:
            raise BrokenAckError("the server acknowledged a batch that was never sent")
        batch = self._in_flight[self._head]
        if end - start != batch.count:
            raise BrokenAckError(f"the server acknowledged {end - start} records where {batch.count} were sent")
        if batch.start is not None and start != batch.start:
            raise BrokenAckError(f"the server put a batch at sequence number {start} that demanded {batch.start}")
        if tail < end:
            raise BrokenAckError(f"the server acknowledged records up to {end - 1} of a stream that ends before {tail}")
        self._sent -= 1
        self._head += 1
        self._mark_durable(batch, start)
        self.tail = tail, tail_timestamp
        if self.state == START:
            self._enter(ALONE)
            self._next = end
        if self._floor is not None and start < self._floor:
            raise self._recreated(start)
        self._floor = end
        if self._head >= 64 and self._head * 2 >= len(self._in_flight):
            del self._in_flight[: self._head]
            self._head = 0

    def _mark_durable(self, batch: PendingBatch, start: int) -> None:
        """Counts a batch as durable from `start` on; it has been taken out of those in flight."""
        records = batch.records
        self._bytes -= records.encoded_bytes + BATCH_OVERHEAD_BYTES
        self.durable += batch.count
        self.batches += 1
        self.bytes += records.size
        records.parts = []  # the list lets go of the batch itself later
        self.seq_nums.add(start, start + batch.count - 1)

    # Losing

    def lose(self) -> None:
        """The connection broke: what went out on it may have arrived."""
        for batch in self._in_flight[self._head : self._head + self._sent]:
            batch.state = DOUBTFUL
        self._sent = 0
        if self._policy == STOP and self.doubtful:
            raise self._undecided("the connection was lost before they were acknowledged (--on-lost-ack stop)")

    def refused(self, error: S2Error) -> bool:
        """What an error means that the server answered: True to continue (where doubtful(), after the lost acks are
        resolved), at once or later as `error.retryable` says. Raises what ends the append."""
        first = self._in_flight[self._head] if self.in_flight else None
        exact = first is None or first.state != DOUBTFUL
        if isinstance(error, ApiError) and error.retryable and not error.no_side_effect:
            self.lose()
            return True
        if not isinstance(error, (ApiError, SeqNumMismatchError, FencingTokenMismatchError)):
            raise error  # our own finding about the peer: what it did with the rest is not known
        # A session ends at its first error: nothing from the refused batch on was applied.
        self._sent = 0
        if isinstance(error, ApiError):
            if error.retryable:
                return True
        elif not exact:
            # A late copy of ours may be what is there now, and the account must be true: resolve it first.
            if isinstance(error, FencingTokenMismatchError):
                self._fenced = error
            return True
        elif isinstance(error, SeqNumMismatchError):
            if self._floor is not None and error.expected < self._floor:
                raise self._recreated(error.expected) from error
            self._share(error)
            self._floor = error.expected
            return True
        raise error

    def needs_resolution(self) -> bool:
        """Whether the stream has to be read before anything is sent: where batches are doubtful, and either a
        fencing token refuses to have them sent again or the user did not ask to send again blindly."""
        return self.doubtful and (self._fenced is not None or not (self.state == SHARED and self._policy == RESEND))

    def lost_acks(self) -> LostAckResolver:
        """What finds out which of the doubtful batches are durable; resolve() takes it when it is done."""
        if self._floor is None:
            raise self._undecided("the connection was lost before anything told where they belong")
        from s2cli.wire.lost_acks import LostAckResolver

        return LostAckResolver(
            [batch for batch in self._unacknowledged() if batch.state == DOUBTFUL],
            self._floor,
            shared=self.state == SHARED,
        )

    def resolve(self, resolver: LostAckResolver) -> int:
        """Takes what the resolver found; the number of batches that turned out to be durable. Raises where the append
        cannot continue."""
        from s2cli.wire.lost_acks import FOREIGN, RECREATED, UNDECIDED

        if resolver.state == RECREATED:
            raise self._recreated(resolver.tail)
        if resolver.state == UNDECIDED:
            raise self._undecided(resolver.why)
        rest = self._unacknowledged()
        self._in_flight, self._head, self._sent = [], 0, 0
        found = 0
        for batch in rest:
            start = resolver.found.get(batch.line)
            if start is None:
                self._in_flight.append(batch)
                continue
            found += 1
            self._mark_durable(batch, start)
            if self._in_flight:
                _add_lines(self.durable_beyond, batch)
            _add_lines(self.recognized, batch)
            self._floor = start + batch.count
        if self.state == SHARED:
            self._floor = resolver.tail
        elif resolver.state == FOREIGN:
            # Whatever copies are on their way demand places that are taken: they can do no more harm.
            for batch in self._in_flight:
                batch.state = SENT
            self._share(SeqNumMismatchError(resolver.tail))
            self._floor = resolver.tail
        if self._fenced is not None and self._in_flight:
            raise self._fenced
        self._fenced = None
        return found

    def _share(self, error: SeqNumMismatchError) -> None:
        """Another writer is here: continue without conditions, or end where the user made one."""
        if self._demanded is not None:
            raise error
        if self.state != SHARED:
            self._enter(SHARED)
        for batch in self._unacknowledged():
            batch.start = None

    def _recreated(self, tail_seq_num: int) -> PreconditionError:
        """The error for a stream that ends below the floor."""
        if self._demanded is not None and not self.durable:
            return SeqNumMismatchError(tail_seq_num)  # the floor is what the user wants, and nobody has seen it
        return PreconditionError(
            "the stream was deleted and created again while the append was running: its sequence numbers begin anew"
        )

    def _undecided(self, why: str) -> UndecidedError:
        lines = self._describe_lines(_lines_of(batch for batch in self._unacknowledged() if batch.state == DOUBTFUL))
        return UndecidedError(f"{lines} are durable", why)


def _lines_of(batches: Iterable[PendingBatch]) -> list[Range]:
    return merged([lines for batch in batches for lines in batch.lines])


def _add_lines(ranges: list[Range], batch: PendingBatch) -> None:
    ranges[:] = merged([*ranges, *batch.lines])
