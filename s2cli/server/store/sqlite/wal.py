"""The file of SQLite's write-ahead log: where its chain of checksums breaks, and whether a crash can have caused that.

SQLite uses the log up to the last commit before the first invalid frame, and does not report what comes after it. A
crash can damage only the last transaction, since each one is begun after the one before is on the disk. So a frame of a
later transaction after an invalid one proves that a confirmed transaction is missing.

The file is a header and frames, each with a page. All numbers are big-endian; each frame's checksum continues that of
the one before (https://sqlite.org/walformat.html).
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from s2cli.private_files import open_own

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
BLOCK_BYTES = 1024 * 1024
_MAGIC = 0x377F0682
# Magic (its last bit: the byte order of the checksums' input), version, page size, checkpoints, salts, checksum.
_HEADER = struct.Struct(">IIII8sII")
# Page, pages in the database after a commit (0: no commit), salts, checksum.
_FRAME = struct.Struct(">II8sII")
_TABLE_LEAF = 0x0D

Sum = tuple[int, int]


class Log(NamedTuple):
    """What a log holds. `salts`: of its header, or of its first frame if the header is damaged; None if there is
    neither. `sums`: the checksums of its valid frames, in order. `committed`: how many of them there are up to the last
    commit. `lost`: at least so many transactions after the break prove a loss; SQLite drops them. `last`: the number of
    the last frame of these, from 1 on."""

    size_bytes: int
    has_header: bool
    salts: bytes | None
    sums: list[Sum]
    committed: int
    lost: int
    last: int


def scan(path: Path, page_bytes: int) -> Log:
    """Reads the whole log at `path`. `page_bytes`: the page size of the database. A missing log counts as empty."""
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


def pages(path: Path, page_bytes: int, first: int, last: int) -> Iterator[bytes]:
    """The pages of the frames from number `first` to number `last`, from 1 on, as far as the log has them."""
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    with contextlib.suppress(FileNotFoundError), open(open_own(path, os.O_RDONLY), "rb") as file:
        file.seek(HEADER_BYTES + (first - 1) * frame_bytes)
        for _ in range(first, last + 1):
            if len(frame := file.read(frame_bytes)) < frame_bytes:
                return
            yield frame[FRAME_HEADER_BYTES:]


def rowids(page: bytes) -> Iterator[int]:
    """The rowids of a page if it is a leaf of a table (https://sqlite.org/fileformat2.html), as far as it makes sense:
    it may be damaged."""
    if page[0] != _TABLE_LEAF:
        return
    count = int.from_bytes(page[3:5], "big")
    for at in struct.unpack_from(f">{min(count, (len(page) - 8) // 2)}H", page, 8):
        _, behind = _varint(page, at)  # the size of the row
        rowid, _ = _varint(page, behind)
        yield rowid


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """The number that is there, and where it ends."""
    value = 0
    for number, byte in enumerate(page[at : at + 9], 1):
        if number == 9:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number
    return 0, at


def make_durable(path: Path) -> None:
    """Writes the log over itself, and waits until it is on the disk. Does nothing if there is no log. Raises OSError.

    What can be read of the log need not be on the disk: after a failed sync the system takes the pages for written, and
    no later sync writes them. After a power failure the log would have a hole, and SQLite would apply the part before
    it to a database that is newer."""
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
    """`total`: the checksum of the header; None if it is damaged, so that the chain is broken from the beginning."""
    has_header = total is not None
    sums: list[Sum] = []
    committed = lost = number = last = 0
    ended = False  # after the break: the transaction that has the break has ended
    before: Sum | None = None  # the checksum stored in the frame before
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
