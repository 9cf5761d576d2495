"""Filters the records of a batch by headers, and by regular expressions that their bodies match or do not match."""

from __future__ import annotations

import re

from s2cli.errors import BadValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s2cli.wire.read_session import Delivered
    from s2cli.wire.s2_pb2 import SequencedRecord


class RecordFilter:
    """`grep` and `grep_not` are regular expressions; a record is wanted if its body matches the one and not the other,
    and it has all of the `headers`. Raises BadValueError for a text that is not a regular expression."""

    __slots__ = ("_grep", "_grep_not", "_headers", "bodies_only")

    def __init__(self, grep: str | None, grep_not: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._grep = None if grep is None else Matcher(grep, "--grep")
        self._grep_not = None if grep_not is None else Matcher(grep_not, "--grep-not")
        self._headers = tuple(headers)
        # Whether only the bodies of records are needed
        self.bodies_only = not self._headers

    def indexes(self, batch: Delivered) -> Sequence[int]:
        """The indexes in the batch of the records that are wanted."""
        bodies = [record.body for record in batch.records] if batch.bodies is None else batch.bodies
        found: Sequence[int] = range(len(bodies))
        if self._grep is not None:
            found = self._grep.indexes(bodies)
        if self._grep_not is not None and found:
            unwanted = set(self._grep_not.indexes(bodies))
            found = [index for index in found if index not in unwanted]
        if self._headers and found:
            records = batch.records
            found = [index for index in found if self._has_headers(records[index])]
        return found

    def _has_headers(self, record: SequencedRecord) -> bool:
        pairs = {(header.name, header.value) for header in record.headers}
        return pairs.issuperset(self._headers)


class Matcher:
    """Searches bodies for a regular expression. They are taken as UTF-8, in which an invalid byte is one character.

    Bodies that are ASCII are searched without being decoded. A pattern without special characters is first searched in
    all bodies at once, at the speed of memory (tests/bench/read_formats.py, `grep`)."""

    __slots__ = ("_literal", "_pattern", "_search_bytes")

    def __init__(self, pattern: str, option: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise BadValueError(f"{option}: {_flaw(pattern, error)}") from error
        self._literal = None if re.escape(pattern) != pattern else pattern.encode("utf-8", "surrogateescape")
        self._search_bytes = _search_in_bytes(pattern)

    def indexes(self, bodies: list[bytes]) -> list[int]:
        """Which of the bodies match."""
        joined = b"\n".join(bodies)
        if self._literal is not None:
            literal = self._literal
            if literal not in joined:
                return []
            return [index for index, body in enumerate(bodies) if literal in body]
        search_bytes, search = self._search_bytes, self._pattern.search
        if search_bytes is not None:
            if joined.isascii():
                return [index for index, body in enumerate(bodies) if search_bytes(body)]
            return [
                index
                for index, body in enumerate(bodies)
                if (search_bytes(body) if body.isascii() else search(body.decode("utf-8", "surrogateescape")))
            ]
        return [index for index, body in enumerate(bodies) if search(body.decode("utf-8", "surrogateescape"))]


def _search_in_bytes(pattern: str) -> Callable[[bytes], object] | None:
    """The search of the same pattern in bytes, for bodies that are ASCII; None if it would find something else."""
    try:
        return re.compile(pattern.encode("ascii")).search
    except (re.error, ValueError):  # letters that are not ASCII, or what is for text alone: (?u), \\u1234
        return None


def _flaw(pattern: str, error: Exception) -> str:
    if isinstance(error, re.error) and error.pos is not None:
        at = error.pos
        return f'"{pattern[:at]}>>>{pattern[at:]}" is not a regular expression: {error.msg} at character {at + 1}'
    return f'"{pattern}" is not a regular expression: {error}'


def parse_header(text: str) -> tuple[bytes, bytes]:
    """`NAME=VALUE`; the name has no equals sign. Raises BadValueError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadValueError(f'--header "{text}" is not NAME=VALUE')
    return name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
