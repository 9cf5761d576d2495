"""The write-ahead log of SQLite as a file: where its chain of checksums breaks, and whether that can have been a crash.

SQLite takes the log up to the last commit before the first frame that is not valid, and says nothing of what lies
behind it. A crash can tear the last transaction alone: the one before was waited for before it was begun. So a frame of
a later transaction behind a bad one proves that a transaction is missing which was confirmed.

The file is a header and frames, each with a page. All numbers are big-endian; each frame's checksum continues that of
the one before (https://sqlite.org/walformat.html).
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple

from s2cli.private_files import open_own

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
BLOCK_BYTES = 1024 * 1024
_MAGIC = 0x377F0682
# Magic (its last bit: the order of bytes in what is summed up), version, page size, checkpoints, salts, checksum.
_HEADER = struct.Struct(">IIII8sII")
# Page, pages in the database after a commit (0: no commit), salts, checksum.
_FRAME = struct.Struct(">II8sII")

Sum = tuple[int, int]


class Log(NamedTuple):
    """What a log holds. `salts` are those of its header, or of its first frame if that is damaged; None without either.
    `sums` are the checksums of its valid frames, in order, and `committed` so many of them are up to a commit. `lost`
    counts transactions behind the break, at least: they were confirmed, or the one before them was, and SQLite drops
    them. `last`: so many frames there are up to the last one of these."""

    size_bytes: int
    has_header: bool
    salts: bytes | None
    sums: list[Sum]
    committed: int
    lost: int
    last: int


def scan(path: Path, page_bytes: int) -> Log:
    """Reads all of it; `page_bytes`: of the database. A log that is missing is an empty one."""
    try:
        file = os.fdopen(open_own(path, os.O_RDONLY), "rb")
    except FileNotFoundError:
        return Log(0, False, None, [], 0, 0, 0)
    with file:
        size_bytes = os.fstat(file.fileno()).st_size
        head = file.read(HEADER_BYTES)
        if len(head) == HEADER_BYTES:
            magic, _, said_bytes, _, salts, *stored = _HEADER.unpack(head)
            order = ">" if magic & 1 else "<"
            total = _add((0, 0), head[:24], order)
            if magic & ~1 == _MAGIC and said_bytes == page_bytes and total == tuple(stored):
                return _scan_frames(file, size_bytes, page_bytes, order, salts, total)
        order = "<" if sys.byteorder == "little" else ">"  # as SQLite writes it here
        return _scan_frames(file, size_bytes, page_bytes, order, None, None)


def make_durable(path: Path) -> None:
    """Writes the log over itself, and waits until it is on the disk.

    What can be read of it need not be there: after a sync that failed the system takes the pages for written, and no
    later sync writes them. A power failure would bring back a log with a hole, whose first half SQLite would put over
    a database that has more. Raises OSError; a log that is missing is none."""
    try:
        descriptor = open_own(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        at = 0
        while block := os.pread(descriptor, BLOCK_BYTES, at):
            at += os.pwrite(descriptor, block, at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scan_frames(
    file: BinaryIO, size_bytes: int, page_bytes: int, order: str, salts: bytes | None, total: Sum | None
) -> Log:
    """`total` None: the header is damaged, and so the chain is broken from the beginning."""
    has_header = total is not None
    sums: list[Sum] = []
    committed = lost = number = last = 0
    ended = False  # behind the break: whether the transaction that it is in has ended
    before: Sum | None = None  # the checksum that the frame before says it has
    while len(frame := file.read(FRAME_HEADER_BYTES + page_bytes)) == FRAME_HEADER_BYTES + page_bytes:
        number += 1
        _, pages, found_salts, *stored = _FRAME.unpack_from(frame)
        says = stored[0], stored[1]
        if salts is None:
            salts = found_salts
        is_ours = found_salts == salts
        seed = total if total is not None else before
        is_valid = is_ours and seed is not None and _of_frame(seed, frame, order) == says
        if total is not None and is_valid:
            total = says
            sums.append(says)
            if pages:
                committed = len(sums)
        elif total is not None:
            total = None
            ended = is_ours and pages > 0
        elif is_valid:
            if ended:
                lost += bool(pages) or not lost
                last = number
            ended = ended or pages > 0
        before = says if is_ours else None
    return Log(size_bytes, has_header, salts, sums, committed, lost, last)


def _of_frame(seed: Sum, frame: bytes, order: str) -> Sum:
    return _add(_add(seed, frame[:8], order), frame[FRAME_HEADER_BYTES:], order)


def _add(total: Sum, data: bytes, order: str) -> Sum:
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
