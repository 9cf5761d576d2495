"""What is done in basins that nobody asks for: by the one server that has the lease, and never in a basin that another
one has open."""

import asyncio
import contextlib

import pytest
from support.lite_node import Node
from support.s2s import open_append
from support.s3_proxy import S3Proxy
from support.stores import BASIN, Watched
from support.waiting import TIMEOUT_S, until, until_async, until_gone

from s2cli.server.store.bucket import marks, openings, sweeper
from s2cli.server.store.bucket.lease import Lease
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.interface import Lane

HOUR_MS = 3_600_000


def names(stores, folder):
    return [name for name in stores.names() if name.startswith(folder)]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(sweeper, "ROUND_S", 0.1)
    monkeypatch.setattr(marks, "DUE_AGAIN_MS", 0)


@pytest.fixture
def early_death(monkeypatch):
    # An S3 server tells the time of an object to the second.
    monkeypatch.setattr(sweeper, "DEAD_S", 2.5)


class Scene:
    """Stores on one bucket, and the time of them all."""

    def __init__(self, stores):
        self._stores = stores
        self.now_ms = 1_000 * HOUR_MS
        self._all = []

    async def open(self):
        watched = Watched(await self._stores.open())
        watched.store.clock_ms = watched.store.deletion_clock_ms = lambda: self.now_ms
        self._all.append(watched)
        return watched

    async def close(self, *some):
        for watched in some or list(self._all):
            self._all.remove(watched)
            await watched.store.close()


def play(stores, run):
    async def main():
        scene = Scene(stores)
        async with asyncio.timeout(TIMEOUT_S):
            try:
                await run(scene)
            finally:
                await scene.close()

    asyncio.run(main())


async def write(scene, watched, **lane_changes):
    """A stream with a record that expires in an hour. Returns its lane."""
    lane = Lane(await watched.stream())
    watched.append(lane, 0, expires_at_ms=scene.now_ms + HOUR_MS, keep_ms=HOUR_MS, **lane_changes)
    await watched.wait(1)
    return lane


def test_what_expires_in_a_basin_that_was_closed_is_deleted_when_it_is_due(stores):
    async def run(scene):
        first = await scene.open()
        await write(scene, first)
        await scene.close(first)
        (due,) = names(stores, "due/")
        assert due == f"due/{scene.now_ms + HOUR_MS:020d}-{BASIN}"
        assert names(stores, "open/") == names(stores, "runs/") == []
        second = await scene.open()
        await until_async(lambda: names(stores, "leases/"))
        assert names(stores, "due/") == [due]
        scene.now_ms += HOUR_MS
        await until_async(lambda: not names(stores, "due/"))
        # It is closed again, of itself: in a run that has nothing nothing is due any more before an hour.
        await until_async(lambda: names(stores, "due/"))
        assert names(stores, "due/") == [f"due/{scene.now_ms + HOUR_MS:020d}-{BASIN}"]
        assert await second.store.stored_bytes(BASIN, "stream") == 0
        assert (await second.store.tail(await second.id_of())).next_seq_num == 1

    play(stores, run)


def test_a_basin_that_a_living_server_has_open_is_left_to_it(stores, monkeypatch):
    monkeypatch.setattr(openings, "IDLE_S", 0.1)

    async def run(scene):
        first = await scene.open()
        await write(scene, first)
        await until_async(lambda: names(stores, "due/"))
        monkeypatch.setattr(openings, "IDLE_S", TIMEOUT_S)
        lane = Lane(await first.id_of())
        await until_async(lambda: names(stores, "open/"))
        second = await scene.open()
        scene.now_ms += HOUR_MS
        # Whichever has the lease: it sees the mark.
        await until_async(lambda: not names(stores, "due/"))
        first.append(lane, 1)
        await first.wait(2)
        assert first.errors == [None, None]
        assert first.lost == second.lost == []

    play(stores, run)


def test_a_basin_that_was_taken_is_marked_by_the_one_who_has_it(stores, monkeypatch):
    async def run(scene):
        first, second = await scene.open(), await scene.open()
        await first.stream()
        (mark,) = await until_async(lambda: names(stores, "open/"))
        await second.id_of()
        with contextlib.suppress(Exception):
            await first.id_of()
        assert first.lost

        async def is_told():
            marked = names(stores, "open/")
            return len(marked) == 1 and marked != [mark]

        await until_async(is_told)

    play(stores, run)


@pytest.fixture
def start_node(stores, endpoint_at):
    """Starts a server in a process of its own on the bucket at that URL. Returns the process, and its end to ask."""
    nodes = []

    def start(url):
        nodes.append(Node(url, stores.prefix))
        return nodes[-1], endpoint_at(nodes[-1].port)

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture
def start_thread(stores, make_thread_server):
    """Starts a server in a thread, on the same."""

    async def open_store(_directory):
        return await stores.open()

    return lambda: make_thread_server(open_store=open_store)


