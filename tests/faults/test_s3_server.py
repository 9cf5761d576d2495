"""The S3 server that the tests run against keeps what writers rely on who fence each other. So what these tests show of
the bucket's engine is not owed to a lenient store."""

import threading
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError
from support.s3_server import connect

WRITERS = 4
ROUNDS = 25


@pytest.fixture
def store(s3_server):
    return connect(s3_server.url)


def race(write) -> list[int]:
    """All writers call `write(store, number)` at once. Returns the numbers of those that were not refused."""
    gate = threading.Barrier(WRITERS)

    def attempt(number: int) -> bool:
        gate.wait()
        try:
            write(number)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        done = list(pool.map(attempt, range(WRITERS)))
    return [number for number in range(WRITERS) if done[number]]


def test_one_of_those_who_create_an_object_at_once_does_it(s3_server):
    stores = [connect(s3_server.url) for _ in range(WRITERS)]
    for turn in range(ROUNDS):
        key = f"created/{turn}"
        done = race(lambda number, key=key: obstore.put(stores[number], key, b"%d" % number, mode="create"))
        assert obstore.get(stores[0], key).bytes().to_bytes() == b"%d" % done[0]
        assert len(done) == 1


def test_one_of_those_who_replace_the_same_version_at_once_does_it(s3_server):
    stores = [connect(s3_server.url) for _ in range(WRITERS)]
    version = obstore.put(stores[0], "replaced", b"first")["e_tag"]
    for turn in range(ROUNDS):
        mode = {"e_tag": version}

        def write(number, turn=turn, mode=mode):
            obstore.put(stores[number], "replaced", b"%d %d" % (turn, number), mode=mode)

        done = race(write)
        now = obstore.get(stores[0], "replaced")
        assert now.bytes().to_bytes() == b"%d %d" % (turn, done[0])
        assert len(done) == 1
        version = now.meta["e_tag"]


def test_an_old_version_is_not_replaced(store):
    old = obstore.put(store, "twice", b"1")["e_tag"]
    new = obstore.put(store, "twice", b"2", mode={"e_tag": old})["e_tag"]
    assert new != old
    with pytest.raises(PreconditionError):
        obstore.put(store, "twice", b"3", mode={"e_tag": old})
    assert obstore.get(store, "twice").bytes().to_bytes() == b"2"


def test_what_is_not_there_is_not_replaced(store):
    version = obstore.put(store, "gone", b"1")["e_tag"]
    obstore.delete(store, "gone")
    with pytest.raises((PreconditionError, FileNotFoundError)):
        obstore.put(store, "gone", b"2", mode={"e_tag": version})
    assert not [name for page in obstore.list(store, prefix="gone") for name in page]


def test_parts_of_an_object(store):
    obstore.put(store, "parts", bytes(range(256)))
    assert obstore.get_range(store, "parts", start=10, length=3).to_bytes() == b"\x0a\x0b\x0c"
    ranges = obstore.get_ranges(store, "parts", starts=[0, 250], lengths=[2, 6])
    assert [piece.to_bytes() for piece in ranges] == [bytes(range(2)), bytes(range(250, 256))]


def test_lists_and_deletions(store):
    keys = [f"listed/{number:04}" for number in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: obstore.put(store, key, b""), keys))
    listed = [entry["path"] for page in obstore.list(store, prefix="listed/") for entry in page]
    assert listed == keys
    later = [entry["path"] for page in obstore.list(store, prefix="listed/", offset=keys[1090]) for entry in page]
    assert later == keys[1091:]
    obstore.delete(store, keys[1:])
    assert [entry["path"] for page in obstore.list(store, prefix="listed/") for entry in page] == keys[:1]


def test_an_object_in_several_uploads(store):
    body = b"".join(b"%8d" % number for number in range(1_500_000))
    obstore.put(store, "large", body, use_multipart=True, chunk_size=5 * 1024 * 1024)
    assert obstore.get(store, "large").bytes().to_bytes() == body


def test_what_was_stored_is_there_after_a_kill(tmp_path):
    from support.s3_server import S3Server

    server = S3Server(tmp_path / "data")
    try:
        server.start()
        store = connect(server.url)
        obstore.put(store, "small", b"small", mode="create")
        obstore.put(store, "large", bytes(1_000_000), mode="create")
        server.kill()
        server.start()
        assert obstore.get(store, "small").bytes().to_bytes() == b"small"
        assert obstore.get(store, "large").bytes().to_bytes() == bytes(1_000_000)
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, "small", b"other", mode="create")
    finally:
        server.close()
