"""Reads of chunks in a basin's database: those of a range of sequence numbers, and where a time is. What is damaged or
missing is named, as far as it goes."""

from __future__ import annotations

from s2cli.server.store.bucket import hole_table
from s2cli.server.store.bucket.chunk_value import DamageError, StoredChunk, chunk_range, decode_chunk
from s2cli.server.store.bucket.database import Database, Rows, UnreadableError
from s2cli.server.store.interface import Chunk

# Chunks that are fetched at once, if they are small.
TOGETHER = 64


async def read(
    database: Database, stream_id: int, first_seq_num: int, end_seq_num: int, max_bytes: int, now_ms: int
) -> list[Chunk]:
    """What `Store.read` returns. Each chunk must follow the one before it, or `first_seq_num`, and the last one reach
    `end_seq_num`; what is missing must be gone for a reason."""
    page = _Page(database, stream_id, first_seq_num, max_bytes, now_ms)
    keys = chunk_range(stream_id, first_seq_num, end_seq_num)
    try:
        try:
            await page.fill(await database.rows(*keys), end_seq_num)
        except UnreadableError:
            if not page.chunks:
                # It may have been read ahead, and lie behind chunks that are whole.
                page = _Page(database, stream_id, first_seq_num, max_bytes, now_ms, takes=1)
                await page.fill(await database.rows(*keys, read_ahead_bytes=1), end_seq_num)
    except UnreadableError as error:
        page.gap = page.due, await _readable_from(database, stream_id, page.due, end_seq_num)
        page.damage = error.message
    if page.gap is not None and not page.chunks:  # what lies before the damage can be read
        raise DamageError(*page.gap, page.damage or "they are missing")
    return page.chunks


class _Page:
    """Chunks that a read returns, as far as they are found. `due` is the sequence number that comes next, `gap` what is
    damaged or missing there, if it is known: its first sequence number, and its end."""

    def __init__(
        self, database: Database, stream_id: int, due: int, max_bytes: int, now_ms: int, takes: int = TOGETHER
    ) -> None:
        self._database = database
        self._stream_id = stream_id
        self._max_bytes = max_bytes
        self._now_ms = now_ms
        self._takes = takes
        self._size_bytes = 0
        self.chunks: list[Chunk] = []
        self.due = due
        self.gap: tuple[int, int] | None = None
        self.damage: str | None = None

    async def fill(self, rows: Rows, end_seq_num: int) -> None:
        """Take chunks from `rows` until there are enough, or something is wrong."""
        while rows_taken := await rows.take(self._enough()):
            for key, value in rows_taken:
                await self._add(decode_chunk(key, value))
                if self.gap is not None or self._size_bytes >= self._max_bytes:
                    return
        if self.due < end_seq_num:
            self.gap = await hole_table.unexplained(self._database, self._stream_id, self.due, end_seq_num)

    def _enough(self) -> int:
        """As many as will probably have what is left of `max_bytes`."""
        if not self.chunks:
            return 1
        mean_bytes = max(1, self._size_bytes // len(self.chunks))
        return max(1, min(self._takes, (self._max_bytes - self._size_bytes) // mean_bytes))

    async def _add(self, stored: StoredChunk) -> None:
        chunk = stored.chunk
        if stored.damage is not None:
            self.gap, self.damage = (self.due, chunk.end_seq_num), stored.damage  # where it begins nobody knows
            return
        if chunk.first_seq_num > self.due:
            self.gap = await hole_table.unexplained(self._database, self._stream_id, self.due, chunk.first_seq_num)
            if self.gap is not None:
                return
        self.due = chunk.end_seq_num
        if not stored.expires_at_ms or stored.expires_at_ms > self._now_ms:
            self.chunks.append(chunk)
            self._size_bytes += len(chunk.data)


async def _readable_from(database: Database, stream_id: int, first_seq_num: int, end_seq_num: int) -> int:
    """Where the next chunk begins that can be read, if `first_seq_num` cannot. Bisection: what is damaged is a block of
    a table, which has chunks that lie side by side."""
    low, high, step = first_seq_num, first_seq_num + 1, 1
    while high < end_seq_num and not await _is_readable(database, stream_id, high, end_seq_num):
        low, step = high, step * 2
        high = low + step
    high = min(high, end_seq_num)
    while high - low > 1:
        middle = (low + high) // 2
        if await _is_readable(database, stream_id, middle, end_seq_num):
            high = middle
        else:
            low = middle
    found = await _first(database, stream_id, high, end_seq_num)
    return end_seq_num if found is None else max(high, found.chunk.first_seq_num)


async def _is_readable(database: Database, stream_id: int, seq_num: int, end_seq_num: int) -> bool:
    try:
        await _first(database, stream_id, seq_num, end_seq_num)
    except UnreadableError:
        return False
    return True


async def _first(database: Database, stream_id: int, seq_num: int, end_seq_num: int) -> StoredChunk | None:
    """The chunk that holds the sequence number, or the next one before `end_seq_num`."""
    rows = await database.rows(*chunk_range(stream_id, seq_num, end_seq_num), read_ahead_bytes=1)
    found = await rows.take(1)
    return decode_chunk(*found[0]) if found else None


async def find_timestamp(
    database: Database, stream_id: int, timestamp: int, first_seq_num: int, end_seq_num: int
) -> int | None:
    """What `Store.find_timestamp` returns. Bisection over keys: timestamps never fall within a stream."""
    low, high = first_seq_num, end_seq_num

    async def look(at: int) -> Chunk | None:
        """The chunk that is there, or the next one."""
        found = await _first(database, stream_id, at, end_seq_num)
        if found is not None and found.damage is not None:
            raise DamageError(at, found.chunk.end_seq_num, found.damage)
        return None if found is None else found.chunk

    while low < high:
        middle = (low + high) // 2
        chunk = await look(middle)
        if chunk is not None and chunk.last_timestamp < timestamp:
            low = chunk.end_seq_num
        else:
            high = middle
    chunk = await look(low)
    # Whether what lies before it is older can be told of what is there alone.
    first = end_seq_num if chunk is None else chunk.first_seq_num
    if low < first and (gap := await hole_table.unexplained(database, stream_id, low, first)) is not None:
        raise DamageError(*gap, "they are missing")
    return None if chunk is None else first
