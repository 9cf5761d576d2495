"""What may be on a disk after a power failure, for logs that are written here by hand."""

import copy
import random
from dataclasses import replace

import pytest
from faults.disk_images import PAGE_BYTES, SECTOR_BYTES, WAYS, Disk, Stage, seal
from faults.disk_log import Entry, Kind, read_log

INODE = 7


class Log:
    """Entries for one file, `root/file`."""

    def __init__(self, root):
        self.root, self.path = root, str(root / "file")
        self.disk = Disk(root)
        self.syncs = 0

    def create(self):
        self.disk.apply(Entry(Kind.CREATE, INODE, path=self.path))

    def write(self, offset, data):
        self.disk.apply(Entry(Kind.WRITE, INODE, offset, data=data))

    def truncate(self, size):
        self.disk.apply(Entry(Kind.TRUNCATE, INODE, size))

    def begin_sync(self, *, directory=False):
        self.syncs += 1
        path = str(self.root) if directory else self.path
        self.disk.apply(Entry(Kind.SYNC_BEGIN, INODE, self.syncs, path, is_directory=directory))
        return self.syncs, path, directory

    def end_sync(self, begun, kind=Kind.SYNC_END):
        number, path, directory = begun
        self.disk.apply(Entry(kind, INODE, number, path, is_directory=directory))

    def sync(self, *, directory=False):
        self.end_sync(self.begin_sync(directory=directory))

    def seen(self):
        """All that any image has of the file, and None where it is missing."""
        found = set()
        for seed in range(60):
            for way in WAYS:
                _, content = self.disk.image(way, random.Random(seed)).get("file", (None, None))
                found.add(content)
        return found


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


@pytest.fixture
def named(log):
    """The same, and the file is there for certain, with `old` in it."""
    log.create()
    log.write(0, b"old")
    log.sync()
    log.sync(directory=True)
    return log


def test_what_was_synced_is_there(named):
    assert named.seen() == {b"old"}


def test_a_name_is_there_once_its_directory_was_synced(log):
    log.create()
    log.write(0, b"data")
    log.sync()
    assert log.seen() == {None, b"data"}
    log.sync(directory=True)
    assert log.seen() == {b"data"}


def test_what_was_not_synced_may_be_there_or_not(named):
    named.write(0, b"NEW")
    assert named.seen() == {b"old", b"NEW"}


def test_a_sync_is_for_what_was_written_before_it_began(named):
    named.write(0, b"1")
    begun = named.begin_sync()
    named.write(1, b"2")
    named.end_sync(begun)
    assert named.seen() == {b"1ld", b"12d"}


def test_a_sync_that_has_not_ended_is_none(named):
    named.write(0, b"NEW")
    named.begin_sync()
    assert b"old" in named.seen()


def test_later_writes_may_be_there_without_earlier_ones(named):
    named.write(0, b"1")
    named.write(1, b"2")
    assert named.seen() == {b"old", b"1ld", b"o2d", b"12d"}


def test_a_write_may_be_torn_between_sectors(named):
    named.write(0, b"a" * 2 * SECTOR_BYTES)
    named.sync()
    named.write(0, b"b" * 2 * SECTOR_BYTES)
    a, b = b"a" * SECTOR_BYTES, b"b" * SECTOR_BYTES
    assert named.seen() == {a + a, a + b, b + a, b + b}


def test_where_a_file_grew_there_may_be_zeros(named):
    named.write(3, b"er")
    assert named.seen() == {b"old", b"older", b"old\0\0"}


def test_a_truncation_that_was_not_synced_may_be_missing(named):
    named.truncate(1)
    named.write(1, b"X")
    assert named.seen() == {b"old", b"o", b"oX", b"oXd", b"o\0"}
    named.sync()
    assert named.seen() == {b"oX"}


def test_after_a_sync_that_failed_no_other_one_helps(named):
    named.write(0, b"NEW")
    named.end_sync(named.begin_sync(), Kind.SYNC_FAILED)
    named.write(2 * PAGE_BYTES, b"far away")
    named.sync()
    starts = {content[:3] for content in named.seen()}
    assert starts == {b"old", b"NEW"}


