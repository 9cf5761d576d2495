"""Two servers on one bucket: what is changed at one counts at the other, soon, and for few requests to the bucket."""

import contextlib
import http.client
import os
import secrets

import pytest
from support.bearers import ROOT, ask, assert_refused, issue, scope
from support.s3_proxy import S3Proxy
from support.s3_server import environment
from support.stores import BucketStores, S3Stores
from support.waiting import TIMEOUT_S, until

from s2cli.server.core.auth import KEY_BYTES

BASIN = "shared-basin"
RECORDS = "/v1/streams/stream/records"


@pytest.fixture
def serve(make_thread_server, monkeypatch):
    """Starts servers on the bucket of these stores, which take each other's tokens."""
    key = os.urandom(KEY_BYTES)
    random_bytes = secrets.token_bytes
    monkeypatch.setattr("secrets.token_bytes", lambda size: key if size == KEY_BYTES else random_bytes(size))

    def start(stores, **options):
        async def open_store(_directory):
            # The library's objects belong to no loop.
            return await stores.open()

        return make_thread_server(open_store=open_store, root_token=ROOT, **options)

    return start


@pytest.fixture
def pair(serve):
    stores = BucketStores()
    return serve(stores), serve(stores)


def test_a_basin_that_one_has_made_is_there_at_the_other_at_once(pair):
    first, second = pair
    for number in range(5):
        path = f"/v1/basins/{BASIN}-{number}"
        assert_refused(ask(second, ROOT, "GET", path), 404, "basin_not_found")
        assert ask(first, ROOT, "PUT", path).status == 201
        assert ask(second, ROOT, "GET", path).status == 200


def test_a_changed_config_is_used_by_the_other(pair):
    first, second = pair
    assert ask(first, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    assert_refused(append(second, "one"), 404, "stream_not_found")
    patch = {"create_stream_on_append": True, "default_stream_config": {"storage_class": "standard"}}
    assert ask(first, ROOT, "PATCH", f"/v1/basins/{BASIN}", patch).status == 200
    until(lambda: append(second, "two").status == 200)
    config = ask(second, ROOT, "GET", "/v1/streams/two", basin=BASIN).json()
    assert config["storage_class"] == "standard"


def append(server, stream, token=ROOT):
    body = {"records": [{"body": "x"}]}
    return ask(server, token, "POST", f"/v1/streams/{stream}/records", body, basin=BASIN)


def test_a_token_is_taken_at_once_and_refused_two_seconds_after_it_was_revoked(serve):
    """The other server has used it all the time, and its time stands still."""
    stores = BucketStores()
    first, second = serve(stores), serve(stores, frozen=True)
    name, token = issue(first, scope=scope("list-basins"))
    assert ask(second, token, "GET", "/v1/basins").status == 200
    assert ask(first, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    assert_refused(ask(first, token, "GET", "/v1/basins"), 401, "authn")
    second.clock.advance(2)
    for _ in range(2):
        assert_refused(ask(second, token, "GET", "/v1/basins"), 401, "authn")


def test_a_session_ends_when_its_token_is_revoked_elsewhere(pair):
    first, second = pair
    assert ask(first, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    stream = {"stream": "stream"}
    assert ask(second, ROOT, "POST", "/v1/streams", stream, basin=BASIN).status == 201
    name, token = issue(first, scope=scope("read"))
    with contextlib.closing(follow(second, token)) as events:
        assert b"event: ping" in next(events)
        assert ask(first, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
        said = b"".join(events)
    assert b"event: error" in said
    assert b'"code":"authn"' in said


def follow(server, token):
    """The pieces of a session that follows the stream, until it ends."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    headers = {"s2-basin": BASIN, "authorization": f"Bearer {token}", "accept": "text/event-stream"}
    with contextlib.closing(connection):
        connection.request("GET", f"{RECORDS}?seq_num=0", headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        while piece := response.read1():
            yield piece


def test_a_token_that_was_issued_anew_under_an_id_is_another_one(pair):
    first, second = pair
    name, old = issue(first, scope=scope("list-basins"))
    assert ask(second, old, "GET", "/v1/basins").status == 200
    assert ask(first, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    _, new = issue(first, name=name, scope=scope("list-basins"))
    assert ask(second, new, "GET", "/v1/basins").status == 200
    until(lambda: ask(second, old, "GET", "/v1/basins").status == 401)
    assert ask(second, new, "GET", "/v1/basins").status == 200


@pytest.fixture
def counted(s3_server, serve, monkeypatch):
    """A server, and the proxy that counts what it asks an S3 server for."""
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield serve(S3Stores(proxy.url)), proxy


def requests_for(proxy, work):
    """How many objects the bucket was asked for meanwhile."""
    proxy.take_counts()
    work()
    return proxy.take_counts().requests["GET"]


def test_what_is_asked_for_again_and_again_costs_few_requests(counted):
    server, proxy = counted
    assert ask(server, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    _, token = issue(server, scope=scope("list-basins", "get-basin-config"))

    def ask_often():
        for _ in range(300):
            assert ask(server, token, "GET", f"/v1/basins/{BASIN}").status == 200

    assert requests_for(proxy, ask_often) < 30


def test_an_unknown_name_costs_one_request_and_a_guessed_token_no_second_one(counted):
    server, proxy = counted
    path = f"/v1/basins/{BASIN}-none"
    assert requests_for(proxy, lambda: assert_refused(ask(server, ROOT, "GET", path), 404, "basin_not_found")) == 1
    guess = f"s2_{'0' * 16}_guess"

    def guess_often():
        for _ in range(50):
            assert_refused(ask(server, guess, "GET", "/v1/basins"), 401, "authn")

    assert requests_for(proxy, guess_often) == 1


def test_no_change_of_a_config_is_lost_where_both_change_it(pair):
    first, second = pair
    path = f"/v1/basins/{BASIN}"
    assert ask(first, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    # Both know the basin as it was before.
    assert ask(second, ROOT, "GET", path).status == 200
    assert ask(first, ROOT, "PATCH", path, {"create_stream_on_append": True}).status == 200
    assert ask(second, ROOT, "PATCH", path, {"create_stream_on_read": True}).status == 200
    patch = {"default_stream_config": {"storage_class": "standard"}}
    assert ask(first, ROOT, "PATCH", path, patch).status == 200
    config = ask(first, ROOT, "GET", path).json()
    assert (config["create_stream_on_append"], config["create_stream_on_read"]) == (True, True)
    assert config["default_stream_config"]["storage_class"] == "standard"


def test_a_basin_that_is_deleted_meanwhile_is_not_changed(pair):
    first, second = pair
    path = f"/v1/basins/{BASIN}"
    assert ask(first, ROOT, "POST", "/v1/basins", {"basin": BASIN}).status == 201
    assert ask(second, ROOT, "GET", path).status == 200
    assert ask(first, ROOT, "DELETE", path).status == 202
    answer = ask(second, ROOT, "PATCH", path, {"create_stream_on_append": True})
    assert answer.json()["code"] in ("basin_deletion_pending", "basin_not_found"), answer
