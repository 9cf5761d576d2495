"""Ports that stay a test's own while nobody listens on them."""

import contextlib
import socket
import sys
import threading

from support.waiting import TIMEOUT_S


def reserve_port() -> socket.socket:
    """A free port of 127.0.0.1, as a socket that holds it: whoever connects is refused, the kernel gives the port to
    nobody, and a server with SO_REUSEADDR can listen on it, now and after each restart. On other systems than Linux
    the last is not so: there the port is only likely to stay free."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def choose_port() -> tuple[int, socket.socket | None]:
    """A free port for a server that may be restarted, and what holds it where that is possible."""
    holder = reserve_port()
    port = holder.getsockname()[1]
    if sys.platform == "linux":
        return port, holder
    holder.close()
    return port, None


def stop_accepting(listener: socket.socket, thread: threading.Thread) -> None:
    """Closes a listener and ends the thread that waits for its connections: of a close alone that hears nothing."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
