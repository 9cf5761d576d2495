"""Waits for what happens elsewhere. How long that takes says nothing: only what hangs takes `TIMEOUT_S`."""

import asyncio
import fcntl
import inspect
import select
import sys
import termios
import time
from pathlib import Path

TIMEOUT_S = 100.0
INTERVAL_S = 0.005


def until(condition):
    """Polls `condition()`, of which nobody gives a sign, until it holds. Returns what it gave."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited in vain for {_describe(condition)}"
        time.sleep(INTERVAL_S)
    return found


def until_gone(server, path, basin=None) -> None:
    """Waits until the server answers 404 for a basin or stream."""
    until(lambda: server.request("GET", path, basin=basin).status == 404)


async def until_async(condition):
    """The same in a coroutine, and `condition` may be a coroutine function."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline_s, f"waited in vain for {_describe(condition)}"
        await asyncio.sleep(INTERVAL_S)


def until_readable(file, said=b"") -> None:
    """Waits until there is something to read, or the end; `said` is what came before, for the message."""
    assert select.select([file], [], [], TIMEOUT_S)[0], f"waited in vain after {said!r}"


def until_asleep(pid) -> None:
    """Waits until a process waits itself: what it has written is behind it then."""
    until(lambda: is_asleep(pid))


def is_asleep(pid) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def unsent_bytes(connection) -> int:
    """How much of what the other end of a connection over 127.0.0.1 was given to send has not arrived here."""
    near, far = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(far) and columns[2].endswith(near):
            return int(columns[4].partition(":")[0], 16)
    return 0


def unread_bytes(pipe) -> int:
    """How much of what came through a pipe or a connection its reader has not taken yet."""
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def _describe(condition) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
