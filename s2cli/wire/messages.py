"""Decodes batches with the protobuf runtime, through messages (proto/views.proto) that avoid an object for each
record."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from s2cli.errors import ProtocolError
from s2cli.wire.protobuf import (
    HEADER_OVERHEAD_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    count_records,
    encode_append,
    runs_of_field,
)
from s2cli.wire.s2_pb2 import AppendInput, AppendRecord, ReadBatch, SequencedRecord
from s2cli.wire.views_pb2 import MergedAppendInput, MergedReadBatch, RawAppendInput, RawRecords, TimedReadBatch

# Smaller batches become objects at once: 2 ms if they are headers and nothing else. So do records of a larger one.
_BATCH_AT_ONCE_BYTES = 256 * 1024
_RECORD_AT_ONCE_BYTES = 16 * 1024

# So many records take little memory, whatever they are.
MANY_PARTS = 100_000
# Each takes two bytes and its name of a batch's metered size.
MAX_BATCH_HEADERS = MAX_BATCH_BYTES // (HEADER_OVERHEAD_BYTES + 1)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from s2cli.wire.s2_pb2 import Header

    # Bodies, the timestamp of each if they have any, `match_seq_num`, `fencing_token`
    BodiesOnly = tuple[list[bytes], list[int] | None, int | None, str | None]


def split_append(data: bytes) -> BodiesOnly | None:
    """What an AppendInput holds whose records are bodies, with a timestamp each or with none; None for any other, and
    for one of more records than a batch may have.

    Exactness by equality: what the merged view found is encoded anew and compared, so a header, an unknown field or an
    unusual encoding always ends in None. Comparing sizes would not be enough.
    """
    try:
        view = MergedAppendInput.FromString(data)
    except DecodeError:
        return None
    count = len(view.records.body)
    if count > MAX_BATCH_RECORDS or len(view.records.timestamp) not in (0, count):
        return None  # no batch: not worth a million objects
    bodies = list(view.records.body)
    timestamps = list(view.records.timestamp) or None
    match_seq_num = view.match_seq_num if view.HasField("match_seq_num") else None
    fencing_token = view.fencing_token if view.HasField("fencing_token") else None
    token_bytes = None if fencing_token is None else fencing_token.encode()
    if encode_append(bodies, match_seq_num, token_bytes, timestamps) == data:
        return bodies, timestamps, match_seq_num, fencing_token
    if timestamps is not None:
        return None
    # Empty bodies leave no trace in the merged view: the raw records say where they were.
    try:
        if count_records(data, MAX_BATCH_RECORDS) > MAX_BATCH_RECORDS:
            return None
    except ProtocolError:
        return None
    raw = RawRecords.FromString(data).records
    if len(raw) == len(bodies):
        return None
    rest = iter(bodies)
    bodies = [next(rest, b"") if record else b"" for record in raw]
    if encode_append(bodies, match_seq_num, token_bytes) == data:
        return bodies, None, match_seq_num, fencing_token
    return None


def decode_append(data: bytes) -> AppendInput:
    """Any AppendInput. Raises ProtocolError."""
    try:
        return AppendInput.FromString(data)
    except DecodeError as error:
        raise _no_append(error) from error


def split_records(data: bytes) -> RawAppendInput:
    """Any AppendInput, its records undecoded. Raises ProtocolError."""
    try:
        return RawAppendInput.FromString(data)
    except DecodeError as error:
        raise _no_append(error) from error


def decode_record(data: bytes) -> AppendRecord:
    """Any AppendRecord. Raises ProtocolError."""
    try:
        return AppendRecord.FromString(data)
    except DecodeError as error:
        raise _no_append(error) from error


def record_pieces(record: bytes, most_headers: int) -> Iterator[AppendRecord]:
    """An AppendRecord in pieces, so that others may have their turn between two: each has so many headers at most, and
    the last has no header, and all else. Raises ProtocolError."""
    others: list[bytes] = []
    for begin, end, is_headers in runs_of_field(record, 0x12, most_headers):
        piece = record[begin:end]
        if is_headers:
            yield decode_record(piece)
        else:
            others.append(piece)
    yield decode_record(b"".join(others))


def _no_append(error: DecodeError) -> ProtocolError:
    return ProtocolError(f"Failed to decode an AppendInput: {error}")


def read_bodies(data: bytes, first_seq_num: int) -> list[bytes] | None:
    """The bodies of a ReadBatch that starts at `first_seq_num`, has no gap, no header and no body left out; else None.

    Each record leaves at most one body in the merged view, and sequence numbers only rise: so if there are as many
    bodies as numbers from the first to the last, every record has one. (An empty body counts where it is spelled out,
    as encode_records does; protobuf leaves it out.)
    """
    try:
        records = MergedReadBatch.FromString(data).records
    except DecodeError as error:
        raise ProtocolError(f"the server sent a batch that cannot be read: {error}") from error
    if len(records.body) != records.seq_num + 1 - first_seq_num or records.headers:
        return None
    _check_count(len(records.body), MAX_BATCH_RECORDS, "records")
    return list(records.body)


def read_timed_bodies(data: bytes, first_seq_num: int) -> tuple[list[bytes], list[int]] | None:
    """The same bodies, and the timestamp of each record; None too where a timestamp is left out, or they fall."""
    try:
        records = TimedReadBatch.FromString(data).records
    except DecodeError as error:
        raise ProtocolError(f"the server sent a batch that cannot be read: {error}") from error
    count = len(records.body)
    if not count or count != records.seq_num + 1 - first_seq_num or records.headers or len(records.timestamp) != count:
        return None
    _check_count(count, MAX_BATCH_RECORDS, "records")
    timestamps = list(records.timestamp)
    if timestamps.count(timestamps[0]) != count and timestamps != sorted(timestamps):
        return None
    return list(records.body), timestamps


def decode_read(data: bytes) -> ReadBatch:
    """Any ReadBatch. Raises ProtocolError."""
    try:
        return ReadBatch.FromString(data)
    except DecodeError as error:
        raise ProtocolError(f"the server sent a batch that cannot be read: {error}") from error


def records_in_runs(
    data: bytes, most_headers: int, skip: int = 0
) -> Iterator[tuple[Sequence[Header], SequencedRecord | None]]:
    """The records of a ReadBatch after the first `skip`, so that others may have their turn in the middle of one: some
    of its headers and None, at last the rest of them and the record. Raises ProtocolError."""
    records: Iterable[SequencedRecord | bytes]
    if len(data) <= _BATCH_AT_ONCE_BYTES:
        records = decode_read(data).records[skip:]
    else:
        records = RawRecords.FromString(data).records[skip:]
    for record in records:
        if isinstance(record, bytes):
            if len(record) > _RECORD_AT_ONCE_BYTES:
                yield from _record_in_runs(record, most_headers)
                continue
            record = SequencedRecord.FromString(record)
        headers = record.headers
        count = len(headers)
        if count <= most_headers:
            yield headers, record
            continue
        for at in range(0, count, most_headers):
            yield headers[at : at + most_headers], None if at + most_headers < count else record


def _record_in_runs(record: bytes, most_headers: int) -> Iterator[tuple[Sequence[Header], SequencedRecord | None]]:
    others: list[bytes] = []
    for begin, end, is_headers in runs_of_field(record, 0x1A, most_headers):
        if is_headers:
            yield SequencedRecord.FromString(record[begin:end]).headers, None
        else:
            others.append(record[begin:end])
    yield (), SequencedRecord.FromString(b"".join(others))


def decode_received(data: bytes) -> ReadBatch:
    """A ReadBatch from a server that need not be honest. Raises ProtocolError, also beyond the limits of a batch."""
    try:
        # Each record and each header becomes an object, of as little as two bytes.
        if len(data) > 2 * MANY_PARTS:
            _check_count(len(RawRecords.FromString(data).records), MAX_BATCH_RECORDS, "records")
        if len(data) > 2 * MAX_BATCH_HEADERS:
            _check_count(len(MergedReadBatch.FromString(data).records.headers), MAX_BATCH_HEADERS, "headers")
    except DecodeError as error:
        raise ProtocolError(f"the server sent a batch that cannot be read: {error}") from error
    batch = decode_read(data)
    _check_count(len(batch.records), MAX_BATCH_RECORDS, "records")
    return batch


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise ProtocolError(f"the server sent a batch of {count} {what}, the limit is {limit}")


def cut(data: bytes, skip: int, keep: int) -> bytes:
    """The ReadBatch bytes of `keep` records after the first `skip` of a ReadBatch without a tail."""
    view = RawRecords.FromString(data)
    del view.records[skip + keep :]
    del view.records[:skip]
    return view.SerializeToString()
