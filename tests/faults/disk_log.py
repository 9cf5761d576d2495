"""Reads the log that faulty_disk.c writes of a directory: an entry for each call that changed it, in order."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_MAGIC = 0x4B534944
# magic, kind, is_directory, bytes of the path, inode, value, bytes of data
_HEAD = struct.Struct("=IBBHQQQ")


class Kind(IntEnum):
    CREATE = 1
    WRITE = 2  # `value` is the offset
    TRUNCATE = 3  # `value` is the size
    SYNC_BEGIN = 4  # `value` is the number of the sync, in this and the next two
    SYNC_END = 5
    SYNC_FAILED = 6
    UNLINK = 7
    RENAME = 8  # `data` is the new path
    MKDIR = 9


@dataclass(frozen=True)
class Entry:
    kind: Kind
    inode: int = 0
    value: int = 0
    path: str = ""
    data: bytes = b""
    is_directory: bool = False

    def encode(self) -> bytes:
        path = self.path.encode()
        head = _HEAD.pack(_MAGIC, self.kind, self.is_directory, len(path), self.inode, self.value, len(self.data))
        return head + path + self.data


def read_log(path: Path) -> Iterator[tuple[Entry, int]]:
    """The entries, each with the place in the log where it ends. An incomplete entry at the end is left out: the writer
    was killed."""
    data = memoryview(path.read_bytes())
    place = 0
    while place + _HEAD.size <= len(data):
        magic, kind, is_directory, path_bytes, inode, value, data_bytes = _HEAD.unpack_from(data, place)
        assert magic == _MAGIC, f"{path} is damaged at {place}"
        body = place + _HEAD.size + path_bytes
        end = body + data_bytes
        if end > len(data):
            return
        name = bytes(data[place + _HEAD.size : body]).decode()
        yield Entry(Kind(kind), inode, value, name, bytes(data[body:end]), bool(is_directory)), end
        place = end
