"""The cleaner of the engine where even giving pages back finds no room."""

import sqlite3

from s2cli.server.engines import sqlite_chunks
from s2cli.server.engines.sqlite_cleaner import Cleaner


def test_it_rests_until_the_next_deletion_when_told_that_there_is_no_room(monkeypatch):
    connection = sqlite3.connect(":memory:")
    monkeypatch.setattr(sqlite_chunks, "vacuum", lambda _: 7)
    cleaner = Cleaner(connection)
    assert cleaner.step(lambda run: run(connection)) == 7
    assert cleaner.busy
    cleaner.stop_vacuuming()
    assert not cleaner.busy
    cleaner.vacuum()
    assert cleaner.busy
