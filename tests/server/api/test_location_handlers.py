"""The one location that there is."""

import pytest

LOCAL = {
    "name": "local",
    "is_private": True,
    "storage_classes": ["standard", "express"],
    "default_storage_class": "express",
}


def test_it_is_listed_and_the_default(shared_server):
    answer = shared_server.request("GET", "/v1/locations")
    assert (answer.status, answer.json()) == (200, [LOCAL])
    answer = shared_server.request("GET", "/v1/locations/default")
    assert (answer.status, answer.json()) == (200, LOCAL)


def test_a_stream_without_a_storage_class_has_the_one_that_is_said_to_be_the_default(shared_server, basin):
    name = shared_server.create_stream(basin)
    config = shared_server.request("GET", f"/v1/streams/{name}", basin=basin).json()
    assert config["storage_class"] == LOCAL["default_storage_class"]


def test_it_can_be_made_the_default(shared_server):
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
def test_no_other_can(shared_server, unique_basin, value, status, code):
    answers = [
        shared_server.request("PUT", "/v1/locations/default", json_body=value),
        shared_server.request("POST", "/v1/basins", json_body={"basin": unique_basin(), "location": value}),
        shared_server.request("PUT", f"/v1/basins/{unique_basin()}", json_body={"location": value}),
    ]
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code), answer


def test_the_body_must_be_json(shared_server):
    answer = shared_server.request("PUT", "/v1/locations/default", body=b'"local"')
    assert (answer.status, answer.json()["code"]) == (400, "bad_json")


def test_basins_are_there(shared_server, unique_basin):
    for location in ({"location": "local"}, {"location": None}, {}, {"scope": "aws:us-east-1"}):
        name = unique_basin()
        created = shared_server.request("POST", "/v1/basins", json_body={"basin": name, **location})
        assert (created.status, created.json()["location"]) == (201, "local")
        ensured = shared_server.request("PUT", f"/v1/basins/{name}", json_body=location)
        assert (ensured.status, ensured.json()["location"]) == (200, "local")
        (listed,) = shared_server.request("GET", f"/v1/basins?prefix={name}&limit=1").json()["basins"]
        assert listed["location"] == "local"
