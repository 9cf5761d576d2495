"""The session of --exactly-once and --state through lost acks, late copies and kills, in any order: on the bytes that a
client sends and gets."""

from append_model import Stream, Writer, records
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from s2cli.errors import PreconditionError
from s2cli.wire.exact_session import ExactSession

LINES = [b"line %d" % (number // 2) for number in range(60)]  # each twice: content alone proves nothing
BEFORE = [b"line 0", b"line 0", b"line 1"]  # what stands in the stream already, which is equal, too


class ExactWriter(Writer):
    """Drives the session as client/exact_append.py does. `saved` is what a kill leaves of it: the next line, its
    sequence number, and whether nothing was in flight."""

    def __init__(self, stream: Stream, saved: tuple[int, int, bool] | None) -> None:
        session = ExactSession()
        if saved is not None:
            session.resume(saved[0], saved[1], clean=saved[2])
        super().__init__(stream, session)
        self.saved = saved
        self.save(clean=False)

    @property
    def pending(self) -> list[bytes]:
        return LINES[self.session.lines :]

    def add(self, count: int) -> None:
        self.session.add(records(*self.pending[:count]))

    def save(self, *, clean: bool) -> None:
        self.saved = self.session.next_line, self.session.floor, clean

    def lost_acks(self) -> int:
        session = self.session
        session.begin_comparison(self.stream.tail)
        while not session.is_compared:
            if session.in_flight:
                session.compare(self.stream.read(*session.wanted, limit=2))
            elif self.pending:
                self.add(3)
            else:
                raise session.foreign(session.floor)
        return 0


class ExactAppend(RuleBasedStateMachine):
    """One input, one stream, as many runs as there are kills."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream()
        self.stream.write(*BEFORE)
        self.writer = ExactWriter(self.stream, None)
        self.late = []
        self.foreign = 0
        self.ended = False

    def attempt(self, step) -> None:
        """What ends the append must have a reason: somebody else has written."""
        try:
            step()
        except PreconditionError:
            assert self.foreign
            self.ended = True

    def connected(self) -> bool:
        if self.writer.wire is None:
            self.attempt(self.writer.connect)
        return not self.ended and self.writer.wire is not None

    @precondition(lambda self: not self.ended)
    @rule(count=st.integers(1, 7))
    def add(self, count):
        if self.writer.session.can_add and self.writer.pending:
            self.writer.add(count)

    @precondition(lambda self: not self.ended)
    @rule(limit_bytes=st.sampled_from([1, 1 << 30]))
    def send(self, limit_bytes):
        if self.connected():
            self.writer.send(limit_bytes)

    @precondition(lambda self: not self.ended)
    @rule(frames=st.integers(0, 3), answers=st.integers(0, 3))
    def answer(self, frames, answers):
        if self.connected():
            self.writer.wire.deliver(frames)
            self.attempt(lambda: self.writer.receive(answers))

    @precondition(lambda self: not self.ended and self.writer.wire is not None)
    @rule(keep=st.booleans())
    def cut(self, keep):
        self.writer.cut(keep=keep)

    @precondition(lambda self: not self.ended)
    @rule()
    def save(self):
        self.writer.save(clean=False)

    @precondition(lambda self: not self.ended)
    @rule(is_clean=st.booleans(), keep=st.booleans())
    def kill(self, is_clean, keep):
        """The next run has what was saved; what the one before had under way may still arrive."""
        writer = self.writer
        if is_clean:
            writer.save(clean=writer.session.ends_clean(whole=not writer.pending))
        if writer.wire is not None and keep:
            writer.lost.append(writer.wire)
        self.late += writer.lost
        self.attempt(lambda: self.start_again(writer.saved))

    def start_again(self, saved):
        self.writer = ExactWriter(self.stream, saved)

    @precondition(lambda self: self.late or self.writer.lost)
    @rule(at=st.integers(0, 50), frames=st.integers(1, 3))
    def arrive_late(self, at, frames):
        self.late += self.writer.lost
        self.writer.lost = []
        self.late[at % len(self.late)].deliver(frames)

    @invariant()
    def what_stands_in_the_stream_is_the_input_once(self):
        bodies = self.stream.bodies[len(BEFORE) :]
        ours = [body for body in bodies if not body.startswith(b"other")]
        assert ours == LINES[: len(ours)]

    @invariant()
    def what_is_called_durable_is_in_the_stream(self):
        bodies = self.stream.bodies[len(BEFORE) :]
        ours = len([body for body in bodies if not body.startswith(b"other")])
        assert self.writer.session.next_line - 1 <= ours

    def finish(self):
        while self.writer.pending or self.writer.session.in_flight:
            if self.writer.pending:
                self.writer.add(5)
            self.writer.finish()

    def teardown(self):
        if not self.ended:
            self.attempt(self.finish)
        for wire in [*self.late, *self.writer.lost]:
            wire.deliver()
        self.what_stands_in_the_stream_is_the_input_once()
        if not self.ended:
            assert [body for body in self.stream.bodies if not body.startswith(b"other")] == BEFORE + LINES
        assert self.ended or self.writer.session.state == "alone"


class ExactAppendBesideAnother(ExactAppend):
    """Somebody else writes in between: between two clean runs that is allowed, else it ends the append."""

    @rule()
    def write(self):
        self.foreign += 1
        self.stream.write(b"other %d" % self.foreign)


_MUCH = settings(max_examples=300, stateful_step_count=50)
TestAlone = ExactAppend.TestCase
TestAlone.settings = _MUCH
TestBesideAnother = ExactAppendBesideAnother.TestCase
TestBesideAnother.settings = _MUCH
