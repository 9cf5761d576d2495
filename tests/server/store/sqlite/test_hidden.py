"""Names that a damaged page hides: whoever asks for one is told so, and nothing is made in its place."""

import random
import sqlite3

import pytest
from support.sqlite_engine import with_engine
from support.waiting import until_async

from s2cli.errors import ApiError
from s2cli.server.store.findings import Findings
from s2cli.server.store.interface import BasinRow, Lane, Reply, StreamRow, TokenRow
from s2cli.server.store.sqlite import check
from s2cli.server.store.sqlite.resume import resume
from s2cli.server.store.sqlite.schema import FILE_NAME, PAGE_BYTES

BASINS = ("basin-one", "basin-two")
STREAMS = [(basin, f"stream-{number}") for basin in BASINS for number in range(4)]
TOKENS = [f"selector{number}" * 2 for number in range(3)]
KEYS = [bytes([number]) * 32 for number in range(3)]
FLIPS = 25  # of each tree


@pytest.fixture
def stored(tmp_path):
    """A directory with a store that was closed."""

    async def fill(engine):
        store = engine.store
        for basin in BASINS:
            await store.insert_basin(BasinRow(basin, {}, 1))
        for basin, stream in STREAMS:
            row = StreamRow(basin, stream, {}, 1)
            await store.insert_stream(row)
            engine.append(Lane(row.id), 0)
        for selector in TOKENS:
            await store.insert_token(TokenRow(f"id of {selector}", selector, b"hash", {}, False, None, None), 0)
        for key in KEYS:
            await store.save_reply("some-basin", Reply(key, b"request", 200, b"text/plain", b"", [], 1))
        await engine.wait(len(STREAMS))

    directory = tmp_path / "data"
    directory.mkdir()
    with_engine(directory, fill)
    return directory


def tree(directory, name):
    """Where the one page of that table or index begins in the file."""
    connection = sqlite3.connect(directory / FILE_NAME)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (name,)).fetchone()
    connection.close()
    return (root - 1) * PAGE_BYTES


def flip(directory, at, bit):
    with open(directory / FILE_NAME, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


async def outcome(answer):
    """What came of it: "there", "not there", or the code of an error."""
    try:
        return "not there" if await answer is None else "there"
    except ApiError as error:
        return error.code


TREES = ("basin", "basin_created", "stream", "stream_name", "token", "sqlite_autoindex_token_2", "token_selector") + (
    "reply",
    "sqlite_autoindex_reply_1",
)


@pytest.mark.parametrize("name", TREES)
def test_nothing_that_is_there_is_said_not_to_be(stored, name):
    dice = random.Random(f"flips of {name}")
    content = (stored / FILE_NAME).read_bytes()
    base = tree(stored, name)
    used = [at for at in range(base, base + PAGE_BYTES) if any(content[max(base, at - 16) : at + 16])]

    async def ask(engine):
        store = engine.store
        found = [await outcome(store.get_basin(basin)) for basin in BASINS]
        found += [await outcome(store.get_stream(*stream)) for stream in STREAMS]
        found += [await outcome(store.get_token(selector)) for selector in TOKENS]
        found += [await outcome(store.get_reply("some-basin", key, 2)) for key in KEYS]
        return found

    seen = set()
    for _ in range(FLIPS):
        at, bit = dice.choice(used), dice.randrange(8)
        flip(stored, at, bit)
        found = set(with_engine(stored, ask))
        assert found <= {"there", "storage"}, (at - base, bit)
        seen |= found
        with open(stored / FILE_NAME, "r+b") as file:
            file.write(content)
        for suffix in "-wal", "-shm", "-mark":
            (stored / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)
    assert seen == {"there", "storage"} or name in ("basin_created", "token_selector")


def hide_streams(directory):
    """The index loses its last entry."""
    base = tree(directory, "stream_name")
    with open(directory / FILE_NAME, "r+b") as file:
        file.seek(base + 3)
        count = int.from_bytes(file.read(2), "big")
        file.seek(base + 3)
        file.write((count - 1).to_bytes(2, "big"))


def test_a_stream_that_is_hidden_is_not_made_anew(stored, caplog):
    hide_streams(stored)
    basin, stream = STREAMS[-1]

    async def run(engine):
        store = engine.store
        with pytest.raises(ApiError, match=f"s2://{basin}/{stream} may be there.*s2 lite repair") as refused:
            await store.insert_stream(StreamRow(basin, stream, {}, 1))
        assert (refused.value.code, refused.value.without_effect) == ("storage", True)
        with pytest.raises(ApiError, match="damaged"):
            await store.list_streams(basin, "", "", 10)
        # Nobody else is concerned.
        assert len((await store.list_streams(BASINS[0], "", "", 10))[0]) == 4
        assert len((await store.list_streams(basin, "", "stream-3", 10))[0]) == 0
        assert await store.get_stream(basin, "another") is None
        assert await store.insert_stream(StreamRow(basin, "another", {}, 1)) is None

    with_engine(stored, run)
    assert f"s2://{basin}/{stream}: it is there, and cannot be found" in caplog.text


def test_a_repair_finds_it_again(stored):
    hide_streams(stored)
    uri = "s2://" + "/".join(STREAMS[-1])
    findings = Findings()
    with check.opened_for_check(stored, is_alone=True) as connection:
        for _ in check.walk(connection, findings):
            pass
    assert [problem.place for problem in findings.problems] == [uri]
    repair = resume(stored)
    assert (repair.found_again, repair.hidden, repair.streams) == ([uri], [], [])

    async def run(engine):
        row = await engine.store.get_stream(*STREAMS[-1])
        assert (await engine.store.tail(row.id)).next_seq_num == 1

    with_engine(stored, run)


def test_a_basin_whose_table_is_damaged_cannot_be_repaired_and_is_named(stored):
    base = tree(stored, "basin")
    content = (stored / FILE_NAME).read_bytes()
    flip(stored, content.index(b"basin-two", base), 1)
    repair = resume(stored)
    assert "basin basin-two" in repair.hidden

    async def run(engine):
        with pytest.raises(ApiError, match="basin basin-two may be there"):
            await engine.store.insert_basin(BasinRow("basin-two", {}, 1))

    with_engine(stored, run)


def test_a_page_that_cannot_be_read_is_said_and_looked_at_once(stored, caplog):
    """Of the table of chunks: where streams end cannot be told."""
    with open(stored / FILE_NAME, "r+b") as file:
        file.seek(tree(stored, "chunk"))
        file.write(b"\xff")

    async def run(engine):
        await until_async(lambda: FILE_NAME in engine.store.doubtful)
        assert await engine.store.get_stream(BASINS[0], "another") is None

    with_engine(stored, run)
    assert caplog.text.count("where streams end cannot be told") == 1
