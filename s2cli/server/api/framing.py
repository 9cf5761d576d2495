"""Turns chunks into messages and frames, joined into writes of an efficient size (protocol section 6.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from s2cli.errors import ApiError, S2Error
from s2cli.server.api.error_answers import error_response
from s2cli.wire.frames import MAX_MESSAGE_BYTES, encode_frame, encode_terminal, frame_header
from s2cli.wire.protobuf import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, encode_tail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s2cli.server.core.range_scan import Limits
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.exchange import Exchange
    from s2cli.server.store.interface import Chunk

# Of a stalled reader over HTTP/2 one piece is held, whatever its size.
PIECE_BYTES = 128 * 1024
# Of a message; more are joined before they are cut into pieces, which is quicker then.
MAX_PARTS = 32
# Of a piece that is rather copied than sent in parts.
COPIED_BYTES = 16 * 1024
# What a tail at the end of a message may take.
TAIL_BYTES = 32


class Cursor:
    """Walks over chunks, message by message: small chunks share one, and limits cut the first and the last. It lets go
    of what it has given."""

    __slots__ = ("_chunks", "_limits", "end_seq_num", "is_whole", "metered_bytes", "next_seq_num")

    def __init__(self, chunks: Iterable[Chunk], next_seq_num: int, limits: Limits) -> None:
        self._chunks = deque(chunks)
        self._limits = limits
        self.next_seq_num = next_seq_num
        self.end_seq_num = next_seq_num  # behind the last record that was given: limits may have cut some off
        # Of the last message, and whether it has all records of its chunks.
        self.metered_bytes = 0
        self.is_whole = False

    def let_go(self) -> None:
        """Drops what it has not given."""
        self._chunks.clear()

    def message(self) -> Steps[list[bytes]]:
        """The parts of the next message; none at the end, and when the limits are reached. Raises ApiError where a
        sealed chunk cannot be opened, after all that comes before it."""
        parts: list[bytes] = []
        self.metered_bytes = 0
        self.is_whole = True
        count = metered_bytes = size_bytes = 0
        while self._chunks and not self._limits.reached:
            chunk = self._chunks[0]
            count += chunk.count
            metered_bytes += chunk.metered_bytes
            size_bytes += len(chunk.data)
            if parts and (
                count > MAX_BATCH_RECORDS
                or metered_bytes > MAX_BATCH_BYTES
                or size_bytes > MAX_MESSAGE_BYTES - TAIL_BYTES
            ):
                break
            try:
                part = yield from self._limits.steps(chunk, self.next_seq_num)
            except S2Error:
                if parts:
                    break  # what comes before it first; the next call raises
                raise
            self.next_seq_num = chunk.end_seq_num
            self._chunks.popleft()
            self.is_whole = self.is_whole and part is chunk
            if part is not None:
                parts.append(part.data)
                self.end_seq_num = part.end_seq_num
                self.metered_bytes += part.metered_bytes
        return parts


class Framer(ABC):
    """Sends messages. Only whole ones are ever under way, so a session may end after any of them."""

    __slots__ = ("_at", "_exchange", "_waiting", "_waiting_bytes", "expansion", "sends_shared", "waits_for_room")

    def __init__(self, exchange: Exchange) -> None:
        self.sends_shared = False  # whether what it would send is what a Shared holds
        self.expansion = 0  # how many times the size of a batch is made of it; 0 where it goes as it is
        # Whether pieces are written only as far as there is room; the others wait for `go_on`.
        self.waits_for_room = False
        self._exchange = exchange
        self._waiting: list[bytes] = []
        self._at = 0  # where what is left of the first of them begins
        self._waiting_bytes = 0

    @abstractmethod
    def add(self, parts: list[bytes], metered_bytes: int, tail: tuple[int, int] | None = None) -> Steps[None]:
        """Send a batch of these parts, now or with `flush`. One that was just made durable, or ends at the tail, comes
        with it: so its reader knows that he has caught up."""

    @abstractmethod
    def beat(self, tail: tuple[int, int]) -> None:
        """Send a sign of life, with `flush`."""

    @abstractmethod
    def ending(self, error: S2Error | None, tail: tuple[int, int]) -> bytes:
        """What the client gets last."""

    def _queue(self, message: list[bytes]) -> None:
        self._waiting += message
        self._waiting_bytes += sum(map(len, message))
        if self._waiting_bytes >= PIECE_BYTES:
            if self.waits_for_room:
                self.go_on()
            else:
                self.flush()

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    @property
    def has_piece(self) -> bool:
        """Whether a piece waits for room."""
        return self._waiting_bytes >= PIECE_BYTES

    def go_on(self) -> None:
        """Writes the pieces that wait, as far as there is room."""
        while self._waiting_bytes >= PIECE_BYTES and not self._exchange.is_blocked:
            self._write_piece()

    def flush(self) -> None:
        """Writes all that waits."""
        while self._waiting_bytes:
            self._write_piece()

    def _write_piece(self) -> None:
        """Writes a piece of what waits."""
        waiting, left_bytes = self._waiting, self._waiting_bytes
        # A rest of less than half a piece goes with the last one.
        if left_bytes <= PIECE_BYTES + PIECE_BYTES // 2:
            if self._at:
                waiting[0] = waiting[0][self._at :]
            self._waiting, self._at, self._waiting_bytes = [], 0, 0
            if left_bytes < COPIED_BYTES or len(waiting) > MAX_PARTS:
                self._exchange.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
            else:
                self._exchange.write_parts(waiting, left_bytes)
            return
        if len(waiting) > MAX_PARTS:
            waiting[:] = [b"".join(waiting)[self._at :]]
            self._at = 0
        piece: list[memoryview] = []
        room_bytes = PIECE_BYTES
        while room_bytes:
            view = memoryview(waiting[0])[self._at : self._at + room_bytes]
            piece.append(view)
            room_bytes -= len(view)
            self._at += len(view)
            if self._at == len(waiting[0]):
                del waiting[0]
                self._at = 0
        self._waiting_bytes = left_bytes - PIECE_BYTES
        self._exchange.write_parts(piece, PIECE_BYTES)

    @property
    def can_let_go(self) -> bool:
        """Whether what waits is of the last message, and can be made again from its parts."""
        return False

    def let_go(self) -> None:
        """Drops what waits. Where that was a part of a message, nothing may be sent until `resume` has got it."""
        self._waiting, self._at, self._waiting_bytes = [], 0, 0

    def resume(self, parts: list[bytes]) -> bool:
        """Takes up the rest of the message that was let go of. Returns False where these are not its parts: then the
        session cannot go on."""
        return False

    @property
    def is_cut(self) -> bool:
        """Whether a message was let go of whose beginning is sent."""
        return False


class Shared:
    """What one group made durable, as a whole frame, for all who follow in the clear without limits: making it for each
    of hundreds of followers takes longer than sending it."""

    __slots__ = ("count", "data", "metered_bytes")

    def __init__(self, chunks: list[Chunk], tail: tuple[int, int]) -> None:
        self.count = sum(chunk.count for chunk in chunks)
        self.metered_bytes = sum(chunk.metered_bytes for chunk in chunks)
        parts = [chunk.data for chunk in chunks]
        parts.append(encode_tail(*tail))
        size_bytes = sum(map(len, parts))
        fits = self.count <= MAX_BATCH_RECORDS and self.metered_bytes <= MAX_BATCH_BYTES and size_bytes <= PIECE_BYTES
        # Empty: it takes more than one frame or piece, or a key.
        self.data = b""
        if fits and not any(chunk.kind for chunk in chunks):
            self.data = b"".join((frame_header(size_bytes), *parts))


class SessionFramer(Framer):
    """Messages as frames, compressed where the client wants that."""

    __slots__ = ("_compression", "_dropped_bytes", "_message_bytes", "_tail")

    def __init__(self, exchange: Exchange, compression: str | None) -> None:
        super().__init__(exchange)
        self._compression = compression
        self.sends_shared = compression is None
        self.expansion = 0 if compression is None else 1
        # Of the last message, and what of it was let go of.
        self._message_bytes = self._dropped_bytes = 0
        self._tail = b""

    def add(self, parts: list[bytes], metered_bytes: int, tail: tuple[int, int] | None = None) -> Steps[None]:
        self._add(parts, tail)
        return
        yield

    def _add(self, parts: list[bytes], tail: tuple[int, int] | None) -> None:
        self._tail = b"" if tail is None else encode_tail(*tail)
        if tail is not None:
            parts.append(self._tail)
        if self._compression is not None:
            self._queue([encode_frame(b"".join(parts), self._compression)])
        else:
            header = frame_header(sum(map(len, parts)))
            self._message_bytes = len(header) + sum(map(len, parts))
            self._queue([header, *parts])

    @property
    def can_let_go(self) -> bool:
        return self._compression is None and self._waiting_bytes <= self._message_bytes

    def let_go(self) -> None:
        self._dropped_bytes = self._waiting_bytes
        super().let_go()

    def resume(self, parts: list[bytes]) -> bool:
        parts = [*parts, self._tail]
        message = b"".join([frame_header(sum(map(len, parts))), *parts])
        dropped_bytes, self._dropped_bytes = self._dropped_bytes, 0
        self._waiting, self._waiting_bytes = [message[-dropped_bytes:]], dropped_bytes
        return len(message) == self._message_bytes

    @property
    def is_cut(self) -> bool:
        return self._dropped_bytes > 0

    def beat(self, tail: tuple[int, int]) -> None:
        self._add([], tail)

    def ending(self, error: S2Error | None, tail: tuple[int, int]) -> bytes:
        if error is None:
            return b""
        status, body, _ = error_response(error)
        last = encode_terminal(status, body)
        if isinstance(error, ApiError) and error.code == "server_draining":
            # Some clients do not count a reconnect that was advised as a failure.
            return encode_frame(encode_tail(*tail), advise_reconnect=True) + last
        return last
