"""How far an append with `--state` has come, for the next run of it."""

from __future__ import annotations

import hashlib
import time

from s2cli.client.state_file import SAVE_S
from s2cli.errors import S2Error
from s2cli.wire.bodies import is_u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.state_file import StateFile
    from s2cli.wire.exact_session import ExactSession

# By so many bytes of its beginning an input is known again.
HEAD_BYTES = 4096


class Checkpoint:
    """Which line of the input belongs at which sequence number. It is saved before the first batch leaves, and now and
    then; where the command dies in between, the next run compares what stands in the stream behind it with the input.
    `place` is what must be the same in the next run: the command, the stream, the server."""

    __slots__ = ("_head", "_known_head", "_next_save", "_place", "_state", "has_resumed", "resumed_line")

    def __init__(self, state: StateFile, place: dict[str, object]) -> None:
        self._state = state
        self._place = place
        self._head = b""  # the beginning of this input
        self._known_head: tuple[int, str] | None = None  # of the input of the runs before: its size and digest
        self._next_save = 0.0
        self.has_resumed = False
        self.resumed_line = 1

    def resume(self, session: ExactSession) -> None:
        """Reads what an earlier run left. Raises UsageError where that was about something else."""
        self._state.lock()
        fields = self._state.load_for(self._place)
        if fields is None:
            return
        line, seq_num, clean = fields.get("next_line"), fields.get("next_seq_num"), fields.get("clean")
        head = fields.get("head")
        if not (is_u64(line) and line and is_u64(seq_num) and isinstance(clean, bool) and isinstance(head, list)):
            raise S2Error(f"{self._state.path} has no position of an append")
        if len(head) == 2 and isinstance(head[0], int) and isinstance(head[1], str) and head[0]:
            self._known_head = head[0], head[1]
        assert isinstance(line, int)
        assert isinstance(seq_num, int)
        self.resumed_line = line
        self.has_resumed = True
        session.resume(line, seq_num, clean=clean)

    def see(self, data: bytes) -> None:
        """Looks at what was read of the input. Raises UsageError where it is not the input of the runs before."""
        if len(self._head) >= HEAD_BYTES:
            return
        self._head += data[: HEAD_BYTES - len(self._head)]
        if self._known_head is not None and len(self._head) >= self._known_head[0]:
            size, digest = self._known_head
            if _digest(self._head[:size]) != digest:
                raise self._state.mismatch("is of another input: this one begins with other bytes")
            self._known_head = None

    def end_of_input(self, lines: int) -> None:
        """The input has so many lines. Raises UsageError where the runs before have read more."""
        if lines < self.resumed_line - 1 or self._known_head is not None:
            raise self._state.mismatch(f"is of a longer input: {self.resumed_line - 1} lines of it are durable")

    def note(self, session: ExactSession) -> None:
        """Saves how far it has come, if that is due."""
        now = time.monotonic()
        if now >= self._next_save:
            self._next_save = now + SAVE_S
            self.save(session, clean=False)

    def finish(self, session: ExactSession) -> None:
        """Saves how far it has come in the end. Where nothing is under way the next run need not look."""
        self.save(session, clean=not session.in_flight and not session.needs_resolution())

    def save(self, session: ExactSession, *, clean: bool) -> None:
        """Returns when it is on the disk. Only what sends nothing any more is `clean`."""
        head: list[object] = [len(self._head), _digest(self._head)]
        if self._known_head is not None:
            head = list(self._known_head)
        position = {"next_line": session.next_line, "next_seq_num": session.floor}
        self._state.save({**self._place, **position, "clean": clean, "head": head})


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
