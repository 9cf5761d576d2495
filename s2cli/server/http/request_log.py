"""Logs a line for each request, with `-v`. Headers, bodies and the query are left out: they may be secret."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from s2cli.server.client_log import quoted

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Application, Exchange

REQUEST_LOG = "s2cli.server.requests"
log = logging.getLogger(REQUEST_LOG)


def logged(application: Application) -> Application:
    """The application, which logs each request when it has ended: of a session, too."""

    async def answer(exchange: Exchange) -> None:
        began_s = time.monotonic()
        try:
            await application(exchange)
        finally:
            took_ms = (time.monotonic() - began_s) * 1000
            path, status = quoted(exchange.raw_path), exchange.status or "-"
            log.info("%s %s %s %.1f ms %d bytes", exchange.method, path, status, took_ms, exchange.written_bytes)

    return answer
