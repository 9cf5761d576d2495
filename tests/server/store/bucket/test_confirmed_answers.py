"""Answers from memory, by a server that another one has taken the basin from and that has not noticed it yet: none of
them is given (protocol section 13.1)."""

import contextlib
import http.client

import pytest
from support.stores import BucketStores
from support.waiting import TIMEOUT_S, until

RECORDS = "/v1/streams/stream/records"


def served(answer):
    return None if answer.status == 503 else answer


def append(server, basin, **members):
    body = {"records": [{"body": "x"}], **members}
    return server.request("POST", RECORDS, json_body=body, basin=basin)


@pytest.fixture
def servers(make_thread_server):
    """Two servers on one bucket. They look for who has a basin once a minute."""
    stores = BucketStores({"manifest_poll_interval": '"60s"'})

    async def open_store(_directory):
        # The library's objects belong to no loop.
        return await stores.open()

    return make_thread_server(open_store=open_store), make_thread_server(open_store=open_store)


@pytest.fixture
def taken(servers):
    """The first server, and a basin with a stream that it knows, of which the second one has the last record."""
    first, second = servers
    basin = first.create_basin()
    first.create_stream(basin)
    assert append(first, basin).status == 200
    assert append(second, basin, match_seq_num=1).json()["end"]["seq_num"] == 2
    return first, basin


ASKED = {
    "tail": lambda server, basin: server.request("GET", f"{RECORDS}/tail", basin=basin),
    "read at the tail": lambda server, basin: server.request("GET", f"{RECORDS}?seq_num=0", basin=basin),
    "beyond the tail": lambda server, basin: server.request("GET", f"{RECORDS}?seq_num=1", basin=basin),
    "from the end": lambda server, basin: server.request("GET", f"{RECORDS}?tail_offset=1&count=1", basin=basin),
    "events": lambda server, basin: server.request(
        "GET", f"{RECORDS}?seq_num=0&count=1", headers={"accept": "text/event-stream"}, basin=basin
    ),
    "wrong number": lambda server, basin: append(server, basin, match_seq_num=7),
    "wrong fencing token": lambda server, basin: append(server, basin, fencing_token="other"),
    "append": lambda server, basin: append(server, basin),
    "config": lambda server, basin: server.request("GET", "/v1/streams/stream", basin=basin),
    "list": lambda server, basin: server.request("GET", "/v1/streams", basin=basin),
    "missing stream": lambda server, basin: server.request("GET", "/v1/streams/none", basin=basin),
    "stream that exists": lambda server, basin: server.request(
        "POST", "/v1/streams", json_body={"stream": "stream"}, basin=basin
    ),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_server_that_has_lost_the_basin_answers_nothing_about_it(taken, ask):
    server, basin = taken
    answer = ask(server, basin)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable"), answer


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_server_that_has_the_basin_answers(servers, ask):
    server = servers[0]
    basin = server.create_basin()
    server.create_stream(basin)
    assert append(server, basin).status == 200
    assert ask(server, basin).status < 500


def test_a_client_that_asks_again_is_served_when_the_basin_was_taken_back(taken):
    server, basin = taken
    answer = until(lambda: served(server.request("GET", f"{RECORDS}/tail", basin=basin)))
    assert answer.json()["tail"]["seq_num"] == 2
    assert append(server, basin).json()["start"]["seq_num"] == 2


def test_a_follower_hears_no_heartbeat_of_a_server_that_has_lost_the_basin(make_thread_server):
    stores = BucketStores({"manifest_poll_interval": '"60s"'})

    async def open_store(_directory):
        return await stores.open()

    first, second = make_thread_server(open_store=open_store, frozen=True), make_thread_server(open_store=open_store)
    basin = first.create_basin()
    first.create_stream(basin)
    with contextlib.closing(http.client.HTTPConnection(first.host, first.port, timeout=TIMEOUT_S)) as connection:
        headers = {"s2-basin": basin, "accept": "text/event-stream"}
        connection.request("GET", f"{RECORDS}?seq_num=0", headers=headers)
        response = connection.getresponse()
        assert b"event: ping" in response.read1()
        first.clock.advance(15)
        assert b"event: ping" in response.read1()  # while the basin is its own
        assert append(second, basin).json()["end"]["seq_num"] == 1
        first.clock.advance(15)
        rest = response.read()
    assert b"event: ping" not in rest
    assert b"event: error" in rest
    assert b'"code":"unavailable"' in rest
