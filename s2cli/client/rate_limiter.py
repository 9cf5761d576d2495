"""The rate limiter of `append --rate`: when the next batch may be sent."""

from __future__ import annotations

import time

from s2cli.wire.append_input import Batcher
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.values import Rate
    from s2cli.wire.append_input import Records

# A batch holds at most the records of a tenth of a second, so that they are sent evenly.
BATCHES_PER_S = 10


class RateLimiter:
    """Limits the records or bytes that are sent each second. If the input is slower for a while, that is not made up
    for later. `until`: when the next batch may be sent, in monotonic seconds."""

    __slots__ = ("_counts_records", "_per_s", "until")

    def __init__(self, rate: Rate) -> None:
        self._counts_records = rate.unit == "records"
        self._per_s = rate.amount
        self.until = 0.0

    def new_batcher(self) -> Batcher:
        """A Batcher whose batches hold at most what may be sent in a tenth of a second."""
        most = max(1, int(self._per_s / BATCHES_PER_S))
        if self._counts_records:
            return Batcher(max_records=min(most, MAX_BATCH_RECORDS))
        return Batcher(max_bytes=min(most, MAX_BATCH_BYTES))

    def try_acquire(self, records: Records) -> bool:
        """True if this batch may be sent now; it is then counted as sent. False before `until`."""
        now = time.monotonic()
        if now < self.until:
            return False
        amount = records.count if self._counts_records else records.size
        self.until = max(self.until, now - 1 / BATCHES_PER_S) + amount / self._per_s
        return True
