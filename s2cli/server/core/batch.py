"""A batch: as it comes from an append, and as the chunk that is made of it once it has its sequence numbers and
timestamps (protocol section 4.5): the bytes of a ReadBatch."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, MissingTimestampError
from s2cli.wire.frames import MAX_MESSAGE_BYTES
from s2cli.wire.protobuf import encode_record, encode_records, encode_timed_records
from s2cli.wire.record_rules import check_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    # Its own timestamp or None, its headers as fields of the record that is stored, its body.
    Record = tuple[int | None, bytes, bytes]
    # ReadBatch bytes, timestamp of the first record, of the last.
    Assembled = tuple[bytes, int, int]

# A chunk must fit in a frame together with a tail.
MAX_CHUNK_BYTES = MAX_MESSAGE_BYTES - 64


class Batch:
    """A batch that keeps all rules which do not depend on the stream. Either `bodies`, where no record has headers, and
    the `timestamps` of all or None, or `records`; `commands` are those among the latter: which record, FENCE or TRIM,
    body."""

    __slots__ = (
        "bodies", "commands", "count", "fencing_token", "match_seq_num", "metered_bytes", "records", "timestamps",
    )  # fmt: skip

    def __init__(
        self,
        bodies: list[bytes] | None,
        records: list[Record],
        commands: list[tuple[int, bytes, bytes]],
        metered_bytes: int,
        match_seq_num: int | None,
        fencing_token: str | None,
        timestamps: list[int] | None = None,
    ) -> None:
        self.bodies = bodies
        self.timestamps = timestamps
        self.records = records
        self.commands = commands
        self.count = len(records) if bodies is None else len(bodies)
        self.metered_bytes = metered_bytes
        self.match_seq_num = match_seq_num
        self.fencing_token = fencing_token
        check_batch(self.count, metered_bytes)


def assemble(
    batch: Batch, first_seq_num: int, now_ms: int, last_timestamp: int, mode: str, *, uncapped: bool
) -> Assembled:
    """Raises ApiError `invalid` where the stream's timestamping refuses the batch."""
    if batch.bodies is not None:
        if batch.timestamps is None or mode == "arrival":
            if mode == "client-require":
                raise _missing_timestamp()
            timestamp = max(now_ms, last_timestamp)
            return encode_records(batch.bodies, first_seq_num, timestamp), timestamp, timestamp
        timestamps = batch.timestamps
        in_order = sorted(timestamps)
        if in_order != timestamps or in_order[0] < last_timestamp or (in_order[-1] > now_ms and not uncapped):
            timestamps = _timestamps(timestamps, now_ms, last_timestamp, mode, uncapped)
        return encode_timed_records(batch.bodies, first_seq_num, timestamps), timestamps[0], timestamps[-1]
    given = (timestamp for timestamp, _, _ in batch.records)
    timestamps = _timestamps(given, now_ms, last_timestamp, mode, uncapped)
    data = b"".join(
        [
            encode_record(seq_num, timestamp, headers, body)
            for seq_num, timestamp, (_, headers, body) in zip(count(first_seq_num), timestamps, batch.records)
        ]
    )
    # Many tiny headers take twice their metered size.
    if len(data) > MAX_CHUNK_BYTES:
        raise ApiError("invalid", "the batch takes more than 2 MiB when it is encoded")
    return data, timestamps[0], timestamps[-1]


def _timestamps(given: Iterable[int | None], now_ms: int, last_timestamp: int, mode: str, uncapped: bool) -> list[int]:
    timestamps = []
    for timestamp in given:
        if mode == "arrival":
            timestamp = now_ms
        elif timestamp is None:
            if mode == "client-require":
                raise _missing_timestamp()
            timestamp = now_ms
        if timestamp > now_ms and not uncapped:
            timestamp = now_ms
        last_timestamp = max(last_timestamp, timestamp)
        timestamps.append(last_timestamp)
    return timestamps


def _missing_timestamp() -> ApiError:
    return MissingTimestampError(MissingTimestampError.CODE, MissingTimestampError.TEXT)
