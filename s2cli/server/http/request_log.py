"""A line for each request, where somebody wants to watch. What is secret stands in headers and bodies: these are left
out, as is the query."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from s2cli.server.client_log import quoted

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from s2cli.server.http.asgi import Application, Message, Receive, Scope, Send

REQUEST_LOG = "s2cli.server.requests"
log = logging.getLogger(REQUEST_LOG)


def logged(application: Application) -> Application:
    """The application, which logs each request when it has ended: of a session, too."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.monotonic()
        status, size_bytes = "-", 0

        def send_counted(message: Message) -> Awaitable[None]:
            # It gives back what `send` gives: its type tells whether there is room in the host's queue (streaming.py).
            nonlocal status, size_bytes
            if message["type"] == "http.response.start":
                status = str(message["status"])
            else:
                size_bytes += len(message.get("body", b""))
            return send(message)

        try:
            await application(scope, receive, send_counted)
        finally:
            took_ms = (time.monotonic() - began_s) * 1000
            path = quoted(scope["raw_path"])
            log.info("%s %s %s %.1f ms %d bytes", scope["method"], path, status, took_ms, size_bytes)

    return answer
