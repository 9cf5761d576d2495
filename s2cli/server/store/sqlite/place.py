"""Recognises plain copies of a database: the table `place` has the inode of the file, and a copy has another inode.

In a copy that was made while a server ran, one part may be from before a write and another from after it, and SQLite
does not notice. So a copy must be checked (check.py) before a server uses it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from pathlib import Path

from s2cli.errors import S2Error


class CopiedError(S2Error):
    """The data directory is a plain copy of another one, and was not checked yet."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} is a plain copy of a data directory, whose parts may not belong together",
            hint=f"s2 lite check --data {shlex.quote(str(directory))} checks all of it, and then it can be used;"
            " a backup (s2 lite backup) can be used at once",
        )


def is_copy(path: Path) -> bool:
    """Whether the database at `path` is a plain copy. False if it has no inode noted: it is new, or from a backup."""
    # The file alone, without its log: what note() wrote was in a checkpoint. `immutable`: nothing is changed.
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
        try:
            known = connection.execute("SELECT inode FROM place").fetchone()
        except sqlite3.Error:
            return False  # opening the database will say what is wrong, if anything is
    return known is not None and known[0] != os.stat(path).st_ino


def note(connection: sqlite3.Connection, path: Path) -> None:
    """Stores the inode of the database file, so that a plain copy is recognised."""
    inode = os.stat(path).st_ino
    forget(connection, unless=inode)
    connection.execute("INSERT INTO place(inode) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM place)", (inode,))


def forget(connection: sqlite3.Connection, *, unless: int = 0) -> None:
    """Deletes the inode that is noted, except for `unless`: a server may then use the database wherever it lies."""
    connection.execute("CREATE TABLE IF NOT EXISTS place(inode INT NOT NULL)")
    if connection.execute("SELECT 1 FROM place WHERE inode<>?", (unless,)).fetchone() is not None:
        connection.execute("DELETE FROM place")
