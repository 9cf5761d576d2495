"""What a check of stored data finds: counts, and problems."""

from __future__ import annotations

from typing import NamedTuple

# Damaged data may have any number of problems: those beyond this are only counted.
MAX_PROBLEMS = 1000


class Problem(NamedTuple):
    """What is wrong at a place: a stream (`s2://basin/stream`), another row, a file, or an object. `first` and `last`:
    the sequence numbers of the records concerned; None where that is not known."""

    place: str
    problem: str
    first: int | None = None
    last: int | None = None


class Findings:
    """What a check has counted, and the problems that it found."""

    def __init__(self) -> None:
        self.basins = self.streams = self.tokens = self.batches = self.records = 0
        self.checked_bytes = 0
        self.problems: list[Problem] = []
        self.more_problems = 0  # beyond MAX_PROBLEMS

    def add(self, place: str, problem: str, first: int | None = None, last: int | None = None) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(place, problem, first, last))
        else:
            self.more_problems += 1
