"""Bytes into lines: records are separated by a newline or a NUL, and nothing else in them means anything here."""

from __future__ import annotations

from s2cli.errors import BadInputError


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
