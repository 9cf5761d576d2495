"""Has the thread of the engine that writes stand still, so that what is queued meanwhile is one group."""

import asyncio
import threading

from support.waiting import TIMEOUT_S


async def hold(store):
    """Returns a coroutine function that lets it continue."""
    gate = threading.Event()
    stopped = asyncio.ensure_future(store.change(lambda _: gate.wait(TIMEOUT_S)))
    await asyncio.sleep(0)

    async def go_on():
        gate.set()
        await stopped

    return go_on


async def let_queue():
    """Lets what was begun come as far as the queue of that thread: some turns of the loop, and nothing else to wait
    for."""
    for _ in range(20):
        await asyncio.sleep(0)
