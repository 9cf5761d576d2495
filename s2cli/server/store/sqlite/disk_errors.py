"""Whose an error is: the disk's, after which nothing more is written; for want of room; of another program that holds
the database for a moment; or that of one write alone."""

from __future__ import annotations

import sqlite3

from s2cli.errors import ApiError

_OF_THE_DISK = frozenset(
    (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    + (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
)
_OF_THE_MOMENT = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


def is_full(error: BaseException | None) -> bool:
    """Whether there is no room on the disk."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_of_the_disk(error: BaseException) -> bool:
    """Whether what is on the disk can no longer be relied on. Everything else, a value that cannot be stored or a
    programming error, has changed nothing beyond its own transaction, which was rolled back."""
    return _code(error) in _OF_THE_DISK


def is_of_the_moment(error: BaseException) -> bool:
    """Whether another program holds the database locked: it has nothing to do with what was to be written or read, and
    waiting helps."""
    return _code(error) in _OF_THE_MOMENT


def not_written(error: BaseException) -> ApiError:
    """What whoever asked for a write is told of an error that is not the disk's."""
    if is_of_the_moment(error):
        return _locked(error)
    return ApiError("other", f"this cannot be stored: {type(error).__name__}: {error}", without_effect=True)


def not_read(error: sqlite3.Error) -> ApiError:
    """What whoever asked for a read is told."""
    if is_of_the_moment(error):
        return _locked(error)
    return ApiError("storage", f"the database cannot be read: {error}")


def _locked(error: BaseException) -> ApiError:
    return ApiError("unavailable", f"another program holds the database: {error}", without_effect=True)


def _code(error: BaseException | None) -> int:
    # The extended codes have the primary one in the last byte. Errors of the module itself have none.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
