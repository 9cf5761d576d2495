"""A disk whose calls fail, once or for ever, and a disk that hangs. Even so, every append is answered, SIGTERM ends the
server, and what was acked is there once the disk works again."""

import contextlib
import errno
from collections.abc import Sequence

from faults.engines import ANSWER_S, STOP_S, Server
from faults.faulty_disk import CHANGES, FOR_EVER, Calls, FaultyDisk
from faults.load import Load, compare
from faults.run import Run
from faults.tally import Tally

RECORDS = 100  # acked on each stream before and after
FAIL_S = 60.0  # how long to wait until a call has failed
LASTS_S = 2.0  # how long a temporary fault lasts
ANSWERED_S = 20.0  # within which each append has its answer, whatever the disk does
HANG_S = 12.0  # longer than the server waits for a disk

# Which calls fail, on which files: calls that a load makes all the time.
CALLS = (
    (Calls.WRITE, "-wal"),
    (Calls.SYNC, "-wal"),
    (Calls.WRITE, "s2.db"),
    (Calls.SYNC, "s2.db"),
    (CHANGES, ""),
)


class _Ordeal:
    """A load on a server with a faulty disk, and the result."""

    def __init__(self, run: Run) -> None:
        workplace = run.place / "disk"
        workplace.mkdir()
        self.dice = run.dice
        self.tally = Tally(runs=1)
        self.disk = run.ends.enter_context(contextlib.closing(FaultyDisk(run.place / "data", workplace)))
        self.server: Server = run.server("data", self.disk.env())
        self.server.start()
        self.load = Load(self.server, run.dice)
        self.expect(self.load.wait_for(RECORDS), "no appends before anything went wrong")

    def expect(self, holds: object, complaint: str) -> None:
        if not holds:
            self.tally.complaints.append(complaint)

    def fail(self, error: int, count: int, choices: Sequence[tuple[Calls, str]] = CALLS) -> None:
        """Waits until a call has failed."""
        calls, suffix = self.dice.choice(choices)
        self.what = f"{calls!r} of *{suffix}"
        self.disk.fail(calls, error, suffix=suffix, skip=self.dice.randrange(30), count=count)
        self.expect(self.disk.wait_until_failed(FAIL_S), f"nothing failed: {self.what}")

    def wait(self, seconds: float) -> None:
        """Lets the load run for so long."""
        self.load.wait_for(1 << 40, seconds)

    def end(self) -> Tally:
        """Ends the server with SIGTERM, heals the disk, starts a server again, and compares."""
        self.expect(self.server.stop() is not None, f"SIGTERM does not end the server within {STOP_S:.0f} s")
        self.disk.heal()
        self.server.start()
        self.expect(self.load.wait_for(RECORDS), "no appends after a new start on a disk that is well")
        self.load.stop()
        self.tally += compare(self.server, self.load.ledgers)
        self.tally.stall_s = self.load.longest_stall_s
        return self.tally


def error_once(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    ordeal.fail(errno.EIO, count=1)
    ordeal.wait(LASTS_S)
    return _answered(ordeal)


def error_for_ever(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    ordeal.fail(errno.EIO, count=FOR_EVER)
    ordeal.wait(LASTS_S)
    ordeal.expect(ordeal.server.status() != 200, f"the server says that it is well: {ordeal.what} fails")
    return _answered(ordeal)


def read_only(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    ordeal.disk.fail(CHANGES, errno.EROFS)
    ordeal.wait(LASTS_S)
    ordeal.expect(ordeal.server.status() != 200, "the server says that it is well, on a disk that is read-only")
    return _answered(ordeal)


def full_for_a_while(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    # A failed sync has nothing to do with space: it is unknown what it has not written.
    ordeal.fail(errno.ENOSPC, FOR_EVER, [(calls, suffix) for calls, suffix in CALLS if calls is Calls.WRITE])
    ordeal.wait(LASTS_S)
    ordeal.disk.heal()
    ordeal.expect(ordeal.load.wait_for(RECORDS), f"no appends when there is room again: {ordeal.what} failed")
    return _answered(ordeal)


def full_for_ever(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    ordeal.disk.fail(CHANGES, errno.ENOSPC)
    ordeal.wait(LASTS_S)
    ordeal.expect(ordeal.server.status() != 200, "the server says that it is well, on a disk that is full")
    return _answered(ordeal)


def sync_that_hangs(run: Run) -> Tally:
    """The disk hangs for longer than the server waits for it. Then it works again, or the server is told to end while
    it hangs."""
    ordeal = _Ordeal(run)
    ordeal.disk.hang(Calls.SYNC)
    ordeal.wait(HANG_S)
    ordeal.expect(ordeal.server.status() == 503, "the server says that it is well, and its disk does not answer")
    if ordeal.dice.random() < 0.5:
        ordeal.disk.heal()
        ordeal.expect(ordeal.load.wait_for(RECORDS), "no appends when the disk answers again")
    return ordeal.end()


def _answered(ordeal: _Ordeal) -> Tally:
    tally = ordeal.end()
    ordeal.expect(tally.stall_s < ANSWERED_S, f"an append had no answer for {tally.stall_s:.1f} s of {ANSWER_S:.0f}")
    return tally


FAULTS = {
    "I/O error, once": error_once,
    "I/O error, for ever": error_for_ever,
    "disk read-only": read_only,
    "disk full, for a while": full_for_a_while,
    "disk full": full_for_ever,
    "sync that hangs": sync_that_hangs,
}
