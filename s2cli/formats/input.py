"""Input bytes into batches that are ready to be sent, in each of the formats that `append` reads."""

from __future__ import annotations

from s2cli.errors import BadInputError, S2Error
from s2cli.formats.lines import LineSplitter, WholeInputs, too_long
from s2cli.wire.append_input import Batcher, Records, bodies_records, encoded_records
from s2cli.wire.protobuf import MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.wire.ranges import Range

    Headers = list[tuple[bytes, bytes]]
    # What takes bytes in any pieces, and gives what is complete in them
    Splitter = LineSplitter | WholeInputs
    Parse = Callable[[bytes], tuple[bytes, int] | None]
    Reject = Callable[[bytes, BadInputError], None]

# The most that fits into the body of a record without headers
MAX_BODY_BYTES = MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES
# A line that is left out since it is too long for a record may have so many bytes
MAX_REJECTED_BYTES = 64 * 1024 * 1024


class TextInput:
    """A line is a record, byte for byte.

    Where a line cannot be one, the batches before it still come; then `error` is set, and nothing more comes.
    """

    __slots__ = ("_batcher", "_lines", "_to_skip", "error")

    skipped = 0  # lines that were left out, since they are command records
    rejected = 0  # lines that were left out, since they cannot be records

    def __init__(self, lines: Splitter, batcher: Batcher | None = None) -> None:
        self._lines = lines
        self._batcher = Batcher() if batcher is None else batcher
        self._to_skip = 0
        self.error: S2Error | None = None  # the owner may set it too

    def skip(self, lines: int, *, absent: int = 0) -> None:
        """Passes over so many lines at the beginning: they only count. The first `absent` of them do not even come."""
        self._to_skip = lines - absent
        self._lines.lines = absent

    @property
    def lines(self) -> int:
        """How many lines have come."""
        return self._lines.lines

    @property
    def unended_bytes(self) -> int:
        """How many bytes have come since the end of the last line."""
        return self._lines.unended_bytes

    @property
    def has_rest(self) -> bool:
        """Whether there are records that make no full batch yet."""
        return len(self._batcher) > 0

    @property
    def rest_bytes(self) -> int:
        """About how large these are."""
        return self._batcher.size_bytes

    def feed(self, data: bytes) -> list[Records]:
        """The batches that are full now."""
        lines = self._lines.feed(data)
        return self._add(self._behind_skipped(lines) if self._to_skip else lines, len(data))

    def finish(self) -> list[Records]:
        """At the end of an input, which another one may follow: takes a last line that nothing ends."""
        lines = self._lines.finish()
        return self._add(self._behind_skipped(lines) if self._to_skip else lines, MAX_RECORD_BYTES)

    def take_rest(self) -> Records:
        """What has come and makes no full batch; only where has_rest."""
        return self._encode(*self._batcher.take_rest())

    def _behind_skipped(self, lines: list[bytes]) -> list[bytes]:
        skipped = min(self._to_skip, len(lines))
        self._to_skip -= skipped
        return lines[skipped:]

    def _add(self, lines: list[bytes], bound_bytes: int) -> list[Records]:
        if self._lines.error is not None:
            self.error = self._lines.error
        if not lines:
            return []
        # The first line may have begun in an earlier piece.
        return [self._encode(*batch) for batch in self._batcher.add(lines, bound_bytes + len(lines[0]))]

    def _encode(self, records: list[bytes], size: int) -> Records:
        return bodies_records(records, size)


