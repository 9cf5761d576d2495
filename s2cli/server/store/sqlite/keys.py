"""The key of a chunk: its stream and its last sequence number in one integer (schema.py)."""

from __future__ import annotations

SEQ_NUM_BITS = 40


def chunk_id(stream_id: int, seq_num: int) -> int:
    return (stream_id << SEQ_NUM_BITS) + seq_num


def stream_of(chunk_id: int) -> int:
    return chunk_id >> SEQ_NUM_BITS


def seq_num_of(chunk_id: int) -> int:
    return chunk_id & ((1 << SEQ_NUM_BITS) - 1)
