"""What the official Python SDK reaches with a server, as JSON: row p of compare.py.

    sdk_load.py PORT BASIN STREAM OTHER_STREAM

Batches of 1000 records of 100 bytes and of 10 records of 100 kB in an append session, and a read session that gets
them back; then single appends and tails, one after the other.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

from s2_sdk import S2, AppendInput, Endpoints, ReadLimit, Record, SeqNum
from s2_sdk._ops import S2Stream

# Size of a record, records of a batch, batches.
LOADS = ((100, 1000, 150), (100_000, 10, 100))
CALLS = 300


async def append(stream: S2Stream, size: int, records: int, batches: int) -> float:
    """Seconds until all is acknowledged."""
    batch = AppendInput([Record(b"x" * size) for _ in range(records)])
    began_s = time.perf_counter()
    async with stream.append_session() as session:
        for _ in range(batches):
            await session.submit(batch)
    return time.perf_counter() - began_s


async def read(stream: S2Stream, size: int, count: int) -> float:
    began_s = time.perf_counter()
    got = 0
    async for batch in stream.read_session(start=SeqNum(0), limit=ReadLimit(count=count)):
        got += len(batch.records)
    took_s = time.perf_counter() - began_s
    if got != count:
        raise RuntimeError(f"{got} of {count} records of {size} bytes came")
    return took_s


async def calls(call: Callable[[], Awaitable[object]]) -> float:
    """The median of their milliseconds."""
    took_s = []
    for _ in range(CALLS):
        began_s = time.perf_counter()
        await call()
        took_s.append(time.perf_counter() - began_s)
    return median(took_s) * 1000


async def measure(port: int, basin: str, streams: list[str]) -> list[tuple[str, str, float]]:
    url = f"http://127.0.0.1:{port}"
    figures: list[tuple[str, str, float]] = []
    async with S2("token", endpoints=Endpoints(account=url, basin=url)) as client:
        for (size, records, batches), name in zip(LOADS, streams, strict=True):
            stream, count = client.basin(basin).stream(name), records * batches
            figures.append((f"append {size}", "records/s", count / await append(stream, size, records, batches)))
            figures.append((f"read {size}", "records/s", count / await read(stream, size, count)))
        figures.append(("one append p50", "ms", await calls(lambda: stream.append(AppendInput([Record(b"x" * 100)])))))
        figures.append(("tail p50", "ms", await calls(stream.check_tail)))
    return figures


if __name__ == "__main__":
    port, basin, *streams = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(int(port), basin, streams))))
