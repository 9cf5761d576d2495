"""What a turn of the writer changes, and what it reads meanwhile: the database as it will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Readable(Protocol):
    """What lies below."""

    async def get(self, key: bytes) -> bytes | None: ...

    async def scan(
        self, first: bytes, end: bytes, limit: int, *, is_descending: bool = False
    ) -> list[tuple[bytes, bytes]]: ...


class Changes:
    """Changes above `below`, which may be others: those of an operation above those of its turn."""

    def __init__(self, below: Readable) -> None:
        self._below = below
        self.values: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        self.values[key] = None

    def update(self, values: Mapping[bytes, bytes | None]) -> None:
        self.values.update(values)

    async def get(self, key: bytes) -> bytes | None:
        return self.values[key] if key in self.values else await self._below.get(key)

    async def scan(
        self, first: bytes, end: bytes, limit: int, *, is_descending: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` keys from `first` on before `end`, and their values: the first ones, or the last ones in
        descending order."""
        changed = {key: value for key, value in self.values.items() if first <= key < end}
        # As many more as may be deleted here: then none that counts is missing.
        rows = dict(await self._below.scan(first, end, limit + len(changed), is_descending=is_descending))
        if changed:
            rows.update({key: value for key, value in changed.items() if value is not None})
            for key, value in changed.items():
                if value is None:
                    rows.pop(key, None)
        return sorted(rows.items(), reverse=is_descending)[:limit]
