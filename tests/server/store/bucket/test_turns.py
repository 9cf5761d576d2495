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
from s2cli.server.store.interface import Lane

CLIENTS = 8
ROUNDS = 6


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
