"""Connections that never say which protocol they speak.

The host reads the first 24 bytes of a connection to tell HTTP/2 from HTTP/1, and waits for them for ever: its timeout
for heads begins only after them. Such a connection costs its client nothing and us one of those that may be open, so
whoever opened enough of them would lock out everybody. Only Linux says what a connection has sent; elsewhere none is
found, and behind a Unix socket there is but our own user.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the host reads before it decides: the preface of HTTP/2.
PREFACE_BYTES = 24
# As long as the host waits for the head of a request.
PATIENCE_MS = 30_000

# struct tcp_info: state, last_data_recv in ms (since the connection was made, if nothing has come), bytes_received.
_TCP_INFO_BYTES = 136
_ESTABLISHED = 1
_STATE, _LAST_DATA_RECEIVED, _BYTES_RECEIVED = (struct.Struct(form) for form in ("=B", "=52xI", "=128xQ"))


def close_silent(listener: socket.socket, patience_ms: int = PATIENCE_MS) -> int:
    """Closes the connections to `listener` that have not sent a preface and are silent for that long; how many."""
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    port = listener.getsockname()[1]
    closed = 0
    for connection in _connections(listener.family):
        with connection, contextlib.suppress(OSError):
            if connection.getsockname()[1] == port and _is_silent(connection, patience_ms):
                # Reaches the host's own descriptor of it, which reads an end.
                connection.shutdown(socket.SHUT_RDWR)
                closed += 1
    return closed


def _connections(family: int) -> Iterator[socket.socket]:
    """All sockets of that family in this process, as descriptors of our own."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            # The descriptor may be another's by now: only what is done through the copy is about one connection.
            found = socket.socket(fileno=os.dup(int(name)))
            if found.family == family and found.type == socket.SOCK_STREAM:
                yield found
            else:
                found.close()


def _is_silent(connection: socket.socket, patience_ms: int) -> bool:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(info) < _TCP_INFO_BYTES:
        return False  # an old kernel
    return bool(
        _STATE.unpack_from(info)[0] == _ESTABLISHED
        and _BYTES_RECEIVED.unpack_from(info)[0] < PREFACE_BYTES
        and _LAST_DATA_RECEIVED.unpack_from(info)[0] >= patience_ms
    )
