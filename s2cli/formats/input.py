"""Input bytes into batches that are ready to be sent, in each of the formats that `append` reads."""

from __future__ import annotations

from s2cli.errors import BadInputError, S2Error
from s2cli.wire.append_input import Batcher, Records, bodies_records, encoded_records
from s2cli.wire.protobuf import MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.wire.ranges import Range

    Headers = list[tuple[bytes, bytes]]


class LineSplitter:
    """Takes bytes in any pieces and gives the lines that are complete in them, without their separators.

    A line of more than `limit_bytes` ends it: the lines before come back first, then `error` is set and nothing more
    comes. `limit_hint` says in that error where the limit comes from.
    """

    __slots__ = ("_carry", "_carry_bytes", "_limit_bytes", "_separator", "error", "lines")

    def __init__(self, separator: bytes, limit_bytes: int) -> None:
        self._separator = separator
        self._limit_bytes = limit_bytes
        self._carry: list[bytes] = []  # an incomplete line, joined when it is whole
        self._carry_bytes = 0
        self.lines = 0  # given out
        self.error: BadInputError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        lines = data.split(self._separator)
        rest = lines.pop()
        if lines:
            if self._carry:
                self._carry.append(lines[0])
                lines[0] = b"".join(self._carry)
                self._carry.clear()
                self._carry_bytes = 0
            # Only a line that spans pieces can be too long, unless a piece is itself larger than the limit.
            if len(lines[0]) > self._limit_bytes or len(data) > self._limit_bytes:
                lines = self._up_to_limit(lines)
            self.lines += len(lines)
        if rest and self.error is None:
            self._carry.append(rest)
            self._carry_bytes += len(rest)
            if self._carry_bytes > self._limit_bytes:
                self._too_long(self._carry_bytes, "at least ")
        return lines

    def finish(self) -> list[bytes]:
        """At the end of an input, which another one may follow: its last line, where no separator ends it."""
        if not self._carry or self.error is not None:
            return []
        line = b"".join(self._carry)
        self._carry.clear()
        self._carry_bytes = 0
        self.lines += 1
        return [line]

    def _up_to_limit(self, lines: list[bytes]) -> list[bytes]:
        for index, line in enumerate(lines):
            if len(line) > self._limit_bytes:
                lines = lines[:index]
                self._too_long(len(line), "", index)
                break
        return lines

    def _too_long(self, size: int, about: str, before: int = 0) -> None:
        self._carry.clear()
        self.error = BadInputError(
            f"the record has {about}{size} bytes, more than the {self._limit_bytes} that fit into one",
            line=self.lines + before + 1,
        )


class TextInput:
    """A line is a record, byte for byte.

    Where a line cannot be one, the batches before it still come; then `error` is set, and nothing more comes.
    """

    __slots__ = ("_batcher", "_lines", "error")

    skipped = 0  # lines that were left out

    def __init__(self, separator: bytes, limit_bytes: int = MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES) -> None:
        self._lines = LineSplitter(separator, limit_bytes)
        self._batcher = Batcher()
        self.error: S2Error | None = None  # the owner may set it too

    @property
    def lines(self) -> int:
        """How many lines have come."""
        return self._lines.lines

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
        return self._add(self._lines.feed(data), len(data))

    def finish(self) -> list[Records]:
        """At the end of an input, which another one may follow: takes a last line that nothing ends."""
        return self._add(self._lines.finish(), MAX_RECORD_BYTES)

    def take_rest(self) -> Records:
        """What has come and makes no full batch; only where has_rest."""
        return self._encode(*self._batcher.take_rest())

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
    line number."""

    __slots__ = ("_encoded_lines", "_gaps", "_parse", "_parsed", "skipped")

    def __init__(self, separator: bytes, limit_bytes: int, parse: Parse) -> None:
        super().__init__(separator, limit_bytes)
        self._parse = parse
        self._parsed = 0
        self._encoded_lines = 0  # the last line that was given out in a batch
        self._gaps: list[Range] = []  # lines beyond it that were left out
        self.skipped = 0

    @property
    def lines(self) -> int:
        return self._parsed

    def _add(self, lines: list[bytes], bound_bytes: int) -> list[Records]:
        records, sizes = [], []
        for line in lines:
            if self.error is not None:
                break
            try:
                parsed = self._parse(line)
            except BadInputError as error:
                self.error = BadInputError(error.reason, line=self._parsed + 1, hint=error.hint)
                break
            self._parsed += 1
            if parsed is None:
                self._skip()
            else:
                records.append(parsed[0])
                sizes.append(parsed[1])
        if self.error is None and self._lines.error is not None:
            self.error = self._lines.error
        if not records:
            return []
        return [self._encode(*batch) for batch in self._batcher.add(records, sum(sizes), sizes)]

    def _skip(self) -> None:
        self.skipped += 1
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


if TYPE_CHECKING:
    from collections.abc import Callable

    Parse = Callable[[bytes], tuple[bytes, int] | None]


def open_input(record_format: str, separator: bytes, headers: Headers, *, skip_commands: bool = False) -> TextInput:
    """What reads `record_format` ("text", "json" or "json-base64"). Every record gets `headers` besides its own, but
    for command records, which have none; these are left out where `skip_commands` says so."""
    if record_format == "text":
        if not headers:
            return TextInput(separator)
        return _headed_text(separator, headers)
    from s2cli.formats.json_input import parse_record

    base64 = record_format == "json-base64"
    # Escapes and Base64 make a line longer than its record, sixfold at the most (\u0000).
    limit_bytes = 8 * MAX_RECORD_BYTES
    return EncodedInput(
        separator, limit_bytes, lambda line: parse_record(line, headers, base64=base64, skip_commands=skip_commands)
    )


def _headed_text(separator: bytes, headers: Headers) -> TextInput:
    from s2cli.wire.append_input import encode_headers, encode_record
    from s2cli.wire.record_rules import metered_bytes

    encoded = encode_headers(headers)
    headers_bytes = metered_bytes(b"", headers) - RECORD_OVERHEAD_BYTES
    limit_bytes = MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES - headers_bytes
    return EncodedInput(separator, limit_bytes, lambda line: (encode_record(line, encoded), headers_bytes + len(line)))
