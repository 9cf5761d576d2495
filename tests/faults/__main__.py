"""Runs faults one after the other, and prints a table of their results.

Each run has a seed, from which everything comes that is chosen; what depends on time is kept beside it when a run
finds something: the data directory, the log of the disk, the images."""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import (
    backups,
    bucket_faults,
    disk_errors,
    engines,
    histories,
    network_faults,
    operator_faults,
    power_failures,
    process_faults,
)
from faults.run import Run
from faults.tally import Tally, as_json, table

FAULTS = {
    **network_faults.FAULTS,
    **process_faults.FAULTS,
    **disk_errors.FAULTS,
    **power_failures.FAULTS,
    **histories.FAULTS,
    **backups.FAULTS,
    **operator_faults.FAULTS,
    **bucket_faults.FAULTS,
}
# The faults of the gate, each run once.
QUICK = (
    ("connections cut", "reset in an answer", "server killed", "client killed")
    + ("I/O error, once", "I/O error, for ever", "disk full, for a while")
    + tuple(power_failures.FAULTS)
    + ("history: all of these", "bucket: replies lost", "bucket: node killed", "bucket: node stopped")
    + ("start on a full disk", "restore and a power failure", "repair killed")
)


def main() -> int:
    options = _options()
    if options.list:
        print(*FAULTS, sep="\n")
        return 0
    place = Path(options.keep or tempfile.mkdtemp(prefix="s2-faults-"))
    place.mkdir(parents=True, exist_ok=True)
    tallies: dict[str, Tally] = {}
    for name, seed in _plan(options):
        began_s = time.monotonic()
        directory = place / f"{seed}-{re.sub('[^a-z]+', '-', name.lower())}"
        run = Run(seed, options.engine, options.bucket_engine, directory, options.images)
        tally = _run(FAULTS[name], run)
        tallies.setdefault(name, Tally())
        tallies[name] += tally
        outcome = "all is well" if tally.is_clean else "FOUND"
        print(f"{name}, seed {seed}, {time.monotonic() - began_s:.0f} s: {outcome}", file=sys.stderr, flush=True)
        for complaint in tally.complaints:
            print(f"    {complaint}", file=sys.stderr)
    print(as_json(tallies) if options.json else table(tallies))
    whole = all(tally.is_clean for tally in tallies.values())
    if options.quick:
        whole &= _notices_lies(options, place)
    if whole and not options.keep:
        shutil.rmtree(place)
    elif not whole:
        print(f"what was found is in {place}; a run again: --fault NAME --seed SEED", file=sys.stderr)
    return 0 if whole else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one run of some faults, in less than two minutes")
    parser.add_argument("--minutes", type=float, default=0, help="run all faults in turn for so long")
    parser.add_argument("--runs", type=int, default=1, help="runs of each fault, without --minutes")
    parser.add_argument("--fault", action="append", choices=FAULTS, metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--seed", type=int, help="of the first run; each further one has the next")
    parser.add_argument("--images", type=int, help="power failures of each load; default 8, with --quick 4")
    parser.add_argument("--engine", default=engines.OWN, help="starts a server; has {data} and {port}")
    parser.add_argument("--bucket-engine", default=engines.OWN_ON_BUCKET, help="has {bucket}, {prefix} and {port}")
    parser.add_argument("--keep", metavar="DIR", help="where all files of the runs stay")
    parser.add_argument("--json", action="store_true", help="the table as JSON, with what was found")
    parser.add_argument("--list", action="store_true", help="the names of all faults")
    options = parser.parse_args()
    if options.images is None:
        options.images = 4 if options.quick else 8
    return options


def _plan(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Names of faults with seeds."""
    names = options.fault or (QUICK if options.quick else list(FAULTS))
    seeds = count(random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed)
    turns = (zip(names, islice(seeds, len(names)), strict=True) for _ in count())
    if not options.minutes:
        for turn in islice(turns, options.runs):
            yield from turn
        return
    end_s = time.monotonic() + 60 * options.minutes
    for turn in turns:
        for each in turn:
            if time.monotonic() > end_s:
                return
            yield each


def _run(fault: Callable[[Run], Tally], run: Run) -> Tally:
    """The result of one run. A run that ends with an error counts as a finding, too."""
    run.place.mkdir()
    with run.ends:
        try:
            tally = fault(run)
        except Exception as error:
            traceback.print_exc()
            tally = Tally(runs=1, complaints=[f"{type(error).__name__}: {error}"])
    if tally.is_clean:
        shutil.rmtree(run.place)
    return tally


def _notices_lies(options: argparse.Namespace, place: Path) -> bool:
    """Whether the harness has found losses where there must be some: on a disk and on a bucket that lie."""
    lies = {"disk": power_failures.on_a_disk_that_lies, "bucket": bucket_faults.on_a_bucket_that_lies}
    noticed = True
    for what, fault in lies.items():
        run = Run(1, options.engine, options.bucket_engine, place / f"lying-{what}", options.images)
        run.place.mkdir()
        with run.ends:
            tally = fault(run)
        shutil.rmtree(run.place)
        print(f"on a {what} that lies, as expected: {tally.lost} of {tally.acked} lost", file=sys.stderr)
        noticed &= tally.lost > 0
    return noticed


if __name__ == "__main__":
    sys.exit(main())
