"""What server-sent events carry (protocol section 5.6): batches as JSON, names and bodies in Base64."""

from __future__ import annotations

import json
from binascii import a2b_base64

from s2cli.errors import STATUS_BY_CODE, ApiError, ProtocolError, S2Error, error_from_response
from s2cli.wire.s2_pb2 import ReadBatch

DONE = "[DONE]"


def decode_batch(data: str) -> ReadBatch:
    """Raises ProtocolError."""
    batch = ReadBatch()
    try:
        for record in json.loads(data)["records"]:
            body = a2b_base64(record.get("body", ""))
            added = batch.records.add(seq_num=record["seq_num"], timestamp=record["timestamp"], body=body)
            for name, value in record.get("headers", ()):
                added.headers.add(name=a2b_base64(name), value=a2b_base64(value))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError("the server sent an event that is no batch") from error
    return batch


def decode_ping(data: str) -> int | None:
    """The sequence number of the tail, where the ping names it. Raises ProtocolError."""
    try:
        tail = json.loads(data).get("tail")
        return None if tail is None else int(tail["seq_num"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError("the server sent an event that is no ping") from error


def decode_error(data: str) -> S2Error:
    error = error_from_response(500, data.encode())
    if isinstance(error, ApiError) and error.code in STATUS_BY_CODE:
        return ApiError(error.code, error.message)
    return error