def append(server, basin):
    return server.request(
        "POST", "/v1/streams/stream/records", json_body={"records": [{"body": "x"}]}, basin=basin
    ).status


@pytest.mark.usefixtures("early_death")
def test_what_a_killed_server_had_open_is_looked_after_by_another_one(s3_server, stores, start_node, start_thread):
    node, server = start_node(s3_server.url)
    basin = server.create_basin()
    server.create_stream(basin, retention_policy={"age": 3600})
    assert append(server, basin) == 200
    run, _, name = until(lambda: names(stores, "open/"))[0].removeprefix("open/").partition("/")
    assert name == basin
    node.kill()
    start_thread()
    until(lambda: f"runs/{run}" not in names(stores, "runs/"))
    assert f"open/{run}/{basin}" not in names(stores, "open/")
    (due,) = until(lambda: names(stores, "due/"))
    assert due.endswith(f"-{basin}")


@pytest.mark.usefixtures("early_death")
def test_a_basin_whose_deleting_server_was_killed_is_removed_by_another_one(
    s3_server, stores, start_node, start_thread
):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        node, server = start_node(proxy.url)
        basin = server.create_basin()
        server.create_stream(basin)
        proxy.latency_ms = 200
        assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
        node.kill()
    assert names(stores, "deleting/") == [f"deleting/{basin}"]
    other = start_thread()
    assert other.request("GET", f"/v1/basins/{basin}").status == 200
    until_gone(other, f"/v1/basins/{basin}")
    assert not names(stores, "deleting/")
    assert other.create_basin(basin) == basin


def test_a_basin_that_one_server_has_is_deleted_by_another_one(stores, start_thread):
    first, second = start_thread(), start_thread()
    basin = first.create_basin()
    first.create_stream(basin)
    with open_append(first, basin) as session:
        session.append(b"record")
        assert session.ack() == (0, 1, 1)
        assert second.request("DELETE", f"/v1/basins/{basin}").status == 202
        until_gone(second, f"/v1/basins/{basin}")
        # Nothing is acknowledged any more.
        session.append(b"another record")
        assert session.terminal()[0] in (404, 409, 503)
    until_gone(first, f"/v1/basins/{basin}")
    assert append(first, basin) == 404


@pytest.mark.usefixtures("early_death")
def test_a_deletion_that_nobody_goes_on_with_is_made_by_the_server_that_has_the_basin(stores, start_thread):
    """The one that has marked it has died before it has taken it."""
    server = start_thread()
    basin = server.create_basin()
    server.create_stream(basin)

    async def mark():
        store = await stores.open()
        row = await store.get_basin(basin)
        row.deleted_at_ms = 1
        await store.update_basin(row)
        await store.close()

    asyncio.run(mark())
    until_gone(server, f"/v1/basins/{basin}")


def test_one_server_has_the_lease_until_it_does_not_renew_it(stores):
    async def run():
        objects = Objects(stores.bucket, stores.prefix)
        first, second, third = (Lease(objects, "lease", run) for run in ("first", "second", "third"))
        assert await first.renew(TIMEOUT_S)
        assert not await second.renew(TIMEOUT_S)
        assert await first.renew(TIMEOUT_S)
        assert not await second.renew(0.001)  # it was renewed meanwhile
        await asyncio.sleep(0.01)
        assert sum(await asyncio.gather(second.renew(0.001), third.renew(TIMEOUT_S))) == 1
        assert not await first.renew(TIMEOUT_S)
        await first.release()  # which is not its own
        assert not await third.renew(TIMEOUT_S)
        await second.release()
        assert await third.renew(TIMEOUT_S)

    asyncio.run(run())


def test_what_is_left_of_a_removed_basin_is_deleted_later_and_not_what_has_its_name_now(stores, monkeypatch):
    monkeypatch.setattr(sweeper, "CLEAR_S", 0.0)

    async def remove(watched):
        basin = await watched.store.get_basin(BASIN)
        basin.deleted_at_ms = 9
        await watched.store.update_basin(basin)
        for row in await watched.store.mark_streams(BASIN, 10):
            await watched.store.remove_stream(row.id, row.uid)
        await watched.store.remove_basin(BASIN)

    async def run(scene):
        first, second = await scene.open(), await scene.open()
        await write(scene, first)
        await remove(first)
        assert await first.store.get_basin(BASIN) is None
        before = set(names(stores, "data/"))
        assert before
        lane = Lane(await second.stream())
        scene.now_ms += sweeper.GONE_MS
        await until_async(lambda: not before & set(names(stores, "data/")))
        await until_async(lambda: not names(stores, "gone/"))
        second.append(lane, 0)
        await second.wait(1)
        assert second.errors == [None]

    play(stores, run)
