"""Read sessions as server-sent events (protocol section 5.6), for browsers and for clients behind proxies that break
S2S sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.errors import ApiError
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.framing import Framer
from s2cli.server.api.media import EVENT_STREAM
from s2cli.server.api.read_query import MAX_U64, parse_number
from s2cli.server.api.record_json import expansion, render_batch, render_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.errors import S2Error
    from s2cli.server.core.range_scan import ReadQuery
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.exchange import Exchange

EVENT_HEADERS = (
    (b"content-type", EVENT_STREAM),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
DONE = b"data: [DONE]\n\n"


class LastEventId:
    """Where a client left off: the last sequence number that it has got, and how many records and metered bytes, over
    all its connections."""

    __slots__ = ("count", "seq_num", "size_bytes")

    def __init__(self, seq_num: int, count: int, size_bytes: int) -> None:
        self.seq_num = seq_num
        self.count = count
        self.size_bytes = size_bytes


def last_event_id(exchange: Exchange) -> LastEventId | None:
    """What the header `Last-Event-ID` says (protocol section 5.6); None without it. Raises ApiError `bad_header`."""
    value = exchange.fields.get(b"last-event-id")
    if not value:
        return None
    numbers = [parse_number(part.strip().decode("latin-1"), MAX_U64) for part in value.split(b",")]
    known = [number for number in numbers if number is not None]
    if not len(known) == len(numbers) == 3:
        raise ApiError("bad_header", "Invalid header `last-event-id`: must be `seq_num,count,bytes`")
    return LastEventId(*known)


def resume(query: ReadQuery, after: LastEventId) -> None:
    """Makes of a query what is left of it for a client that has got so much already."""
    query.start, query.start_value = "seq_num", min(after.seq_num + 1, MAX_U64)
    if query.count is not None:
        query.count = max(0, query.count - after.count)
    if query.size_bytes is not None:
        query.size_bytes = max(0, query.size_bytes - after.size_bytes)


class EventFramer(Framer):
    """Batches as events. Their ids count on from `after`."""

    __slots__ = ("_as_base64", "_clock_ms", "_count", "_size_bytes")

    def __init__(
        self, exchange: Exchange, after: LastEventId | None, clock_ms: Callable[[], int], *, as_base64: bool
    ) -> None:
        super().__init__(exchange)
        self.expansion = expansion(as_base64=as_base64)
        self._as_base64 = as_base64
        self._clock_ms = clock_ms
        self._count = 0 if after is None else after.count
        self._size_bytes = 0 if after is None else after.size_bytes

    def add(self, parts: list[bytes], metered_bytes: int, tail: tuple[int, int] | None = None) -> Steps[None]:
        batch = yield from render_batch(parts, tail, as_base64=self._as_base64)
        self._count = min(self._count + batch.record_count, MAX_U64)
        self._size_bytes = min(self._size_bytes + metered_bytes, MAX_U64)
        self._queue([b"event: batch\nid: %d,%d,%d\ndata: " % (batch.last_seq_num, self._count, self._size_bytes)])
        for piece in batch.pieces:
            self._queue([piece])
            yield
        self._queue([b"\n\n"])

    def beat(self, tail: tuple[int, int]) -> None:
        text = f'event: ping\ndata: {{"timestamp":{self._clock_ms()},"tail":{render_tail(tail)}}}\n\n'
        self._queue([text.encode()])

    def ending(self, error: S2Error | None, tail: tuple[int, int]) -> bytes:
        if error is None:
            return DONE
        return b"event: error\ndata: %b\n\n" % error_response(error)[1]
