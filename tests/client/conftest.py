"""The command line and a stream of its own, for the tests of commands on records."""

import pytest


@pytest.fixture
def env(shared_server):
    return shared_server.env()


@pytest.fixture
def s2(run_s2, env):
    """The command line with the shared server as its endpoints; `env` adds to its environment."""
    return lambda *arguments, **options: run_s2(*arguments, env={**env, **options.pop("env", {})}, **options)


@pytest.fixture
def uri(shared_server, basin):
    """A new stream."""
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


@pytest.fixture
def ten(s2, uri):
    """A stream of ten records, 0 to 9."""
    s2("append", uri, stdin=b"".join(b"%d\n" % number for number in range(10)), check=True)
    return uri
