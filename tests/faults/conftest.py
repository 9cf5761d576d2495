"""Appends that run while something happens to them."""

import json
import os
import select
import subprocess
import sys
import threading

import pytest
from support.cutting_proxy import CuttingProxy
from support.waiting import TIMEOUT_S

# `python -m s2cli` with another bound for how long an interrupted append waits.
WITH_DRAIN_S = """
import runpy, sys
from s2cli.client import append_loop
append_loop.DRAIN_S = float(sys.argv.pop(1))
runpy.run_module("s2cli", run_name="__main__", alter_sys=True)
"""


class RunningAppend:
    """`s2 append -v -o json` with an input that the test feeds."""

    def __init__(self, uri: str, env: dict[str, str], *options: str, drain_s: float | None = None) -> None:
        program = ["-m", "s2cli"] if drain_s is None else ["-c", WITH_DRAIN_S, str(drain_s)]
        self._process = subprocess.Popen(
            [sys.executable, *program, "append", uri, "-v", "-o", "json", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )
        self.said: list[str] = []
        self._said = threading.Condition()
        self._fed = bytearray()
        self._stop = threading.Event()
        self._feeder: threading.Thread | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        for line in self._process.stderr:
            with self._said:
                self.said.append(line.decode())
                self._said.notify_all()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until so many lines on stderr have this text in them."""
        with self._said:
            there = self._said.wait_for(lambda: sum(text in line for line in self.said) >= count, TIMEOUT_S)
        assert there, f"waited in vain for {text!r}: {self.said}"

    def feed(self, data: bytes) -> None:
        self._process.stdin.write(data)
        self._process.stdin.flush()
        self._fed += data

    def input_is_full(self) -> bool:
        """Whether the pipe takes no more for now."""
        return not select.select([], [self._process.stdin], [], 0)[1]

    def feed_on_and_on(self, make) -> None:
        """Feeds make(0), make(1), …, until finish()."""

        def run() -> None:
            number = 0
            while not self._stop.is_set():
                try:
                    self.feed(make(number))
                except BrokenPipeError:
                    return
                number += 1

        self._feeder = threading.Thread(target=run, daemon=True)
        self._feeder.start()

    def finish(self) -> tuple[int, dict, list[bytes]]:
        """Ends the input; the exit code, the account, and the lines that were fed."""
        self._stop.set()
        if self._feeder is not None:
            self._feeder.join(TIMEOUT_S)
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        return self.ending()

    def ending(self) -> tuple[int, dict, list[bytes]]:
        """The same, where it ends by itself."""
        output = self._process.stdout.read()
        code = self._process.wait(TIMEOUT_S)
        self._listener.join(TIMEOUT_S)
        account = json.loads(output) if output else {}
        return code, account, bytes(self._fed).splitlines()

    def close(self) -> None:
        self._stop.set()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                pipe.close()
            except OSError:
                pass


@pytest.fixture
def start_append():
    """Starts appends that are gone after the test."""
    appends = []

    def start(uri, env, *options, **more) -> RunningAppend:
        appends.append(RunningAppend(uri, env, *options, **more))
        return appends[-1]

    yield start
    for append in appends:
        append.close()


@pytest.fixture
def make_proxy():
    proxies = []

    def make(server) -> CuttingProxy:
        proxies.append(CuttingProxy(server.port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def read_lines_of(run_s2):
    """What a stream holds, read as a user would."""

    def read(server, uri) -> list[bytes]:
        result = run_s2("read", uri, env=server.env())
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    return read
