"""The life of a database: a number in it that grows with each start and each end of a server. The mark (mark.py) has
the same number. So it is noticed if the database was replaced by an older copy."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from s2cli.errors import S2Error
from s2cli.server.store.sqlite.mark import Mark


class ExchangedError(S2Error):
    """The database is not the one that was last used here."""


def check(path: Path, mark: Mark | None) -> None:
    """Raises ExchangedError if the database at `path` and its mark do not have the same number. The database may be one
    ahead: it is written first, and a crash may come before the mark is."""
    if mark is None:
        return
    # The file alone: it is not known yet whether the log belongs to it.
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
        try:
            number = read(connection)
        except sqlite3.Error:
            return  # opening the database will say what is wrong
    if number - mark.life not in (0, 1):
        raise ExchangedError(
            f"{path} is not the file that was last used here, but an older or another one",
            hint="put the right one back; or run s2 lite repair, to continue without what it lacks",
        )


def begin_next(connection: sqlite3.Connection) -> int:
    """Increases the number of the database by one, and returns it. To be called at the start and the end of a
    server."""
    connection.execute("CREATE TABLE IF NOT EXISTS life(n INT NOT NULL)")
    number = read(connection) + 1
    if connection.execute("UPDATE life SET n=?", (number,)).rowcount == 0:
        connection.execute("INSERT INTO life(n) VALUES(?)", (number,))
    return number


def read(connection: sqlite3.Connection) -> int:
    """The number of the database; 0 if it has none yet."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name='life'").fetchone() is None:
        return 0
    row = connection.execute("SELECT n FROM life").fetchone()
    return row[0] if row is not None and isinstance(row[0], int) else 0
