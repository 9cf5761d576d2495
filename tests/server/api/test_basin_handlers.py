import re

import pytest
from support.waiting import until_gone

UNSET = {
    "default_stream_config": None,
    "stream_cipher": None,
    "create_stream_on_append": False,
    "create_stream_on_read": False,
}


def create(server, name, config=None, token=None, **members):
    headers = {} if token is None else {"s2-request-token": token}
    body = {"basin": name, **members} if config is None else {"basin": name, "config": config, **members}
    return server.request("POST", "/v1/basins", json_body=body, headers=headers)


def ensure(server, name, config=None):
    body = None if config is None else {"config": config}
    return server.request("PUT", f"/v1/basins/{name}", json_body=body)


def config_of(server, name):
    answer = server.request("GET", f"/v1/basins/{name}")
    assert answer.status == 200, answer
    return answer.json()


def assert_error(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return answer.json()["message"]


def test_create_and_get(shared_server, unique_basin):
    name = unique_basin()
    answer = create(shared_server, name)
    assert answer.status == 201
    assert answer.headers["s2-provision-result"] == "created"
    info = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", info.pop("created_at"))
    assert info == {"name": name, "location": "local", "deleted_at": None, "state": "active"}
    assert config_of(shared_server, name) == UNSET


def test_what_was_set_is_shown(shared_server, unique_basin):
    name = unique_basin()
    config = {
        "default_stream_config": {"retention_policy": {"age": 60}, "timestamping": {"uncapped": True}},
        "create_stream_on_append": True,
    }
    assert create(shared_server, name, config).status == 201
    assert config_of(shared_server, name) == {
        "default_stream_config": {
            "storage_class": None,
            "retention_policy": {"age": 60},
            "timestamping": {"mode": None, "uncapped": True},
            "delete_on_empty": None,
        },
        "stream_cipher": None,
        "create_stream_on_append": True,
        "create_stream_on_read": False,
    }


def test_an_existing_basin_is_not_made_again(shared_server, unique_basin):
    name = unique_basin()
    create(shared_server, name)
    message = assert_error(create(shared_server, name), 409, "resource_already_exists")
    assert message == f"basin `{name}` already exists"


def test_a_repeated_create_with_the_same_token_succeeds_once(shared_server, unique_basin):
    name = unique_basin()
    config = {"create_stream_on_read": True}
    first = create(shared_server, name, config, token="token-1")
    again = create(shared_server, name, config, token="token-1")
    assert (first.headers["s2-provision-result"], again.headers["s2-provision-result"]) == ("created", "noop")
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    assert_error(create(shared_server, name, {}, token="token-1"), 409, "resource_already_exists")
    assert_error(create(shared_server, name, config, token="token-2"), 409, "resource_already_exists")
    assert_error(create(shared_server, name, config), 409, "resource_already_exists")


def test_the_token_of_a_create_outlives_an_ensure(shared_server, unique_basin):
    name = unique_basin()
    create(shared_server, name, token="token")
    ensure(shared_server, name, {"create_stream_on_read": True})
    answer = create(shared_server, name, token="token")
    assert (answer.status, answer.headers["s2-provision-result"]) == (201, "noop")
    assert config_of(shared_server, name)["create_stream_on_read"] is True


@pytest.mark.parametrize("token", ["", "x" * 37])
def test_a_bad_request_token(shared_server, token, unique_basin):
    message = assert_error(create(shared_server, unique_basin(), token=token), 400, "bad_header")
    assert message.startswith("Invalid header `s2-request-token`")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad_json"),
        ({"basin": None}, 400, "bad_json"),
        ({"basin": 5}, 400, "bad_json"),
        ({"basin": "short"}, 400, "bad_json"),
        ({"basin": "half-a-\ud800-pair"}, 400, "bad_json"),
        ({"basin": "good-name", "config": []}, 400, "bad_json"),
        ({"basin": "good-name", "config": {"create_stream_on_read": 1}}, 400, "bad_json"),
        ({"basin": "good-name", "config": {"default_stream_config": {"timestamping": {"mode": "x"}}}}, 400, "bad_json"),
        (
            {"basin": "good-name", "config": {"default_stream_config": {"retention_policy": {"age": 0}}}},
            422,
            "invalid",
        ),
        ({"basin": "good-name", "config": {"stream_cipher": "rot13"}}, 400, "bad_json"),
    ],
)
def test_bad_creates_change_nothing(shared_server, body, status, code):
    assert_error(shared_server.request("POST", "/v1/basins", json_body=body), status, code)
    assert shared_server.request("GET", "/v1/basins/good-name").status == 404


def test_null_members_and_unknown_ones_are_as_if_absent(shared_server, unique_basin):
    name = unique_basin()
    body = {"basin": name, "config": None, "location": None, "scope": "aws:us-east-1", "more": [{}]}
    assert shared_server.request("POST", "/v1/basins", json_body=body).status == 201
    assert config_of(shared_server, name) == UNSET


def test_ensure_is_a_full_desired_state(shared_server, unique_basin):
    name = unique_basin()
    steps = [
        ({"create_stream_on_append": True}, 201, "created"),
        ({"create_stream_on_append": True}, 200, "noop"),
        ({"create_stream_on_read": True}, 200, "updated"),
        ({"create_stream_on_read": True, "create_stream_on_append": None}, 200, "noop"),
        (None, 200, "updated"),
        (None, 200, "noop"),
    ]
    for config, status, result in steps:
        answer = ensure(shared_server, name, config)
        assert (answer.status, answer.headers["s2-provision-result"]) == (status, result)
        assert answer.json()["name"] == name
    assert config_of(shared_server, name) == UNSET


