"""Removal behind the requests, with a store that stumbles."""

import time

import pytest

from s2cli.errors import ApiError
from s2cli.server.engines.sqlite import SqliteStore

TIMEOUT_S = 20


class Stumbling:
    """A store whose removal of a slice fails the first times, in the ways that `errors` gives."""

    def __init__(self, store, errors):
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_errors", errors)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def __setattr__(self, name, value):
        setattr(self._store, name, value)

    async def delete_slice(self, stream_id):
        if self._errors:
            raise self._errors.pop()
        return await self._store.delete_slice(stream_id)


def await_gone(server, path, basin=None):
    deadline = time.monotonic() + TIMEOUT_S
    while server.request("GET", path, basin=basin).status != 404:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("error", [ApiError("storage", "the disk is full"), ZeroDivisionError("a bug")])
def test_a_removal_that_fails_is_tried_again(make_thread_server, monkeypatch, error):
    monkeypatch.setattr("s2cli.server.upkeep.RETRY_S", 0.01)
    errors = [error] * 3

    async def open_store(directory):
        return Stumbling(await SqliteStore.open(directory), errors)

    server = make_thread_server(open_store=open_store)
    server.create_basin("some-basin")
    server.create_stream("some-basin", "s")
    server.request("DELETE", "/v1/streams/s", basin="some-basin")
    await_gone(server, "/v1/streams/s", "some-basin")
    assert errors == []


def test_while_a_removal_is_pending_everything_says_so(make_thread_server, monkeypatch):
    monkeypatch.setattr("s2cli.server.upkeep.RETRY_S", 0.01)
    errors = [ApiError("storage", "the disk is full")] * 1_000_000

    async def open_store(directory):
        return Stumbling(await SqliteStore.open(directory), errors)

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin("some-basin", create_stream_on_append=True)
    server.create_stream(basin, "s")
    assert server.request("DELETE", "/v1/streams/s", basin=basin).status == 202
    records = {"records": [{"body": "x"}]}
    for method, path, body in (
        ("GET", "/v1/streams/s", None),
        ("PUT", "/v1/streams/s", None),
        ("POST", "/v1/streams", {"stream": "s"}),
        ("GET", "/v1/streams/s/records/tail", None),
        ("GET", "/v1/streams/s/records?seq_num=0", None),
        ("POST", "/v1/streams/s/records", records),
    ):
        answer = server.request(method, path, basin=basin, json_body=body)
        assert (answer.status, answer.json()["code"]) == (409, "stream_deletion_pending"), (method, path)
    # A repeated DELETE is fine, and lists show it.
    assert server.request("DELETE", "/v1/streams/s", basin=basin).status == 202
    (info,) = server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert info["deleted_at"] is not None

    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    for method, path, body in (
        ("POST", "/v1/basins", {"basin": basin}),
        ("PUT", f"/v1/basins/{basin}", None),
        ("POST", "/v1/streams", {"stream": "t"}),
        ("PUT", "/v1/streams/t", None),
        ("POST", "/v1/streams/t/records", records),
    ):
        answer = server.request(method, path, basin=basin, json_body=body)
        assert (answer.status, answer.json()["code"]) == (409, "basin_deletion_pending"), (method, path)
    assert server.request("DELETE", f"/v1/basins/{basin}").status == 202
    (info,) = server.request("GET", "/v1/basins").json()["basins"]
    assert (info["state"], info["deleted_at"] is not None) == ("deleting", True)
    assert server.request("GET", "/v1/streams", basin=basin).status == 200
    errors.clear()
    await_gone(server, f"/v1/basins/{basin}")


def test_a_large_removal_does_not_keep_a_small_name(make_thread_server):
    slices = {"left": 10_000}

    class Large(Stumbling):
        async def delete_slice(self, stream_id):
            if stream_id == 1 and slices["left"]:
                slices["left"] -= 1
                return True
            return await self._store.delete_slice(stream_id)

    async def open_store(directory):
        return Large(await SqliteStore.open(directory), [])

    server = make_thread_server(open_store=open_store)
    basin = server.create_basin()
    for name in "large", "small":
        server.create_stream(basin, name)
    for name in "large", "small":
        server.request("DELETE", f"/v1/streams/{name}", basin=basin)
    await_gone(server, "/v1/streams/small", basin)
    slices["left"] = 0
    await_gone(server, "/v1/streams/large", basin)


def test_a_store_that_takes_nothing_more_is_not_healthy(make_thread_server):
    class Failed(Stumbling):
        failure = "the disk is full"

    async def open_store(directory):
        return Failed(await SqliteStore.open(directory), [])

    answer = make_thread_server(open_store=open_store).request("GET", "/health")
    assert (answer.status, answer.body) == (503, b"the disk is full")
