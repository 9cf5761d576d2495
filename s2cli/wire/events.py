"""Server-sent events (protocol section 5.6): bytes into events, and what they carry: batches as JSON, names and bodies
in Base64."""

from __future__ import annotations

from binascii import a2b_base64

from s2cli.errors import STATUS_BY_CODE, ApiError, ProtocolError, S2Error, error_from_response
from s2cli.wire.batch import MAX_BATCH_RECORDS
from s2cli.wire.content import is_u64, parse_json
from s2cli.wire.s2_pb2 import ReadBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DONE = b"[DONE]"
# With all that stands before it. The longest batch there is takes 5 MiB.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventReader:
    """Takes bytes in any pieces and gives the events that are complete in them (HTML standard, 9.2.6)."""

    __slots__ = ("_after_return", "_data", "_line", "_name", "pending_bytes")

    def __init__(self) -> None:
        self._line: list[bytes] = []  # an incomplete line, joined when it is whole
        self._after_return = False  # a line ended with CR: an LF that follows belongs to it
        self._name = b""
        self._data: list[bytes] = []
        self.pending_bytes = 0  # since the last event, comments and all

    def events(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Name and data of each event, one by one. Raises ProtocolError for one of more than MAX_EVENT_BYTES."""
        for line in self._lines(data):
            if line:
                self._take(line)
                continue
            name, parts = self._name, self._data
            self._name, self._data = b"", []
            if parts:
                self.pending_bytes = 0
                yield name.decode("utf-8", "replace"), b"\n".join(parts)

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")

    def _lines(self, data: bytes) -> Iterator[bytes]:
        ends_with_return = data.endswith(b"\r") or (self._after_return and not data)
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = ends_with_return
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            line = data[at:end]
            self._count(len(line) + 1)
            if self._line:
                line = b"".join([*self._line, line])
                self._line = []
            yield line
            at = end + 1
        if at < len(data):
            self._count(len(data) - at)
            self._line.append(data[at:])

    def _count(self, size: int) -> None:
        self.pending_bytes += size
        if self.pending_bytes > MAX_EVENT_BYTES:
            raise ProtocolError(f"the server sent an event of more than {MAX_EVENT_BYTES} bytes")


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
