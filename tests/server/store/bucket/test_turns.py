"""Which appends share a turn, and so an upload."""

import asyncio
import contextlib

import pytest
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, connect, environment
from support.stores import Watched
from support.waiting import TIMEOUT_S

from s2cli.server.store.bucket.bucket_store import BucketStore
from s2cli.server.store.bucket.database import Place
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.open_basin import TURN_BYTES_OF_CHUNKS
from s2cli.server.store.interface import Lane

CLIENTS = 8
ROUNDS = 6
MIB = 1024 * 1024


@pytest.fixture
def slow_bucket(s3_server, monkeypatch):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


def test_those_who_append_again_and_again_share_turns(slow_bucket, tmp_path):
    """Who was answered comes again at once. If a turn began with the first of them, the others had to wait for it, and
    there would be two turns in each round."""

    async def main():
        prefix = tmp_path.name
        store = BucketStore(Objects(connect(slow_bucket.url)), Place.of(f"s3://{BUCKET}"), f"{prefix}/")
        watched = Watched(store)
        lanes = [Lane(await watched.stream(f"stream-{number}")) for number in range(CLIENTS)]
        by_stream = {lane.stream_id: number for number, lane in enumerate(lanes)}
        done = [0] * CLIENTS
        turns = []
        finished = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_written(group, error):
            assert error is None
            turns.append(len(group))
            for append in group:
                number = by_stream[append.lane.stream_id]
                done[number] += 1
                if done[number] < ROUNDS:
                    # Not at the very same time.
                    loop.call_later(number / 1000, watched.append, lanes[number], done[number])
            if min(done) == ROUNDS:
                finished.set()

        store.on_written = on_written
        slow_bucket.latency_ms = 400
        for lane in lanes:
            watched.append(lane, 0)
        await asyncio.wait_for(finished.wait(), TIMEOUT_S)
        slow_bucket.latency_ms = 0
        await store.close()
        assert sum(turns) == CLIENTS * ROUNDS
        assert len(turns) <= ROUNDS + 2, turns

    asyncio.run(main())


def test_a_turn_takes_what_is_queued_up_to_a_bound(slow_bucket, tmp_path):
    async def main():
        store = BucketStore(Objects(connect(slow_bucket.url)), Place.of(f"s3://{BUCKET}"), f"{tmp_path.name}/")
        watched = Watched(store)
        lane = Lane(await watched.stream())
        turns = []
        finished = asyncio.Event()
        count = TURN_BYTES_OF_CHUNKS // MIB + 4

        def on_written(group, error):
            assert error is None
            turns.append([append.chunk.first_seq_num for append in group])
            if sum(map(len, turns)) == count:
                finished.set()

        store.on_written = on_written
        slow_bucket.latency_ms = 200
        watched.append(lane, 0, size=MIB)
        # The first turn has begun.
        await asyncio.sleep(0)
        for number in range(1, count):
            watched.append(lane, number, size=MIB)
        await asyncio.wait_for(finished.wait(), TIMEOUT_S)
        slow_bucket.latency_ms = 0
        await store.close()
        largest = TURN_BYTES_OF_CHUNKS // MIB
        assert turns == [[0], list(range(1, largest + 1)), list(range(largest + 1, count))]

    asyncio.run(main())
