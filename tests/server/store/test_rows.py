"""What every engine promises of basins, streams, access tokens and replies."""

from support.stores import BASIN, with_store

from s2cli.server.store.interface import BasinRow, Lane, Reply, StreamRow, Tail, TokenRow


def test_basins(stores):
    async def write(watched):
        store = watched.store
        names = ["basin-a", "basin-b", "basin-ba", "basin-c", "other-a"]
        for name in names:
            assert await store.insert_basin(BasinRow(name, {"x": name}, 5, None, b"key")) is None
        assert (await store.insert_basin(BasinRow("basin-b", {}, 6))).config == {"x": "basin-b"}
        rows, more = await store.list_basins("basin-", "", 3)
        assert ([row.name for row in rows], more) == (["basin-a", "basin-b", "basin-ba"], True)
        rows, more = await store.list_basins("basin-", "basin-ba", 3)
        assert ([row.name for row in rows], more) == (["basin-c"], False)
        assert await store.list_basins("", "other-a", 3) == ([], False)
        row = await store.get_basin("basin-a")
        assert row == BasinRow("basin-a", {"x": "basin-a"}, 5, None, b"key")
        row.config = {"x": 2}
        assert (await store.get_basin("basin-a")).config == {"x": "basin-a"}
        row.deleted_at_ms = 9
        made = []
        await store.update_basin(row, None, lambda: made.append(1))
        assert made == [1]

    async def read(watched):
        store = watched.store
        assert await store.get_basin("basin-a") == BasinRow("basin-a", {"x": 2}, 5, 9, b"key")
        assert await store.deleting_basins() == ["basin-a"]
        assert (await store.insert_basin(BasinRow("basin-a", {}, 6))).deleted_at_ms == 9
        await store.remove_basin("basin-a")
        assert await store.deleting_basins() == []
        assert await store.get_basin("basin-a") is None
        rows, _ = await store.list_basins("basin-a", "", 3)
        assert rows == []
        assert await store.insert_basin(BasinRow("basin-a", {"x": 3}, 6)) is None
        assert (await store.get_basin("basin-a")).config == {"x": 3}

    with_store(stores, write)
    with_store(stores, read)


def test_streams(stores):
    async def run(watched):
        store = watched.store
        for basin in ("basin-b", "basin-c"):
            await store.insert_basin(BasinRow(basin, {}, 1))
        for name in ("\U0010ffff\U0010ffff", "\U0010ffff", "é", "a/b", "a"):
            assert await store.insert_stream(StreamRow("basin-b", name, {"y": 1}, 7, "cipher", None, b"key")) is None
        await store.insert_stream(StreamRow("basin-c", "a", {}, 7))
        rows, more = await store.list_streams("basin-b", "", "", 10)
        assert [row.name for row in rows] == ["a", "a/b", "é", "\U0010ffff", "\U0010ffff\U0010ffff"]
        rows, more = await store.list_streams("basin-b", "\U0010ffff", "a", 10)
        assert [row.name for row in rows] == ["\U0010ffff", "\U0010ffff\U0010ffff"]
        rows, more = await store.list_streams("basin-b", "a", "", 1)
        assert ([row.name for row in rows], more) == (["a"], True)
        present = await store.insert_stream(StreamRow("basin-b", "é", {"y": 3}, 8))
        stream = await store.get_stream("basin-b", "é")
        assert stream == present
        assert (stream.config, stream.created_at_ms, stream.cipher, stream.request_key) == (
            {"y": 1},
            7,
            "cipher",
            b"key",
        )
        assert len(stream.uid) == 16
        stream.deleted_at_ms, stream.config = 11, {"y": 2}
        made = []
        await store.update_stream(stream, None, lambda: made.append(1))
        assert made == [1]
        assert await store.get_stream("basin-b", "é") == stream
        assert await store.deleting_streams(5) == [stream]
        await store.remove_stream(stream.id, stream.uid)
        assert await store.deleting_streams(5) == []
        assert await store.get_stream("basin-b", "é") is None
        assert await store.tail(stream.id) is None
        assert await store.get_stream("basin-b", "none") is None
        assert await store.get_stream("basin-none", "a") is None
        assert await store.list_streams("basin-none", "", "", 1) == ([], False)

    with_store(stores, run)


