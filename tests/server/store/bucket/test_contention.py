"""Requests for a basin that come to two servers: each leaves it to the other for longer and longer, and says so."""

import pytest
from support.s2s import open_append, open_read
from support.stores import BucketStores
from support.waiting import until

JSON = {"accept": "application/json"}


@pytest.fixture
def servers(make_thread_server):
    stores = BucketStores({"manifest_poll_interval": '"100ms"'})

    async def open_store(_directory):
        # The library's objects belong to no loop.
        return await stores.open()

    return make_thread_server(open_store=open_store), make_thread_server(open_store=open_store)


def append(server, basin):
    body = {"records": [{"body": "x"}]}
    return server.request("POST", "/v1/streams/stream/records", json_body=body, basin=basin)


def contended(server):
    return server.request("GET", "/health", headers=JSON).json()["contended_basins"]


def test_servers_that_take_a_basin_from_each_other_say_so_and_both_go_on(servers):
    basin = servers[0].create_basin()
    servers[0].create_stream(basin)
    assert contended(servers[0]) == []
    acked = 0

    def in_turn():
        nonlocal acked
        for server in servers:
            answer = append(server, basin)
            assert answer.status in (200, 503), answer
            if answer.status == 200:
                acked += 1
            else:
                assert answer.json()["code"] == "unavailable"
        return all(contended(server) == [basin] for server in servers)

    until(in_turn)
    for server in servers:
        assert server.request("GET", "/health").body == b"OK"
        assert server.request("GET", "/health", headers=JSON).json()["contended"] == 1
        assert "\ns2_contended_basins 1.0\n" in server.request("GET", "/metrics").body.decode()
    answer = until(lambda: answer if (answer := append(servers[0], basin)).status == 200 else None)
    assert answer.json()["tail"]["seq_num"] == acked + 1


def test_sessions_of_a_server_that_has_lost_a_basin_end_with_503(servers):
    first, second = servers
    basin = first.create_basin()
    first.create_stream(basin)
    assert append(first, basin).status == 200
    with open_read(first, basin, "seq_num=0") as follower, open_append(first, basin) as appender:
        assert follower.batch()[0] == [(0, b"x")]
        assert append(second, basin).status == 200
        while (frame := follower.frame()).status is None:
            pass  # that it is at the tail
        assert frame.status == 503
        appender.append(b"y")
        assert appender.terminal()[0] == 503
