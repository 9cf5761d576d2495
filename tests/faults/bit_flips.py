"""Bit rot: one bit is flipped in a file of a data directory, a server starts on it, and everything that was acked is
read.

A run is silent if an acked record is missing or changed and the server does not report it: it starts, and all answers
are 200, that of `/health` too. The loss of the last transaction before a power failure is counted apart, as it cannot
be told from one that the failure tore. To run it: `python -m faults.bit_flips --flips 300 --seed 1`, in `tests`.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from faults.engines import OWN, DidNotStartError, Server
from faults.load import BASIN, ask, post
from faults.tally import Tally

from s2cli.server.store.sqlite import mark, wal
from s2cli.server.store.sqlite.schema import PAGE_BYTES

# Stream -> records of each batch, bytes of each record.
STREAMS = {"small": (3, 20), "wide": (40, 90), "large": (2, 30_000)}
ROUNDS = 12
# In which file a bit is flipped -> in how many of a hundred runs. Without the mark it is as after a power failure.
TARGETS = {"database": 30, "closed database": 20, "log": 25, "log without mark": 15, "mark": 10}


@dataclass
class Flips(Tally):
    """`harmless`: runs in which nothing was missing. `told`: something was missing, and the server said so. `youngest`:
    only the last transaction was missing. `silent`: more was missing, and the server did not say so."""

    harmless: int = 0
    told: int = 0
    youngest: int = 0


class Directory:
    """A data directory whose files can be set back to what they were. They are written in place, as a server would
    refuse a copy of the database."""

    def __init__(self, place: Path) -> None:
        self.data = place / "data"
        self.server = Server(OWN, self.data)

    def take(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.data.iterdir() if path.name.startswith("s2.db")}

    def put(self, files: dict[str, bytes]) -> None:
        for path in self.data.iterdir():
            if path.name.startswith("s2.db") and path.name not in files:
                path.unlink()
        for name, content in files.items():
            with open(self.data / name, "r+b" if (self.data / name).exists() else "wb") as file:
                file.write(content)
                file.truncate()


def load(directory: Directory, dice: random.Random) -> tuple[dict[str, dict], str]:
    """Appends on a server that is once stopped in between, and killed at the end. Returns the files and what was acked
    at both moments, and the stream of the very last append."""
    acked: dict[str, list[str]] = {stream: [] for stream in STREAMS}
    server = directory.server
    server.start()
    last = ""
    post(server, "/v1/basins", {"basin": BASIN})
    for stream in STREAMS:
        post(server, "/v1/streams", {"stream": stream})
    states = {}
    for number in range(2 * ROUNDS):
        if number == ROUNDS:
            server.stop()
            states["closed"] = directory.take()
            states["closed acked"] = {stream: list(bodies) for stream, bodies in acked.items()}
            server.start()
        for stream, (count, size) in STREAMS.items():
            bodies = [f"{number}:{dice.getrandbits(4 * size):x}" for _ in range(count)]
            post(server, f"/v1/streams/{stream}/records", {"records": [{"body": body} for body in bodies]})
            acked[stream] += bodies
            last = stream
    server.kill()
    states["killed"] = directory.take()
    states["killed acked"] = acked
    return states, last


def read(server: Server, stream: str) -> tuple[list[str], bool]:
    """The bodies of all records that can be read, and whether the server reported that something is wrong."""
    found: list[str] = []
    at, told = 0, False
    while True:
        status, _, body = ask(server, "GET", f"/v1/streams/{stream}/records?seq_num={at}")
        if status == 416:
            return found, told
        if status != 200:
            told = True
            damaged = json.loads(body).get("damaged") if status == 500 else None
            if damaged is None or damaged["last"] >= 1 << 39:
                return found, told
            at = damaged["last"] + 1
            continue
        records = json.loads(body)["records"]
        if not records:
            return found, told
        found += [record["body"] for record in records]
        at = records[-1]["seq_num"] + 1


def flip_one(directory: Directory, states, last: str, target: str, dice: random.Random, flips: Flips) -> None:
    state = "closed" if target == "closed database" else "killed"
    acked = states[f"{state} acked"]
    files = dict(states[state])
    directory.put(files)
    name = {"log": "s2.db-wal", "log without mark": "s2.db-wal", "mark": "s2.db-mark"}.get(target, "s2.db")
    size_bytes = len(files[name])
    if name == "s2.db-wal":
        # What comes after these frames is left from the log before, and is never read.
        frames = mark.read(directory.data / "s2.db").frames
        size_bytes = min(size_bytes, wal.HEADER_BYTES + frames * (wal.FRAME_HEADER_BYTES + PAGE_BYTES))
    at, bit = dice.randrange(size_bytes), dice.randrange(8)
    content = bytearray(files[name])
    content[at] ^= 1 << bit
    files[name] = bytes(content)
    if target == "log without mark":
        del files["s2.db-mark"]
    directory.put(files)
    flips.runs += 1
    flips.acked += sum(map(len, acked.values()))
    server = directory.server
    try:
        server.start()
    except DidNotStartError:
        flips.told += 1
        return
    try:
        told = server.status() != 200
        missing = {}
        for stream, expected in acked.items():
            found, said = read(server, stream)
            told = told or said
            flips.records += len(found)
            if found != expected:
                missing[stream] = [body for body in expected if body not in set(found)]
                strange = [body for body in found if body not in set(expected)]
                if strange:
                    flips.silent += 1
                    flips.complaints.append(f"{target}, byte {at}, bit {bit}: {stream} has what nobody appended")
        told = told or server.status() != 200
    finally:
        server.kill()
    if not missing:
        flips.harmless += 1
    elif told:
        flips.told += 1
    elif target == "log without mark" and missing == {last: acked[last][-STREAMS[last][0] :]}:
        flips.youngest += 1
    else:
        flips.silent += 1
        counts = {stream: len(bodies) for stream, bodies in missing.items()}
        flips.complaints.append(f"{target}, byte {at}, bit {bit}: {counts} are missing in silence")


def flip_bits(place: Path, seed: int, count: int) -> dict[str, Flips]:
    """Makes `count` runs on one load, in the empty directory `place`. Returns the results by what was flipped."""
    dice = random.Random(seed)
    directory = Directory(place)
    with contextlib.closing(directory.server):
        states, last = load(directory, dice)
        outcome = {target: Flips() for target in TARGETS}
        targets = list(TARGETS)
        for _ in range(count):
            target = dice.choices(targets, TARGETS.values())[0]
            flip_one(directory, states, last, target, dice, outcome[target])
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bit-flips-"))
    os.environ["HOME"] = str(place)
    try:
        outcome = flip_bits(place, options.seed, options.flips)
    finally:
        shutil.rmtree(place)
    columns = ("runs", "acked", "records", "harmless", "told", "youngest", "silent")
    print("flipped".ljust(18), *(name.rjust(8) for name in columns))
    for target, found in outcome.items():
        print(target.ljust(18), *(str(getattr(found, name)).rjust(8) for name in columns))
        for complaint in found.complaints:
            print(f"  {complaint}")


if __name__ == "__main__":
    main()
