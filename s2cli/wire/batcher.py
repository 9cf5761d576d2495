"""Records into batches: as many as one append may carry, never more (protocol section 4.4)."""

from __future__ import annotations

from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RECORD_OVERHEAD_BYTES


class Batcher:
    """Collects records and gives them back in batches. A record is a body, or whatever else the caller encodes: then
    `sizes` says what each counts for, without RECORD_OVERHEAD_BYTES. A batch comes with the sum of these sizes.

    No record may be larger than a batch.
    """

    __slots__ = ("_bound", "_records", "_sizes")

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._sizes: list[int] = []  # empty where the records are bodies
        self._bound = 0  # of the metered size of _records: never less than it

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        """At least the metered size of what has been collected."""
        return self._bound

    def add(
        self, records: list[bytes], bound_bytes: int, sizes: list[int] | None = None
    ) -> list[tuple[list[bytes], int]]:
        """The batches that are now full. `bound_bytes` is at least the sum of the sizes of `records`: where it shows
        that no batch can be too large, nothing is added up."""
        if self._records:
            self._records += records
        else:
            self._records = records
        if sizes is not None:
            self._sizes += sizes
        self._bound += bound_bytes + RECORD_OVERHEAD_BYTES * len(records)
        if self._bound <= MAX_BATCH_BYTES:
            ends = list(range(MAX_BATCH_RECORDS, len(self._records) + 1, MAX_BATCH_RECORDS))
        else:
            ends = self._ends()
        if not ends:
            return []
        full, start = [], 0
        for end in ends:
            full.append(self._cut(start, end))
            start = end
        self._records = self._records[start:]
        self._sizes = self._sizes[start:]
        self._bound = sum(self._sizes or map(len, self._records)) + RECORD_OVERHEAD_BYTES * len(self._records)
        return full

    def take_rest(self) -> tuple[list[bytes], int]:
        """What has been collected so far, which is less than a full batch and may be nothing."""
        batch = self._cut(0, len(self._records))
        self._records, self._sizes, self._bound = [], [], 0
        return batch

    def _cut(self, start: int, end: int) -> tuple[list[bytes], int]:
        records = self._records[start:end]
        return records, sum(self._sizes[start:end] or map(len, records))

    def _ends(self) -> list[int]:
        """Where the full batches end, record by record."""
        ends: list[int] = []
        start, metered = 0, 0
        for at, size in enumerate(self._sizes or map(len, self._records)):
            metered += RECORD_OVERHEAD_BYTES + size
            if metered > MAX_BATCH_BYTES or at - start == MAX_BATCH_RECORDS:
                ends.append(at)
                start, metered = at, RECORD_OVERHEAD_BYTES + size
        if len(self._records) - start == MAX_BATCH_RECORDS:
            ends.append(len(self._records))
        return ends
