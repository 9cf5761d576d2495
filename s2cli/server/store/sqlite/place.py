"""Where a database lies: it knows the inode of its own file, and so whether it is a plain copy.

A copy of the files of a running server may hold one part as it was before a write, and another as it was after it:
SQLite does not notice. So a copy is looked at (check.py) before a server takes it for its data.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from pathlib import Path

from s2cli.errors import S2Error


class CopiedError(S2Error):
    """The data directory is a plain copy of another one, at which nobody has looked yet."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} is a plain copy of a data directory, whose parts may not belong together",
            hint=f"s2 lite check --data {shlex.quote(str(directory))} looks at all of it, and then it can be used;"
            " a backup (s2 lite backup) can be used at once",
        )


def is_copy(path: Path) -> bool:
    """Whether the database in that file was copied there from another one. False where it does not know its place: it
    is new, or comes out of a backup."""
    # The file alone, without its log: `settle` stands before a checkpoint. Nothing is changed by looking.
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
        try:
            known = connection.execute("SELECT inode FROM place").fetchone()
        except sqlite3.Error:
            return False  # whoever opens it will say what is wrong with it, if anything is
    return known is not None and known[0] != os.stat(path).st_ino


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Have the database know that it lies here."""
    inode = os.stat(path).st_ino
    forget(connection, unless=inode)
    connection.execute("INSERT INTO place(inode) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM place)", (inode,))


def forget(connection: sqlite3.Connection, *, unless: int = 0) -> None:
    """Let the database begin anywhere: its parts belong together."""
    connection.execute("CREATE TABLE IF NOT EXISTS place(inode INT NOT NULL)")
    if connection.execute("SELECT 1 FROM place WHERE inode<>?", (unless,)).fetchone() is not None:
        connection.execute("DELETE FROM place")
