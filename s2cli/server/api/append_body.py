"""Parses and checks the batch in the body of an append (protocol sections 4.1 to 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from s2cli.errors import ApiError, BadValueError, ProtocolError
from s2cli.server.core.batch import Batch
from s2cli.server.core.turnstile import in_one_go
from s2cli.wire.messages import decode_append, decode_record, record_pieces, split_append, split_records
from s2cli.wire.names import check_fencing_token
from s2cli.wire.protobuf import (
    MAX_BATCH_RECORDS,
    RECORD_OVERHEAD_BYTES,
    count_records,
    encode_header,
    metered_bodies_bytes,
)
from s2cli.wire.record_rules import check_batch, check_record_size, command_of, metered_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from s2cli.server.core.batch import Record
    from s2cli.server.core.turnstile import Steps
    from s2cli.wire.messages import BodiesOnly
    from s2cli.wire.s2_pb2 import AppendInput, AppendRecord
    from s2cli.wire.views_pb2 import RawAppendInput

    # Its own timestamp or None, its headers as they came, its body.
    GivenRecord = tuple[int | None, Sequence[Any], bytes]

# What is done in one step with the headers of a batch: some 2 ms.
HEADERS_IN_A_ROW = 2048
# Smaller messages become objects at once: 5 ms if they are headers and nothing else.
_AT_ONCE_BYTES = 256 * 1024
# The same for one record of a larger one.
_RECORD_AT_ONCE_BYTES = 16 * 1024

# From this size of its first record on a batch is taken apart by hand: it has few records then, and their bodies need
# not be copied (100 kB records: 280 -> 323 MiB/s; at 4 kB both ways take the same time).
LARGE_RECORD_BYTES = 8192


def parse_proto(data: bytes) -> Batch:
    """The batch in an AppendInput. Raises ApiError `bad_proto`, or BadValueError for one that breaks a rule."""
    return _bodies_alone(data) or in_one_go(_proto_records(data))


def proto_steps(data: bytes) -> Steps[Batch]:
    """`parse_proto` in steps: a record may have 349,522 headers (protocol section 4.4), which take 200 ms."""
    batch = _bodies_alone(data)
    if batch is not None:
        return batch
    yield
    return (yield from _proto_records(data))


def _bodies_alone(data: bytes) -> Batch | None:
    """The batch of an AppendInput whose records are bodies, with or without timestamps; None for any other."""
    found = _scan_large(data) if _first_record_bytes(data) >= LARGE_RECORD_BYTES else None
    if found is None:
        found = split_append(data)
    if found is None:
        return None
    bodies, timestamps, match_seq_num, fencing_token = found
    if fencing_token is not None:
        check_fencing_token(fencing_token)
    return of_bodies(bodies, match_seq_num, fencing_token, timestamps)


def _proto_records(data: bytes) -> Steps[Batch]:
    try:
        check_count(count_records(data, MAX_BATCH_RECORDS))
        given: Iterable[GivenRecord | Iterator[GivenRecord]]
        message: AppendInput | RawAppendInput
        if len(data) <= _AT_ONCE_BYTES:
            message = decode_append(data)
            given = map(_of_message, message.records)
        else:
            message = split_records(data)
            given = map(_of_raw, message.records)
        yield
        fencing_token = message.fencing_token if message.HasField("fencing_token") else None
        if fencing_token is not None:
            check_fencing_token(fencing_token)
        match_seq_num = message.match_seq_num if message.HasField("match_seq_num") else None
        return (yield from of_records(given, lambda header: (header.name, header.value), match_seq_num, fencing_token))
    except ProtocolError as error:
        raise ApiError("bad_proto", error.message) from error


def _of_raw(record: bytes) -> GivenRecord | Iterator[GivenRecord]:
    if len(record) <= _RECORD_AT_ONCE_BYTES:
        return _of_message(decode_record(record))
    return map(_of_message, record_pieces(record, HEADERS_IN_A_ROW))


def _of_message(record: AppendRecord) -> GivenRecord:
    return record.timestamp if record.HasField("timestamp") else None, record.headers, record.body


def check_count(count: int) -> None:
    """Refuses too many records before any work is done for each: there may be a million, and others wait meanwhile."""
    if count > MAX_BATCH_RECORDS:
        check_batch(count, 0)


def of_bodies(
    bodies: list[bytes], match_seq_num: int | None, fencing_token: str | None, timestamps: list[int] | None = None
) -> Batch:
    return Batch(bodies, [], [], metered_bodies_bytes(bodies), match_seq_num, fencing_token, timestamps)


def of_records(
    given: Iterable[GivenRecord | Iterator[GivenRecord]],
    pair_of: Callable[[Any], tuple[bytes, bytes]],
    match_seq_num: int | None,
    fencing_token: str | None,
) -> Steps[Batch]:
    """The batch of the records `given`, whose headers `pair_of` makes pairs of a name and a value. A record of many
    headers comes in parts, of which the last has its timestamp and its body."""
    records: list[Record] = []
    commands = []
    has_bodies_alone = True
    size_bytes = 0
    headers_left = HEADERS_IN_A_ROW
    for number, record in enumerate(given):
        if not isinstance(record, tuple) or len(record[1]) > HEADERS_IN_A_ROW:
            has_bodies_alone = False
            record_bytes, stored, command = yield from _encode_many(_in_parts(record), pair_of)
            if command is not None:
                commands.append((number, command, stored[2]))
            size_bytes += record_bytes
            records.append(stored)
            continue
        timestamp, headers, body = record
        if not headers:
            has_bodies_alone = has_bodies_alone and timestamp is None
            record_bytes, encoded = RECORD_OVERHEAD_BYTES + len(body), b""
            check_record_size(record_bytes)
        else:
            has_bodies_alone = False
            pairs = [pair_of(header) for header in headers]
            record_bytes = metered_bytes(body, pairs)
            check_record_size(record_bytes)
            command = command_of(body, pairs)
            if command is not None:
                commands.append((number, command, body))
            encoded = b"".join(map(encode_header, pairs))
            headers_left -= len(pairs)
            if headers_left < 0:
                headers_left = HEADERS_IN_A_ROW
                yield
        size_bytes += record_bytes
        records.append((timestamp, encoded, body))
    if has_bodies_alone:
        return of_bodies([body for _, _, body in records], match_seq_num, fencing_token)
    return Batch(None, records, commands, size_bytes, match_seq_num, fencing_token)


def _in_parts(record: GivenRecord | Iterator[GivenRecord]) -> Iterator[GivenRecord]:
    if not isinstance(record, tuple):
        yield from record
        return
    timestamp, headers, body = record
    for at in range(0, len(headers), HEADERS_IN_A_ROW):
        yield None, headers[at : at + HEADERS_IN_A_ROW], b""
    yield timestamp, (), body


def _encode_many(
    parts: Iterator[GivenRecord], pair_of: Callable[[Any], tuple[bytes, bytes]]
) -> Steps[tuple[int, Record, bytes | None]]:
    """The metered size of a record, the record, and the command that it is. Raises BadValueError as soon as it is too
    large."""
    record_bytes = RECORD_OVERHEAD_BYTES
    encoded = []
    has_empty_name = False
    count = 0
    first: list[tuple[bytes, bytes]] = []
    timestamp, body = None, b""
    for timestamp, headers, body in parts:  # noqa: B007 - the last one counts
        pairs = [pair_of(header) for header in headers]
        has_empty_name = has_empty_name or not all(name for name, _ in pairs)
        count += len(pairs)
        if has_empty_name and count > 1:
            raise BadValueError("invalid header: empty name")
        first = first or pairs
        record_bytes += metered_bytes(body, pairs) - RECORD_OVERHEAD_BYTES
        check_record_size(record_bytes)
        encoded.append(b"".join(map(encode_header, pairs)))
        yield
    return record_bytes, (timestamp, b"".join(encoded), body), command_of(body, first) if has_empty_name else None


def _first_record_bytes(data: bytes) -> int:
    """The size of the first record if its length has two or three bytes, else 0: then it is small, or no record."""
    if len(data) < 4 or data[0] != 0x0A or data[1] < 0x80:
        return 0
    if data[2] < 0x80:
        return data[1] & 0x7F | data[2] << 7
    return data[1] & 0x7F | (data[2] & 0x7F) << 7 | (data[3] & 0x7F) << 14


def _scan_large(data: bytes) -> BodiesOnly | None:
    """Like `split_append`, for records that are worth it: the bodies are views into `data`."""
    view = memoryview(data)
    bodies: list[memoryview] = []
    at = 0
    try:
        while at < len(data) and data[at] == 0x0A:
            size, at = _varint(data, at + 1)
            end = at + size
            if end > len(data) or data[at] != 0x1A:
                return None
            size, at = _varint(data, at + 1)
            if at + size != end:
                return None
            bodies.append(view[at:end])
            check_count(len(bodies))
            at = end
    except IndexError:
        return None
    # What follows the records; anything strange in there is found by that function.
    rest = split_append(data[at:])
    if rest is None or rest[0]:
        return None
    return cast("list[bytes]", bodies), None, *rest[2:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A length of at most three bytes; a longer one raises IndexError, as one that is cut short does."""
    value = 0
    for shift in (0, 7, 14):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
