"""Collects records into batches of at most what one append may carry (protocol section 4.4), encodes each as an
AppendInput without conditions, and keeps its state until it is durable."""

from __future__ import annotations

from s2cli.wire.protobuf import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    RECORD_OVERHEAD_BYTES,
    append_parts,
    encode_append,
    encode_varint,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s2cli.wire.ranges import Range

    Headers = Sequence[tuple[bytes, bytes]]


# From this size on bodies are sent as they are: to join them costs the copy and, for a while, the memory twice. Smaller
# ones are joined, since each by itself takes 33 bytes more and a turn of its own.
SEPARATE_BYTES = 256


class Batcher:
    """Collects records and gives them back in batches. A record is a body, or whatever else the caller encodes: then
    `sizes` says what each counts for, without RECORD_OVERHEAD_BYTES. A batch comes with the sum of these sizes.

    A batch may be held below what an append carries; a record that is larger than that is a batch by itself.
    """

    __slots__ = ("_bound", "_max_bytes", "_max_records", "_records", "_sizes")

    def __init__(self, max_records: int = MAX_BATCH_RECORDS, max_bytes: int = MAX_BATCH_BYTES) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes  # metered
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
        if self._bound <= self._max_bytes:
            ends = list(range(self._max_records, len(self._records) + 1, self._max_records))
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
        max_records, max_bytes = self._max_records, self._max_bytes
        for at, size in enumerate(self._sizes or map(len, self._records)):
            metered += RECORD_OVERHEAD_BYTES + size
            if (metered > max_bytes or at - start == max_records) and at > start:
                ends.append(at)
                start, metered = at, RECORD_OVERHEAD_BYTES + size
        if len(self._records) - start == max_records:
            ends.append(len(self._records))
        return ends


class Records:
    """The records of one batch: `parts` joined are an AppendInput without conditions. `size` is that of their bodies
    and headers. `lines`: the input lines that they were; None where these follow on those of the batch before."""

    __slots__ = ("count", "encoded_bytes", "lines", "parts", "size")

    def __init__(
        self, parts: list[bytes], encoded_bytes: int, count: int, size: int, lines: list[Range] | None = None
    ) -> None:
        self.parts = parts
        self.encoded_bytes = encoded_bytes
        self.count = count
        self.size = size
        self.lines = lines


# The states of a batch that is not durable yet. SENT: it went out, and is out on this connection or was not applied.
# DOUBTFUL: it was out on a connection that was lost; a copy may be on its way, or in the stream already.
WAITING, SENT, DOUBTFUL = "waiting", "sent", "doubtful"


class PendingBatch:
    """One batch under way, not acked: its records, the input lines that they were, `start`, its one place in the stream
    (None in shared mode), and its `state`."""

    __slots__ = ("count", "lines", "records", "start", "state")

    def __init__(self, records: Records, lines: Sequence[Range], start: int | None) -> None:
        self.records = records
        self.count = records.count
        self.lines = lines
        self.start = start
        self.state = WAITING

    @property
    def line(self) -> int:
        """The first of its lines."""
        return self.lines[0][0]


def bodies_records(bodies: list[bytes], size: int) -> Records:
    """Records that are bodies alone, of that size together."""
    if size >= SEPARATE_BYTES * len(bodies):
        parts = append_parts(bodies)
        return Records(parts, sum(map(len, parts)), len(bodies), size)
    encoded = encode_append(bodies)
    return Records([encoded], len(encoded), len(bodies), size)


def encoded_records(records: list[bytes], size: int, lines: list[Range] | None = None) -> Records:
    """Records from encode_record()."""
    encoded = b"".join(b"\x0a" + encode_varint(len(record)) + record for record in records)
    return Records([encoded], len(encoded), len(records), size, lines)


def encode_headers(headers: Headers) -> bytes:
    """The headers of an AppendRecord."""
    parts = []
    for name, value in headers:
        # name = 1, value = 2; headers = 2: all length-delimited, an empty one is left out.
        field = b"".join(
            key + encode_varint(len(text)) + text for key, text in ((b"\x0a", name), (b"\x12", value)) if text
        )
        parts.append(b"\x12" + encode_varint(len(field)) + field)
    return b"".join(parts)


def encode_record(body: bytes, headers: bytes = b"", timestamp: int | None = None) -> bytes:
    """An AppendRecord; `headers` come from encode_headers()."""
    stamp = b"" if timestamp is None else b"\x08" + encode_varint(timestamp)
    content = b"\x1a" + encode_varint(len(body)) + body if body else b""
    return stamp + headers + content


def encode_conditions(match_seq_num: int | None, fencing_token: bytes | None) -> bytes:
    """What follows the records of an AppendInput that is to be conditional."""
    # match_seq_num = 2, varint; fencing_token = 3, length-delimited.
    match = b"" if match_seq_num is None else b"\x10" + encode_varint(match_seq_num)
    token = b"" if fencing_token is None else b"\x1a" + encode_varint(len(fencing_token)) + fencing_token
    return match + token


def record_key(body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Equal for two records exactly if their headers and bodies are equal (but for a collision of 128-bit digests)."""
    encoded = encode_record(body, encode_headers(list(headers)))
    if len(encoded) < 64:
        return encoded
    import hashlib

    # No encoded record begins with a zero byte.
    return b"\0" + hashlib.blake2b(encoded, digest_size=16).digest()


def keys_of(records: Records) -> list[bytes]:
    """The record_key() of each."""
    from s2cli.wire.messages import decode_append

    return [
        record_key(record.body, [(header.name, header.value) for header in record.headers])
        for record in decode_append(b"".join(records.parts)).records
    ]
