"""What the frames of an HTTP/2 client mean (RFC 9113, 5 and 6): which request has begun, which body goes on, what is no
HTTP/2. The connection (http2_connection.py) says what becomes of it.

Whatever costs a client little and us more has a budget; the rest is bounded by windows and the number of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from s2cli.server.http.http2_exchange import StreamState
from s2cli.server.http.http2_floods import (
    ANSWER_GAIN,
    COSTS,
    MAX_RESETS,
    REFUSED_HEAD_COST,
    RESETS_PER_S,
    SMALL_DATA_BYTES,
    UNKNOWN_COST,
    Budget,
)
from s2cli.server.http.http2_flow import CONNECTION_WINDOW_BYTES, ReceiveWindow
from s2cli.server.http.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LEAST_FRAME_BYTES,
    MAX_FRAME_SIZE,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionFaultError,
    ErrorCode,
    FrameReader,
    StreamFaultError,
    frame,
    reset,
    settings_in,
    unpadded,
    window_update,
    word,
)
from s2cli.server.http.http2_head import HeadDecoder, MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.http.http2_exchange import Http2Exchange
    from s2cli.server.http.http2_flow import Sender
    from s2cli.server.http.http2_head import Head

# Of frames in one turn of the loop, 5 ms. A head counts several times, and what is decoded beside that.
MAX_TURN = 2000
HEAD_TURNS = 5
# Streams that we gave up while their request was coming: what was under way of these is no error.
MAX_GIVEN_UP = 1000


class Streams(Protocol):
    """What becomes of it."""

    streams: dict[int, Http2Exchange]
    sender: Sender

    @property
    def takes_requests(self) -> bool:
        """Whether there is room for one more."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether nothing more is to be taken."""
        ...

    def open(self, number: int, head: Head, *, has_come: bool) -> None: ...

    def refuse(self, number: int, status: int) -> None:
        """An answer that is not the application's."""
        ...

    def close(self, exchange: Http2Exchange) -> None: ...

    def end_soon(self) -> None: ...