def test_a_stream_that_is_made_again_has_nothing_of_the_one_before(stores):
    async def run(watched):
        store = watched.store
        lane = Lane(await watched.stream())
        before = await store.get_stream(BASIN, "stream")
        for first in range(3):
            watched.append(lane, first, fencing_token="before", trim_point=first)
        await watched.wait(3)
        await store.remove_stream(before.id, before.uid)
        again = await watched.stream()
        row = await store.get_stream(BASIN, "stream")
        assert (row.next_seq_num, row.trim_point, row.fencing_token) == (0, 0, "")
        assert row.uid != before.uid
        assert await store.tail(again) == Tail(0, 0)
        # Whoever removes the one before once more does nothing to this one.
        await store.remove_stream(before.id, before.uid)
        assert await store.get_stream(BASIN, "stream") == row

    with_store(stores, run)


def test_the_streams_of_a_deleted_basin_are_deleted_with_it(stores):
    async def run(watched):
        store = watched.store
        for name in "abc":
            await watched.stream(name)
        basin = await store.get_basin(BASIN)
        basin.deleted_at_ms = 9
        await store.update_basin(basin)
        assert (await store.get_stream(BASIN, "a")).deleted_at_ms == 9
        rows, _ = await store.list_streams(BASIN, "", "", 10)
        assert {row.deleted_at_ms for row in rows} == {9}
        marked = await store.mark_streams(BASIN, 2)
        assert [row.name for row in marked] == ["a", "b"]
        assert [row.name for row in await store.mark_streams(BASIN, 2)] == ["c"]
        assert await store.mark_streams(BASIN, 2) == []
        for row in await store.deleting_streams(10):
            await store.remove_stream(row.id, row.uid)
        assert await store.list_streams(BASIN, "", "", 10) == ([], False)
        await store.remove_basin(BASIN)
        await watched.stream("a")
        assert await store.list_streams(BASIN, "", "b", 10) == ([], False)

    with_store(stores, run)


def test_replies_to_changes_are_saved_with_them_and_not_without(stores):
    def reply(key):
        return Reply(key, b"request", 201, b"text/plain", b"body", [], 50)

    async def write(watched):
        store = watched.store
        replies = [reply(bytes((number,)) * 32) for number in range(7)]
        basin = BasinRow(BASIN, {}, 1)
        assert await store.insert_basin(basin, replies[0]) is None
        assert await store.insert_basin(BasinRow(BASIN, {}, 1), replies[1]) is not None
        basin.config = {"x": 1}
        await store.update_basin(basin, replies[2])
        row = StreamRow(BASIN, "stream", {}, 1)
        assert await store.insert_stream(row, replies[3]) is None
        assert await store.insert_stream(StreamRow(BASIN, "stream", {}, 1), replies[4]) is not None
        await store.update_stream(row, replies[5])
        await store.save_reply(BASIN, replies[6])
        assert [reply.saved for reply in replies] == [True, False, True, True, False, True, True]

    async def read(watched):
        places = ["", "", "", BASIN, BASIN, BASIN, BASIN]
        found = [await watched.store.get_reply(place, bytes((number,)) * 32, 60) for number, place in enumerate(places)]
        assert [reply is not None for reply in found] == [True, False, True, True, False, True, True]
        assert {(reply.status, reply.body) for reply in found if reply} == {(201, b"body")}

    with_store(stores, write)
    with_store(stores, read)


def test_access_tokens(stores):
    def token(token_id, selector, expires_at_ms=None):
        return TokenRow(token_id, selector, b"hash", {"scope": token_id}, True, "then", expires_at_ms)

    async def run(watched):
        store = watched.store
        for number, token_id in enumerate(["b/\U0010ffff", "b/a b", "a", "c%2F"]):
            assert await store.insert_token(token(token_id, f"{number:016}"), 10)
        assert not await store.insert_token(token("a", "another"), 10)
        assert await store.get_token("0" * 15 + "2") == token("a", "0" * 15 + "2")
        assert await store.get_token("another") is None
        rows, more = await store.list_tokens("", "", 3, 10)
        assert ([row.id for row in rows], more) == (["a", "b/a b", "b/\U0010ffff"], True)
        rows, more = await store.list_tokens("b/", "b/a b", 3, 10)
        assert ([row.id for row in rows], more) == (["b/\U0010ffff"], False)
        assert await store.remove_token("a", 10)
        assert not await store.remove_token("a", 10)
        assert await store.get_token("0" * 15 + "2") is None
        assert await store.insert_token(token("a", "later", 20), 10)
        assert (await store.get_token("later")).expires_at_ms == 20
        # One that has expired leaves its id free.
        assert await store.list_tokens("a", "", 3, 20) == ([], False)
        assert not await store.remove_token("a", 20)
        assert await store.insert_token(token("a", "last", 30), 20)
        assert await store.get_token("later") is None
        assert await store.expire_tokens(25) == 30
        assert await store.expire_tokens(30) is None
        assert await store.get_token("last") is None

    with_store(stores, run)
