"""Servers that ask for tokens, and hosts of the tests' own applications."""

import asyncio

import pytest
import uvloop
from support.bearers import BASIN, OTHER_BASIN, ROOT, ask
from support.hosting import HostThread, connect, mirror

from s2cli.server.http.host import listen_tcp


@pytest.fixture(scope="module")
def root_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "token"
    path.touch(mode=0o600)
    path.write_text(f"{ROOT}\n")
    return path


@pytest.fixture(scope="module")
def guarded(lite_process, root_file):
    """A server that asks for tokens, with one basin and one stream in it."""
    server = lite_process(None, options=("--root-token-file", str(root_file))).start()
    _furnish(server)
    yield server
    assert server.stop() == 0
    server.close()


@pytest.fixture(scope="module")
def guarded_and_frozen(lite_thread):
    """The same, and its time stands still until `clock.advance(seconds)`."""
    server = lite_thread(root_token=ROOT, frozen=True).start()
    _furnish(server)
    yield server
    server.stop()


def _furnish(server):
    for basin in (BASIN, OTHER_BASIN):
        assert ask(server, ROOT, "POST", "/v1/basins", {"basin": basin}).status == 201
        assert ask(server, ROOT, "POST", "/v1/streams", {"stream": "logs/a"}, basin).status == 201


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def serve(request):
    threads = []

    def serve(app, *listeners):
        thread = HostThread(request.param, app, *listeners)
        threads.append(thread)
        return thread

    yield serve
    for thread in threads:
        thread.stop()


@pytest.fixture
def mirrored(serve):
    """A connection to a host that answers with what it was asked."""
    listener = listen_tcp("127.0.0.1", 0)
    address = listener.getsockname()
    serve(mirror, listener)
    with connect(address) as connection:
        yield connection
