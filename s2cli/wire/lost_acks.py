"""After a lost connection: finds out which unacknowledged batches are in the stream.

The owner asks for the tail and passes it to on_tail(). Then it reads the range of sequence numbers in `wanted` piece by
piece and passes each ReadBatch to on_records(), until `wanted` is None.
"""

from __future__ import annotations

from s2cli.wire.append_input import keys_of, record_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.append_input import PendingBatch


# The states of a resolution, and which may follow which (drawn in s2cli/README.md). FOREIGN: resolved, and somebody
# else's records are where ours should be. Texts, no enum: its import would cost each start 4 ms.
ASKING, COMPARING, SEARCHING = "asking", "comparing", "searching"
RESOLVED, FOREIGN, RECREATED, UNDECIDED = "resolved", "foreign", "recreated", "undecided"
FOLLOWS = {
    ASKING: (COMPARING, SEARCHING, RESOLVED, RECREATED, UNDECIDED),
    COMPARING: (RESOLVED, FOREIGN, RECREATED, UNDECIDED),
    SEARCHING: (RESOLVED, RECREATED, UNDECIDED),
    RESOLVED: (),
    FOREIGN: (),
    RECREATED: (),
    UNDECIDED: (),
}


class LostAckResolver:
    """`batches` are the doubtful ones, in order; none can begin below the sequence number `floor`. `found` maps the
    first line of each batch that is durable to its sequence number. `why` says why the state is UNDECIDED.

    While we write alone, a batch is durable if and only if the records at exactly its place equal it. In shared mode
    it counts as durable only if its content is once in what was written since `floor`, and no other of the batches
    is equal to it: a batch that is sent again may be there twice, one that is wrongly counted would be lost.
    """

    __slots__ = ("_batches", "_cursor", "_end", "_places", "_search", "_shared", "found", "state", "tail", "why")

    def __init__(self, batches: list[PendingBatch], floor: int, *, shared: bool) -> None:
        self._batches = batches
        self._shared = shared
        self._cursor = floor  # what is still to be read begins here
        self._end = floor
        self._places = _ExpectedPlaces(batches)  # for COMPARING
        self._search = _Search(batches if shared else [])  # for SEARCHING
        self.state = ASKING
        self.tail = floor
        self.found: dict[int, int] = {}
        self.why = ""

    def _enter(self, state: str) -> None:
        assert state in FOLLOWS[self.state]
        self.state = state

    @property
    def wanted(self) -> tuple[int, int] | None:
        """The sequence numbers that are to be read next, the second one exclusive."""
        return (self._cursor, self._end) if self.state in (COMPARING, SEARCHING) else None

    def on_tail(self, tail_seq_num: int) -> None:
        self.tail = tail_seq_num
        if tail_seq_num < self._cursor:
            self._enter(RECREATED)
        elif tail_seq_num == self._cursor:
            self._enter(RESOLVED)
        elif self._shared:
            self._end = tail_seq_num
            self._enter(SEARCHING)
        else:
            self._end = min(tail_seq_num, self._places.end)
            self._enter(COMPARING)

    def on_records(self, data: bytes) -> None:
        """A ReadBatch of what was `wanted`, from its start. Raises ProtocolError."""
        from s2cli.wire.messages import decode_received

        records = decode_received(data).records
        for record in records:
            if record.seq_num != self._cursor:
                break
            key = record_key(record.body, [(header.name, header.value) for header in record.headers])
            self._cursor += 1
            if self.state == SEARCHING:
                self._search.feed(key)
                if self._cursor == self._end:
                    self.found = self._search.finish(self._end)
                    self._enter(RESOLVED)
                    return
            elif not self._places.feed(key) or self._cursor == self._end:
                self._compared()
                return
        else:
            if records:
                return
        self.give_up(f"the record at sequence number {self._cursor} is gone, trimmed or expired")

    def _compared(self) -> None:
        """Ends the comparison: a record differs from ours, or all were compared."""
        self.found = self._places.found
        # A batch is all or nothing: where only its beginning is there, or anything behind it, it is not ours.
        is_foreign = len(self.found) < len(self._batches) and self.tail > self._places.found_end
        self._enter(FOREIGN if is_foreign else RESOLVED)

    def on_unsatisfiable(self) -> None:
        """The tail has moved back while the records were read."""
        self._enter(RECREATED)

    def give_up(self, why: str) -> None:
        """Ends as UNDECIDED: the records cannot be read, for this reason."""
        self.why = why
        self._enter(UNDECIDED)


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
        self._longest = max(map(len, lines_of), default=0)
        self._window: list[bytes] = []
        self._count = 0  # records in all
        self._places: dict[int, list[int]] = {}  # line -> where its content is; two are as good as many

    def feed(self, key: bytes) -> None:
        self._window.append(key)
        self._count += 1
        if len(self._window) >= 2 * self._longest:
            self._scan(len(self._window) - self._longest + 1)

    def finish(self, end_seq_num: int) -> dict[int, int]:
        """First line -> sequence number, of the batches that are there once; the run ended before `end_seq_num`."""
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
