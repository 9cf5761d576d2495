"""Names that are there and cannot be found, because a page on the way to them is damaged.

SQLite says of such a name that it is not there, without a word of damage. Whoever believed that would make a new stream
in its place, which begins at 0 again. But each basin, stream, token and stored answer has two entries on the disk: a
table has it, and an index (schema.py makes some for this alone). So each entry of the one is looked for in the other;
where that cannot be done to the end, nothing can be said of any name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from s2cli.errors import ApiError
from s2cli.server.store.interface import MAX_SEQ_NUM
from s2cli.server.store.sqlite import loss
from s2cli.server.store.sqlite.disk import is_of_the_moment
from s2cli.server.store.sqlite.reader import Slices
from s2cli.server.store.sqlite.resource_rows import escaped

# In one look, some milliseconds.
ENTRIES_IN_A_ROW = 1000

Name = tuple[Any, ...]


class Kind(Enum):
    """A kind of named thing; the value is its name in messages."""

    BASIN = "basin"
    STREAM = "stream"
    TOKEN = "access token"  # noqa: S105 - what it is called
    REPLY = "stored answer"


class _Walk(NamedTuple):
    """A walk over a tree in the order of `key`; `name` is what an entry is looked up by, and `lookup` does it. With an
    `index_name` the tree is that index, else the table."""

    table: str
    key: str
    name: str
    lookup: str
    index_name: str | None = None

    @property
    def tree(self) -> str:
        return f"{self.table} e " + ("NOT INDEXED" if self.index_name is None else f"INDEXED BY {self.index_name}")


_BASIN = "basin f NOT INDEXED WHERE f.name=e.name"
# Where the key is a number the other direction is not needed: what the index has and not the table SQLite calls damage
# itself.
_WALKS = {
    Kind.BASIN: (
        _Walk("basin", "name", "name", _BASIN),
        _Walk("basin", "created_at, name", "name", _BASIN, "basin_created"),
    ),
    Kind.STREAM: (
        _Walk(
            "stream",
            "id",
            "basin, name",
            "stream f INDEXED BY stream_name WHERE f.basin=e.basin AND f.name=e.name AND +f.id=e.id",
        ),
    ),
    Kind.TOKEN: (
        _Walk(
            "token",
            "id",
            "selector",
            "token f INDEXED BY sqlite_autoindex_token_2 WHERE f.selector=e.selector AND +f.id=e.id",
        ),
        _Walk(
            "token",
            "selector",
            "selector",
            "token f NOT INDEXED WHERE f.id=e.id AND +f.selector=e.selector",
            "token_selector",
        ),
    ),
    Kind.REPLY: (
        _Walk(
            "reply",
            "id",
            "key",
            "reply f INDEXED BY sqlite_autoindex_reply_1 WHERE f.key=e.key AND +f.id=e.id",
        ),
    ),
}


class Hidden:
    """Names on disk that a lookup cannot find. `unknown`: kinds that could not be checked, and why. `rowless`: kinds
    that have names of which only an index knows: their rows are lost."""

    def __init__(self) -> None:
        self.names: dict[Kind, set[Name]] = {kind: set() for kind in Kind}
        self.rowless: set[Kind] = set()
        self.unknown: dict[Kind, str] = {}

    def __bool__(self) -> bool:
        return bool(self.unknown) or any(self.names.values())

    def refuse(self, kind: Kind, name: Name) -> None:
        """To be called where nothing of that name was found. Raises ApiError if that means nothing."""
        if name in self.names[kind] or kind in self.unknown:
            raise _refusal(kind, [name])

    def refuse_list(self, kind: Kind, first: Name, beyond: Name) -> None:
        """The same for a list of the names from the first of these up to, and without, the second."""
        missing = [name for name in self.names[kind] if first <= name < beyond]
        if missing or kind in self.unknown:
            raise _refusal(kind, missing)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What was found, for people: the place, and what is wrong there."""
        for kind, names in self.names.items():
            for name in names:
                yield _place(kind, name), "it is there, and cannot be found by its name"
        for kind, reason in self.unknown.items():
            yield f"{kind.value}s", f"which ones there are cannot be told: {reason}"


def find(connection: sqlite3.Connection) -> Slices[Hidden]:
    """Looks at all names there are, where the second entries are there."""
    hidden = Hidden()
    indexes = "SELECT count(*) FROM sqlite_master WHERE name IN ('basin_created', 'token_selector')"
    if connection.execute(indexes).fetchone()[0] < 2:
        return hidden
    for kind, walks in _WALKS.items():
        for walk in walks:
            try:
                found = yield from _walk(connection, walk)
                if walk.index_name is not None and found - hidden.names[kind]:
                    hidden.rowless.add(kind)
                hidden.names[kind] |= found
            except sqlite3.DatabaseError as error:
                if is_of_the_moment(error):
                    raise
                hidden.unknown[kind] = str(error)
    return hidden


def _walk(connection: sqlite3.Connection, walk: _Walk) -> Slices[set[Name]]:
    hidden: set[Name] = set()
    keys, names = (len(columns.split(", ")) for columns in (walk.key, walk.name))
    selected = f"SELECT {walk.key}, {walk.name}, NOT EXISTS (SELECT 1 FROM {walk.lookup}) FROM {walk.tree}"  # noqa: S608
    ordered = f"ORDER BY {walk.key} LIMIT {ENTRIES_IN_A_ROW}"
    after: Name | None = None
    while True:
        behind = "" if after is None else f" WHERE ({walk.key}) > ({','.join('?' * keys)})"
        rows = connection.execute(f"{selected}{behind} {ordered}", after or ()).fetchall()
        hidden |= {row[keys : keys + names] for row in rows if row[-1]}
        if len(rows) < ENTRIES_IN_A_ROW:
            return hidden
        last = rows[-1][:keys]
        if after is not None and last <= after:
            raise sqlite3.DatabaseError(f"the entries of {walk.table} are not in order")
        after = last
        yield


def _place(kind: Kind, name: Name) -> str:
    parts = [escaped(part) for part in name]
    if kind is Kind.STREAM:
        return "s2://" + "/".join(parts)
    return f"{kind.value} {parts[0]}" if kind is Kind.BASIN else kind.value


def _refusal(kind: Kind, names: list[Name]) -> ApiError:
    what = f"{_place(kind, names[0])} may be there" if names else f"some {kind.value}s cannot be found"
    return ApiError(
        "storage",
        f"{what}: the list of names is damaged on disk: {loss.ADVICE}",
        without_effect=True,
        damaged=(0, MAX_SEQ_NUM - 1) if kind is Kind.STREAM else None,
    )
