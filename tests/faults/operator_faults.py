"""Commands of the operator that are killed at one of their calls, lose power there, or find no more room on the disk.
The same command then completes, or says plainly what to do; what was acked is there, and nothing that is incomplete
passes for whole."""

import contextlib
import copy
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.disk_images import WAYS, Disk, Image, Stage, seal
from faults.disk_log import read_log
from faults.engines import DidNotStartError, Server
from faults.faulty_disk import CHANGES, FOR_EVER, Calls, FaultyDisk
from faults.load import Ledger, Load, ask, post, read_stream
from faults.run import Run
from faults.tally import Tally

RECORDS = 40  # acked on each stream before
COMMAND_S = 60.0
# What needs room. A sync that finds none does not tell what it has not written.
GROWS = Calls.WRITE | Calls.TRUNCATE | Calls.CREATE
SHARE_OF_SECOND_KILLS = 0.3
NO_ROOM = re.compile(r"no space left|disk (is )?full|disk I/O error", re.IGNORECASE)
NOT_A_BACKUP = (3, 8)  # exit codes of a restore: there is no manifest, or what is there does not match it
NOT_EMPTY = 5

# Stream -> its records with their sequence numbers.
Contents = dict[str, list[tuple[int, bytes]]]


@dataclass
class Outcome:
    """How a command ended: its exit code and what it said. None for a server that still runs."""

    exit_code: int | None
    said: str = ""


