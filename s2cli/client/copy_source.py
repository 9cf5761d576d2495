"""The input of a copy: a read in a thread of its own. An append loop takes its records like those of a file."""

from __future__ import annotations

import threading

from s2cli.client.waking_queue import WakingQueue
from s2cli.errors import S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.wire.append_input import Records
    from s2cli.wire.copied_records import Copier, CopySession
    from s2cli.wire.read_session import Delivered

    Write = Callable[[list[Delivered]], None]

# Bytes that are read ahead of the append; one delivery may exceed them.
MAX_QUEUED_BYTES = 8 * 1024 * 1024


class CopySource:
    """Serves an AppendLoop as its input and as what makes batches of it. `run(session, write)` reads until the session
    ends, passes each delivery to `write`, and raises what ended it early. `fd` is readable when read() has something.
    `on_passed` gets the sequence number up to which all records were returned or left out, when read() has returned
    nothing."""

    __slots__ = ("_copier", "_crash", "_on_passed", "_queue", "_run", "_session", "ended", "error", "fd", "passed")

    has_rest = False
    rest_bytes = 0

    def __init__(
        self,
        session: CopySession,
        copier: Copier,
        run: Callable[[CopySession, Write], None],
        on_passed: Callable[[int], None],
        *,
        most_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._session = session
        self._copier = copier
        self._run = run
        self._on_passed = on_passed
        self._queue: WakingQueue[tuple[list[Records], int]] = WakingQueue(most_bytes)
        self.passed = session.cursor or 0  # the sequence number before which everything was given out or left out
        self._crash: BaseException | None = None
        self.fd = self._queue.fd
        self.error: S2Error | None = None
        self.ended = False

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def lines(self) -> int:
        """The sequence number in the source up to which everything was read."""
        return self._session.cursor or 0

    def _work(self) -> None:
        try:
            self._run(self._session, self._put)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the append is
            self._crash = error
        self._queue.close()

    def _put(self, delivered: list[Delivered]) -> None:
        batches = self._copier.batches(delivered)
        self._queue.put([(batches, self.lines)], sum(batch.encoded_bytes for batch in batches))

    def take_rest(self) -> Records:
        """Never called: read() returns whole batches only."""
        raise AssertionError

    def read(self) -> list[Records]:
        """The batches that have come. `ended` is True after the last; `error` is what ended the read early, if anything
        did."""
        pieces, self.ended = self._queue.take()
        batches: list[Records] = []
        for found, self.passed in pieces:
            batches += found
        if not batches:
            self._on_passed(self.passed)
        if self.ended and self._crash is not None:
            if not isinstance(self._crash, S2Error):
                raise self._crash
            self.error = self._crash
        return batches
