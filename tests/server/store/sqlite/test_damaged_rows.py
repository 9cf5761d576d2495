"""A row that has rotted is never believed where something would be deleted by it, and never sealed anew."""

import pytest
from support.sqlite_engine import with_engine

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, Lane, StreamRow, TokenRow
from s2cli.server.store.sqlite import gone

NOW_MS = 1 << 40


async def rot(engine, statement):
    """Changes a row, and leaves its checksum."""
    await engine.execute(statement)


async def written(engine, lane, first, **changes):
    count = len(engine.resolved)
    engine.append(lane, first, **changes)
    await engine.wait(count + 1)
    return engine.resolved[-1][1]


def is_damaged(error):
    return error.code == "storage" and "damaged on disk" in error.message


def test_a_token_does_not_expire_by_a_damaged_time(tmp_path):
    token = TokenRow("token", "selector", b"hash", {}, False, None, None)

    async def run(engine):
        store = engine.store
        assert await store.insert_token(token, 0)
        await rot(engine, "UPDATE token SET expires_ms = 0")
        await store.expire_tokens(NOW_MS)
        for attempt in store.get_token("selector"), store.insert_token(token, NOW_MS):
            with pytest.raises(ApiError) as refused:
                await attempt
            assert is_damaged(refused.value)

    with_engine(tmp_path, run)


def test_nothing_is_trimmed_up_to_a_damaged_point(tmp_path):
    async def fill(engine):
        lane = Lane(await engine.stream())
        for first in range(5):
            assert await written(engine, lane, first) is None
        await rot(engine, "UPDATE stream SET trim_point = 4")

    async def run(engine):
        # As a start and each sweep do.
        engine.store.expire()
        await engine.store.change(lambda connection: None)
        assert await engine.execute("SELECT count(*) FROM chunk") == [(5,)]

    with_engine(tmp_path, fill)
    with_engine(tmp_path, run)
    with_engine(tmp_path, run)


def test_a_damaged_row_is_not_sealed_with_the_tail_of_its_stream(tmp_path):
    async def fill(engine):
        lane = Lane(await engine.stream())
        assert await written(engine, lane, 0) is None
        await rot(engine, "UPDATE stream SET config = '{\"a\":1}'")

    async def run(engine):
        with pytest.raises(ApiError) as refused:
            await engine.store.get_stream("some-basin", "stream")
        assert is_damaged(refused.value)

    with_engine(tmp_path, fill)  # its end writes the tails
    with_engine(tmp_path, run)


@pytest.mark.parametrize("changes", [{"fencing_token": "x"}, {"trim_point": 1}])
def test_a_command_is_not_written_into_a_damaged_row(tmp_path, changes):
    async def run(engine):
        lane = Lane(await engine.stream())
        assert await written(engine, lane, 0) is None
        await rot(engine, "UPDATE stream SET created_at = 77")
        assert is_damaged(await written(engine, lane, 1, **changes))
        assert engine.store.failure is None
        assert await engine.execute("SELECT count(*) FROM chunk") == [(1,)]

    with_engine(tmp_path, run)


def test_a_config_is_not_written_into_a_damaged_row(tmp_path):
    async def run(engine):
        store = engine.store
        await store.insert_basin(BasinRow("some-basin", {}, 1))
        row = StreamRow("some-basin", "stream", {}, 1)
        await store.insert_stream(row)
        await rot(engine, "UPDATE basin SET created_at = 77")
        await rot(engine, "UPDATE stream SET created_at = 77")
        for attempt in store.update_basin(BasinRow("some-basin", {}, 1)), store.update_stream(row):
            with pytest.raises(ApiError) as refused:
                await attempt
            assert is_damaged(refused.value)

    with_engine(tmp_path, run)


def test_a_stream_is_not_removed_for_a_damaged_mark(tmp_path):
    async def run(engine):
        store = engine.store
        for name in "ab":
            await store.insert_stream(StreamRow("some-basin", name, {}, 1, deleted_at_ms=7))
        await rot(engine, "UPDATE stream SET deleted_at = 8 WHERE id = 1")
        assert [row.name for row in await store.deleting_streams(10)] == ["b"]

    with_engine(tmp_path, run)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM chunk WHERE id & 0xff = 2",  # its end is missing
        "UPDATE chunk SET exp = 1",
    ],
)
def test_a_stream_is_not_empty_because_its_records_are_lost(tmp_path, statement):
    async def fill(engine):
        row = StreamRow("some-basin", "stream", {"delete_on_empty": {"min_age_secs": 1}}, 1)
        await engine.store.insert_stream(row)
        lane = Lane(row.id)
        for first in range(3):
            assert await written(engine, lane, first) is None

    async def run(engine):
        if statement.startswith("DELETE"):
            await rot(engine, "DELETE FROM chunk WHERE id & 0xff < 2")
        await rot(engine, statement)
        engine.store.deletion_clock_ms = lambda: NOW_MS
        assert (await engine.store.empty_streams(10))[0] == []
        row = await engine.store.get_stream("some-basin", "stream")
        assert row.deleted_at_ms is None

    with_engine(tmp_path, fill)
    with_engine(tmp_path, run)


def test_what_a_damaged_row_says_to_be_gone_is_not_believed_together_with_the_next(tmp_path):
    async def run(engine):
        stream_id = await engine.stream()
        await engine.store.change(lambda connection: gone.add(connection, stream_id, 0, 5))
        await rot(engine, "UPDATE gone SET n = 50")
        await engine.store.change(lambda connection: gone.add(connection, stream_id, 5, 7))
        found = await engine.store.ask(gone.unexplained, stream_id, 0, 50)
        assert found == (0, 5)

    with_engine(tmp_path, run)
