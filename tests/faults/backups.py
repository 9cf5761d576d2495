"""Backups of a server during appends. Each is restored, checked, and compared with what was acked before it began. Some
restores are killed and run again."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from faults.engines import Server
from faults.load import Load, compare
from faults.run import Run
from faults.tally import Tally

BACKUPS = 5
RECORDS = 2000  # acked for each writer between two backups
COMMAND_S = 120.0
MOST_RESTORE_S = 0.6
SHARE_OF_KILLS = 0.4


def under_load(run: Run) -> Tally:
    # The server copies its database for whoever can open its socket.
    run.engine += f" --socket {shlex.quote(str(run.place / 'socket'))}"
    server = run.server()
    server.start()
    begun = 0
    load = Load(server, run.dice, log_bytes=lambda: begun)
    tally = Tally(runs=1)
    for number in range(BACKUPS):
        if not load.wait_for(RECORDS):
            tally.complaints.append("an append hangs")
            break
        begun += 1
        tally.faults += 1
        backup, data = run.place / f"backup-{number}", run.place / f"restored-{number}"
        if _lite(tally, "backup", backup, "--data", server.data) and _restore(run, tally, backup, data):
            tally += _compare(run, load, data, begun - 1)
        for directory in backup, data:
            shutil.rmtree(directory, ignore_errors=True)
    load.stop()
    tally += compare(server, load.ledgers)
    tally.stall_s = load.longest_stall_s
    if _lite(tally, "check", "--data", server.data):
        server.stop()
        _lite(tally, "check", "--data", server.data)
    return tally


def _lite(tally: Tally, *words: str | Path) -> bool:
    """Runs an `s2 lite` command. Returns True if it succeeded."""
    command = [sys.executable, "-m", "s2cli", "lite", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode:
        tally.complaints.append(f"s2 lite {words[0]} ends with {done.returncode}: {done.stdout}{done.stderr}")
    return not done.returncode


def _restore(run: Run, tally: Tally, backup: Path, data: Path) -> bool:
    if run.dice.random() < SHARE_OF_KILLS:
        command = [sys.executable, "-m", "s2cli", "lite", "restore", backup, "--data", data]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(run.dice.uniform(0, MOST_RESTORE_S))
            except subprocess.TimeoutExpired:
                process.kill()
    return _lite(tally, "restore", backup, "--data", data, "--yes") and _lite(tally, "check", "--data", data)


def _compare(run: Run, load: Load, data: Path, before: int) -> Tally:
    """Starts a server on restored data, which must have what was acked before the backup."""
    restored = Server(run.engine.rpartition(" --socket ")[0], data)
    try:
        restored.start()
        return compare(restored, load.ledgers, before)
    finally:
        restored.stop()
        restored.close()


FAULTS = {"backups under load": under_load}
