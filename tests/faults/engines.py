"""Servers under test: any that speaks the API and can be started with a command line."""

import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.ports import choose_port

# `{data}` and `{port}` are filled in.
OWN = f"{shlex.quote(sys.executable)} -P -m s2cli.commands.lite --host 127.0.0.1 --data {{data}} --port {{port}}"
# Here `{bucket}` and `{prefix}` are filled in too.
OWN_ON_BUCKET = f"{shlex.quote(sys.executable)} -P -m s2cli lite --bucket s3://{{bucket}}/{{prefix}} --port {{port}}"

START_S = 60.0
ANSWER_S = 20.0
STOP_S = 30.0


class DidNotStartError(Exception):
    """The server ended, or does not answer. The message has the end of its log."""


class Server:
    """A server of `command` on `data`, with `env` added to the environment. It keeps its port over restarts. Its words
    are kept in `log`, or in a file beside the data."""

    host = "127.0.0.1"

    def __init__(self, command: str, data: Path, env: dict[str, str] | None = None, log: Path | None = None) -> None:
        self.data = data
        self.port, self._reserved = choose_port()
        self._words = [word.format(data=data, port=self.port) for word in shlex.split(command)]
        self._env = env or {}
        self._log = log or data.with_name(data.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server, and waits until it answers. Raises DidNotStartError."""
        self.kill()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
            )
        deadline_s = time.monotonic() + START_S
        while self.status() is None:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise DidNotStartError(self.last_words())
            time.sleep(0.02)

    def status(self) -> int | None:
        """The status of `GET /health`; None if there is no answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            return connection.getresponse().status
        return None

    def words(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def last_words(self) -> str:
        return self.words()[-500:].strip()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills the server with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int | None:
        """Ends the server with SIGTERM. Returns its exit code; None if it did not end in time, and was killed."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def close(self) -> None:
        self.kill()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
