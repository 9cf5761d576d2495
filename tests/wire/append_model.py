"""A stream and a network in memory, for tests of AppendSession: sessions are cut at any point, what they still carried
is dropped or arrives later, other writers write, and all of it in an order that a random generator chooses."""

from s2cli.errors import FencingTokenMismatchError, RangeNotSatisfiableError, S2Error, SeqNumMismatchError
from s2cli.wire.append_input import bodies_records
from s2cli.wire.append_session import START, AppendSession
from s2cli.wire.frames import FrameReader, encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_ack
from s2cli.wire.s2_pb2 import AppendInput, ReadBatch


def records(*bodies: bytes):
    return bodies_records(list(bodies), sum(map(len, bodies)))


class Stream:
    """What a server keeps of a stream: bodies and headers, from `trimmed` on."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, tuple]] = []
        self.trimmed = 0
        self.token = ""

    @property
    def tail(self) -> int:
        return len(self.records)

    @property
    def bodies(self) -> list[bytes]:
        return [body for body, _ in self.records]

    def append(self, data: bytes) -> bytes:
        """The acknowledgement; raises what the API answers with 412."""
        message = AppendInput.FromString(data)
        if message.HasField("fencing_token") and message.fencing_token != self.token:
            raise FencingTokenMismatchError(self.token)
        if message.HasField("match_seq_num") and message.match_seq_num != self.tail:
            raise SeqNumMismatchError(self.tail)
        start = self.tail
        for record in message.records:
            self.records.append((record.body, tuple((header.name, header.value) for header in record.headers)))
        return encode_ack(start, 1, self.tail, 1, self.tail, 1)

    def write(self, *bodies: bytes) -> None:
        """Somebody else appends."""
        self.records += [(body, ()) for body in bodies]

    def read(self, start: int, end: int, limit: int = 1000) -> bytes:
        if start >= self.tail:
            raise RangeNotSatisfiableError(self.tail, 1)
        batch = ReadBatch()
        for seq_num in range(max(start, self.trimmed), min(end, self.tail, max(start, self.trimmed) + limit)):
            body, headers = self.records[seq_num]
            record = batch.records.add(seq_num=seq_num, timestamp=1, body=body)
            for name, value in headers:
                record.headers.add(name=name, value=value)
        return batch.SerializeToString()


class Wire:
    """One connection with an append session on it. Frames arrive one by one, when deliver() is called; the answers are
    in `answers`. The first error ends the session, and whatever comes after it is not applied."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.frames: list[bytes] = []
        self.answers: list[bytes] = []
        self._reader = FrameReader()
        self._poisoned = False

    def send(self, data: bytes) -> None:
        self.frames += [frame.message for frame in self._reader.feed(data)]

    def deliver(self, count: int | None = None) -> None:
        frames, self.frames = self.frames[:count], self.frames[len(self.frames) if count is None else count :]
        for frame in frames:
            if self._poisoned:
                return
            try:
                self.answers.append(encode_frame(self.stream.append(frame)))
            except SeqNumMismatchError as error:
                self._poisoned = True
                self.answers.append(encode_terminal(412, b'{"seq_num_mismatch":%d}' % error.expected))
            except FencingTokenMismatchError as error:
                self._poisoned = True
                self.answers.append(encode_terminal(412, b'{"fencing_token_mismatch":"%s"}' % error.token.encode()))


class Writer:
    """An AppendSession as client/append_loop.py drives it, one step at a time."""

    def __init__(self, stream: Stream, session: AppendSession | None = None) -> None:
        self.stream = stream
        self.session = session or AppendSession()
        if self.session.state == START:
            self.session.begin(stream.tail)
        self.wire: Wire | None = None
        self.lost: list[Wire] = []  # connections whose rest may still arrive

    def connect(self) -> Wire:
        """Looks, where that is needed, and opens a session."""
        if self.session.needs_resolution():
            self.lost_acks()
        self.wire = Wire(self.stream)
        self.session.start()
        return self.wire

    def lost_acks(self) -> int:
        resolver = self.session.lost_acks()
        resolver.on_tail(self.stream.tail)
        while resolver.wanted is not None:
            resolver.on_records(self.stream.read(*resolver.wanted))
        return self.session.resolve(resolver)

    def send(self, limit_bytes: int = 1 << 30) -> None:
        self.wire.send(b"".join(self.session.take(limit_bytes)))

    def receive(self, count: int | None = None) -> None:
        """Takes answers; an error that lets it continue ends the connection."""
        answers, self.wire.answers = self.wire.answers[:count], self.wire.answers[len(self.wire.answers[:count]) :]
        try:
            for answer in answers:
                self.session.receive(answer)
        except S2Error as error:
            self.session.refused(error)
            self.wire = None

    def cut(self, *, keep: bool) -> None:
        """The connection breaks; with `keep`, what it carried arrives some time."""
        if keep:
            self.lost.append(self.wire)
        self.wire = None
        self.session.lose()

    def finish(self) -> None:
        """Until everything is acknowledged, without further accidents."""
        for _ in range(1000):
            if not self.session.in_flight:
                return
            if self.wire is None:
                self.connect()
                if not self.session.in_flight:
                    return
            self.send()
            self.wire.deliver()
            self.receive()
        raise AssertionError("the append does not come to an end")


def sent_inputs(session, limit_bytes=1 << 30):
    """What the session sends now, as messages."""
    return [AppendInput.FromString(frame.message) for frame in FrameReader().feed(b"".join(session.take(limit_bytes)))]


def ack(start, end, tail=None):
    """The frame that acknowledges these sequence numbers; the tail is at their end unless another is given."""
    return encode_frame(encode_ack(start, 5, end, 6, end if tail is None else tail, 7))


def unacknowledged(stream, *batches):
    """A writer whose batches went out, and whose connection broke before any answer; its connection."""
    writer = Writer(stream)
    for batch in batches:
        writer.session.add(records(*batch))
    writer.connect()
    writer.send()
    return writer, writer.wire
