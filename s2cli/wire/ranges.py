"""Ranges of whole numbers, both ends included: input lines, sequence numbers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Range = tuple[int, int]

# While others write too, each batch may be a range of its own, and an append may have millions.
MAX_RANGES = 1000


class Ranges:
    """Collects ranges, which mostly come in order. The first MAX_RANGES are `kept`; the others are only counted, in
    `more`."""

    __slots__ = ("_end", "first", "kept", "last", "more")

    def __init__(self) -> None:
        self.kept: list[Range] = []
        self.more = 0
        self.first: int | None = None  # the least of all numbers
        self.last: int | None = None  # the greatest of all numbers
        self._end = -1  # of what came last

    @property
    def count(self) -> int:
        return len(self.kept) + self.more

    def add(self, first: int, last: int) -> None:
        kept = self.kept
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        if kept and not self.more and first == kept[-1][1] + 1:
            kept[-1] = kept[-1][0], last
        elif len(kept) < MAX_RANGES:
            self.kept = merged([*kept, (first, last)])
        elif first != self._end + 1:
            self.more += 1
        self._end = last


def merged(ranges: list[Range]) -> list[Range]:
    """The same ranges in ascending order. Those that overlap or touch are joined."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def format_lines(ranges: list[Range]) -> str:
    """`line 7`, `lines 1 to 1000, 3001 to 4000`."""
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return ("line " if single else "lines ") + ", ".join(texts)
