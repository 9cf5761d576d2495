"""What an append carries: an AppendInput without its conditions, made by hand, and the ways back from one."""

from __future__ import annotations

from s2cli.wire.protobuf import append_parts, encode_append, encode_varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s2cli.wire.ranges import Range

    Headers = Sequence[tuple[bytes, bytes]]


# From this size on bodies are sent as they are: to join them costs the copy and, for a while, the memory twice. Smaller
# ones are joined, since each by itself takes 33 bytes more and a turn of its own.
SEPARATE_BYTES = 256


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
    """What stands after the records of an AppendInput that is to be conditional."""
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
