"""The database file: its settings and its schema.

A chunk's key packs its stream and the last sequence number in it, so that the chunks of one stream lie together and in
order, and one step finds the chunk that holds a sequence number. What a read decides by is in columns before the
bytes. Timestamps are unsigned in the protocol and signed in SQLite, see `to_signed`: only their order within Python
counts, no statement compares them.

Format 3 is format 1 and what `_UPGRADES` adds; an older database gets it when it is opened. Older chunks stay as they
are: each says by itself which checksum it has (checksums.py) and how it is sealed (server/core/encryption.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
from pathlib import Path

from s2cli.errors import S2Error, describe
from s2cli.private_files import open_own, sync_directory
from s2cli.server.store.sqlite import checksums, life, loss, mark, place, wal

log = logging.getLogger("s2cli.server")

APPLICATION_ID = 0x5332_4462  # "S2Db"
FORMAT = 3
FILE_NAME = "s2.db"
PAGE_BYTES = 16384

# How long another program is waited for that has the database locked.
BUSY_MS = 5000

SCHEMA = """
CREATE TABLE chunk(
  id INTEGER PRIMARY KEY, -- stream.id << 40 | last sequence number
  n INT NOT NULL,         -- records
  size INT NOT NULL,      -- metered bytes
  ts INT NOT NULL,        -- timestamp of the last record
  exp INT NOT NULL,       -- when it expires: arrival + retention at writing, in ms; 0 never; not from client timestamps
  crc INT NOT NULL,       -- see checksums.py
  kind INT NOT NULL,      -- 0 plain, else how it is sealed, see server/core/encryption.py
  data BLOB NOT NULL      -- ReadBatch, or what seals one
);
CREATE TABLE basin(
  name BLOB PRIMARY KEY,  -- UTF-8, as bytes: their order is the order of lists
  config TEXT NOT NULL,   -- JSON
  created_at INT NOT NULL,
  deleted_at INT,
  request_key BLOB,
  crc INT                 -- of the row, see checksums.py; here and below
) WITHOUT ROWID;
CREATE TABLE stream(
  id INTEGER PRIMARY KEY, -- below 2^23; free again once the row is gone
  basin BLOB NOT NULL,
  name BLOB NOT NULL,
  config TEXT NOT NULL,
  cipher TEXT,
  created_at INT NOT NULL,
  deleted_at INT,
  request_key BLOB,
  trim_point INT NOT NULL DEFAULT 0,
  fencing_token TEXT NOT NULL DEFAULT '',
  next_seq INT NOT NULL DEFAULT 0, -- the tail is here, or beyond it as the last chunk says: written before a checkpoint
  last_ts INT NOT NULL DEFAULT 0,  -- and with the deletion of the last chunk; this is the timestamp before it
  keep INT,                        -- retention of the last run
  written INT NOT NULL DEFAULT 0,  -- arrival of the last record, as far as its chunk does not tell
  look_at INT,                     -- when to see whether it is to be deleted, being empty
  uid BLOB,                        -- random, 16 bytes: its chunks are sealed with it; NULL: created in format 1
  crc INT
);
CREATE TABLE run(
  id INTEGER PRIMARY KEY, -- of a chunk: from here on all chunks of its stream were written with one retention
  keep INT NOT NULL,      -- that retention, in ms; 0 for ever
  due INT                 -- the first of its chunks that are left expires then, or later
);
CREATE INDEX run_due ON run(due) WHERE due IS NOT NULL;
CREATE TABLE gone(
  id INTEGER PRIMARY KEY, -- stream.id << 40 | a sequence number: from here on some are gone, see gone.py
  n INT NOT NULL,         -- so many
  crc INT
);
CREATE TABLE reply(
  id INTEGER PRIMARY KEY,    -- in order of time
  key BLOB NOT NULL UNIQUE,  -- hash of the request token
  request BLOB NOT NULL,     -- hash of the request
  status INT NOT NULL,
  content_type BLOB,
  headers TEXT NOT NULL,     -- JSON, pairs
  body BLOB NOT NULL,
  stored_at INT NOT NULL,
  crc INT
);
CREATE UNIQUE INDEX stream_name ON stream(basin, name);
CREATE INDEX stream_deleted ON stream(deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX stream_trimmed ON stream(trim_point) WHERE trim_point > 0;
CREATE INDEX stream_looked_at ON stream(look_at) WHERE look_at IS NOT NULL;
CREATE TABLE token(
  id BLOB PRIMARY KEY,       -- UTF-8
  selector TEXT NOT NULL UNIQUE,
  hash BLOB NOT NULL,        -- HMAC-SHA256 of the verifier; its key is in the file token.key
  scope TEXT NOT NULL,       -- JSON
  auto_prefix INT NOT NULL,
  expires TEXT,              -- RFC 3339 in UTC, as precise as it was set
  expires_ms INT,            -- the same in ms, rounded up
  crc INT
) WITHOUT ROWID;
CREATE INDEX token_expires ON token(expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE metric(
  basin BLOB NOT NULL,    -- empty: the account
  stream BLOB NOT NULL,   -- empty: the whole basin
  series TEXT NOT NULL,
  hour INT NOT NULL,      -- since the epoch
  minutes TEXT NOT NULL,  -- JSON: minute of the hour -> value
  PRIMARY KEY(basin, stream, series, hour)
) WITHOUT ROWID;
CREATE INDEX metric_hour ON metric(hour);
"""

# What is not there by now is gone for a reason that was not written down.
_TO_3 = """
CREATE TABLE gone(id INTEGER PRIMARY KEY, n INT NOT NULL, crc INT);
INSERT INTO gone(id, n) SELECT start, first - start FROM (
  SELECT id - n + 1 AS first, coalesce(lag(id) OVER (PARTITION BY id >> 40 ORDER BY id) + 1, id >> 40 << 40) AS start
  FROM chunk) WHERE first > start;
INSERT INTO gone(id, n) SELECT id << 40, next_seq FROM stream WHERE next_seq > 0
  AND NOT EXISTS (SELECT 1 FROM chunk c WHERE c.id BETWEEN stream.id << 40 AND (stream.id + 1 << 40) - 1);
UPDATE stream SET (next_seq, last_ts) = (
  SELECT c.id - (stream.id << 40) + 1, c.ts FROM chunk c
  WHERE c.id BETWEEN stream.id << 40 AND (stream.id + 1 << 40) - 1 ORDER BY c.id DESC LIMIT 1)
  WHERE EXISTS (SELECT 1 FROM chunk c WHERE c.id BETWEEN stream.id << 40 AND (stream.id + 1 << 40) - 1);
ALTER TABLE reply ADD COLUMN crc INT;
""" + "".join(f"UPDATE {table} SET crc=row_checksum({columns});\n" for table, columns in checksums.SEALED.items())  # noqa: S608

# Second entries of names, see hidden.py. A database of this format may have been made without them.
_SECOND_ENTRIES = (
    "CREATE INDEX IF NOT EXISTS basin_created ON basin(created_at)",
    "CREATE INDEX IF NOT EXISTS token_selector ON token(selector)",
)

# From each format to the next one.
_UPGRADES = {
    1: """
ALTER TABLE basin ADD COLUMN crc INT;
ALTER TABLE stream ADD COLUMN uid BLOB;
ALTER TABLE stream ADD COLUMN crc INT;
ALTER TABLE token ADD COLUMN crc INT;
""",
    2: _TO_3,
}

# The write-ahead log or its index cannot be opened or made.
_NOT_OPENED = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_DIRECTORY)
    + (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP)
)


def to_signed(timestamp: int) -> int:
    """An unsigned number of 64 bits as the signed one with the same bits."""
    return timestamp if timestamp < 1 << 63 else timestamp - (1 << 64)


def to_unsigned(value: int) -> int:
    return value if value >= 0 else value + (1 << 64)


def lacks_files_beside(error: BaseException) -> bool:
    """Whether SQLite could not open or make the files that it needs beside the database: that says nothing of the
    data."""
    return getattr(error, "sqlite_errorcode", None) in _NOT_OPENED


def not_opened(path: Path, error: OSError | sqlite3.Error) -> S2Error:
    """The error for whoever wanted to open the database at `path`."""
    hint = f"SQLite must be able to write to files beside it in {path.parent}: is the disk full?"
    return S2Error(f"cannot open {path}: {error}", hint=hint if lacks_files_beside(error) else None)


def open_writer(
    directory: Path, *, durable: bool, accepts_copy: bool = False, repairs: bool = False
) -> sqlite3.Connection:
    """The one connection that writes; makes the file if there is none. Raises S2Error for a file that is not ours to
    write: of a newer version, or of something else; without `accepts_copy` for a plain copy (CopiedError); and unless
    it `repairs` for a file that was exchanged (ExchangedError). What is found to be missing is written down (loss.py);
    with `durable` False there is nothing that could be."""
    path = directory / FILE_NAME
    try:
        loss.refuse_new(path)
        _make_own(path)
        if not accepts_copy and place.is_copy(path):
            raise place.CopiedError(directory)
        if durable:
            known = loss.check_log(path, PAGE_BYTES)
            try:
                life.check(path, known)
            except life.ExchangedError as error:
                if not repairs:
                    raise
                loss.take_exchanged(path, error.message)
            wal.make_durable(Path(f"{path}-wal"))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    except OSError as error:
        raise S2Error(f"cannot open {error.filename or path}: {describe(error)}") from error
    except sqlite3.Error as error:
        raise not_opened(path, error) from error
    try:
        _prepare(connection, path, durable=durable)
    except BaseException as error:
        _close_beside_log(connection, path)
        if isinstance(error, OSError | sqlite3.Error):
            raise not_opened(path, error) from error
        raise
    return connection


def _close_beside_log(connection: sqlite3.Connection, path: Path) -> None:
    """Closes the connection, and leaves the write-ahead log: the mark may still ask for it. SQLite deletes the log with
    the last connection, unless that one can only read."""
    with contextlib.ExitStack() as reader:
        with contextlib.suppress(sqlite3.Error):
            last = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            reader.enter_context(contextlib.closing(last))
            last.execute("PRAGMA schema_version").fetchall()
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, *, durable: bool) -> None:
    checksums.register(connection)
    # The directory is locked, but somebody may look into the file with a tool.
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    _check(connection, path)
    version = _number(connection, "user_version")
    if not version:
        _create(connection, path)
    elif version < FORMAT:
        upgrade(connection, version)
        log.info("%s was upgraded from format %d to %d", path, version, FORMAT)
    # Only now, and at each start: a log beside an empty file means that the file is lost, and a crash may come between.
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise _locked()
    settings = {
        "synchronous": "FULL" if durable else "OFF",
        "wal_autocheckpoint": 0,
        "secure_delete": "OFF",
        "temp_store": "MEMORY",
        "mmap_size": 0,
        # Must hold the largest transaction, or pages are written twice.
        "cache_size": -32768,
    }
    if sys.platform == "darwin":
        settings |= {"fullfsync": 1, "checkpoint_fullfsync": 1}
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name}={value}").fetchall()
    for statement in _SECOND_ENTRIES:
        connection.execute(statement)
    place.note(connection, path)
    number = life.begin_next(connection)
    _move_log(connection)
    if durable:
        mark.begin(path, number)
    _empty_log(connection)


def _move_log(connection: sqlite3.Connection) -> None:
    """Copies what is in the write-ahead log into the database, and waits for the disk. What the log has can be read and
    may yet be lost: a process was killed before it had waited, or its wait failed, after which the kernel takes the
    pages for written. Nobody may be told of a record that a power failure takes back."""
    busy, log_pages, moved_pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy or moved_pages < log_pages:
        raise _locked()


def _empty_log(connection: sqlite3.Connection) -> None:
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise _locked()


def _locked() -> S2Error:
    return S2Error(
        "another program has locked the database",
        hint="close the program that has it open, such as a sqlite3 shell",
    )


def _make_own(path: Path) -> None:
    """Made by us for its mode, which the files beside it inherit. SQLite follows links, so there must not be any."""
    os.close(open_own(path, os.O_RDWR | os.O_CREAT))
    for suffix in "-wal", "-shm", "-journal":
        with contextlib.suppress(FileNotFoundError):
            os.close(open_own(f"{path}{suffix}", os.O_RDWR))


def open_reader(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / FILE_NAME, isolation_level=None, check_same_thread=False)
    for setting in "busy_timeout=1000", "cache_size=-2048", "mmap_size=0", "query_only=ON":
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    version, application_id = _number(connection, "user_version"), _number(connection, "application_id")
    empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    if empty and not version and not application_id:
        return
    if application_id != APPLICATION_ID:
        raise S2Error(f"{path} is a database of another program")
    if version > FORMAT:
        raise S2Error(
            f"{path} was written by a newer version of s2 (format {version}, this one knows {FORMAT})",
            hint="upgrade s2, or choose another directory with --data",
        )


def _create(connection: sqlite3.Connection, path: Path) -> None:
    for setting in f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL":  # in this order
        connection.execute(f"PRAGMA {setting}").fetchall()
    # One transaction, numbers included: a crash leaves an empty file or a whole one.
    connection.executescript(
        f"BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; COMMIT;"
    )
    sync_directory(path.parent)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    steps = " ".join(_UPGRADES[number] for number in range(version, FORMAT))
    # One transaction as well: a crash leaves the old format or the new one. SQLite waits for the disk by itself here.
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={FORMAT}; COMMIT;")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
