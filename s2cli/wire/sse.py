"""What server-sent events carry (protocol section 5.6): batches as JSON, names and bodies in Base64."""

from __future__ import annotations

from binascii import a2b_base64

from s2cli.errors import STATUS_BY_CODE, ApiError, ProtocolError, S2Error, error_from_response
from s2cli.wire.compression import is_u64, parse_json
from s2cli.wire.protobuf import MAX_BATCH_RECORDS
from s2cli.wire.s2_pb2 import ReadBatch

DONE = b"[DONE]"


def decode_batch(data: bytes) -> ReadBatch:
    """Raises ProtocolError."""
    batch = ReadBatch()
    try:
        records = parse_json(data)["records"]  # type: ignore[index]  # what has no members is a TypeError
        if len(records) > MAX_BATCH_RECORDS:
            raise ProtocolError(f"the server sent a batch of {len(records)} records, more than {MAX_BATCH_RECORDS}")
        for record in records:
            body = a2b_base64(record.get("body", ""))
            added = batch.records.add(seq_num=record["seq_num"], timestamp=record["timestamp"], body=body)
            for name, value in record.get("headers", ()):
                added.headers.add(name=a2b_base64(name), value=a2b_base64(value))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the server sent an event that is no batch") from error
    return batch


def decode_ping(data: bytes) -> int | None:
    """The sequence number of the tail, where the ping names it. Raises ProtocolError."""
    try:
        tail = parse_json(data).get("tail")  # type: ignore[attr-defined]  # what has no members is an AttributeError
        seq_num = None if tail is None else tail["seq_num"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the server sent an event that is no ping") from error
    if seq_num is not None and not is_u64(seq_num):
        raise ProtocolError("the server sent an event that is no ping")
    return seq_num


def decode_error(data: bytes) -> S2Error:
    error = error_from_response(500, data)
    if isinstance(error, ApiError) and error.code in STATUS_BY_CODE:
        return error_from_response(STATUS_BY_CODE[error.code], data)
    return error
