"""A chunk as a value of a basin's database. A checksum covers its key and all that is in it: SlateDB's own cover what
lies in the bucket, and not what happens on the way there and back."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from s2cli.errors import ApiError
from s2cli.server.store.bucket.key_layout import CHUNK, CHUNK_HEAD, numbered, numbers_of
from s2cli.server.store.interface import Append, Chunk

_CHECKSUM_BYTES = 4


class StoredChunk(NamedTuple):
    """A chunk, when it expires (0: never), and what is wrong with it (None: nothing)."""

    chunk: Chunk
    expires_at_ms: int
    damage: str | None


def chunk_range(stream_id: int, first_seq_num: int, end_seq_num: int) -> tuple[bytes, bytes]:
    """The keys of the chunks whose last record is from `first_seq_num` on before `end_seq_num`."""
    return numbered(CHUNK, stream_id, first_seq_num), numbered(CHUNK, stream_id, end_seq_num)


def encode_chunk(stream_id: int, append: Append) -> tuple[bytes, bytes]:
    """The key and the value of the chunk of an append."""
    chunk = append.chunk
    key = numbered(CHUNK, stream_id, chunk.end_seq_num - 1)
    columns = chunk.count, chunk.metered_bytes, chunk.last_timestamp, append.expires_at_ms, chunk.kind
    checksum = _checksum(key, CHUNK_HEAD.pack(*columns, 0), chunk.data)
    return key, CHUNK_HEAD.pack(*columns, checksum) + chunk.data


def decode_chunk(key: bytes, value: bytes) -> StoredChunk:
    """Of a damaged one only the last sequence number is as its key says it; it has no records."""
    last_seq_num = numbers_of(key)[1]
    if len(value) >= CHUNK_HEAD.size:
        count, metered_bytes, timestamp, expires_at_ms, kind, checksum = CHUNK_HEAD.unpack_from(value)
        data = value[CHUNK_HEAD.size :]
        if checksum == _checksum(key, value[: CHUNK_HEAD.size], data):
            chunk = Chunk(last_seq_num + 1 - count, count, metered_bytes, timestamp, data, kind)
            return StoredChunk(chunk, expires_at_ms, None)
    return StoredChunk(Chunk(last_seq_num + 1, 0, 0, 0, b""), 0, "wrong checksum")


def _checksum(key: bytes, head: bytes, data: bytes) -> int:
    """Whatever checksum stands in `head` is left out."""
    return crc32(data, crc32(head[:-_CHECKSUM_BYTES], crc32(key)))


class DamageError(ApiError):
    """Records from `first_seq_num` on before `end_seq_num` are damaged or missing, which `reason` tells."""

    def __init__(self, first_seq_num: int, end_seq_num: int, reason: str) -> None:
        last_seq_num = end_seq_num - 1
        super().__init__(
            "storage",
            f"the records from sequence number {first_seq_num} to {last_seq_num} are damaged in the bucket: {reason}",
            damaged=(first_seq_num, last_seq_num),
        )
        self.first_seq_num = first_seq_num
        self.last_seq_num = last_seq_num
        self.reason = reason
