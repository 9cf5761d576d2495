"""A server that kills itself at a chosen moment: `mortal_server.py DATA MOMENT NUMBER`. It prints its port.

MOMENT is "admitted" (a batch has its place, and nothing of it is written), "committed" (it is durable, and nobody has
been told), or "changed" (the same for a stream's row), at append, group or change NUMBER.
"""

import asyncio
import os
import signal
import sys

from s2cli.server.process import Options, serve
from s2cli.server.store.sqlite.engine import SqliteStore


class MortalStore:
    """The real store, until its moment."""

    def __init__(self, store, moment: str, number: int) -> None:
        self._store = store
        self._moment = moment
        self._left = number

    def __getattr__(self, name):
        return getattr(self._store, name)

    def _pass(self, moment: str) -> None:
        if moment == self._moment:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def append(self, append) -> None:
        self._pass("admitted")
        self._store.append(append)

    async def update_stream(self, *arguments) -> None:
        await self._store.update_stream(*arguments)
        self._pass("changed")

    @property
    def on_written(self):
        return self._store.on_written

    @on_written.setter
    def on_written(self, on_written) -> None:
        def resolve_or_die(appends, error):
            self._pass("committed")
            on_written(appends, error)

        self._store.on_written = resolve_or_die


def main(data: str, moment: str, number: str) -> None:
    async def open_store(path):
        return MortalStore(await SqliteStore.open(path), moment, int(number))

    def on_ready(origin: str) -> None:
        print(origin.rpartition(":")[2], flush=True)

    options = Options(data=data, port=0, open_store=open_store)
    asyncio.run(serve(options, on_ready, asyncio.Event()))


if __name__ == "__main__":
    main(*sys.argv[1:])
