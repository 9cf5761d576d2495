"""How far an append with `--state`, or a copy, has come: saved for its next run."""

from __future__ import annotations

import hashlib
import time

from s2cli.client.state_file import SAVE_S
from s2cli.errors import S2Error
from s2cli.wire.bodies import is_u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from s2cli.client.state_file import Fields, StateFile
    from s2cli.wire.exact_session import ExactSession

    class SkippingInput(Protocol):
        """See formats/input.py."""

        def skip(self, lines: int, *, absent: int = 0) -> None: ...


# The first bytes of the input, by which the next run recognises it.
HEAD_BYTES = 4096


class Checkpoint:
    """Which line of the input belongs at which sequence number. It is saved before the first batch is sent, and then
    once a second. If the command is killed, the next run compares the records after that sequence number with the
    input. `place` names what must be the same in the next run: the command, the stream, the server."""

    __slots__ = ("_head", "_known_head", "_next_save", "_place", "_state", "has_resumed", "resumed_line")

    def __init__(self, state: StateFile, place: dict[str, object]) -> None:
        self._state = state
        self._place = place
        self._head = b""  # the beginning of this input
        self._known_head: tuple[int, str] | None = None  # size and digest of the same in the runs before
        self._next_save = 0.0
        self.has_resumed = False
        self.resumed_line = 1

    def resume(self, session: ExactSession, source: SkippingInput) -> None:
        """Sets the session to where the run before ended, if there was one, and has the source pass over what is
        durable. Raises UsageError if that run was for another `place`, PreconditionError while another process uses
        the state, S2Error if the state is damaged."""
        self._state.lock()
        fields = self._state.load_for(self._place)
        if fields is None:
            return
        line, seq_num, clean = fields.get("next_line"), fields.get("next_seq_num"), fields.get("clean")
        if not (is_u64(line) and line and is_u64(seq_num) and isinstance(clean, bool)):
            raise self._damaged()
        assert isinstance(line, int)
        assert isinstance(seq_num, int)
        self.resumed_line = line
        self.has_resumed = True
        source.skip(line - 1, absent=self._go_to(fields))
        session.resume(line, seq_num, clean=clean)

    def _go_to(self, fields: Fields) -> int:
        """Finds the input again. Returns how many of its lines will not even come. Raises as resume() does."""
        head = fields.get("head")
        if not isinstance(head, list):
            raise self._damaged()
        if len(head) == 2 and isinstance(head[0], int) and isinstance(head[1], str) and head[0]:
            self._known_head = head[0], head[1]
        return 0

    def _damaged(self) -> S2Error:
        return S2Error(f"{self._state.path} has no valid position of an append")

    def see(self, data: bytes) -> None:
        """Takes the next bytes of the input. Raises UsageError if they show that it is another input than before."""
        if len(self._head) >= HEAD_BYTES:
            return
        self._head += data[: HEAD_BYTES - len(self._head)]
        if self._known_head is not None and len(self._head) >= self._known_head[0]:
            size, digest = self._known_head
            if _digest(self._head[:size]) != digest:
                raise self._state.mismatch("is of another input: this one begins with other bytes")
            self._known_head = None

    def end_of_input(self, lines: int) -> None:
        """The input has ended after so many lines. Raises UsageError if an earlier run had read more."""
        if lines < self.resumed_line - 1 or self._known_head is not None:
            raise self._state.mismatch(f"is of a longer input: {self.resumed_line - 1} lines of it are durable")

    def note(self, session: ExactSession) -> None:
        """Saves how far the session has come, unless that was done within the last second. Raises S2Error."""
        now = time.monotonic()
        if now >= self._next_save:
            self._next_save = now + SAVE_S
            self.save(session, clean=False)

    def finish(self, session: ExactSession, *, whole: bool) -> None:
        """Saves where the run has ended; `whole`: all of the input is durable. If nothing can come into the stream any
        more, the next run need not compare anything. Raises S2Error."""
        self.save(session, clean=session.ends_clean(whole=whole))

    def save(self, session: ExactSession, *, clean: bool) -> None:
        """Saves how far the session has come; it is on the disk when this returns. `clean`: the run has ended with
        nothing in flight. Raises S2Error."""
        position = self._describe(session.next_line)
        self._state.save({**self._place, **position, "next_seq_num": session.floor, "clean": clean})

    def _describe(self, line: int) -> Fields:
        """Where this line of the input is, and by what the input is found again."""
        head: list[object] = [len(self._head), _digest(self._head)]
        if self._known_head is not None:
            head = list(self._known_head)
        return {"next_line": line, "head": head}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
