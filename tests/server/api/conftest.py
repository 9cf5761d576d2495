"""A stream of the shared server, and requests to append to it and read it."""

import json

import pytest
from support.holding import HeldStore

from s2cli.server.store.sqlite.engine import SqliteStore

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


@pytest.fixture
def held(make_thread_server):
    """A server with a basin and a stream, and its store, which has begun to hold."""
    stores = []

    async def open_store(path):
        stores.append(HeldStore(await SqliteStore.open(path)))
        return stores[0]

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)
    stores[0].holding.set()
    yield server, basin, stores[0]
    server.loop.call_soon_threadsafe(stores[0].release)
