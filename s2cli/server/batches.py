"""What an append brings: one batch, parsed and checked before all else (protocol sections 4.1 to 4.4)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, cast

from s2cli.errors import ApiError, BadValueError, ProtocolError
from s2cli.server.bodies import JsonError, decode_json
from s2cli.server.turnstile import in_one_go
from s2cli.wire.batch import (
    HEADER_OVERHEAD_BYTES,
    MAX_BATCH_RECORDS,
    RECORD_OVERHEAD_BYTES,
    count_records,
    encode_header,
    metered_bodies_bytes,
)
from s2cli.wire.codec import decode_append, split_append
from s2cli.wire.names import check_fencing_token
from s2cli.wire.records import check_batch, check_record_size, command_of, metered_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s2cli.server.turnstile import Steps
    from s2cli.wire.codec import BodiesOnly

    # Its own timestamp or None, its headers as fields of the record that is stored, its body.
    Record = tuple[int | None, bytes, bytes]

MAX_U64 = (1 << 64) - 1

# What is done in one step with the headers of a batch: some 2 ms.
HEADERS_IN_A_ROW = 2048

# From this size of its first record on a batch is taken apart by hand: it has few records then, and their bodies need
# not be copied (100 kB records: 280 -> 323 MiB/s; at 4 kB both ways take the same time).
LARGE_RECORD_BYTES = 8192


class Batch:
    """A batch that keeps all rules which do not depend on the stream. Either `bodies`, where the records are bodies
    alone, or `records`; `commands` are those among the latter: which record, FENCE or TRIM, body."""

    __slots__ = ("bodies", "commands", "count", "fencing_token", "match_seq_num", "metered_bytes", "records")

    def __init__(
        self,
        bodies: list[bytes] | None,
        records: list[Record],
        commands: list[tuple[int, bytes, bytes]],
        metered_bytes: int,
        match_seq_num: int | None,
        fencing_token: str | None,
    ) -> None:
        self.bodies = bodies
        self.records = records
        self.commands = commands
        self.count = len(records) if bodies is None else len(bodies)
        self.metered_bytes = metered_bytes
        self.match_seq_num = match_seq_num
        self.fencing_token = fencing_token
        check_batch(self.count, metered_bytes)


def parse_proto(data: bytes) -> Batch:
    """The batch in an AppendInput. Raises ApiError `bad_proto`, or BadValueError for one that breaks a rule."""
    return _bodies_alone(data) or in_one_go(_proto_records(data))


def parse_json(data: bytes, *, as_base64: bool) -> Batch:
    """The batch in a JSON AppendInput; `as_base64` by the `s2-format` header. Raises ApiError, or BadValueError for one
    that breaks a rule."""
    found = _decode_json(data, as_base64=as_base64)
    return found if isinstance(found, Batch) else in_one_go(found)


def proto_steps(data: bytes) -> Steps[Batch]:
    """`parse_proto` in steps: a record may have 349,522 headers (protocol section 4.4), which take 200 ms."""
    batch = _bodies_alone(data)
    if batch is not None:
        return batch
    yield
    return (yield from _proto_records(data))


def json_steps_base64(data: bytes) -> Steps[Batch]:
    """`parse_json` in steps, of a batch in Base64."""
    return json_steps(data, as_base64=True)


def json_steps(data: bytes, *, as_base64: bool = False) -> Steps[Batch]:
    """`parse_json` in steps."""
    found = _decode_json(data, as_base64=as_base64)
    if isinstance(found, Batch):
        return found
    yield
    return (yield from found)


def _bodies_alone(data: bytes) -> Batch | None:
    """The batch of an AppendInput whose records are bodies alone; None for any other."""
    found = _scan_large(data) if _first_record_bytes(data) >= LARGE_RECORD_BYTES else None
    if found is None:
        found = split_append(data)
    if found is None:
        return None
    bodies, match_seq_num, fencing_token = found
    if fencing_token is not None:
        check_fencing_token(fencing_token)
    return _of_bodies(bodies, match_seq_num, fencing_token)


def _proto_records(data: bytes) -> Steps[Batch]:
    try:
        _check_count(count_records(data, MAX_BATCH_RECORDS))
    except ProtocolError as error:
        raise ApiError("bad_proto", error.message) from error
    message = decode_append(data)
    yield
    fencing_token = message.fencing_token if message.HasField("fencing_token") else None
    if fencing_token is not None:
        check_fencing_token(fencing_token)
    given = (
        (record.timestamp if record.HasField("timestamp") else None, record.headers, record.body)
        for record in message.records
    )
    match_seq_num = message.match_seq_num if message.HasField("match_seq_num") else None
    return (yield from _of_records(given, lambda header: (header.name, header.value), match_seq_num, fencing_token))


def _check_count(count: int) -> None:
    """Refuses too many records before any work is done for each: there may be a million, and others wait meanwhile."""
    if count > MAX_BATCH_RECORDS:
        check_batch(count, 0)


def _of_bodies(bodies: list[bytes], match_seq_num: int | None, fencing_token: str | None) -> Batch:
    return Batch(bodies, [], [], metered_bodies_bytes(bodies), match_seq_num, fencing_token)


def _of_records(
    given: Iterable[tuple[int | None, Sequence[Any], bytes]],
    pair_of: Callable[[Any], tuple[bytes, bytes]],
    match_seq_num: int | None,
    fencing_token: str | None,
) -> Steps[Batch]:
    """The batch of the records `given`, whose headers `pair_of` makes pairs of a name and a value."""
    records: list[Record] = []
    commands = []
    has_bodies_alone = True
    size_bytes = 0
    headers_left = HEADERS_IN_A_ROW
    for number, (timestamp, headers, body) in enumerate(given):
        if not headers:
            has_bodies_alone = has_bodies_alone and timestamp is None
            record_bytes, encoded = RECORD_OVERHEAD_BYTES + len(body), b""
            check_record_size(record_bytes)
        elif len(headers) <= HEADERS_IN_A_ROW:
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
        else:
            has_bodies_alone = False
            record_bytes, encoded = yield from _encode_many(headers, pair_of, body)
        size_bytes += record_bytes
        records.append((timestamp, encoded, body))
    if has_bodies_alone:
        return _of_bodies([body for _, _, body in records], match_seq_num, fencing_token)
    return Batch(None, records, commands, size_bytes, match_seq_num, fencing_token)


def _encode_many(
    headers: Sequence[Any], pair_of: Callable[[Any], tuple[bytes, bytes]], body: bytes
) -> Steps[tuple[int, bytes]]:
    """The metered size of a record, and its headers encoded. There are many, so it is no command."""
    record_bytes = RECORD_OVERHEAD_BYTES + HEADER_OVERHEAD_BYTES * len(headers) + len(body)
    parts = []
    for at in range(0, len(headers), HEADERS_IN_A_ROW):
        check_record_size(record_bytes)
        for header in headers[at : at + HEADERS_IN_A_ROW]:
            pair = pair_of(header)
            if not pair[0]:
                raise BadValueError("invalid header: empty name")
            record_bytes += len(pair[0]) + len(pair[1])
            parts.append(encode_header(pair))
        yield
    check_record_size(record_bytes)
    return record_bytes, b"".join(parts)


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
            _check_count(len(bodies))
            at = end
    except IndexError:
        return None
    # What stands behind the records; anything strange in there is found by that function.
    rest = split_append(data[at:])
    if rest is None or rest[0]:
        return None
    return cast("list[bytes]", bodies), rest[1], rest[2]


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


def _decode_json(data: bytes, *, as_base64: bool) -> Batch | Steps[Batch]:
    """The batch of one body, or what makes any other."""
    try:
        value = decode_json(data, "AppendInput")
    except JsonError as error:
        raise _bad_json(str(error)) from error
    if not isinstance(value, dict):
        raise _bad_json("it must be an object")
    records = value.get("records")
    if not isinstance(records, list):
        raise _bad_json("`records` must be an array" if "records" in value else "missing field `records`")
    _check_count(len(records))
    match_seq_num, fencing_token = value.get("match_seq_num"), value.get("fencing_token")
    if match_seq_num is not None:
        _check_u64(match_seq_num, "match_seq_num")
    if fencing_token is not None:
        try:
            check_fencing_token(_text(fencing_token, "fencing_token"))
        except BadValueError as error:
            raise _bad_json(error.message) from error
    decode = _decode_base64 if as_base64 else _encode_utf8
    if len(records) == 1 and len(record := records[0]) == 1 and "body" in record:
        return _of_bodies([decode(record["body"], "body")], match_seq_num, fencing_token)
    given = (_json_record(record, decode) for record in records)

    def pair_of(header: tuple[str, str]) -> tuple[bytes, bytes]:
        return decode(header[0], "header"), decode(header[1], "header")

    return _of_records(given, pair_of, match_seq_num, fencing_token)


def _json_record(
    record: dict[str, Any], decode: Callable[[Any, str], bytes]
) -> tuple[int | None, list[tuple[str, str]], bytes]:
    timestamp, headers = record.get("timestamp"), record.get("headers")
    if timestamp is not None:
        _check_u64(timestamp, "timestamp")
    if headers is not None and not isinstance(headers, list):
        raise _bad_json("`headers` must be an array")
    return timestamp, headers or [], decode(record.get("body", ""), "body")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _bad_json(f"`{name}` must be a string")
    return value


def _encode_utf8(value: Any, name: str) -> bytes:
    return _text(value, name).encode()


def _decode_base64(value: Any, name: str) -> bytes:
    try:
        return base64.b64decode(_text(value, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("invalid", "invalid Base64 encoding") from error


def _check_u64(value: Any, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_U64:
        raise _bad_json(f"`{name}` must be an integer from 0 to 2^64 - 1")


def _bad_json(why: str) -> ApiError:
    return ApiError("bad_json", f"the body is not a valid append: {why}")
