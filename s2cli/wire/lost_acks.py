"""What a lost connection leaves open: which batches are in the stream although nobody said so.

The owner asks for the tail and gives it to on_tail(), then reads `wanted` (a range of sequence numbers) piece by piece
and gives each ReadBatch to on_records(), until `wanted` is None.
"""

from __future__ import annotations

from s2cli.wire.append_input import keys_of, record_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.append_input import PendingBatch


class LostAckResolver:
    """`batches` are the doubtful ones, in order; nothing of them lies below `floor`.

    While we write alone, a batch is durable if and only if the records at exactly its place equal it. In shared mode
    it counts as durable only if its content stands once in what was written since `floor`, and no other of the batches
    is equal to it: a batch that is sent again may stand there twice, one that is wrongly counted would be lost.
    """

    __slots__ = (
        "_alone",
        "_batches",
        "_cursor",
        "_end",
        "_search",
        "_shared",
        "foreign",
        "found",
        "recreated",
        "tail",
        "undecided",
    )  # fmt: skip

    def __init__(self, batches: list[PendingBatch], floor: int, *, shared: bool) -> None:
        self._batches = batches
        self._shared = shared
        self._cursor = floor  # what is still to be read begins here
        self._end = floor
        self._alone = _ExpectedPlaces(batches)
        self._search: _Search | None = None
        self.tail = floor
        self.found: dict[int, int] = {}  # first line of a batch that is durable -> its sequence number
        self.foreign = False  # somebody else's records are where ours should be
        self.recreated = False
        self.undecided: str | None = None  # why nobody can tell

    @property
    def wanted(self) -> tuple[int, int] | None:
        """The sequence numbers that are to be read next, the second one exclusive."""
        return (self._cursor, self._end) if self._cursor < self._end else None

    def on_tail(self, tail_seq_num: int) -> None:
        self.tail = tail_seq_num
        if tail_seq_num < self._cursor:
            self.recreated = True
        elif self._shared:
            self._end = tail_seq_num
            self._search = _Search(self._batches)
        else:
            self._end = min(tail_seq_num, self._alone.end)

    def on_records(self, data: bytes) -> None:
        """A ReadBatch of what was `wanted`, from its start. Raises ProtocolError."""
        from s2cli.wire.messages import decode_received

        records = decode_received(data).records
        if not records:
            self._give_up(self._cursor)
        for record in records:
            if record.seq_num != self._cursor:
                self._give_up(self._cursor)
                return
            key = record_key(record.body, [(header.name, header.value) for header in record.headers])
            self._cursor += 1
            if self._search is not None:
                self._search.feed(key)
            elif not self._alone.feed(key):
                self._end = self._cursor
                self.foreign = True
            if self._cursor >= self._end:
                self._finish()
                return

    def give_up(self, why: str) -> None:
        """The records cannot be read."""
        self.undecided = why
        self._end = self._cursor

    def _give_up(self, seq_num: int) -> None:
        self.give_up(f"the record at sequence number {seq_num} is gone, trimmed or expired")

    def _finish(self) -> None:
        if self._search is not None:
            self.found = self._search.finish(self._cursor)
        else:
            self.found = self._alone.found
            # A batch is all or nothing: where only its beginning stands, or anything behind it, it is not ours.
            self.foreign |= len(self.found) < len(self._batches) and self.tail > self._alone.found_end


class _ExpectedPlaces:
    """Compares records with the batches that belong at exactly these places, one after the other."""

    __slots__ = ("_at", "_batches", "_index", "_keys", "end", "found", "found_end")

    def __init__(self, batches: list[PendingBatch]) -> None:
        self._batches = batches
        self._index = 0  # of the batch that is being compared
        self._keys: list[bytes] = []  # of its records
        self._at = 0
        last = batches[-1]
        self.end = (last.start or 0) + last.count
        self.found: dict[int, int] = {}
        self.found_end = batches[0].start or 0

    def feed(self, key: bytes) -> bool:
        """Whether the next record still equals ours."""
        batch = self._batches[self._index]
        if not self._at:
            self._keys = keys_of(batch.records)
        if key != self._keys[self._at]:
            return False
        self._at += 1
        if self._at == batch.count:
            start = batch.start or 0
            self.found[batch.line] = start
            self.found_end = start + batch.count
            self._index += 1
            self._at = 0
        return True


class _Search:
    """Looks for the content of batches anywhere in a run of records. Keeps no more of the run than the longest batch
    and as much again."""

    __slots__ = ("_by_first", "_count", "_keys", "_longest", "_places", "_window")

    def __init__(self, batches: list[PendingBatch]) -> None:
        lines_of: dict[tuple[bytes, ...], list[int]] = {}
        for batch in batches:
            lines_of.setdefault(tuple(keys_of(batch.records)), []).append(batch.line)
        # Equal batches cannot be told apart: none of them is looked for.
        self._keys = {lines[0]: list(keys) for keys, lines in lines_of.items() if len(lines) == 1}
        self._by_first: dict[bytes, list[int]] = {}
        for line, wanted in self._keys.items():
            self._by_first.setdefault(wanted[0], []).append(line)
        self._longest = max(map(len, lines_of))
        self._window: list[bytes] = []
        self._count = 0  # records in all
        self._places: dict[int, list[int]] = {}  # line -> where its content stands; two are as good as many

    def feed(self, key: bytes) -> None:
        self._window.append(key)
        self._count += 1
        if len(self._window) >= 2 * self._longest:
            self._scan(len(self._window) - self._longest + 1)

    def finish(self, end_seq_num: int) -> dict[int, int]:
        """First line -> sequence number, of the batches that stand there once; the run ended before `end_seq_num`."""
        self._scan(len(self._window))
        first = end_seq_num - self._count
        return {line: first + places[0] for line, places in self._places.items() if len(places) == 1}

    def _scan(self, positions: int) -> None:
        """Tries every batch at the first so many places of the window, and forgets these."""
        window, offset = self._window, self._count - len(self._window)
        for at in range(positions):
            for line in self._by_first.get(window[at], ()):
                places = self._places.setdefault(line, [])
                if len(places) < 2 and self._stands_at(self._keys[line], at):
                    places.append(offset + at)
        del window[:positions]

    def _stands_at(self, keys: list[bytes], at: int) -> bool:
        window, end = self._window, at + len(keys)
        # The last record first: in streams of equal lines it tells batches apart sooner.
        return end <= len(window) and window[end - 1] == keys[-1] and window[at:end] == keys
