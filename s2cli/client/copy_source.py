"""The input of a copy: a read in a thread of its own, whose batches an append loop takes like those of a file."""

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

# So much is read before it is appended, or a delivery more.
MAX_QUEUED_BYTES = 8 * 1024 * 1024


class CopySource:
    """Both what an AppendLoop reads and what makes batches of it. `run` runs the session until its end, and passes
    what comes to its second argument; it raises what ended it early. `fd` is readable when there is something."""

    __slots__ = ("_copier", "_crash", "_queue", "_run", "_session", "ended", "error", "fd")

    has_rest = False
    rest_bytes = 0

    def __init__(self, session: CopySession, copier: Copier, run: Callable[[CopySession, Write], None]) -> None:
        self._session = session
        self._copier = copier
        self._run = run
        self._queue: WakingQueue[Records] = WakingQueue(MAX_QUEUED_BYTES)
        self._crash: BaseException | None = None
        self.fd = self._queue.fd
        self.error: S2Error | None = None
        self.ended = False

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def lines(self) -> int:
        """The sequence number of the source before which everything was read."""
        return self._session.cursor or 0

    def _work(self) -> None:
        try:
            self._run(self._session, self._put)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the append is
            self._crash = error
        self._queue.close()

    def _put(self, delivered: list[Delivered]) -> None:
        batches = self._copier.batches(delivered)
        self._queue.put(batches, sum(batch.encoded_bytes for batch in batches))

    def take_rest(self) -> Records:
        """Never called: what is read is always whole batches."""
        raise AssertionError

    def read(self) -> list[Records]:
        """What has come; `ended` where that was all. What ended the read early is `error` then."""
        batches, self.ended = self._queue.take()
        if self.ended and self._crash is not None:
            if not isinstance(self._crash, S2Error):
                raise self._crash
            self.error = self._crash
        return batches
