"""The results of the runs with a fault: the rows of the table."""

import json
from dataclasses import asdict, dataclass, field, fields

COLUMNS = ("runs", "faults", "records", "acked", "lost", "duplicated", "reordered", "silent", "longest stall")


@dataclass
class Tally:
    """`faults`: how often the fault happened; each kill, cut or power failure is counted. `lost`: acked records that
    are not where they were acked. `duplicated`: records that are there twice. `reordered`: records before one that was
    sent earlier, or that are not what was sent. `silent`: runs with any of these in which the server reported nothing.
    `stall_s`: the longest time that a client waited for an answer, from the fault on."""

    runs: int = 0
    faults: int = 0
    records: int = 0
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    silent: int = 0
    stall_s: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, its) if each.name == "stall_s" else mine + its)
        return self

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.reordered or self.silent or self.complaints)

    def row(self) -> list[str]:
        counts = (
            self.runs,
            self.faults,
            self.records,
            self.acked,
            self.lost,
            self.duplicated,
            self.reordered,
            self.silent,
        )
        return [*map(str, counts), f"{self.stall_s:.1f} s"]


def as_json(tallies: dict[str, Tally]) -> str:
    """The same as one object: the name of each fault -> its tally."""
    return json.dumps({name: asdict(tally) for name, tally in tallies.items()}, indent=2)


def table(tallies: dict[str, Tally]) -> str:
    """One row for each fault, under the names of the columns."""
    rows = [["fault", *COLUMNS], *([name, *tally.row()] for name, tally in tallies.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *numbers]))
    return "\n".join(lines)