def test_unless_it_is_written_again(named):
    named.write(0, b"NEW")
    named.end_sync(named.begin_sync(), Kind.SYNC_FAILED)
    named.write(2, b"T")  # in the same page
    named.sync()
    assert named.seen() == {b"NET"}


def test_a_file_that_was_removed_may_be_back(named):
    named.disk.apply(Entry(Kind.UNLINK, path=named.path))
    assert named.seen() == {None, b"old"}
    named.sync(directory=True)
    assert named.seen() == {None}


def test_names_come_to_the_disk_in_their_order(named):
    root = named.root
    named.disk.apply(Entry(Kind.CREATE, INODE + 1, path=str(root / "new")))
    named.disk.apply(Entry(Kind.RENAME, path=str(root / "new"), data=named.path.encode()))
    for seed in range(60):
        for way in WAYS:
            assert "file" in named.disk.image(way, random.Random(seed))


def test_a_directory_is_moved_with_all_that_is_in_it_or_not_at_all(tmp_path):
    disk = Disk(tmp_path)
    names = {"one": INODE, "two": INODE + 1}
    for name, inode in names.items():
        disk.apply(Entry(Kind.CREATE, inode, path=str(tmp_path / "old" / name)))
    sync = Entry(Kind.SYNC_BEGIN, 0, 1, str(tmp_path / "old"), is_directory=True)
    for entry in sync, replace(sync, kind=Kind.SYNC_END):
        disk.apply(entry)
    disk.apply(Entry(Kind.RENAME, path=str(tmp_path / "old"), data=str(tmp_path / "new").encode()))
    found = {tuple(disk.image(way, random.Random(seed))) for way in WAYS for seed in range(60)}
    assert found == {("old/one", "old/two"), ("new/one", "new/two")}
    sync = Entry(Kind.SYNC_BEGIN, 0, 2, str(tmp_path), is_directory=True)
    for entry in sync, replace(sync, kind=Kind.SYNC_END):
        disk.apply(entry)
    assert tuple(disk.image("dropped", random.Random(0))) == ("new/one", "new/two")


def test_a_log_is_read_up_to_what_is_not_whole(tmp_path):
    entries = [Entry(Kind.CREATE, 1, path="/a"), Entry(Kind.WRITE, 1, 5, data=b"data")]
    path = tmp_path / "log"
    path.write_bytes(b"".join(entry.encode() for entry in entries) + entries[1].encode()[:-1])
    assert [entry for entry, _ in read_log(path)] == entries


def test_what_a_killed_writer_did_and_did_not_write_down_is_added(tmp_path):
    root, path = tmp_path / "data", tmp_path / "log"
    disk = Disk(root)
    before = copy.deepcopy(disk)
    root.mkdir()
    file = root / "file"
    file.write_bytes(b"done")
    inode = file.stat().st_ino
    whole = [Entry(Kind.CREATE, inode, path=str(file)), Entry(Kind.WRITE, inode, 0, data=b"do")]
    path.write_bytes(b"".join(entry.encode() for entry in [*whole, whole[1]])[:-1])
    seal(path, before)
    entries = [entry for entry, _ in read_log(path)]
    assert entries[:2] == whole
    for entry in entries:
        disk.apply(entry)
    assert disk.differences() == []
    assert disk.image("kept", random.Random(0)) == {"file": (inode, b"done")}


def test_images_are_set_up_in_the_files_that_were_there(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "file").write_bytes(b"first")
    inode = (root / "file").stat().st_ino
    stage = Stage(root)
    for content in (b"second", b""):
        stage.set_up({"file": (inode, content), "new": (inode + 1, b"new")})
        assert {path.name: path.read_bytes() for path in root.iterdir()} == {"file": content, "new": b"new"}
        assert (root / "file").stat().st_ino == inode
        stage.clear()
        assert list(root.iterdir()) == []
