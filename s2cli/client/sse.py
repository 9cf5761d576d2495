"""Server-sent events (protocol section 5.6): splits the received bytes into events, and decodes their batches (JSON,
with names and bodies in Base64). httpx-sse parses an event; this module finds its end, and limits its size."""

from __future__ import annotations

import sys
from binascii import a2b_base64

from s2cli.errors import STATUS_BY_CODE, ApiError, ProtocolError, S2Error
from s2cli.wire.bodies import error_from_response, is_u64, parse_json
from s2cli.wire.protobuf import MAX_BATCH_RECORDS
from s2cli.wire.s2_pb2 import ReadBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# With all that comes before it. The longest batch there is takes 5 MiB.
MAX_EVENT_BYTES = 16 * 1024 * 1024
DONE = b"[DONE]"

# Where click and rich are installed, httpx imports them for a command line of its own: 50 ms.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how an import is made to fail

from httpx import Response  # noqa: E402  # behind the line above
from httpx_sse import EventSource  # noqa: E402

# As Latin-1 a byte is a character, and takes one byte whatever its neighbours are.
_CHARSET = "latin-1"
_HEADERS = {"content-type": "text/event-stream; charset=iso-8859-1"}


class EventReader:
    """Takes bytes in any pieces and gives the events that are complete in them."""

    __slots__ = ("_after_return", "_parts", "pending_bytes")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of an event that is not complete, joined when it is
        self._after_return = False  # a line ended with CR: an LF that follows belongs to it
        self.pending_bytes = 0  # since the last event, comments and all

    def events(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Name and data of each event, one by one. Raises ProtocolError for one of more than MAX_EVENT_BYTES."""
        for block in self._blocks(data):
            for event in EventSource(Response(200, headers=_HEADERS, content=block)).iter_sse():
                if event.data:
                    self.pending_bytes = 0
                    yield event.event.encode(_CHARSET).decode("utf-8", "replace"), event.data.encode(_CHARSET)

    def _blocks(self, data: bytes) -> Iterator[bytes]:
        """What ends with an empty line, all lines with LF."""
        ends_with_return = data.endswith(b"\r") or (self._after_return and not data)
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = ends_with_return
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        at = 0
        if data.startswith(b"\n") and self._parts and self._parts[-1].endswith(b"\n"):
            at = 1
            yield self._complete(b"\n")
        while (end := data.find(b"\n\n", at)) >= 0:
            block, at = data[at : end + 2], end + 2
            yield self._complete(block)
        if at < len(data):
            self._keep(data[at:])

    def _complete(self, part: bytes) -> bytes:
        self._keep(part)
        block = b"".join(self._parts)
        self._parts.clear()
        return block

    def _keep(self, part: bytes) -> None:
        self.pending_bytes += len(part)
        if self.pending_bytes > MAX_EVENT_BYTES:
            raise ProtocolError(f"the server sent an event of more than {MAX_EVENT_BYTES} bytes")
        self._parts.append(part)


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
        raise ProtocolError("the server sent an event that is not a batch") from error
    return batch


def decode_ping(data: bytes) -> int | None:
    """The sequence number of the tail, where the ping names it. Raises ProtocolError."""
    try:
        tail = parse_json(data).get("tail")  # type: ignore[attr-defined]  # what has no members is an AttributeError
        seq_num = None if tail is None else tail["seq_num"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the server sent an event that is not a ping") from error
    if seq_num is not None and not is_u64(seq_num):
        raise ProtocolError("the server sent an event that is not a ping")
    return seq_num


def decode_error(data: bytes) -> S2Error:
    error = error_from_response(500, data)
    if isinstance(error, ApiError) and error.code in STATUS_BY_CODE:
        return error_from_response(STATUS_BY_CODE[error.code], data)
    return error
