"""The copy of a database that is written to meanwhile."""

import contextlib
import sqlite3
from itertools import count

import pytest

from s2cli.server.store.interface import CopyProgress
from s2cli.server.store.sqlite.page_copy import SLICE_PAGES, copy
from s2cli.server.store.sqlite.schema import PAGE_BYTES

MIB = 1024 * 1024
BEGIN_BYTES = 4 * MIB


@pytest.fixture
def grow(connection):
    """Makes the database larger, by about so many bytes."""
    numbers = count()
    connection.execute("CREATE TABLE filler(number INT, data BLOB)")

    def add(size_bytes: int) -> None:
        connection.execute("INSERT INTO filler VALUES(?, randomblob(?))", (next(numbers), size_bytes))

    return add


def numbers_in(path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in database.execute("SELECT number FROM filler ORDER BY number")]


@pytest.mark.parametrize("size_bytes", [1000, MIB, 8 * MIB])
def test_it_ends_however_fast_the_database_grows(connection, grow, tmp_path, size_bytes):
    grow(BEGIN_BYTES)
    grown = []

    def between(_: float) -> None:
        assert len(grown) * SLICE_PAGES * PAGE_BYTES <= 2 * BEGIN_BYTES, "the copy is no nearer to its end"
        grow(size_bytes)
        grown.append(size_bytes)

    copy(connection, tmp_path / "copy", CopyProgress(), between)
    assert grown, "nothing came meanwhile"
    found = numbers_in(tmp_path / "copy")
    assert found == list(range(len(found)))
    assert len(found) in (len(grown), len(grown) + 1)


def test_others_get_as_much_time_as_the_copy_takes(connection, grow, tmp_path):
    grow(BEGIN_BYTES)
    pauses_s: list[float] = []
    copy(connection, tmp_path / "copy", CopyProgress(), pauses_s.append)
    assert len(pauses_s) >= BEGIN_BYTES // (SLICE_PAGES * PAGE_BYTES)
    assert min(pauses_s) > 0
