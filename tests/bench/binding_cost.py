"""How much of what bare writes through the binding of the library reach the engine for a bucket keeps, over a store in
memory: the same values, as many of them together, written and flushed by the binding alone and by `BucketStore`.

    binding_cost.py [--sizes 100,1000,10000,100000,1000000] [--seconds 2] [--runs 3]

The two take turns; figures are medians of the runs.
"""

import argparse
import asyncio
import os
import time
from statistics import median

import obstore.store

from s2cli.server.store.bucket import binding
from s2cli.server.store.bucket.bucket_store import BucketStore
from s2cli.server.store.bucket.database import DEFAULTS, Place
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.interface import Append, BasinRow, Chunk, Lane, StreamRow

TOGETHER = 64  # values in flight, but not more than so many bytes
TOGETHER_BYTES = 4 * 1024 * 1024
BASIN = "some-basin"


async def bare(value: bytes, together: int, seconds: float) -> float:
    """Values a second that the binding takes, written and flushed so many at a time."""
    library = binding.load()
    settings = library.Settings.default()
    for name, setting in DEFAULTS.items():
        settings.set(name, setting)
    builder = library.DbBuilder("bare", library.ObjectStore.resolve("memory:///"))
    builder.with_settings(settings)
    database = await builder.build()
    wal = library.FlushOptions(flush_type=library.FlushType.WAL)
    count, began_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < seconds:
        batch = library.WriteBatch()
        for number in range(count, count + together):
            batch.put(b"c%016d" % number, value)
        await database.write_with_options(batch, library.WriteOptions())
        await database.flush_with_options(wal)
        count += together
    await database.shutdown()
    return count / took_s


async def engine(value: bytes, together: int, seconds: float) -> float:
    """Appends of such a chunk a second that the engine takes, with so many in flight."""
    store = BucketStore(Objects(obstore.store.MemoryStore()), Place.of("memory:///"))
    store.on_written = lambda _group, _error: None
    await store.insert_basin(BasinRow(BASIN, {}, 1))
    row = StreamRow(BASIN, "stream", {}, 1)
    await store.insert_stream(row)
    lane = Lane(row.id)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    appended = written = 0

    def append(count: int) -> None:
        nonlocal appended
        for _ in range(count):
            store.append(Append(lane, Chunk(appended, 1, len(value), 1, value), 0))
            appended += 1

    def on_written(group, error) -> None:
        nonlocal written
        assert error is None, error
        written += len(group)
        if time.perf_counter() - began_s < seconds:
            append(len(group))
        elif written == appended:
            ended.set_result(None)

    store.on_written = on_written
    began_s = time.perf_counter()
    append(together)
    await ended
    took_s = time.perf_counter() - began_s
    await store.close()
    return written / took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,10000,100000,1000000", help="of the values, in bytes")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    print("| value | together | bare values/s | MiB/s | engine values/s | MiB/s | share |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for size in map(int, args.sizes.split(",")):
        value, together = os.urandom(size), max(1, min(TOGETHER, TOGETHER_BYTES // size))
        rates: tuple[list[float], list[float]] = ([], [])
        for _ in range(args.runs):
            for of, measured in zip((bare, engine), rates, strict=True):
                measured.append(asyncio.run(of(value, together, args.seconds)))
        of_bare, of_engine = map(median, rates)
        cells = [f"{size:,} B", str(together)]
        for rate in (of_bare, of_engine):
            cells += [f"{rate:,.0f}", f"{rate * size / 2**20:.1f}"]
        print(f"| {' | '.join([*cells, f'{of_engine / of_bare:.0%}'])} |", flush=True)


if __name__ == "__main__":
    main()
