"""Logs what a client causes. Clients decide how often that happens, so it is limited: a few short lines a second for
all clients together, and then how many were left out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback

MAX_LINES_PER_S = 5
# Of a traceback, at its end.
MAX_FRAMES = 20
MAX_TRACEBACK_CHARS = 4000
# Of what a client sent, within a line.
MAX_QUOTED_BYTES = 200

# The logger for all that, and the one for a line about each request, which -v asks for and nothing limits.
CLIENT_LOG = "s2cli.server.clients"
REQUEST_LOG = "s2cli.server.requests"


class _Bound(logging.Filter):
    """Lets through what is within the bound."""

    def __init__(self) -> None:
        super().__init__()
        self._since_s = -1.0
        self._lines = 0
        self._left_out = 0
        self._due: asyncio.TimerHandle | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg is _LEFT_OUT:
            return True
        now_s = time.monotonic()
        if now_s - self._since_s >= 1.0:
            self._tell()
            self._since_s, self._lines = now_s, 0
        self._lines += 1
        if self._lines > MAX_LINES_PER_S:
            self._left_out += 1
            self._tell_later()
            return False
        if record.exc_info and record.exc_info[1] is not None:
            # The formatter takes this text rather than make its own.
            text = "".join(traceback.format_exception(record.exc_info[1], limit=-MAX_FRAMES))
            record.exc_text = text[-MAX_TRACEBACK_CHARS:].rstrip()
        return True

    def _tell_later(self) -> None:
        if self._due is None:
            with contextlib.suppress(RuntimeError):  # without a loop the next line tells it
                self._due = asyncio.get_running_loop().call_later(1.0, self._tell)

    def _tell(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        left_out, self._left_out = self._left_out, 0
        if left_out:
            logging.getLogger(CLIENT_LOG).warning(_LEFT_OUT, left_out)


_LEFT_OUT = "%d more lines about clients were left out"

logging.getLogger(CLIENT_LOG).addFilter(_Bound())


def quoted(text: bytes) -> str:
    """What a client sent, escaped and cut to MAX_QUOTED_BYTES for a line of the log."""
    shown = text[:MAX_QUOTED_BYTES].decode("latin-1").encode("unicode_escape").decode()
    return shown if len(text) <= MAX_QUOTED_BYTES else f"{shown}…"
