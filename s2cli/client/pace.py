"""How fast records leave, where `--rate` holds them back."""

from __future__ import annotations

import time

from s2cli.wire.append_input import Batcher
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.values import Rate
    from s2cli.wire.append_input import Records

# Batches are so small that this many leave in a second: what comes evenly is what is wanted.
BATCHES_PER_S = 10


class Pace:
    """Admits batches so that no more than the rate leaves, and nothing is made up for where the input was slower.
    `until`: when the next one may leave, in monotonic seconds."""

    __slots__ = ("_counts_records", "_per_s", "until")

    def __init__(self, rate: Rate) -> None:
        self._counts_records = rate.unit == "records"
        self._per_s = rate.amount
        self.until = 0.0

    def new_batcher(self) -> Batcher:
        """One whose batches are small enough."""
        most = max(1, int(self._per_s / BATCHES_PER_S))
        if self._counts_records:
            return Batcher(max_records=min(most, MAX_BATCH_RECORDS))
        return Batcher(max_bytes=min(most, MAX_BATCH_BYTES))

    def admits(self, records: Records) -> bool:
        """Whether this batch may leave now; if so, it counts."""
        now = time.monotonic()
        if now < self.until:
            return False
        amount = records.count if self._counts_records else records.size
        self.until = max(self.until, now - 1 / BATCHES_PER_S) + amount / self._per_s
        return True
