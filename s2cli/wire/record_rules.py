"""The rules for records and batches (protocol sections 4.3 and 4.4), in one place for both halves.

Each check raises BadValueError, which the API answers as 422 `invalid`.
"""

from __future__ import annotations

from s2cli.errors import BadValueError
from s2cli.wire.names import MAX_FENCING_TOKEN_BYTES
from s2cli.wire.protobuf import (
    HEADER_OVERHEAD_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_RECORD_BYTES,
    RECORD_OVERHEAD_BYTES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[bytes, bytes]]

FENCE = b"fence"
TRIM = b"trim"
TRIM_BODY_BYTES = 8


def metered_bytes(body: bytes, headers: Headers = ()) -> int:
    """The metered size of one record."""
    size = RECORD_OVERHEAD_BYTES + HEADER_OVERHEAD_BYTES * len(headers) + len(body)
    for name, value in headers:
        size += len(name) + len(value)
    return size


def check_record(body: bytes, headers: Headers) -> bytes | None:
    """Checks one record; the command that it is, FENCE or TRIM, or None."""
    check_record_size(metered_bytes(body, headers))
    return command_of(body, headers)


def command_of(body: bytes, headers: Headers) -> bytes | None:
    """The command of a command record, FENCE or TRIM, after checking its form; None for any other record. Does not
    check the size."""
    if all(name for name, _ in headers):
        return None
    if len(headers) != 1:
        raise BadValueError("invalid header: empty name")
    command = headers[0][1]
    if command == FENCE:
        if len(body) > MAX_FENCING_TOKEN_BYTES:
            raise BadValueError(f"invalid fence command: the token has {len(body)} bytes, more than 36")
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadValueError("invalid fence command: the token is not valid UTF-8") from error
        return FENCE
    if command == TRIM:
        if len(body) != TRIM_BODY_BYTES:
            raise BadValueError(f"invalid trim command: the body has {len(body)} bytes, must be 8")
        return TRIM
    # Not more of it than a message can hold: it may have a megabyte.
    raise BadValueError(f"invalid header: unknown command {command[:64].decode('utf-8', 'replace')!r}")


def check_record_size(size_bytes: int) -> None:
    """Checks the metered size of one record."""
    if size_bytes > MAX_RECORD_BYTES:
        raise BadValueError(f"record has a metered size of {size_bytes} bytes, which exceeds 1 MiB")


def check_batch(records: int, size_bytes: int) -> None:
    """Checks a batch of that many records and that metered size."""
    if records == 0:
        raise BadValueError("batch must not be empty")
    if records > MAX_BATCH_RECORDS:
        raise BadValueError(f"batch must not exceed {MAX_BATCH_RECORDS} records, it has {records}")
    if size_bytes > MAX_BATCH_BYTES:
        raise BadValueError(f"batch must not exceed a metered size of 1 MiB, it has {size_bytes} bytes")


def encode_trim_point(seq_num: int) -> bytes:
    """The body of a trim command: the earliest sequence number to keep."""
    return seq_num.to_bytes(TRIM_BODY_BYTES, "big")