def test_ensure_takes_no_body_an_empty_one_and_null(shared_server, unique_basin):
    name = unique_basin()
    json_type = {"content-type": "application/json"}
    for headers, body in ({}, None), (json_type, b""), (json_type, b"null"), (json_type, b"{}"):
        answer = shared_server.request("PUT", f"/v1/basins/{name}", headers=headers, body=body)
        assert answer.status in (200, 201), answer
    answer = shared_server.request("PUT", f"/v1/basins/{name}", headers={"content-type": "text/plain"}, body=b"{}")
    assert_error(answer, 400, "bad_json")
    assert_error(shared_server.request("PUT", f"/v1/basins/{name}", headers={}, body=b"{}"), 400, "bad_json")
    assert_error(shared_server.request("PUT", f"/v1/basins/{name}", json_body=[]), 400, "bad_json")


def test_delete_takes_the_streams_along(shared_server):
    name = shared_server.create_basin()
    for number in range(5):
        shared_server.create_stream(name, f"stream/{number}")
    answer = shared_server.request("DELETE", f"/v1/basins/{name}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (202, b"", "0")
    assert "content-type" not in answer.headers
    until_gone(shared_server, f"/v1/basins/{name}")
    assert shared_server.request("GET", "/v1/streams", basin=name).status == 404
    assert_error(shared_server.request("DELETE", f"/v1/basins/{name}"), 404, "basin_not_found")
    # The name is free again, and nothing of the old basin is in the new one.
    shared_server.create_basin(name)
    assert shared_server.request("GET", "/v1/streams", basin=name).json() == {"streams": [], "has_more": False}


def test_list(shared_server):
    prefix = f"list-{shared_server.port}-"
    names = [f"{prefix}{letter}" for letter in "abcde"]
    for name in reversed(names):
        shared_server.create_basin(name)

    def listed(**query):
        words = "&".join(f"{name}={value}" for name, value in query.items())
        answer = shared_server.request("GET", f"/v1/basins?{words}").json()
        return [info["name"][-1] for info in answer["basins"]], answer["has_more"]

    assert listed(prefix=prefix) == (list("abcde"), False)
    assert listed(prefix=prefix, limit=2) == (["a", "b"], True)
    assert listed(prefix=prefix, limit=2, start_after=names[1]) == (["c", "d"], True)
    assert listed(prefix=prefix, limit=2, start_after=names[3]) == (["e"], False)
    assert listed(prefix=prefix, limit=5) == (list("abcde"), False)
    assert listed(prefix=prefix, limit=0) == (list("abcde"), False)
    assert listed(prefix=prefix, limit=100000) == (list("abcde"), False)
    assert listed(prefix=prefix, start_after="a") == (list("abcde"), False)
    assert listed(prefix=prefix, start_after="zzzz") == ([], False)
    assert listed(prefix="none-like-this") == ([], False)


@pytest.mark.parametrize("query", ["prefix=UPPER", "prefix=-a", "start_after=a_b", "prefix=" + "a" * 49])
def test_a_bad_prefix(shared_server, query):
    assert_error(shared_server.request("GET", f"/v1/basins?{query}"), 400, "bad_query")


# Locations.

LOCAL = {
    "name": "local",
    "is_private": True,
    "storage_classes": ["standard", "express"],
    "default_storage_class": "express",
}


def test_the_one_location_is_listed_and_the_default(shared_server):
    answer = shared_server.request("GET", "/v1/locations")
    assert (answer.status, answer.json()) == (200, [LOCAL])
    answer = shared_server.request("GET", "/v1/locations/default")
    assert (answer.status, answer.json()) == (200, LOCAL)


def test_a_stream_without_a_storage_class_has_the_one_that_is_said_to_be_the_default(shared_server, basin):
    name = shared_server.create_stream(basin)
    config = shared_server.request("GET", f"/v1/streams/{name}", basin=basin).json()
    assert config["storage_class"] == LOCAL["default_storage_class"]


def test_the_one_location_can_be_made_the_default(shared_server):
    answer = shared_server.request("PUT", "/v1/locations/default", json_body="local")
    assert (answer.status, answer.json()) == (200, LOCAL)


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("aws:us-east-1", 422, "invalid"),
        ("", 400, "bad_json"),
        ("x" * 65, 400, "bad_json"),
        ("no spaces", 400, "bad_json"),
        (5, 400, "bad_json"),
        ({"location": "local"}, 400, "bad_json"),
    ],
)
def test_no_other_location_can(shared_server, unique_basin, value, status, code):
    answers = [
        shared_server.request("PUT", "/v1/locations/default", json_body=value),
        shared_server.request("POST", "/v1/basins", json_body={"basin": unique_basin(), "location": value}),
        shared_server.request("PUT", f"/v1/basins/{unique_basin()}", json_body={"location": value}),
    ]
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code), answer


def test_a_location_must_be_json(shared_server):
    answer = shared_server.request("PUT", "/v1/locations/default", body=b'"local"')
    assert (answer.status, answer.json()["code"]) == (400, "bad_json")


def test_basins_are_at_the_one_location(shared_server, unique_basin):
    for location in ({"location": "local"}, {"location": None}, {}, {"scope": "aws:us-east-1"}):
        name = unique_basin()
        created = shared_server.request("POST", "/v1/basins", json_body={"basin": name, **location})
        assert (created.status, created.json()["location"]) == (201, "local")
        ensured = shared_server.request("PUT", f"/v1/basins/{name}", json_body=location)
        assert (ensured.status, ensured.json()["location"]) == (200, "local")
        (listed,) = shared_server.request("GET", f"/v1/basins?prefix={name}&limit=1").json()["basins"]
        assert listed["location"] == "local"
