"""AppendInput by hand where records have headers or timestamps of their own, and the ways back from one."""

from __future__ import annotations

from s2cli.wire.batch import encode_varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = Sequence[tuple[bytes, bytes]]


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


def encode_input(records: Iterable[bytes]) -> bytes:
    """An AppendInput of records from encode_record(), without conditions."""
    return b"".join(b"\x0a" + encode_varint(len(record)) + record for record in records)


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


def input_keys(records: bytes) -> list[bytes]:
    """The record_key() of each record of an AppendInput."""
    from s2cli.wire.codec import decode_append

    return [
        record_key(record.body, [(header.name, header.value) for header in record.headers])
        for record in decode_append(records).records
    ]
