"""A disk whose calls fail, once or for ever, and a disk that hangs. Even so, every append is answered, SIGTERM ends the
server, and what was acked is there once the disk works again."""

import contextlib
import errno
import json
import subprocess
import sys
import time
from collections.abc import Sequence

from faults.engines import ANSWER_S, OWN, STOP_S, Server
from faults.faulty_disk import CHANGES, FOR_EVER, Calls, FaultyDisk
from faults.load import Load, ask, compare, is_writable
from faults.run import Run
from faults.tally import Tally

RECORDS = 100  # acked on each stream before and after
FAIL_S = 60.0  # how long to wait until a call has failed
LASTS_S = 2.0  # how long a temporary fault lasts
ANSWERED_S = 20.0  # within which each append has its answer, whatever the disk does
AT_ONCE_S = 5.0  # for a refusal on a busy machine; mostly some milliseconds
UNREACHABLE = 6  # the exit code of s2 lite status
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
        self.tally = Tally(runs=1, faults=1)
        self._is_own = run.engine == OWN
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

    def expect_told(self, reason: str) -> None:
        """The reason must be wherever somebody looks for it, and an append be answered at once."""
        begun_s = time.monotonic()
        self.expect(
            not is_writable(self.server, self.load.ledgers[0].stream), "an append is taken by a disk that fails"
        )
        took_s = time.monotonic() - begun_s
        self.expect(took_s < AT_ONCE_S, f"an append has its answer after {took_s:.1f} s")
        status, _, body = ask(self.server, "GET", "/health", headers={"accept": "application/json"})
        health = json.loads(body)
        told = status == 503 and health["status"] == "failing" and reason in health["reason"]
        self.expect(told, f"/health says {status} {body!r}")
        if not self._is_own:
            return
        _, _, metrics = ask(self.server, "GET", "/metrics")
        self.expect(b"\ns2_store_failing 1.0" in metrics, "/metrics does not say that the store fails")
        command = [sys.executable, "-m", "s2cli", "lite", "status", "--data", self.server.data, "-o", "json"]
        done = subprocess.run(command, capture_output=True, timeout=ANSWER_S, check=False)
        facts = json.loads(done.stdout or b"{}")
        told = done.returncode == UNREACHABLE and reason in str(facts.get("problem"))
        self.expect(told, f"s2 lite status ends with {done.returncode}: {done.stdout!r}{done.stderr!r}")
        self.expect(reason in self.server.words(), "the log does not say what failed")

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
    if ordeal.server.status() != 200:  # an error of the mark or the ballast stops nothing
        ordeal.expect_told("disk I/O error")
    return _answered(ordeal)


def error_for_ever(run: Run) -> Tally:
    ordeal = _Ordeal(run)
    ordeal.fail(errno.EIO, count=FOR_EVER)
    ordeal.wait(LASTS_S)
    ordeal.expect_told("disk I/O error")
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
    ordeal.expect_told("the disk has not answered")
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
