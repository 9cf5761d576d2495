"""Finds out, before SQLite opens the files, whether anything that was confirmed is missing. What is missing is noted in
a file beside the database until a repair (resume.py).

One loss cannot be noticed: that of the last transaction before a power failure. If the failure tore it, it was never
confirmed; if its bytes rotted later, it was. Both look the same. If only the process died, the mark shows the loss.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from s2cli.errors import S2Error
from s2cli.private_files import open_own, sync_directory
from s2cli.server.store.sqlite import mark as marks
from s2cli.server.store.sqlite import wal
from s2cli.server.store.sqlite.keys import seq_num_of, stream_of
from s2cli.server.store.sqlite.mark import CLOSED, OPENING, DamagedMarkError, Mark

log = logging.getLogger("s2cli.server")

SUFFIX = "-loss"
# What whoever meets one is told to do.
ADVICE = "stop the server and run `s2 lite repair`"
MAX_NOTE_BYTES = 64 * 1024
# Of a log that was damaged there may be more: they are left out of the note.
MAX_NOTED_STREAMS = 1000
# No record takes less in a log.
LEAST_RECORD_BYTES = 8
# At least so many sequence numbers may have been given after the last known one.
LEAST_RECORDS = 1 << 20
# At most so many were given since an older copy was made: 136 a second for a year, or 50,000 a second for a day.
RECORDS_OF_A_DATABASE = 1 << 32
# Each log has the first half of the salts of the one before, plus one. None can be further ahead of a mark than this.
_MOST_AHEAD = 1 << 16


class Loss:
    """`reason`: what is missing. `records`: how many sequence numbers of each stream may be missing with it, at
    most. `ends`: stream id -> where the stream ended by what can still be read of the lost part; other streams may
    have lost records as well."""

    def __init__(self, reason: str, records: int, ends: dict[int, int] | None = None) -> None:
        self.reason = reason
        self.records = records
        self.ends = ends or {}


def refuse_new(path: Path) -> None:
    """Raises S2Error if the database at `path` is missing or empty although there was one, so that no server begins
    with an empty one. Raises OSError if a file beside it is not our own."""
    if path.exists() and path.stat().st_size:
        return
    for suffix in "-wal", marks.SUFFIX, SUFFIX:
        beside = Path(f"{path}{suffix}")
        if _own_size_bytes(beside):
            raise S2Error(
                f"{path} is {'empty' if path.exists() else 'missing'}, but there is {beside}",
                hint="put the file back, for example out of a backup; or choose another directory with --data",
            )


def _own_size_bytes(path: Path) -> int:
    try:
        descriptor = open_own(path, os.O_RDWR)
    except FileNotFoundError:
        return 0
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def check_log(path: Path, page_bytes: int) -> Mark | None:
    """To be called before the database at `path` is opened. Notes what is missing, and renames a log that belongs to
    another database. Returns the mark, if there is one. Raises OSError."""
    try:
        mark = marks.read(path)
    except DamagedMarkError:
        log.warning("%s%s is damaged: a truncated or missing log could not be detected", path, marks.SUFFIX)
        mark = None
    log_path = Path(f"{path}-wal")
    found = wal.scan(log_path, page_bytes)
    reason = _missing(found, mark)
    missing = None if reason is None else _loss(path, page_bytes, reason, found, mark)
    if mark is not None and found.sums and _is_foreign(found, mark):
        _put_aside(log_path)
        missing = missing or _loss(path, page_bytes, "the write-ahead log was of another database", found, mark)
    if missing is not None:
        write(path, missing)
    return mark


def _loss(path: Path, page_bytes: int, reason: str, found: wal.Log, mark: Mark | None) -> Loss:
    most_bytes = max(found.size_bytes, 0 if mark is None else mark.frames * page_bytes)
    ends: dict[int, int] = {}
    # What SQLite drops of the log: behind the last commit that it takes, up to the last one that was confirmed.
    last = found.last
    if mark is not None:
        last = max(last, mark.frames) if found.salts == mark.salts else 0
    for page in wal.pages(Path(f"{path}-wal"), page_bytes, found.committed + 1, last):
        for key in wal.rowids(page):
            stream_id = stream_of(key)
            if stream_id in ends or (stream_id > 0 and len(ends) < MAX_NOTED_STREAMS):
                ends[stream_id] = max(ends.get(stream_id, 0), seq_num_of(key) + 1)
    return Loss(reason, max(LEAST_RECORDS, most_bytes // LEAST_RECORD_BYTES), ends)


def known(path: Path, page_bytes: int) -> Loss | None:
    """What is missing in the database at `path`, which must not be open, as far as that can be told without opening it;
    None for nothing. Changes nothing."""
    found = read(path)
    if found is not None:
        return found
    try:
        mark = marks.read(path)
    except DamagedMarkError:
        mark = None
    scanned = wal.scan(Path(f"{path}-wal"), page_bytes)
    reason = _missing(scanned, mark)
    return None if reason is None else _loss(path, page_bytes, reason, scanned, mark)


def take_exchanged(path: Path, reason: str) -> None:
    """Notes that the database at `path` is not the one that was last used, whose records are lost, and puts the log
    aside."""
    log_path = Path(f"{path}-wal")
    if log_path.exists():
        _put_aside(log_path)
    write(path, Loss(reason, RECORDS_OF_A_DATABASE))


def _put_aside(log_path: Path) -> None:
    aside = Path(f"{log_path}.foreign")
    log.error("%s is of another database: it is now %s", log_path, aside)
    log_path.rename(aside)
    sync_directory(log_path.parent)


def _missing(found: wal.Log, mark: Mark | None) -> str | None:
    """What of the log is missing; None for nothing."""
    if mark is not None and mark.needs_log and not _follows(found, mark):
        if not found.size_bytes:
            return "the write-ahead log is missing or empty"
        if found.salts != mark.salts:
            return "the write-ahead log is not the one that was written"
        if len(found.sums) < mark.frames:
            return f"the write-ahead log is damaged: of {mark.frames} pages {found.committed} can be used"
        if found.sums[mark.frames - 1] != mark.total:
            return "the write-ahead log was changed"
    is_moved = mark is not None and found.salts == mark.salts and found.last <= mark.moved
    if found.lost and not is_moved:
        return f"the write-ahead log is damaged: {found.lost} or more transactions that were confirmed cannot be used"
    return None


def _follows(found: wal.Log, mark: Mark) -> bool:
    """Whether the log is a later one of the same database: SQLite begins it when all of the one before is in the
    database."""
    if found.salts is None or not found.has_header:
        return False
    ahead = int.from_bytes(found.salts[:4], "big") - int.from_bytes(mark.salts[:4], "big")
    return 0 < ahead % (1 << 32) <= _MOST_AHEAD


def _precedes(found: wal.Log, mark: Mark) -> bool:
    """Whether the log is the one before that of the mark."""
    if found.salts is None:
        return False
    return (int.from_bytes(mark.salts[:4], "big") - int.from_bytes(found.salts[:4], "big")) % (1 << 32) == 1


def _is_foreign(found: wal.Log, mark: Mark) -> bool:
    if mark.state == OPENING or found.salts == mark.salts:
        return False
    if not mark.frames and _precedes(found, mark):
        return False  # it was about to be emptied: all of it is in the database, and the next one is still empty
    return mark.state == CLOSED or not _follows(found, mark)


def read(path: Path) -> Loss | None:
    """The loss that write() has noted for the database at `path`; None for none."""
    try:
        with open(open_own(f"{path}{SUFFIX}", os.O_RDONLY), "rb") as file:
            said = json.loads(file.read(MAX_NOTE_BYTES))
        ends = {int(stream_id): int(end) for stream_id, end in said.get("ends", {}).items()}
        return Loss(str(said["reason"]), int(said["records"]), ends)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return Loss(f"records are missing; the note on them, {path}{SUFFIX}, is damaged", LEAST_RECORDS)


def write(path: Path, loss: Loss) -> None:
    """Notes the loss until a repair. If one is noted already, that one is kept. Raises OSError."""
    if read(path) is not None:
        return
    new = f"{path}{SUFFIX}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with open(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:
        json.dump({"reason": loss.reason, "records": loss.records, "ends": loss.ends}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, f"{path}{SUFFIX}")
    sync_directory(path.parent)


def forget(path: Path) -> None:
    """Deletes the note, after a repair."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}{SUFFIX}")
    sync_directory(path.parent)
