"""A stream of the shared server, and requests to append to it and read it."""

import json

import pytest

JSON = {"content-type": "application/json"}


@pytest.fixture
def stream(shared_server, basin):
    """The path of its records."""
    shared_server.create_stream(basin)
    return "/v1/streams/stream/records"


@pytest.fixture
def post(shared_server, basin, stream):
    """Appends JSON."""

    def post(value, headers=None, path=stream, name=basin):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return shared_server.request("POST", path, body=body, headers={**JSON, **(headers or {})}, basin=name)

    return post


@pytest.fixture
def get(shared_server, basin, stream):
    """Reads by a query."""

    def get(query, headers=None, path=stream):
        return shared_server.request("GET", f"{path}?{query}", headers=headers, basin=basin)

    return get
