"""Holds appends back: before the engine gets them, or in its queue while the thread that writes stands still, so that
what is queued meanwhile is one group."""

import asyncio
import threading

from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError


async def hold(store):
    """Returns a coroutine function that lets it continue."""
    gate = threading.Event()
    stopped = asyncio.ensure_future(store.change(lambda _: gate.wait(TIMEOUT_S)))
    await asyncio.sleep(0)

    async def go_on():
        gate.set()
        await stopped

    return go_on


async def let_queue(store):
    """Lets what was begun come as far as the queue of that thread. On its way it may ask the thread that reads, which
    answers in order, a few times."""
    for _ in range(5):
        await store.ask(lambda _connection: None)
        for _ in range(20):
            await asyncio.sleep(0)


class HeldStore:
    """An engine that gets appends only when it is told to."""

    def __init__(self, store):
        self.__dict__.update(store=store, held=[], holding=threading.Event())

    def __getattr__(self, name):
        return getattr(self.store, name)

    def __setattr__(self, name, value):
        setattr(self.store, name, value)

    def append(self, append):
        if self.holding.is_set():
            self.held.append(append)
        else:
            self.store.append(append)

    def release(self):
        self.holding.clear()
        self.hand_over()

    def hand_over(self):
        """What is held proceeds; what comes is held."""
        while self.held:
            self.store.append(self.held.pop(0))

    def refuse(self):
        """What is held fails."""
        error = ApiError("storage", "the disk is full")
        for append in self.held:
            append.lane.broken = error
        self.on_written(self.held[:], error)
        self.held.clear()
