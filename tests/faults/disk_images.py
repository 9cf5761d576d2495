"""Makes what may be on a disk after a power failure, from a log of all calls that changed it.

What was synced is there. What was written behind the last sync that has ended may be there or not, in any combination,
torn between sectors, or as zeros where the file grew. After a sync that failed, the system takes its pages for written:
they may be on the disk or not, and no later sync changes that, unless they are written again. A name (a file that was
made, moved or removed) is there once its directory was synced; before that, names come to the disk in their order.
"""

import itertools
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.disk_log import Entry, Kind, read_log

SECTOR_BYTES = 512
PAGE_BYTES = 4096

# Path in the directory -> inode and content.
Image = dict[str, tuple[int, bytes]]

WAYS = ("dropped", "kept", "cut off", "reordered", "torn", "zeroed")


@dataclass
class _Change:
    """A change of a file: `data` written at `offset`; without data, a truncation to that size."""

    number: int
    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        else:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    seen: bytearray = field(default_factory=bytearray)  # what a read returns before the power fails
    pending: list[_Change] = field(default_factory=list)
    doubtful: dict[int, bytes] = field(default_factory=dict)  # page -> what a failed sync should have written

    def change(self, change: _Change) -> None:
        change.apply(self.seen)
        if change.data is None:
            end_page = -(-change.offset // PAGE_BYTES)
            self.doubtful = {page: data for page, data in self.doubtful.items() if page < end_page}
        else:
            first, end = change.offset // PAGE_BYTES, -(-(change.offset + len(change.data)) // PAGE_BYTES)
            if any(self.doubtful.pop(page, None) is not None for page in list(range(first, end))):
                # It was written again, so the next sync writes the whole page.
                change.offset = first * PAGE_BYTES
                change.data = bytes(self.seen[change.offset : end * PAGE_BYTES])
                for page in range(first, end):
                    self.doubtful.pop(page, None)
        self.pending.append(change)

    def synced(self, before: int) -> None:
        for change in self.pending:
            if change.number < before:
                change.apply(self.durable)
        self.pending = [change for change in self.pending if change.number >= before]

    def sync_failed(self, before: int) -> None:
        for change in self.pending:
            if change.number < before and change.data:
                for page in range(change.offset // PAGE_BYTES, -(-(change.offset + len(change.data)) // PAGE_BYTES)):
                    self.doubtful[page] = bytes(self.seen[page * PAGE_BYTES : (page + 1) * PAGE_BYTES])
        self.pending = [change for change in self.pending if change.number >= before or change.data is None]


class Disk:
    """A model of the directory `root`, to which the entries of a log are applied. It begins with what is on the real
    disk, which counts as synced, or empty."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}  # as they are before the power fails
        self._durable_names: dict[str, int] = {}
        self._pending_names: list[tuple[int, str, str, int | None]] = []  # number, directory, path, inode or None
        self._syncs: dict[int, int] = {}
        self._number = 0
        for path in sorted(root.rglob("*")) if root.exists() else ():
            if path.is_file():
                content = bytearray(path.read_bytes())
                self._files[path.stat().st_ino] = _File(content, bytearray(content))
                self._names[str(path)] = self._durable_names[str(path)] = path.stat().st_ino

    def apply(self, entry: Entry) -> None:
        self._number += 1
        match entry.kind:
            case Kind.CREATE:
                self._files[entry.inode] = _File()
                self._name(entry.path, entry.inode)
            case Kind.WRITE:
                self._file(entry.inode).change(_Change(self._number, entry.value, entry.data))
            case Kind.TRUNCATE:
                self._file(entry.inode).change(_Change(self._number, entry.value, None))
            case Kind.SYNC_BEGIN:
                self._syncs[entry.value] = self._number
            case Kind.SYNC_END:
                before = self._syncs.pop(entry.value)
                if entry.is_directory:
                    self._names_synced(entry.path, before)
                else:
                    self._file(entry.inode).synced(before)
            case Kind.SYNC_FAILED:
                before = self._syncs.pop(entry.value)
                if not entry.is_directory:
                    self._file(entry.inode).sync_failed(before)
            case Kind.UNLINK:
                self._name(entry.path, None)
            case Kind.RENAME:
                self._rename(entry.path, entry.data.decode())
            case Kind.MKDIR:
                pass

    def _file(self, inode: int) -> _File:
        return self._files.setdefault(inode, _File())

    def _name(self, path: str, inode: int | None, directory: Path | None = None) -> None:
        """`directory`: the one whose sync makes it durable, if that is not the parent."""
        self._pending_names.append((self._number, str(directory or Path(path).parent), path, inode))
        _put(self._names, path, inode)

    def _rename(self, before: str, after: str) -> None:
        """Of a file; or of a directory, with everything in it."""
        for path, inode in list(self._names.items()):
            if path == before or path.startswith(f"{before}/"):
                self._name(after + path.removeprefix(before), inode, Path(after).parent)
                self._name(path, None, Path(before).parent)

    def _names_synced(self, directory: str, before: int) -> None:
        rest = []
        for change in self._pending_names:
            number, parent, path, inode = change
            if parent == directory and number < before:
                _put(self._durable_names, path, inode)
            else:
                rest.append(change)
        self._pending_names = rest

    def differences(self) -> list[Entry]:
        """Takes over what was done to the real directory but is not in the log, as the writer was killed in between."""
        entries = []
        for path in sorted(self._root.rglob("*")):
            if not path.is_file() or path.name.endswith("-shm"):
                continue
            inode, content = path.stat().st_ino, path.read_bytes()
            if self._names.get(str(path)) != inode:
                entries.append(Entry(Kind.CREATE, inode, path=str(path)))
                seen = b""
            else:
                seen = bytes(self._files[inode].seen)
            if len(content) != len(seen):
                entries.append(Entry(Kind.TRUNCATE, inode, len(content)))
                seen = seen[: len(content)].ljust(len(content), b"\0")
            for offset in range(0, len(content), PAGE_BYTES):
                page = content[offset : offset + PAGE_BYTES]
                if page != seen[offset : offset + PAGE_BYTES]:
                    entries.append(Entry(Kind.WRITE, inode, offset, data=page))
        gone = [path for path in self._names if not Path(path).exists()]
        return entries + [Entry(Kind.UNLINK, path=path) for path in gone]

    def image(self, way: str, dice: random.Random) -> Image:
        """What may be on the disk if the power fails now."""
        numbers = [change[0] for change in self._pending_names]
        numbers += [change.number for file in self._files.values() for change in file.pending]
        # If the changes are cut off at some point, everything before it is kept.
        edge = dice.choice(sorted(numbers)) if numbers else 0
        keeps: Callable[[int], bool] = {
            "dropped": lambda number: False,
            "kept": lambda number: True,
            "cut off": lambda number: number <= edge,
        }.get(way, lambda number: dice.random() < 0.5)
        names = dict(self._durable_names)
        # Names reach the disk in the order of their changes, both names of a rename together.
        name_edges = [0, *sorted({change[0] for change in self._pending_names})]
        name_edge = {"dropped": name_edges[0], "kept": name_edges[-1]}.get(way, dice.choice(name_edges))
        for number, _, path, inode in self._pending_names:
            if number <= name_edge:
                _put(names, path, inode)
        return {
            str(Path(path).relative_to(self._root)): (inode, self._content(self._files[inode], way, keeps, dice))
            for path, inode in sorted(names.items())
        }

    def _content(self, file: _File, way: str, keeps: Callable[[int], bool], dice: random.Random) -> bytes:
        content = bytearray(file.durable)
        for page, data in sorted(file.doubtful.items()):
            if way != "dropped" and (way == "kept" or dice.random() < 0.5):
                _Change(0, page * PAGE_BYTES, data).apply(content)
        for change in file.pending:
            if not keeps(change.number):
                continue
            if change.data is None or way not in ("torn", "zeroed"):
                change.apply(content)
            elif way == "torn":
                for sector in _sectors(change):
                    if dice.random() < 0.7:
                        sector.apply(content)
            elif change.offset >= len(content) and dice.random() < 0.5:
                _Change(0, change.offset, bytes(len(change.data))).apply(content)
            else:
                change.apply(content)
        return bytes(content)


def _put(names: dict[str, int], path: str, inode: int | None) -> None:
    if inode is None:
        names.pop(path, None)
    else:
        names[path] = inode


def _sectors(change: _Change) -> list[_Change]:
    """Splits a write at the borders of sectors."""
    data = change.data or b""
    edges = [0, *range(SECTOR_BYTES - change.offset % SECTOR_BYTES, len(data), SECTOR_BYTES), len(data)]
    return [_Change(0, change.offset + a, data[a:b]) for a, b in itertools.pairwise(edges)]


class Stage:
    """Puts images into a directory, in place of what is there. They are written into the files that were there, even if
    these were removed meanwhile: a server knows their inodes, and would refuse a copy."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shelf = Path(tempfile.mkdtemp(prefix="shelf-", dir=root.parent))
        self.clear()

    def set_up(self, image: Image) -> None:
        for name, (inode, content) in image.items():
            path, kept = self._root / name, self._shelf / str(inode)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not kept.exists():
                kept.touch(0o600)
            kept.write_bytes(content)
            path.hardlink_to(kept)

    def clear(self) -> None:
        """Deletes everything in the directory."""
        for path in [path for path in self._root.rglob("*") if path.is_file()]:
            path.rename(self._shelf / str(path.stat().st_ino))
        shutil.rmtree(self._root)
        self._root.mkdir(mode=0o700)


def seal(log: Path, disk: Disk) -> None:
    """To be called after the writer of a log was killed. Removes an incomplete entry at its end, and adds what the
    writer had done but not logged. `disk`: the directory as it was before the log; it is changed."""
    whole_bytes = 0
    for entry, end in read_log(log):
        disk.apply(entry)
        whole_bytes = end
    with open(log, "r+b") as file:
        file.truncate(whole_bytes)
        file.seek(whole_bytes)
        file.writelines(entry.encode() for entry in disk.differences())