class EncodedInput(TextInput):
    """Lines that become records with headers or timestamps: `parse` makes of a line an encoded AppendRecord and its
    metered size without RECORD_OVERHEAD_BYTES, None of one that is to be left out, or raises BadInputError without a
    line number. With `reject` such a line does not end the input: it is left out, and passed on with the error."""

    __slots__ = ("_encoded_lines", "_gaps", "_parse", "_parsed", "_reject", "rejected", "skipped")

    def __init__(
        self, lines: Splitter, parse: Parse, batcher: Batcher | None = None, reject: Reject | None = None
    ) -> None:
        super().__init__(lines, batcher)
        self._parse = parse
        self._reject = reject
        self._parsed = 0
        self._encoded_lines = 0  # the last line that was given out in a batch
        self._gaps: list[Range] = []  # lines beyond it that were left out
        self.skipped = 0
        self.rejected = 0

    @property
    def lines(self) -> int:
        return self._parsed

    def skip(self, lines: int, *, absent: int = 0) -> None:
        super().skip(lines, absent=absent)
        self._parsed = self._encoded_lines = absent

    def _add(self, lines: list[bytes], bound_bytes: int) -> list[Records]:
        records, sizes = [], []
        for line in lines:
            if self.error is not None:
                break
            try:
                parsed = self._parse(line)
            except BadInputError as error:
                self._on_bad_line(line, BadInputError(error.reason, line=self._parsed + 1, hint=error.hint))
                continue
            self._parsed += 1
            if parsed is None:
                self.skipped += 1
                self._leave_out()
            else:
                records.append(parsed[0])
                sizes.append(parsed[1])
        if self.error is None and self._lines.error is not None:
            self.error = self._lines.error
        if not records:
            return []
        return [self._encode(*batch) for batch in self._batcher.add(records, sum(sizes), sizes)]

    def _behind_skipped(self, lines: list[bytes]) -> list[bytes]:
        left = super()._behind_skipped(lines)
        self._parsed += len(lines) - len(left)
        self._encoded_lines = self._parsed
        return left

    def _on_bad_line(self, line: bytes, error: BadInputError) -> None:
        if self._reject is None:
            self.error = error
            return
        self._parsed += 1
        self.rejected += 1
        self._leave_out()
        self._reject(line, error)

    def _leave_out(self) -> None:
        line, gaps = self._parsed, self._gaps
        if gaps and gaps[-1][1] == line - 1:
            gaps[-1] = gaps[-1][0], line
        else:
            gaps.append((line, line))

    def _encode(self, records: list[bytes], size: int) -> Records:
        return encoded_records(records, size, self._lines_of(len(records)))

    def _lines_of(self, count: int) -> list[Range] | None:
        """The lines of the next `count` records; None where they follow on those before."""
        if not self._gaps:
            self._encoded_lines += count
            return None
        ranges: list[Range] = []
        line, gaps = self._encoded_lines + 1, self._gaps
        while gaps and gaps[0][0] < line + count:
            first, last = gaps.pop(0)
            if first > line:
                ranges.append((line, first - 1))
                count -= first - line
            line = last + 1
        ranges.append((line, line + count - 1))
        self._encoded_lines = line + count - 1
        return ranges


def open_input(
    record_format: str,
    separator: bytes | None,
    headers: Headers,
    *,
    skip_commands: bool = False,
    timestamp_field: str | None = None,
    batcher: Batcher | None = None,
    reject: Reject | None = None,
) -> TextInput:
    """What reads `record_format` ("text", "json" or "json-base64"), whose lines the `separator` ends; None: each input
    is one record.

    Every record gets `headers` besides its own, but for command records, which have none; these are left out where
    `skip_commands` says so. `timestamp_field` is a field of the JSON in each body: the record's time. `reject` gets
    lines that cannot be records, which else end the input."""
    timestamp_of = find_timestamp(timestamp_field)
    if record_format == "text":
        if not headers and timestamp_of is None and reject is None:
            return TextInput(_splitter(separator, MAX_BODY_BYTES), batcher)
        limit_bytes, parse = text_parser(headers, timestamp_of)
    else:
        from s2cli.formats.json_input import record_parser

        # Escapes and Base64 make a line longer than its record, sixfold at the most (\u0000).
        limit_bytes = 8 * MAX_RECORD_BYTES
        parse = record_parser(headers, record_format == "json-base64", skip_commands, timestamp_of)
    if reject is not None:
        limit_bytes = MAX_REJECTED_BYTES
    return EncodedInput(_splitter(separator, limit_bytes), parse, batcher, reject)


def find_timestamp(field: str | None) -> Callable[[bytes], int] | None:
    """What finds the time of a record in this field of its body; None without a field."""
    if field is None:
        return None
    from s2cli.formats.body_timestamp import timestamp_finder

    return timestamp_finder(field)


def _splitter(separator: bytes | None, limit_bytes: int) -> Splitter:
    return WholeInputs(limit_bytes) if separator is None else LineSplitter(separator, limit_bytes)


def text_parser(headers: Headers, timestamp_of: Callable[[bytes], int] | None) -> tuple[int, Parse]:
    """The most that a line may have, and what makes a record of one."""
    from s2cli.wire.append_input import encode_headers, encode_record
    from s2cli.wire.record_rules import metered_bytes

    encoded = encode_headers(headers)
    headers_bytes = metered_bytes(b"", headers) - RECORD_OVERHEAD_BYTES
    limit_bytes = MAX_BODY_BYTES - headers_bytes

    def parse(line: bytes) -> tuple[bytes, int]:
        if len(line) > limit_bytes:
            raise too_long(len(line), limit_bytes)
        timestamp = None if timestamp_of is None else timestamp_of(line)
        return encode_record(line, encoded, timestamp), headers_bytes + len(line)

    return limit_bytes, parse
