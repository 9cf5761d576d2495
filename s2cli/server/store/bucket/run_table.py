"""Runs in a basin's database: chunks of a stream with the same retention, so those that expire first come first."""

from __future__ import annotations

from s2cli.server.store.bucket.changes import Changes
from s2cli.server.store.bucket.key_layout import RUN, RUN_DUE, RUN_OF_STREAM, numbered, numbers_of

RUNS_IN_A_ROW = 256


def begin(changes: Changes, stream_id: int, seq_num: int, keep_ms: int, due_ms: int) -> None:
    """From the chunk that ends with this record on the stream has another retention; 0 is for ever."""
    due_ms = due_ms if keep_ms else 0
    changes.put(numbered(RUN_OF_STREAM, stream_id, seq_num), RUN.pack(keep_ms, due_ms))
    if due_ms:
        changes.put(numbered(RUN_DUE, due_ms, stream_id, seq_num), b"")


async def remove(changes: Changes, stream_id: int) -> None:
    """Remove the runs of a stream that is removed."""
    end = numbered(RUN_OF_STREAM, stream_id + 1)
    while rows := await changes.scan(numbered(RUN_OF_STREAM, stream_id), end, RUNS_IN_A_ROW):
        for key, value in rows:
            changes.delete(key)
            due_ms = RUN.unpack(value)[1]
            if due_ms:
                changes.delete(numbered(RUN_DUE, due_ms, *numbers_of(key)))
