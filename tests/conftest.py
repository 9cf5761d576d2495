"""Servers and command lines for all tests: real ones, on free ports, in homes of their own."""

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import hypothesis
import pytest
from support.clock import Clock
from support.ports import choose_port
from support.stores import BucketStores
from support.waiting import TIMEOUT_S, until_readable

# How long an example takes, or to make one up, says more about the machine than about the code.
hypothesis.settings.register_profile(
    "s2", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("s2")

# A shell starts what is to run in the background with SIGINT ignored, and the commands of the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The engine of servers that keep their data in memory: "sqlite", or "bucket" for that on a bucket.
ENGINE = os.environ.get("ENGINE_OF_TESTS", "sqlite")
ON_BUCKET = Path(__file__).parent / "support/lite_on_bucket.py"

_names = itertools.count()


def name_basin() -> str:
    return f"basin-{os.getpid()}-{next(_names)}"


class Answer:
    """A whole HTTP response; header names in lower case."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:200]!r}>"


class Endpoint:
    """Where a server listens, and unary requests to it over HTTP/1.1."""

    host = "127.0.0.1"
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def request(self, method, path, *, json_body=None, body=None, headers=None, basin=None) -> Answer:
        headers = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body).encode()
            headers.setdefault("content-type", "application/json")
        if basin is not None:
            headers["s2-basin"] = basin
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, _read_to_its_end(response))

    def create_basin(self, name=None, **config) -> str:
        """A new basin; `config` are members of its configuration."""
        name = name or name_basin()
        answer = self.request("POST", "/v1/basins", json_body={"basin": name, "config": config})
        assert answer.status == 201, answer
        return name

    def create_stream(self, basin, name="stream", **config) -> str:
        answer = self.request("POST", "/v1/streams", basin=basin, json_body={"stream": name, "config": config})
        assert answer.status == 201, answer
        return name

    def env(self) -> dict[str, str]:
        """What `s2 lite` says to paste."""
        return {"S2_ACCOUNT_ENDPOINT": self.url, "S2_BASIN_ENDPOINT": self.url, "S2_ACCESS_TOKEN": "ignored"}


@pytest.fixture
def endpoint_at():
    """Gives requests to whatever listens on a port: `endpoint_at(port)`."""

    def make(port: int) -> Endpoint:
        endpoint = Endpoint()
        endpoint.port = port
        return endpoint

    return make


def _read_to_its_end(response: http.client.HTTPResponse) -> bytes:
    """The body, if it ends: one that follows a stream continues with heartbeats, and no single wait is long."""
    deadline_s = time.monotonic() + TIMEOUT_S
    body = b""
    while piece := response.read1():
        body += piece
        assert time.monotonic() < deadline_s, f"the body does not end: {body[:200]!r}"
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


class LiteProcess(Endpoint):
    """A server in a process of its own, as `s2 lite` starts it. `data` None keeps everything in memory."""

    def __init__(self, data: Path | None, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self.data = data
        self.port = port
        self._reserved: socket.socket | None = None
        self._options = options
        self.process: subprocess.Popen | None = None

    def start(self) -> "LiteProcess":
        """Starts it (again: on the same port) and waits until it answers."""
        if not self.port:
            # Its own also between two starts.
            self.port, self._reserved = choose_port()
        program = [sys.executable, "-P", "-m", "s2cli.commands.lite"]
        if self.data is None and ENGINE == "bucket":
            program = [sys.executable, str(ON_BUCKET)]
        command = [*program, "--host", self.host, "--port", str(self.port)]
        command += ["--memory"] if self.data is None else ["--data", str(self.data)]
        self._kill()
        environment = (
            {**os.environ, "PYTHONPATH": str(Path(__file__).parent)} if program[1:2] == [str(ON_BUCKET)] else None
        )
        self.process = subprocess.Popen([*command, *self._options], stdout=subprocess.PIPE, bufsize=0, env=environment)
        said = read_lines(self.process.stdout, 3)
        assert re.fullmatch(rb"export S2_ACCOUNT_ENDPOINT=http://.*:%d" % self.port, said[0]), said
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM, and the exit code after the drain."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def close(self) -> None:
        """Kills it if it is there, and leaves nothing open."""
        self._kill()
        if self._reserved is not None:
            self._reserved.close()

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self._reap()

    def _reap(self) -> int:
        code = self.process.wait(TIMEOUT_S)
        self.process.stdout.close()
        return code


def read_lines(pipe, count: int) -> list[bytes]:
    """The first lines of an unbuffered pipe."""
    said = b""
    while said.count(b"\n") < count:
        until_readable(pipe, said)
        piece = pipe.read(4096)
        assert piece, f"ended after {said!r}"
        said += piece
    return said.splitlines()


class LiteThread(Endpoint):
    """A server in a thread of this process, for tests that reach into it: `open_store` may wrap the engine. With
    `frozen` time stands still for it once it runs, until `clock.advance(seconds)`."""

    def __init__(
        self,
        data: Path | None = None,
        port: int = 0,
        open_store=None,
        root_token: str | None = None,
        frozen=False,
        memory_limit_bytes: int | None = None,
    ) -> None:
        self.port = port
        self.clock = Clock() if frozen else None
        self._data = data
        self._open_store = open_store
        self._root_token = root_token
        self._memory_limit_bytes = memory_limit_bytes
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "LiteThread":
        with pytest.MonkeyPatch.context() as patch:
            if self.clock is not None:
                patch.setattr("s2cli.server.api.server.wall_clock_ms", self.clock)
                patch.setattr("s2cli.server.api.server.steady_clock_s", self.clock.steady_s)
            self._thread.start()
            assert self._ready.wait(TIMEOUT_S), "the server did not start"
        if self._error is not None:
            raise self._error
        if self.clock is not None:
            self.clock.hold(self.loop)
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        if self.clock is not None:
            self.clock.release()
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the server did not end"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        from s2cli.server.process import Options, serve

        self.loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        data = None if self._data is None else str(self._data)
        options = Options(data=data, port=self.port, root_token=self._root_token)
        if self._open_store is not None:
            options.open_store = self._open_store
        elif self._data is None and ENGINE == "bucket":
            stores = BucketStores()
            options.open_store = lambda _directory: stores.open()
        if self._memory_limit_bytes is not None:
            options.memory_limit_bytes = self._memory_limit_bytes
        await serve(options, self._on_ready, self._stopped)

    def _on_ready(self, origin: str) -> None:
        self.port = int(origin.rpartition(":")[2])
        self._ready.set()


def leave_home(place: Path, patch: pytest.MonkeyPatch) -> None:
    """An empty home directory, and nothing of S2 in the environment: no test sees the person's own."""
    for name in list(os.environ):
        if name.startswith(("S2_", "XDG_")) or name.lower().endswith("_proxy"):
            patch.delenv(name)
    patch.setenv("HOME", str(place))


@pytest.fixture(scope="session", autouse=True)
def home_of_shared_servers(tmp_path_factory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        leave_home(tmp_path_factory.mktemp("home"), patch)
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    """A home of each test's own. A server of the profile `local` that the test has started ends with it."""
    place = tmp_path_factory.mktemp("home")
    leave_home(place, monkeypatch)
    yield place
    directory = str(place / ".local/share/s2/lite")
    if os.path.exists(directory):
        from s2cli.client.local_start import stop_server

        stop_server(directory)


@pytest.fixture(scope="session")
def lite_process() -> type[LiteProcess]:
    """The class of servers in processes of their own, for those that a whole file shares."""
    return LiteProcess


@pytest.fixture(scope="session")
def lite_thread() -> type[LiteThread]:
    """The same for servers in threads."""
    return LiteThread


@pytest.fixture(scope="session")
def shared_server():
    """One server for all tests that need nothing but a basin of their own. It keeps its data in memory."""
    with contextlib.closing(LiteProcess(None).start()) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """An S3 server, and in it the bucket `BUCKET` of support.s3_server, for tests that use prefixes of their own."""
    from support.s3_server import S3Server

    with contextlib.closing(S3Server(tmp_path_factory.mktemp("s3") / "data")) as server:
        server.start()
        yield server


@pytest.fixture
def unique_basin():
    """Gives a name for a basin that no other test of this run uses, at each call."""
    return name_basin


@pytest.fixture
def basin(shared_server) -> str:
    """A basin on `shared_server`."""
    return shared_server.create_basin()


@pytest.fixture
def make_server(tmp_path):
    """Starts servers that are gone after the test: `make_server(data=…, port=…, options=(…))`. Data lies in `tmp_path`
    unless `data` is given; None is memory."""
    servers = []

    def make(data=tmp_path / "data", port=0, options=()) -> LiteProcess:
        server = LiteProcess(data, port, options)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server) -> LiteProcess:
    """A server of this test alone, with a data directory."""
    return make_server()


@pytest.fixture
def make_thread_server():
    """Starts servers in threads that are stopped after the test: `make_thread_server(data=…, open_store=…)`."""
    servers = []

    def make(**options) -> LiteThread:
        server = LiteThread(**options).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def run_s2():
    """Runs the command line: `run_s2("append", "s2://b/s", stdin=b"…", env={…})`. The result has bytes."""

    def run(*arguments, stdin=b"", env=None, timeout=TIMEOUT_S, check=False) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "s2cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=check,
        )

    return run


@pytest.fixture
def env(shared_server) -> dict[str, str]:
    """What leads a command line to its server; a file that has a server of its own says otherwise."""
    return shared_server.env()


@pytest.fixture
def s2(run_s2, env):
    """Runs the command line against the server of `env`, or another one: `s2("read", uri, at=server, code=3)`. It ends
    with that code, or the test fails; None is any. `env={…}` adds to the environment."""

    def run(*arguments, code=0, at=None, **options) -> subprocess.CompletedProcess:
        there = env if at is None else at.env()
        done = run_s2(*arguments, env={**there, **options.pop("env", {})}, **options)
        assert code is None or done.returncode == code, done
        return done

    return run