class Incoming:
    """What comes over one connection."""

    __slots__ = (
        "_budget",
        "_connection",
        "_given_up",
        "_heads",
        "_now",
        "_reader",
        "_resets",
        "_window",
        "has_settings",
        "heads",
        "last_stream",
    )

    def __init__(self, connection: Streams, now: Callable[[], float], heads: HeadDecoder, budget: Budget) -> None:
        self.has_settings = False  # the first thing that a client sends
        self.last_stream = 0
        self.heads = 0  # that have come
        self._connection = connection
        self._now = now
        self._budget = budget
        self._resets = Budget(MAX_RESETS, RESETS_PER_S, now())
        self._reader = FrameReader()
        self._heads = heads
        self._window = ReceiveWindow(CONNECTION_WINDOW_BYTES)
        self._given_up: dict[int, None] = {}

    @property
    def is_in_head(self) -> bool:
        """Whether a head has begun, or the settings that come first, and is not whole."""
        return not self.has_settings or self._heads.is_in_block or self._reader.awaits_head

    def kept_bytes(self) -> int:
        return self._reader.kept_bytes + self._heads.block_bytes

    def gave_up(self, number: int) -> None:
        """We ended a stream whose request is still coming."""
        self._given_up[number] = None
        if len(self._given_up) > MAX_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]

    def answered(self) -> None:
        self._budget.earn(ANSWER_GAIN)
        self._resets.earn(1)

    def take(self, data: memoryview) -> bool:
        """Takes the frames in `data`, which may be overwritten then, and in what was left before; whether some are
        left for the next turn of the loop. Raises ConnectionFaultError."""
        self._reader.feed(data)
        try:
            return self._take_frames()
        finally:
            self._reader.keep()

    def _take_frames(self) -> bool:
        left = MAX_TURN
        reader, heads, connection = self._reader, self._heads, self._connection
        decoded = heads.cost
        while (one := reader.next_frame()) is not None:
            kind, flags, number, contents = one
            if heads.is_in_block != (kind == CONTINUATION):
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
            if not self.has_settings and (kind != SETTINGS or flags & ACK):
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
            left -= 1
            take = _TAKES.get(kind)
            try:
                if take is None:
                    self._spend(UNKNOWN_COST)
                else:
                    take(self, flags, number, contents)
            except StreamFaultError as fault:
                self._on_fault(fault)
            if connection.has_failed:
                return False
            if kind in (HEADERS, CONTINUATION):
                left -= HEAD_TURNS + heads.cost - decoded
                decoded = heads.cost
            if left <= 0 and not reader.is_empty:
                return True
        return False

    def _on_fault(self, fault: StreamFaultError) -> None:
        self._resets.spend(1, self._now())
        number = fault.stream
        exchange = self._connection.streams.get(number)
        if exchange is not None:
            self._connection.close(exchange)
        self.gave_up(number)
        self._connection.sender.put(reset(number, fault.code))

    def _spend(self, cost: int) -> None:
        self._budget.spend(cost, self._now())

    def _on_data(self, flags: int, number: int, contents: bytes) -> None:
        size = len(contents)
        if not self._window.receive(size):
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR)
        if (given := self._window.give(size)) != 0:
            self._connection.sender.put(window_update(0, given))
        exchange = self._connection.streams.get(number)
        is_end = flags & END_STREAM != 0
        if exchange is None or exchange.state is not StreamState.OPEN:
            self._check_begun(number)
            self._spend(COSTS[DATA])
            if number not in self._given_up:
                raise StreamFaultError(number, ErrorCode.STREAM_CLOSED)
            return
        if size < SMALL_DATA_BYTES:
            if not is_end:
                self._spend(COSTS[DATA])
        else:
            self._budget.earn(COSTS[DATA])
        data = unpadded(flags, contents)
        if not exchange.receive_window.receive(size):
            raise StreamFaultError(number, ErrorCode.FLOW_CONTROL_ERROR)
        if len(data) < size and not is_end:
            self.give(exchange, size - len(data))  # the padding
        if exchange.left_bytes is not None:
            exchange.left_bytes -= len(data)
            if exchange.left_bytes < 0 or (is_end and exchange.left_bytes):
                raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)
        if data:
            exchange.take(data)
        if is_end:
            exchange.complete()
        exchange.deliver()

    def _on_headers(self, flags: int, number: int, contents: bytes) -> None:
        if not number & 1:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        block = unpadded(flags, contents)
        if flags & WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
            depends_on_itself = word(block) == number
            block = block[5:]
        else:
            depends_on_itself = False
        is_end = flags & END_STREAM != 0
        if not flags & END_HEADERS:
            self._heads.begin(number, block, is_end=is_end)
        else:
            self._on_block(number, block, is_end=is_end)
        if depends_on_itself:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)

    def _on_continuation(self, flags: int, number: int, contents: bytes) -> None:
        whole = self._heads.go_on(number, contents, is_last=flags & END_HEADERS != 0)
        if whole is not None:
            self._on_block(number, whole[0], is_end=whole[1])

    def _on_block(self, number: int, block: bytes, *, is_end: bool) -> None:
        self.heads += 1
        if number <= self.last_stream:
            self._on_trailers(number, block, is_end=is_end)
            return
        self.last_stream = number
        if not self._connection.takes_requests:
            self._heads.skip(block)
            raise StreamFaultError(number, ErrorCode.REFUSED_STREAM)
        try:
            head = self._heads.request(block)
        except MalformedError:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR) from None
        if is_end and head.length:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)
        if head.refusal:
            self._spend(REFUSED_HEAD_COST)
            self._connection.refuse(number, head.refusal)
            if not is_end:
                self.gave_up(number)
                self._connection.sender.put(reset(number, ErrorCode.NO_ERROR))
            return
        self._connection.open(number, head, has_come=is_end)

    def _on_trailers(self, number: int, block: bytes, *, is_end: bool) -> None:
        """Of a request whose body is complete with them; what they say is of no use."""
        exchange = self._connection.streams.get(number)
        is_open = exchange is not None and exchange.state is StreamState.OPEN
        try:
            self._heads.skip(block, may_have_pseudo=not is_open)
        except MalformedError:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR) from None
        if exchange is None or exchange.state is not StreamState.OPEN:
            self._spend(COSTS[DATA])
            if number not in self._given_up:
                raise ConnectionFaultError(ErrorCode.STREAM_CLOSED)
        elif not is_end or exchange.left_bytes:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)
        else:
            exchange.complete()
            exchange.deliver()

    def _on_priority(self, flags: int, number: int, contents: bytes) -> None:
        self._spend(COSTS[PRIORITY])
        if not number:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        if len(contents) != 5:
            raise StreamFaultError(number, ErrorCode.FRAME_SIZE_ERROR)
        if word(contents) == number:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)

    def _on_reset(self, flags: int, number: int, contents: bytes) -> None:
        if len(contents) != 4:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        self._check_begun(number)
        exchange = self._connection.streams.get(number)
        if exchange is None:
            self._spend(COSTS[RST_STREAM])
        else:
            self._resets.spend(1, self._now())
            self._connection.close(exchange)

    def _on_settings(self, flags: int, number: int, contents: bytes) -> None:
        # Each of them may look at all streams.
        self._spend(COSTS[SETTINGS] * (1 + len(contents) // 6))
        if number:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        if len(contents) % 6 or (flags & ACK and contents):
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        if flags & ACK:
            return
        self.has_settings = True
        for name, value in settings_in(contents):
            if name == INITIAL_WINDOW_SIZE:
                self._connection.sender.resize(value, self._connection.streams.values())
            elif name == MAX_FRAME_SIZE:
                if not LEAST_FRAME_BYTES <= value < 1 << 24:
                    raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
                self._connection.sender.limit_frames(value)
            elif name == ENABLE_PUSH and value > 1:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        self._connection.sender.put(frame(SETTINGS, ACK, 0))

    def _on_push_promise(self, flags: int, number: int, contents: bytes) -> None:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)

    def _on_ping(self, flags: int, number: int, contents: bytes) -> None:
        self._spend(COSTS[PING])
        if number:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        if len(contents) != 8:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        if not flags & ACK:
            self._connection.sender.put(frame(PING, ACK, 0, contents))

    def _on_goaway(self, flags: int, number: int, contents: bytes) -> None:
        self._spend(COSTS[GOAWAY])
        if number:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)
        if len(contents) < 8:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        self._connection.end_soon()

    def _on_window_update(self, flags: int, number: int, contents: bytes) -> None:
        self._spend(COSTS[WINDOW_UPDATE])
        if len(contents) != 4:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR)
        size_bytes = word(contents)
        if not number:
            self._connection.sender.enlarge(size_bytes)
            return
        self._check_begun(number)
        exchange = self._connection.streams.get(number)
        if exchange is not None:
            self._connection.sender.enlarge_of(exchange, size_bytes)
        elif not size_bytes:
            raise StreamFaultError(number, ErrorCode.PROTOCOL_ERROR)

    def give(self, exchange: Http2Exchange, size_bytes: int) -> None:
        """So much of the request was taken."""
        given_bytes = exchange.receive_window.give(size_bytes)
        if given_bytes:
            self._connection.sender.put(window_update(exchange.number, given_bytes))

    def _check_begun(self, number: int) -> None:
        """A stream that nobody has begun has no frames but its head."""
        if not number & 1 or number > self.last_stream:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR)


_TAKES: dict[int, Callable[[Incoming, int, int, bytes], None]] = {
    DATA: Incoming._on_data,
    HEADERS: Incoming._on_headers,
    PRIORITY: Incoming._on_priority,
    RST_STREAM: Incoming._on_reset,
    SETTINGS: Incoming._on_settings,
    PUSH_PROMISE: Incoming._on_push_promise,
    PING: Incoming._on_ping,
    GOAWAY: Incoming._on_goaway,
    WINDOW_UPDATE: Incoming._on_window_update,
    CONTINUATION: Incoming._on_continuation,
}
