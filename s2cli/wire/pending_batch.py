"""A batch of an append session that is not known to be durable yet."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.wire.append_input import Records
    from s2cli.wire.ranges import Range


class PendingBatch:
    """One batch under way, not acked: its records, the input lines that they were, and `start`, its one place in the
    stream (None in shared mode). `doubtful`: a copy may be on its way, or in the stream already."""

    __slots__ = ("count", "doubtful", "lines", "records", "sent", "start")

    def __init__(self, records: Records, lines: Sequence[Range], start: int | None) -> None:
        self.records = records
        self.count = records.count
        self.lines = lines
        self.start = start
        self.doubtful = False
        self.sent = False  # ever

    @property
    def line(self) -> int:
        """The first of its lines."""
        return self.lines[0][0]
