"""Finds the files that log rotation has renamed: the one in which an append was, and those that came after it."""

from __future__ import annotations

import hashlib
import os
import re
import stat

from s2cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    FileId = tuple[int, int]  # device and inode

# The first bytes of a file, by which a copy of it is recognised. Two logs may begin with the same few lines.
HEAD_BYTES = 4096

# What rotation puts behind the name: .1, -20260131, .2026-01-31T12:00
_ROTATED = re.compile(r"[.\-_][0-9][0-9T:.\-_]*")
_COMPRESSED = re.compile(r"[.\-_][0-9][0-9T:.\-_]*\.(gz|bz2|xz|zst|zip)")


class FilePosition:
    """A place in a file: `line` begins at `offset`. The file had this `file_id`, and its first bytes this `head`: their
    number and digest."""

    __slots__ = ("file_id", "head", "line", "offset")

    def __init__(self, file_id: FileId, head: tuple[int, str], line: int, offset: int) -> None:
        self.file_id = file_id
        self.head = head
        self.line = line
        self.offset = offset


def describe_head(data: bytes) -> tuple[int, str]:
    """The number of these bytes and their digest."""
    return len(data), hashlib.blake2b(data, digest_size=16).hexdigest()


def find(name: str, position: FilePosition, separator: bytes) -> int | None:
    """Opens the file that has the position, under this name or another one in its directory; None if there is none. A
    copy counts, too, if it can be recognised. Raises OSError."""
    copies: list[int] = []
    for path in [name, *_beside(name)]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        facts = os.fstat(fd)
        is_same = (facts.st_dev, facts.st_ino) == position.file_id
        if stat.S_ISREG(facts.st_mode) and _fits(fd, facts.st_size, position, separator):
            if is_same:
                for other in copies:
                    os.close(other)
                return fd
            if position.head[0] == HEAD_BYTES:
                copies.append(fd)
                continue
        os.close(fd)
    for other in copies[1:]:
        os.close(other)
    return copies[0] if copies else None


def _fits(fd: int, size: int, position: FilePosition, separator: bytes) -> bool:
    """Whether the file can be the one of the position, by its bytes."""
    if size < max(position.offset, position.head[0]):
        return False
    if describe_head(os.pread(fd, position.head[0], 0)) != position.head:
        return False
    before = position.offset - len(separator)
    return before < 0 or os.pread(fd, len(separator), before) == separator


def successor(name: str, current: os.stat_result, read: set[FileId]) -> str:
    """The path of the file to read after `current`, which has lost the name: the oldest that was rotated since, or the
    one that has the name now. `read` are the files that were read already. Raises UsageError if a file in between was
    compressed."""
    found = []
    for path in _beside(name):
        ending = os.path.basename(path)[len(os.path.basename(name)) :]
        is_compressed = _COMPRESSED.fullmatch(ending) is not None
        if not is_compressed and _ROTATED.fullmatch(ending) is None:
            continue
        try:
            facts = os.stat(path)
        except OSError:
            continue  # rotated away meanwhile
        is_later = facts.st_mtime_ns > current.st_mtime_ns
        if stat.S_ISREG(facts.st_mode) and is_later and (facts.st_dev, facts.st_ino) not in read:
            found.append((facts.st_mtime_ns, path, is_compressed))
    if not found:
        return name
    _, path, is_compressed = min(found)
    if is_compressed:
        raise UsageError(f"{path} comes next, and is compressed: its lines cannot be read")
    return path


def _beside(name: str) -> Iterator[str]:
    """The other files in the directory of `name` whose names begin with it."""
    directory, base = os.path.split(name)
    for other in sorted(os.listdir(directory or ".")):
        if other != base and other.startswith(base):
            yield os.path.join(directory, other)
