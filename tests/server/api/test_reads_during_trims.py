"""Reads while the stream is trimmed: what is shown was there at one moment."""

import asyncio

import pytest
from support.s2s import append_input, open_read

from s2cli.server.api import follow as following
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.s2_pb2 import ReadBatch

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}


@pytest.fixture
def interrupted(make_thread_server):
    """A server with a basin and a stream, and a list: what is in it is called, in a thread, after the next page that is
    read from the store."""
    meanwhile = []

    async def open_store(path):
        store = await SqliteStore.open(path)
        read_page = store.read

        async def read(*arguments):
            page = await read_page(*arguments)
            while meanwhile:
                await asyncio.to_thread(meanwhile.pop())
            return page

        store.read = read
        return store

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)
    return server, basin, meanwhile


def append_to(server, basin, *records):
    path = "/v1/streams/stream/records"
    answer = server.request("POST", path, body=append_input(*records), headers=PROTOBUF, basin=basin)
    assert answer.status == 200, answer


def numbers_in(answer):
    return [record["seq_num"] for record in answer.json()["records"]]


def test_a_unary_read_is_of_one_moment(interrupted):
    """A trim that comes while it reads: it shows what was there before, or what is left, and nothing of both."""
    server, basin, meanwhile = interrupted
    append_to(server, basin, b"0", b"1", b"2")
    trim = (None, [(b"", b"trim")], (2).to_bytes(8, "big"))
    meanwhile.append(lambda: append_to(server, basin, trim))
    answer = server.request("GET", "/v1/streams/stream/records?seq_num=0", basin=basin)
    assert numbers_in(answer) in ([0, 1, 2], [2, 3])
    assert numbers_in(server.request("GET", "/v1/streams/stream/records?seq_num=0", basin=basin)) == [2, 3]


@pytest.fixture
def trimmed(make_thread_server):
    """A server with a basin and a stream, and a list: for the next page that is read from the store, an append in it is
    made before, by a thread; and all that it trims is deleted."""
    before = []

    class TrimmedStore(SqliteStore):
        async def read(self, *arguments):
            if before:
                await asyncio.to_thread(append_to, server, basin, before.pop())
                # The next change comes behind the deletion, slice by slice.
                while (await self.ask(_trim_point))[0] > (await self.ask(_first_end))[0]:
                    await self.change(lambda connection: None)
            return await super().read(*arguments)

    server = make_thread_server(open_store=TrimmedStore.open)
    basin = server.create_basin()
    server.create_stream(basin)
    return server, basin, before


def _trim_point(connection):
    return connection.execute("SELECT trim_point FROM stream").fetchone()


def _first_end(connection):
    """Where the first chunk ends that is left."""
    return connection.execute("SELECT (min(id) & 0xffffffffff) + 1 FROM chunk").fetchone()


def trim_to(seq_num):
    return None, [(b"", b"trim")], seq_num.to_bytes(8, "big")


@pytest.mark.parametrize("of_session", [False, True])
def test_a_read_shows_nothing_that_was_trimmed_beside_what_is_deleted(trimmed, of_session):
    """A trim point within a batch: what lies before it in the batch is not deleted, and trimmed all the same."""
    server, basin, before = trimmed
    append_to(server, basin, b"0", b"1", b"2")
    append_to(server, basin, b"3", b"4", b"5")
    before.append(trim_to(4))
    if of_session:
        with open_read(server, basin, "seq_num=0&count=10&wait=0") as session:
            # Up to where the stream ended when it began.
            assert [seq_num for seq_num, _ in session.records()] == [4, 5]
    else:
        answer = server.request("GET", "/v1/streams/stream/records?seq_num=0&count=10", basin=basin)
        assert numbers_in(answer) == [4, 5, 6]


def test_a_read_of_several_pages_ends_where_a_trim_has_made_a_hole(trimmed):
    server, basin, before = trimmed
    for _ in range(2):
        append_to(server, basin, bytes(following.PAGE_BYTES // 4 + 1), bytes(following.PAGE_BYTES // 4))
    append_to(server, basin, b"4")
    append_to(server, basin, b"5")
    before += [trim_to(5), b"6"]  # the second page is the one
    answer = server.request("GET", "/v1/streams/stream/records?seq_num=0", headers=PROTOBUF, basin=basin)
    assert [record.seq_num for record in ReadBatch.FromString(answer.body).records] == [0, 1, 2, 3]
