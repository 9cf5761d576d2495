"""Basins that nobody uses: they are closed, and then cost no request; whoever comes meanwhile does not notice."""

import asyncio
import contextlib
import logging

import pytest
from support.s2s import open_append, open_read
from support.s3_proxy import S3Proxy
from support.s3_server import environment
from support.stores import BASIN, BucketStores, S3Stores, with_store
from support.waiting import TIMEOUT_S, until, until_async

from s2cli.server.store.bucket import database, openings
from s2cli.server.store.interface import Lane

CLOSED = "closed the basin"


def names(stores, folder):
    return [name for name in stores.names() if name.startswith(folder)]


@pytest.fixture(autouse=True)
def soon(monkeypatch, caplog):
    monkeypatch.setattr(openings, "IDLE_S", 0.2)
    caplog.set_level(logging.INFO, "s2cli.server")


@pytest.fixture
def proxy(s3_server, monkeypatch):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


def test_a_basin_that_nobody_uses_is_closed_and_costs_no_requests(proxy, monkeypatch, caplog):
    # An open one asks all the time.
    stores = S3Stores(proxy.url, {"manifest_poll_interval": '"20ms"'})

    async def run(watched):
        lane = Lane(await watched.stream())
        data = watched.append(lane, 0)
        await watched.wait(1)
        await until_async(lambda: CLOSED in caplog.text)
        await until_async(lambda: not proxy.counts.under_way)

        async def is_quiet():
            proxy.take_counts()
            await asyncio.sleep(0.2)
            return not proxy.take_counts().requests

        await until_async(is_quiet)
        assert await watched.store.list_basins("", "", 5) is not None  # that opens none
        assert watched.lost == []
        again = await watched.id_of()
        assert again != lane.stream_id
        assert (await watched.store.tail(again)).next_seq_num == 1
        assert [chunk.data for chunk in await watched.store.read(again, 0, 1, 100)] == [data]

    with_store(stores, run)


def test_whoever_comes_while_a_basin_is_being_closed_waits_and_is_served(proxy, monkeypatch, caplog):
    stores = S3Stores(proxy.url)

    async def run(watched):
        store = watched.store
        lane = Lane(await watched.stream())
        watched.append(lane, 0)
        await watched.wait(1)
        proxy.latency_ms = 20
        came = asyncio.Event()

        def is_used(_basin):
            monkeypatch.setattr(openings, "IDLE_S", TIMEOUT_S)  # behind this time
            asyncio.get_running_loop().call_soon(came.set)
            return False

        store.is_used = is_used
        for number in range(1, 4):
            came.clear()
            monkeypatch.setattr(openings, "IDLE_S", 0.1)
            async with asyncio.timeout(TIMEOUT_S):
                await came.wait()
            watched.append(lane, number)  # by whoever still has the old id: told to come again
            again = Lane(await watched.id_of())
            assert (await store.tail(again.stream_id)).next_seq_num == number
            watched.append(again, number)
            await watched.wait(1 + 2 * number)
            lane = again
        assert [error and error.code for error in watched.errors] == [None, *["unavailable", None] * 3]
        assert caplog.text.count(CLOSED) >= 3
        assert watched.lost == []

    with_store(stores, run)


def test_a_basin_is_open_as_long_as_somebody_uses_it(monkeypatch):
    async def run(watched):
        asked = asyncio.Event()
        is_in_use = True

        def is_used(basin):
            assert basin == BASIN
            asked.set()
            return is_in_use

        watched.store.is_used = is_used
        lane = Lane(await watched.stream())
        for number in range(3):
            await asked.wait()
            asked.clear()
            watched.append(lane, number)
        await watched.wait(3)
        assert watched.errors == [None] * 3
        is_in_use = False
        asked.clear()
        await asked.wait()
        assert await watched.id_of() != lane.stream_id

    with_store(BucketStores(), run)


@pytest.fixture
def opened():
    return []


@pytest.fixture
def server(make_thread_server, opened):
    stores = BucketStores()

    async def open_store(_directory):
        # The library's objects belong to no loop.
        opened.append(await stores.open())
        return opened[0]

    return make_thread_server(open_store=open_store)


@pytest.fixture
def answers(server, opened):
    """What the server says when it is asked whether somebody uses a basin."""
    (store,) = opened
    is_used, answers = store.is_used, []
    store.is_used = lambda basin: answers.append(is_used(basin)) or answers[-1]
    return answers


def test_sessions_without_traffic_keep_their_basin_open_and_streams_in_memory_do_not(server, answers, caplog):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        session.append(b"first")
        assert session.ack() == (0, 1, 1)
        until(lambda: answers.count(True) > 1)
        session.append(b"second")
        assert session.ack() == (1, 2, 2)
    with open_read(server, basin, "seq_num=0") as session:
        assert len(session.batch()[0]) == 2
        answers.clear()
        until(lambda: answers.count(True) > 1)
        assert CLOSED not in caplog.text
    until(lambda: CLOSED in caplog.text)
    with open_append(server, basin) as session:
        session.append(b"third")
        assert session.ack() == (2, 3, 3)


def test_what_is_written_goes_into_tables_while_the_basin_is_open_and_when_it_is_closed(stores, monkeypatch):
    """So whoever takes it, or opens it again, has little of the log to read."""
    monkeypatch.setattr(openings, "IDLE_S", TIMEOUT_S)
    monkeypatch.setattr(database, "LOGGED_UPLOADS", 4)
    monkeypatch.setattr(database, "TABLE_S", 0.0)

    def tables():
        return [name for name in names(stores, "data/") if "/compacted/" in name]

    async def run(watched):
        lane = Lane(await watched.stream())
        for number in range(4):
            watched.append(lane, number)
            await watched.wait(number + 1)
        await until_async(tables)
        watched.append(lane, 4)
        await watched.wait(5)

    with_store(stores, run)
    assert len(tables()) > 1
