import http.client
import json
import threading

import pytest
from support.waiting import TIMEOUT_S, until, until_gone

DEFAULTS = {
    "storage_class": "express",
    "retention_policy": {"age": 604800},
    "timestamping": {"mode": "client-prefer", "uncapped": False},
    "delete_on_empty": {"min_age_secs": 0},
}


def create(server, basin, name, config=None, token=None):
    headers = {} if token is None else {"s2-request-token": token}
    body = {"stream": name} if config is None else {"stream": name, "config": config}
    return server.request("POST", "/v1/streams", basin=basin, json_body=body, headers=headers)


def ensure(server, basin, name, config=None):
    return server.request("PUT", f"/v1/streams/{name}", basin=basin, json_body=config)


def config_of(server, basin, name):
    answer = server.request("GET", f"/v1/streams/{name}", basin=basin)
    assert answer.status == 200, answer
    return answer.json()


def append(server, basin, name, *bodies):
    records = {"records": [{"body": body} for body in bodies]}
    return server.request("POST", f"/v1/streams/{name}/records", basin=basin, json_body=records)


def assert_error(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return answer.json()["message"]


def test_create_and_get(shared_server, basin):
    answer = create(shared_server, basin, "s")
    assert (answer.status, answer.headers["s2-provision-result"]) == (201, "created")
    info = answer.json()
    assert info.pop("created_at").endswith("Z")
    assert info == {"name": "s", "deleted_at": None, "cipher": None}
    assert config_of(shared_server, basin, "s") == DEFAULTS


def test_the_config_is_resolved_when_the_stream_is_made(shared_server):
    basin = shared_server.create_basin(
        default_stream_config={"storage_class": "standard", "delete_on_empty": {"min_age_secs": 60}}
    )
    create(shared_server, basin, "s", {"delete_on_empty": {}, "retention_policy": {"infinite": {}}})
    resolved = {**DEFAULTS, "storage_class": "standard", "retention_policy": {"infinite": {}}}
    assert config_of(shared_server, basin, "s") == resolved
    # What becomes of the basin later does not touch it.
    shared_server.request("PUT", f"/v1/basins/{basin}")
    assert config_of(shared_server, basin, "s") == resolved
    create(shared_server, basin, "t")
    assert config_of(shared_server, basin, "t") == DEFAULTS


def test_errors_of_create(shared_server, basin):
    create(shared_server, basin, "s")
    message = assert_error(create(shared_server, basin, "s"), 409, "resource_already_exists")
    assert message == f"stream `s` in basin `{basin}` already exists"
    assert_error(create(shared_server, "no-such-basin", "s"), 404, "basin_not_found")
    message = assert_error(create(shared_server, basin, "x" * 513), 400, "bad_json")
    assert message == "Stream name must be between 1 and 512 bytes"
    for name in "", ".", "..", "a\0b", "half \ud800":
        assert_error(create(shared_server, basin, name), 400, "bad_json")
    assert_error(create(shared_server, basin, "new", {"retention_policy": {"age": 0}}), 422, "invalid")
    assert_error(create(shared_server, basin, "new", {"storage_class": 1}), 400, "bad_json")
    assert shared_server.request("GET", "/v1/streams/new", basin=basin).status == 404


def test_a_repeated_create_with_the_same_token_succeeds_once(shared_server, basin):
    config = {"storage_class": "standard"}
    first = create(shared_server, basin, "s", config, token="token")
    # The requested config is what counts, not what the defaults of the basin make of it.
    shared_server.request("PUT", f"/v1/basins/{basin}", json_body={"config": {"create_stream_on_read": True}})
    again = create(shared_server, basin, "s", config, token="token")
    assert (first.headers["s2-provision-result"], again.headers["s2-provision-result"]) == ("created", "noop")
    assert first.json() == again.json()
    assert_error(create(shared_server, basin, "s", {}, token="token"), 409, "resource_already_exists")
    assert_error(create(shared_server, basin, "s", config, token="other"), 409, "resource_already_exists")


def test_get_of_an_unknown_stream(shared_server, basin):
    message = assert_error(shared_server.request("GET", "/v1/streams/s", basin=basin), 404, "stream_not_found")
    assert message == f"stream `s` in basin `{basin}` not found"
    assert_error(shared_server.request("GET", "/v1/streams/s", basin="no-such-basin"), 404, "stream_not_found")
    assert_error(shared_server.request("DELETE", "/v1/streams/s", basin=basin), 404, "stream_not_found")


def test_ensure(shared_server):
    basin = shared_server.create_basin(default_stream_config={"storage_class": "standard"})
    steps = [
        ({"timestamping": {"mode": "arrival"}}, 201, "created"),
        ({"timestamping": {"mode": "arrival"}}, 200, "noop"),
        ({"timestamping": {"mode": "arrival", "uncapped": False}, "storage_class": "standard"}, 200, "noop"),
        ({"storage_class": "express"}, 200, "updated"),
        (None, 200, "updated"),
        ({}, 200, "noop"),
    ]
    for config, status, result in steps:
        answer = ensure(shared_server, basin, "s", config)
        assert (answer.status, answer.headers["s2-provision-result"]) == (status, result)
        assert answer.json()["name"] == "s"
    assert config_of(shared_server, basin, "s") == {**DEFAULTS, "storage_class": "standard"}
    assert_error(ensure(shared_server, "no-such-basin", "s"), 404, "basin_not_found")
    assert_error(ensure(shared_server, basin, "s", {"retention_policy": {"age": 0}}), 422, "invalid")


def test_an_ensure_counts_for_the_next_append(shared_server, basin):
    create(shared_server, basin, "s")
    assert append(shared_server, basin, "s", "one").status == 200
    ensure(shared_server, basin, "s", {"timestamping": {"mode": "client-require"}})
    assert_error(append(shared_server, basin, "s", "two"), 422, "invalid")


def test_delete_frees_the_name_and_the_numbers_start_again(shared_server, basin):
    create(shared_server, basin, "s")
    append(shared_server, basin, "s", "one", "two")
    answer = shared_server.request("DELETE", "/v1/streams/s", basin=basin)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (202, b"", "0")
    until_gone(shared_server, "/v1/streams/s", basin)
    assert shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []
    assert_error(append(shared_server, basin, "s", "three"), 404, "stream_not_found")
    assert create(shared_server, basin, "s").status == 201
    assert append(shared_server, basin, "s", "first").json()["start"]["seq_num"] == 0


def test_list(shared_server, basin):
    for name in "b", "a/1", "a/2", "ä", "a":
        create(shared_server, basin, name)

    def listed(query=""):
        answer = shared_server.request("GET", f"/v1/streams?{query}", basin=basin).json()
        return [info["name"] for info in answer["streams"]], answer["has_more"]

    assert listed() == (["a", "a/1", "a/2", "b", "ä"], False)
    assert listed("prefix=a/") == (["a/1", "a/2"], False)
    assert listed("prefix=a%2F&start_after=a%2F1&limit=1") == (["a/2"], False)
    assert listed("limit=2") == (["a", "a/1"], True)
    assert listed("start_after=b") == (["ä"], False)
    assert_error(shared_server.request("GET", "/v1/streams", basin="no-such-basin"), 404, "basin_not_found")


def test_a_stream_is_made_by_the_first_append_where_its_basin_says_so(shared_server):
    basin = shared_server.create_basin(
        create_stream_on_append=True, default_stream_config={"storage_class": "standard"}
    )
    assert shared_server.request("GET", "/v1/streams/s/records/tail", basin=basin).status == 404
    assert append(shared_server, basin, "s", "one").status == 200
    assert config_of(shared_server, basin, "s") == {**DEFAULTS, "storage_class": "standard"}


def test_a_stream_is_made_by_a_look_at_its_tail_where_its_basin_says_so(shared_server):
    basin = shared_server.create_basin(create_stream_on_read=True)
    assert append(shared_server, basin, "s", "one").status == 404
    answer = shared_server.request("GET", "/v1/streams/s/records/tail", basin=basin)
    assert answer.json() == {"tail": {"seq_num": 0, "timestamp": 0}}
    assert append(shared_server, basin, "s", "one").status == 200


def test_of_many_first_appends_one_makes_the_stream(shared_server):
    basin = shared_server.create_basin(create_stream_on_append=True)
    answers = []

    def first():
        answers.append(append(shared_server, basin, "s", "one"))

    threads = [threading.Thread(target=first) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert [answer.status for answer in answers] == [200] * 16
    assert sorted(answer.json()["start"]["seq_num"] for answer in answers) == list(range(16))


def test_nothing_is_made_in_a_basin_that_is_not_there(shared_server):
    assert_error(append(shared_server, "no-such-basin", "s", "one"), 404, "basin_not_found")


@pytest.mark.parametrize("operation", ["create", "ensure", "auto"])
def test_no_stream_survives_its_basin_however_they_race(shared_server, operation):
    for _ in range(10):
        basin = shared_server.create_basin(create_stream_on_append=True)
        started = threading.Event()

        def make_streams(basin=basin, started=started):
            for number in range(1000):
                name = f"s{number}"
                if operation == "create":
                    answer = create(shared_server, basin, name)
                elif operation == "ensure":
                    answer = ensure(shared_server, basin, name)
                else:
                    answer = append(shared_server, basin, name, "one")
                started.set()
                if answer.status in (404, 409):
                    return

        maker = threading.Thread(target=make_streams)
        maker.start()
        assert started.wait(TIMEOUT_S)
        assert shared_server.request("DELETE", f"/v1/basins/{basin}").status == 202
        maker.join(TIMEOUT_S)
        until_gone(shared_server, f"/v1/basins/{basin}")
        shared_server.create_basin(basin)
        assert shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []


def test_a_page_has_at_most_1000_streams(shared_server, basin):
    connection = http.client.HTTPConnection(shared_server.host, shared_server.port, timeout=TIMEOUT_S)
    for number in range(1001):
        body = json.dumps({"stream": f"{number:04}"})
        headers = {"s2-basin": basin, "content-type": "application/json"}
        connection.request("POST", "/v1/streams", body=body, headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 201
    connection.close()
    for query in "", "?limit=0", "?limit=1000", "?limit=1001", "?limit=18446744073709551615":
        page = shared_server.request("GET", f"/v1/streams{query}", basin=basin).json()
        assert (len(page["streams"]), page["streams"][-1]["name"], page["has_more"]) == (1000, "0999", True)
    page = shared_server.request("GET", "/v1/streams?start_after=0999", basin=basin).json()
    assert ([info["name"] for info in page["streams"]], page["has_more"]) == (["1000"], False)


def at_once(server, requests):
    """The answers to requests of as many clients, in no order."""
    answers = []
    start = threading.Barrier(len(requests), timeout=TIMEOUT_S)

    def ask(make):
        start.wait()
        answers.append(make(server))

    threads = [threading.Thread(target=ask, args=(make,)) for make in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    return answers


def test_of_many_who_put_one_stream_at_once_one_creates_it(shared_server, basin):
    config = {"storage_class": "standard"}
    answers = at_once(shared_server, [lambda server: ensure(server, basin, "wanted", config)] * 16)
    results = sorted(answer.headers["s2-provision-result"] for answer in answers)
    assert results == ["created"] + ["noop"] * 15
    assert {answer.status for answer in answers if answer.headers["s2-provision-result"] == "created"} == {201}
    assert config_of(shared_server, basin, "wanted")["storage_class"] == "standard"


def test_puts_deletions_and_appends_that_create_at_once_end_in_one_state(shared_server):
    shared_server.request("PUT", "/v1/basins/busy-basin", json_body={"config": {"create_stream_on_append": True}})
    basin = "busy-basin"
    for _ in range(5):
        requests = [
            *[lambda server: ensure(server, basin, "busy", {})] * 4,
            *[lambda server: append(server, basin, "busy", "a")] * 4,
            *[lambda server: server.request("DELETE", "/v1/streams/busy", basin=basin)] * 4,
        ]
        answers = at_once(shared_server, requests)
        assert {answer.status for answer in answers} <= {200, 201, 202, 204, 404, 409}, answers
        until(lambda: ensure(shared_server, basin, "busy", {}).status in (200, 201))
        tail = append(shared_server, basin, "busy", "b").json()["end"]["seq_num"]
        bodies = shared_server.request("GET", "/v1/streams/busy/records?seq_num=0&count=100", basin=basin).json()
        assert [record["seq_num"] for record in bodies["records"]] == list(range(tail))
        shared_server.request("DELETE", "/v1/streams/busy", basin=basin)
        until_gone(shared_server, "/v1/streams/busy", basin)
