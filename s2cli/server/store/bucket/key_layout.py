"""The keys of a basin's database, format 1. Each begins with a letter that says what it is; numbers in keys have eight
bytes, the first one first, so that keys are in their order.

| Key | Value |
|---|---|
| `f` | JSON: the format, as a number |
| `o` | nothing: written to see that the database is still ours |
| `n` | the id that the next stream gets, eight bytes |
| `s` name | JSON: a stream's row (stream_table.py) |
| `i` id | the name of the stream with that id |
| `c` id, last sequence number | a chunk: `CHUNK_HEAD`, then its data |
| `r` id, sequence number | a run (run_table.py), which begins with the chunk that ends with that record: `RUN` |
| `x` due, id, sequence number | a run of which something expires then |
| `e` due, id | a stream of which it is then to be seen whether it is empty |
| `g` deleted at, id | a stream that is marked as deleted |
| `d` id | a trim of which chunks may be left |
| `h` id, first sequence number | where a hole (hole_table.py) ends, eight bytes |
| `q` key | JSON: a reply |
| `y` stored at, number, key | a reply, by its age |
| `k` | how many replies there are, and the number of the next one, eight bytes each |
| `m` stream, NUL, series, NUL, hour | JSON: a value for each minute of that hour (metric_table.py) |
| `l` name | nothing: the counts in the object with that name are here, and it is to be deleted (counts.py) |
"""

from __future__ import annotations

import struct

FORMAT_KEY = b"f"
OWNER_KEY = b"o"
NEXT_ID_KEY = b"n"
REPLY_COUNTERS_KEY = b"k"
STREAM, STREAM_BY_ID, CHUNK, RUN_OF_STREAM, RUN_DUE = b"s", b"i", b"c", b"r", b"x"
LOOK, DELETING, TRIM, HOLE, REPLY, REPLY_BY_AGE, METRIC = b"e", b"g", b"d", b"h", b"q", b"y", b"m"
FOLDED = b"l"

# What precedes the data of a chunk: records, metered bytes, last timestamp, when it expires (0: never), its kind, and a
# checksum of its key and all the rest (chunk_value.py).
CHUNK_HEAD = struct.Struct(">IQQQBI")
# A run: the retention in ms (0: for ever), and when the first of its chunks expires (0: never).
RUN = struct.Struct(">QQ")

U64 = struct.Struct(">Q")
_TWO = struct.Struct(">QQ")
_THREE = struct.Struct(">QQQ")
U64_MAX = (1 << 64) - 1


def numbered(prefix: bytes, *numbers: int) -> bytes:
    """The key with these one to three numbers; what is too late to be written is at the end of time."""
    capped = [min(number, U64_MAX) for number in numbers]
    return prefix + (U64, _TWO, _THREE)[len(capped) - 1].pack(*capped)


def numbers_of(key: bytes) -> tuple[int, ...]:
    """The numbers in such a key."""
    return struct.unpack(f">{(len(key) - 1) // 8}Q", key[1:])


def beyond(prefix: bytes) -> bytes:
    """The first key behind all those that begin so. The prefix must not end with 0xff, as no text in UTF-8 does."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
