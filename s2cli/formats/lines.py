"""Splits input bytes into lines, at any separator, in whatever pieces the bytes come."""

from __future__ import annotations

from s2cli.errors import BadInputError


class LineSplitter:
    """Takes bytes in any pieces and gives the lines that are complete in them, without their separators.

    A line of more than `limit_bytes` sets `error` and ends the splitting: the lines before it are still returned.
    """

    __slots__ = ("_carry", "_carry_bytes", "_held", "_limit_bytes", "_separator", "error", "lines")

    def __init__(self, separator: bytes, limit_bytes: int) -> None:
        self._separator = separator
        self._limit_bytes = limit_bytes
        self._carry: list[bytes] = []  # an incomplete line, joined when it is whole
        self._carry_bytes = 0
        self._held = b""  # what may be the beginning of a separator of several bytes
        self.lines = 0  # given out
        self.error: BadInputError | None = None

    @property
    def unended_bytes(self) -> int:
        """How many bytes have come since the end of the last line."""
        return self._carry_bytes + len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        if self._held:
            data = self._held + data
        lines = data.split(self._separator)
        rest = lines.pop()
        if len(self._separator) > 1:
            self._held = self._separator[: _begun(self._separator, rest)]
            rest = rest[: len(rest) - len(self._held)]
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
        if self._held:
            self._carry.append(self._held)
            self._held = b""
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
        self.error = too_long(size, self._limit_bytes, about=about, line=self.lines + before + 1)


class WholeInputs:
    """Takes bytes as LineSplitter does, but makes one line of each whole input, also of an empty one."""

    __slots__ = ("_limit_bytes", "_pieces", "_size", "error", "lines")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self.lines = 0
        self.error: BadInputError | None = None

    @property
    def unended_bytes(self) -> int:
        return self._size

    def feed(self, data: bytes) -> list[bytes]:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._limit_bytes:
            self._pieces.clear()
            self.error = too_long(self._size, self._limit_bytes, about="at least ", line=self.lines + 1)
        return []

    def finish(self) -> list[bytes]:
        if self.error is not None:
            return []
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self.lines += 1
        return [whole]


def too_long(size: int, limit_bytes: int, *, about: str = "", line: int | None = None) -> BadInputError:
    """The error for a record with more bytes than a record may have."""
    return BadInputError(
        f"the record has {about}{size} bytes, more than the {limit_bytes} that fit into one", line=line
    )


def _begun(separator: bytes, rest: bytes) -> int:
    """How many bytes at the end of `rest` may be the beginning of a separator."""
    for size in range(min(len(separator) - 1, len(rest)), 0, -1):
        if rest.endswith(separator[:size]):
            return size
    return 0
