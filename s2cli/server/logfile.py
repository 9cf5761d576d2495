"""Standard error as a log file of bounded size, for a server that has no terminal."""

from __future__ import annotations

import logging
import os
import sys

from s2cli.private_files import open_own
from s2cli.server.client_log import REQUEST_LOG

MAX_LOG_BYTES = 1024 * 1024

_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs, not at run time
    """Writes to stderr, which is the file at `path`. A full file is renamed to `path`.1, replacing the one before.

    So whatever else writes to stderr, for example a dying interpreter, is in the same file."""

    def __init__(self, path: str) -> None:
        super().__init__(sys.stderr)
        self._path = path
        self._rotate_if_full()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self._rotate_if_full()

    def _rotate_if_full(self) -> None:
        try:
            if os.fstat(2).st_size < MAX_LOG_BYTES:
                return
            os.replace(self._path, self._path + ".1")
            descriptor = open_own(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except OSError:
            return
        os.dup2(descriptor, 2)
        os.close(descriptor)


def log_to_file(path: str) -> None:
    """Logs everything to the file at `path`, which is stderr already, with a bounded size (see LogFile)."""
    # A full disk must not make a log line an error of its own.
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[LogFile(path)], level=logging.INFO, format=_FORMAT)


def log_to_terminal(*, requests: bool) -> None:
    """Logs warnings and errors to stderr; with `requests`, also a line for each request."""
    logging.basicConfig(level=logging.WARNING, format=_FORMAT)
    if requests:
        logging.getLogger(REQUEST_LOG).setLevel(logging.INFO)
