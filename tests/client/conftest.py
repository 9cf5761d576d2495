"""Streams of their own, for the tests of commands on records."""

import pytest


@pytest.fixture
def uri(shared_server, basin):
    """A new stream."""
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


@pytest.fixture
def ten(s2, uri):
    """A stream of ten records, 0 to 9."""
    s2("append", uri, stdin=b"".join(b"%d\n" % number for number in range(10)))
    return uri