class Scene:
    """Two directories on one disk: `data`, and `backup` for the commands that have one."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.root = (run.place / "disk").resolve()
        self.root.mkdir(mode=0o700)
        self.data, self.backup = self.root / "data", self.root / "backup"
        workplace = run.place / "control"
        workplace.mkdir()
        self.log = workplace / "log"
        self.disk = run.ends.enter_context(contextlib.closing(FaultyDisk(self.root, workplace, self.log)))
        self.tally = Tally(runs=1)
        self.ledgers: list[Ledger] = []

    def server(self, data: Path, env: dict[str, str] | None = None, options: str = "") -> Server:
        """A server whose words lie beside the disk, and not on it."""
        log = self.run.place / f"{data.name}.log"
        server = Server(f"{self.run.engine} {options}", data, env, log=log)
        return self.run.ends.enter_context(contextlib.closing(server))

    def fill(self, data: Path, *, loses: bool = False) -> None:
        """Acked records, in a log that is not empty, of a server that was killed. With `loses` the log is gone."""
        server = self.server(data)
        server.start()
        load = Load(server, self.run.dice)
        assert load.wait_for(RECORDS), "no appends"
        if loses:
            load.stop()
            server.stop()
            server.start()
            load = Load(server, self.run.dice, ledgers=load.ledgers)
            assert load.wait_for(RECORDS), "no appends"
        load.stop()
        server.close()
        if loses:
            (data / "s2.db-wal").unlink()
        self.ledgers = load.ledgers

    def lite(self, *words: str | Path, env: dict[str, str] | None = None) -> Outcome:
        command = [sys.executable, "-m", "s2cli", "lite", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, timeout=COMMAND_S, check=False, env={**os.environ, **(env or {})}
        )
        return Outcome(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))

    def expect(self, holds: object, complaint: str) -> bool:
        if not holds:
            self.tally.complaints.append(complaint)
        return bool(holds)

    def succeeds(self, *words: str | Path) -> bool:
        done = self.lite(*words)
        return self.expect(done.exit_code == 0, f"s2 lite {words[0]} ends with {done.exit_code}: {done.said}")

    def contents(self, data: Path, *, is_last: bool = True) -> Contents | None:
        """What a server serves; None if it does not start. With `is_last` each stream must take an append, behind all
        that was acked."""
        server = self.server(data)
        try:
            server.start()
            self.expect(server.status() == 200, f"the server is not well: {server.last_words()}")
            found = {ledger.stream: read_stream(server, ledger.stream) for ledger in self.ledgers}
            if is_last:
                self._append_everywhere(server)
            return found
        except DidNotStartError as error:
            self.expect(False, f"the server does not start: {error}")
            return None
        finally:
            server.close()

    def _append_everywhere(self, server: Server) -> None:
        if not self.ledgers:
            post(server, "/v1/basins", {"basin": "new-basin"})
        for ledger in self.ledgers:
            body, kind = json.dumps({"records": [{"body": "last"}]}), {"content-type": "application/json"}
            status, _, said = ask(server, "POST", f"/v1/streams/{ledger.stream}/records", body.encode(), kind)
            if self.expect(status == 200, f"{ledger.stream} takes no append: {status} {said!r}"):
                behind = max(each.seq_num + each.count for each in ledger.acked)
                given = json.loads(said)["start"]["seq_num"]
                self.expect(given >= behind, f"{ledger.stream}: {given} is given twice: {behind} was next")

    def compare(self, found: Contents | None, *expected: Contents) -> None:
        """`found` must be one of the others."""
        if found in expected:
            self.tally.records += sum(map(len, found.values()))
            return
        wanted = expected[-1]
        there = {stream: set(records) for stream, records in (found or {}).items()}
        lost = sum(record not in there.get(stream, ()) for stream, records in wanted.items() for record in records)
        self.tally.lost += lost
        self.tally.silent += found is not None
        self.tally.complaints.append(f"{lost} records are lost, or others are there")


class Command(ABC):
    """`prepare` makes the directories as they are before the command. `run` calls `begin` just before what may fail; a
    server that it leaves running is `server`. `complete` makes the command again, and whatever it says is to be done,
    and returns what is there at the end. Before, it compares what is half done with what is `expected` then, if that is
    known."""

    server: Server | None = None

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome: ...

    @abstractmethod
    def complete(self, expected: Contents | None) -> Contents | None: ...

    def end(self) -> None:
        """Kills what still runs."""
        if self.server is not None:
            self.server.close()


class Start(Command):
    """Of a server, on data of one that was killed."""

    def prepare(self) -> None:
        self.scene.fill(self.scene.data)

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        self.server = self.scene.server(self.scene.data, env)
        known = len(self.server.words())
        begin()
        try:
            self.server.start()
        except DidNotStartError:
            return Outcome(1, self.server.words()[known:])
        return Outcome(None)

    def complete(self, expected: Contents | None) -> Contents | None:
        return self.scene.contents(self.scene.data)


class FirstStart(Start):
    """Of a server, with no data yet."""

    def prepare(self) -> None:
        pass


class Stop(Start):
    """Of a server, with SIGTERM."""

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        self.server = self.scene.server(self.scene.data, env)
        self.server.start()
        begin()
        code = self.server.stop()
        self.scene.expect(code is not None, "SIGTERM does not end the server")
        # What it could not write at its end is in its log, and is read at the next start.
        return Outcome(0)


class Check(Command):
    """Of a plain copy, which can be used once all of it was checked."""

    def prepare(self) -> None:
        original = self.scene.run.place / "original"
        self.scene.fill(original)
        shutil.copytree(original, self.scene.data)

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        begin()
        return self.scene.lite("check", "--data", self.scene.data, env=env)

    def complete(self, expected: Contents | None) -> Contents | None:
        self.scene.succeeds("check", "--data", self.scene.data)
        return self.scene.contents(self.scene.data)


class Backup(Command):
    """Of data that nobody serves."""

    def prepare(self) -> None:
        self.scene.fill(self.scene.data)

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        begin()
        return self.scene.lite("backup", self.scene.backup, "--data", self.scene.data, env=env)

    def _examine(self, expected: Contents) -> None:
        """What is left of a backup is either whole or no backup."""
        data = self.scene.root / "tried"
        done = self.scene.lite("restore", self.scene.backup, "--data", data)
        if done.exit_code == 0:
            self.scene.compare(self.scene.contents(data), expected)
        else:
            refused = done.exit_code in NOT_A_BACKUP and not (data / "s2.db").exists()
            self.scene.expect(refused, f"an incomplete backup: {done}")

    def complete(self, expected: Contents | None) -> Contents | None:
        if expected is not None:
            self._examine(expected)
        scene, backup = self.scene, self.scene.backup
        done = scene.lite("backup", backup, "--data", scene.data)
        if done.exit_code:
            told = done.exit_code == NOT_EMPTY and "in a new directory, or an empty one" in done.said
            scene.expect(told, f"the second backup: {done}")
            backup = scene.root / "another-backup"
            scene.succeeds("backup", backup, "--data", scene.data)
        scene.succeeds("restore", backup, "--data", scene.root / "restored")
        scene.compare(scene.contents(scene.root / "restored"), found := scene.contents(scene.data) or {})
        return found


class BackupOfServer(Backup):
    """Of a server that runs: it is as likely to be killed."""

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        # It copies its database for whoever can open its socket.
        socket = shlex.quote(str(self.scene.run.place / "socket"))
        self.server = self.scene.server(self.scene.data, env, f"--socket {socket}")
        self.server.start()
        return super().run(env, begin)


class Restore(Command):
    """In place of other data."""

    old: Contents

    def prepare(self) -> None:
        self.scene.fill(self.scene.data)
        self.old = self.scene.contents(self.scene.data, is_last=False) or {}
        original = self.scene.run.place / "original"
        self.scene.fill(original)
        assert self.scene.succeeds("backup", self.scene.backup, "--data", original)

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        begin()
        return self.scene.lite("restore", self.scene.backup, "--data", self.scene.data, "--yes", env=env)

    def complete(self, expected: Contents | None) -> Contents | None:
        # Else the restore is what finds it half done, and not a server.
        if expected is not None and self.scene.run.dice.random() < 0.5:
            found = self.scene.contents(self.scene.data, is_last=False)
            self.scene.compare(found, self.old, expected)
        self.scene.succeeds("restore", self.scene.backup, "--data", self.scene.data, "--yes")
        return self.scene.contents(self.scene.data)


class Repair(Command):
    """After a proven loss."""

    def prepare(self) -> None:
        self.scene.fill(self.scene.data, loses=True)

    def run(self, env: dict[str, str], begin: Callable[[], None]) -> Outcome:
        begin()
        return self.scene.lite("repair", "--data", self.scene.data, env=env)

    def complete(self, expected: Contents | None) -> Contents | None:
        self.scene.succeeds("repair", "--data", self.scene.data)
        found = self.scene.contents(self.scene.data)
        self.scene.succeeds("check", "--data", self.scene.data)
        return found


COMMANDS: dict[str, type[Command]] = {
    "first start": FirstStart,
    "start": Start,
    "stop": Stop,
    "check": Check,
    "backup": Backup,
    "backup of a server": BackupOfServer,
    "restore": Restore,
    "repair": Repair,
}


class _Trial:
    """A command, once on a disk that is well, and then as often as wanted on one that is not."""

    def __init__(self, kind: type[Command], run: Run) -> None:
        self.scene = Scene(run)
        self.command = kind(self.scene)
        self.dice, self.disk, self.tally = run.dice, self.scene.disk, self.scene.tally
        self.command.prepare()
        self._image = Disk(self.scene.root).image("kept", run.dice)
        self._stage = Stage(self.scene.root)

    def count(self, calls: Calls) -> int:
        """How many calls of these kinds the command makes. What is there after it is what is to be there each time."""
        self.begin()
        outcome = self.command.run(self.disk.env(), lambda: self.disk.count(calls))
        count = self.disk.counted
        self.heal()
        self.scene.expect(not outcome.exit_code, f"on a disk that is well: {outcome}")
        self.expected = self.command.complete(None) or {}
        self.tally.acked = sum(map(len, self.expected.values()))
        assert self.tally.is_clean, self.tally.complaints
        return count

    def begin(self) -> None:
        self.put(self._image)
        self.scene.log.write_bytes(b"")

    def put(self, image: Image) -> None:
        self._stage.clear()
        self._stage.set_up(image)

    def heal(self) -> None:
        self.command.end()
        self.disk.heal()

    def each(self, calls: Calls, once: Callable[[int], None]) -> Tally:
        count = self.count(calls)
        for skip in sorted(self.dice.sample(range(count), min(self.scene.run.images, count))):
            known = len(self.tally.complaints)
            self.tally.faults += 1
            begun_s = time.monotonic()
            self.begin()
            once(skip)
            self.scene.compare(self.command.complete(self.expected), self.expected)
            self.tally.stall_s = max(self.tally.stall_s, time.monotonic() - begun_s)
            new = self.tally.complaints[known:]
            self.tally.complaints[known:] = [f"call {skip} of {count}: {complaint}" for complaint in new]
        return self.tally


def _killed(kind: type[Command], run: Run) -> Tally:
    trial = _Trial(kind, run)

    def once(skip: int) -> None:
        trial.command.run(trial.disk.env(), lambda: trial.disk.kill(CHANGES, skip))
        trial.heal()
        if run.dice.random() < SHARE_OF_SECOND_KILLS:
            trial.command.run(trial.disk.env(), lambda: trial.disk.kill(CHANGES, run.dice.randrange(skip + 1)))
            trial.heal()

    return trial.each(CHANGES, once)


def _power_failure(kind: type[Command], run: Run) -> Tally:
    """The process is killed, and what it has not synced may not be on the disk."""
    trial = _Trial(kind, run)

    def once(skip: int) -> None:
        disk = Disk(trial.scene.root)
        trial.command.run(trial.disk.env(), lambda: trial.disk.kill(CHANGES, skip))
        trial.heal()
        seal(trial.scene.log, copy.deepcopy(disk))
        for entry, _ in read_log(trial.scene.log):
            disk.apply(entry)
        trial.put(disk.image(run.dice.choice(WAYS), run.dice))

    return trial.each(CHANGES, once)


def _full_disk(kind: type[Command], run: Run) -> Tally:
    trial = _Trial(kind, run)

    def once(skip: int) -> None:
        outcome = trial.command.run(
            trial.disk.env(), lambda: trial.disk.fail(GROWS, errno.ENOSPC, skip=skip, count=FOR_EVER)
        )
        told = not outcome.exit_code or (NO_ROOM.search(outcome.said) and "Traceback" not in outcome.said)
        trial.scene.expect(told, f"a full disk is not told: {outcome}")
        trial.heal()

    return trial.each(GROWS, once)


FAULTS = {
    f"{name} {what}": partial(fault, kind)
    for name, kind in COMMANDS.items()
    for what, fault in (("killed", _killed), ("and a power failure", _power_failure), ("on a full disk", _full_disk))
}
