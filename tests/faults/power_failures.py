"""Power failures: a load runs on a disk whose calls are logged, the power fails at a random moment, and a server starts
on what may be on the disk then. What was acked before that moment must be there."""

import contextlib
import copy
import random
import shutil
from collections.abc import Iterator

from faults.disk_images import WAYS, Disk, Image, Stage, seal
from faults.disk_log import Kind, read_log
from faults.engines import DidNotStartError, Server
from faults.faulty_disk import Calls, FaultyDisk
from faults.load import Ledger, Load, compare, read_stream
from faults.run import Run
from faults.tally import Tally

SYNC_S = 0.003  # the least time of a sync, so that an ack that does not wait for it comes before its end
RECORDS = 200  # acked on each stream before the power fails
FAIL_S = 60.0
STREAMS = 3
EARLY = 10  # calls after a start and a read of all streams


class Recording:
    """A load on a server whose disk is logged. With `ledgers` it continues on the data of an earlier load."""

    def __init__(
        self, run: Run, name: str = "disk", ledgers: list[Ledger] | None = None, *, lies: bool = False
    ) -> None:
        self._run = run
        self._workplace = run.place / name
        self._workplace.mkdir()
        self._data = run.place / "data"
        self._log = self._workplace / "log"
        self._before = Disk(self._data)
        self.disk = run.ends.enter_context(contextlib.closing(FaultyDisk(self._data, self._workplace, self._log)))
        self.disk.slow_down(SYNC_S)
        if lies:
            self.disk.lie()
        self.server = run.server(env=self.disk.env())
        self.server.start()
        self.ledgers = ledgers
        self._start_load()
        self.go_on()

    def _start_load(self) -> None:
        self._load = Load(
            self.server,
            self._run.dice,
            streams=STREAMS,
            log_bytes=lambda: self.disk.log_bytes,
            ledgers=self.ledgers,
        )
        self.ledgers = self._load.ledgers

    def go_on(self) -> None:
        assert self._load.wait_for(RECORDS), f"no appends: {self.server.last_words()}"

    def restart(self) -> int:
        """Kills the server, starts it, and reads all streams: what a read has shown must stay, as if it had been acked.
        Returns the length of the log then."""
        self.server.kill()
        self._load.stop()
        self.disk.heal()
        seal(self._log, copy.deepcopy(self._before))
        self.server.start()
        for ledger in self.ledgers:
            ledger.read(read_stream(self.server, ledger.stream), self.disk.log_bytes)
        log_bytes = self.disk.log_bytes
        self._start_load()
        return log_bytes

    def end(self) -> float:
        """The longest time in seconds that a writer waited for an ack."""
        self._load.stop()
        self.server.close()
        return self._load.longest_stall_s

    def images(self, count: int, after: int = 0) -> Iterator[tuple[int, str, Image]]:
        """Yields power failures at places of the log after the given one: the place, what happened to the changes that
        were not synced, and what is on the disk. Half of them are just before or after a sync."""
        dice = self._run.dice
        places = [(end, entry.kind) for entry, end in read_log(self._log) if end > after]
        syncs = [number for number, (_, kind) in enumerate(places) if kind in (Kind.SYNC_BEGIN, Kind.SYNC_END)]
        chosen = []
        for _ in range(count):
            kind = dice.random()
            number = dice.randrange(len(places) if kind < 0.8 else min(EARLY, len(places)))
            if syncs and kind < 0.5:
                number = min(len(places) - 1, max(0, dice.choice(syncs) + dice.randint(-1, 2)))
            chosen.append(number)
        ends = sorted(places[number][0] for number in chosen)
        disk = copy.deepcopy(self._before)
        for entry, end in read_log(self._log):
            disk.apply(entry)
            while ends and ends[0] == end:
                way = dice.choice(WAYS)
                yield ends.pop(0), way, disk.image(way, random.Random(dice.random()))


def _check(run: Run, recording: Recording, count: int, after: int = 0) -> Tally:
    """Starts a server on each of the images, and compares."""
    tally = Tally()
    server = run.server()
    stage = Stage(server.data)
    for number, (place, way, image) in enumerate(recording.images(count, after)):
        stage.set_up(image)
        found = _examine(server, recording.ledgers, place)
        if not found.is_clean:
            kept = run.place / f"image-{number}"
            found.complaints = [f"{kept.name}, {way}, at {place} of the log: {text}" for text in found.complaints]
            found.complaints.append(f"{kept}: as it was before a server touched it")
            stage.clear()
            stage.set_up(image)
            shutil.copytree(server.data, kept)
        stage.clear()
        tally += found
    return tally


def _examine(server: Server, ledgers: list[Ledger], place: float) -> Tally:
    try:
        server.start()
    except DidNotStartError as error:
        lost = sum(ledger.acked_before(place) for ledger in ledgers)
        return Tally(runs=1, faults=1, lost=lost, complaints=[f"the server does not start: {error}"])
    found = compare(server, ledgers, place)
    found.runs = found.faults = 1
    server.kill()
    return found


def single(run: Run) -> Tally:
    recording = Recording(run)
    stall_s = recording.end()
    return _with_stall(_check(run, recording, run.images), stall_s)


def after_kill(run: Run) -> Tally:
    """The server is killed at a random moment and started again, and then the power fails."""
    recording = Recording(run)
    after = recording.restart()
    recording.go_on()
    stall_s = recording.end()
    return _with_stall(_check(run, recording, run.images, after), stall_s)


def after_failed_sync(run: Run) -> Tally:
    """A sync fails once, and the system takes its pages for written. The server is killed and started again, and then
    the power fails."""
    recording = Recording(run)
    recording.disk.fail(Calls.SYNC, suffix="-wal", skip=run.dice.randrange(20), count=1)
    assert recording.disk.wait_until_failed(FAIL_S), "no sync failed"
    after = recording.restart()
    recording.go_on()
    stall_s = recording.end()
    return _with_stall(_check(run, recording, run.images, after), stall_s)


def twice(run: Run) -> Tally:
    """The power fails, a server continues on what is there, and the power fails again."""
    first = Recording(run)
    stall_s = first.end()
    ((place, _, image),) = first.images(1, after=max(ledger.created_log_bytes for ledger in first.ledgers))
    Stage(run.place / "data").set_up(image)
    ledgers = [ledger.went_on(place) for ledger in first.ledgers]
    second = Recording(run, "second disk", ledgers)
    stall_s = max(stall_s, second.end())
    return _with_stall(_check(run, second, run.images), stall_s)


def on_a_disk_that_lies(run: Run) -> Tally:
    """Syncs do nothing: acked records are lost, and the harness must notice that."""
    recording = Recording(run, lies=True)
    recording.end()
    return _check(run, recording, run.images)


def _with_stall(tally: Tally, stall_s: float) -> Tally:
    tally.stall_s = max(tally.stall_s, stall_s)
    return tally


FAULTS = {
    "power failure": single,
    "power failure after a kill": after_kill,
    "power failure after a failed sync": after_failed_sync,
    "two power failures": twice,
}
