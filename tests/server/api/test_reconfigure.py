"""PATCH: absent keeps, a value sets, null unsets, at every depth; and the configuration that a request brings along."""

import json

import pytest
from support.s2s import append_input, open_append, open_read

DEFAULTS = {
    "storage_class": "express",
    "retention_policy": {"age": 604800},
    "timestamping": {"mode": "client-prefer", "uncapped": False},
    "delete_on_empty": {"min_age_secs": 0},
}


def assert_error(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return answer.json()["message"]


def patch_basin(server, basin, **members):
    answer = server.request("PATCH", f"/v1/basins/{basin}", json_body=members)
    assert answer.status == 200, answer
    assert answer.json() == server.request("GET", f"/v1/basins/{basin}").json()
    return answer.json()


def patch_stream(server, basin, **members):
    answer = server.request("PATCH", "/v1/streams/stream", basin=basin, json_body=members)
    assert answer.status == 200, answer
    assert answer.json() == server.request("GET", "/v1/streams/stream", basin=basin).json()
    return answer.json()


def layer(**members):
    return {name: members.get(name) for name in DEFAULTS}


def test_a_basin_member_by_member(shared_server, basin):
    nothing = shared_server.request("GET", f"/v1/basins/{basin}").json()
    assert patch_basin(shared_server, basin) == nothing
    config = patch_basin(shared_server, basin, create_stream_on_append=True)
    assert config == {**nothing, "create_stream_on_append": True}
    config = patch_basin(
        shared_server,
        basin,
        default_stream_config={
            "storage_class": "standard",
            "timestamping": {"mode": "arrival", "uncapped": True},
            "delete_on_empty": {"min_age_secs": 60},
            "retention_policy": {"infinite": {}},
        },
    )
    whole = layer(
        storage_class="standard",
        retention_policy={"infinite": {}},
        timestamping={"mode": "arrival", "uncapped": True},
        delete_on_empty={"min_age_secs": 60},
    )
    assert config["default_stream_config"] == whole
    assert config["create_stream_on_append"] is True
    # One leaf at a time, and null for it.
    config = patch_basin(shared_server, basin, default_stream_config={"timestamping": {"mode": None}})
    assert config["default_stream_config"] == {**whole, "timestamping": {"mode": None, "uncapped": True}}
    config = patch_basin(shared_server, basin, default_stream_config={"timestamping": {"uncapped": None}})
    assert config["default_stream_config"] == {**whole, "timestamping": None}
    config = patch_basin(shared_server, basin, default_stream_config={"delete_on_empty": {}, "timestamping": {}})
    assert config["default_stream_config"] == {**whole, "timestamping": None}
    config = patch_basin(shared_server, basin, default_stream_config={"delete_on_empty": None})
    assert config["default_stream_config"] == {**whole, "timestamping": None, "delete_on_empty": None}
    config = patch_basin(shared_server, basin, default_stream_config={"retention_policy": None, "storage_class": None})
    assert config["default_stream_config"] is None
    patch_basin(shared_server, basin, default_stream_config={"storage_class": "standard"})
    assert patch_basin(shared_server, basin, default_stream_config=None)["default_stream_config"] is None


def test_null_for_a_switch_changes_nothing(shared_server, basin):
    patch_basin(shared_server, basin, create_stream_on_append=True)
    config = patch_basin(shared_server, basin, create_stream_on_append=None, create_stream_on_read=None)
    assert (config["create_stream_on_append"], config["create_stream_on_read"]) == (True, False)
    assert patch_basin(shared_server, basin, create_stream_on_append=False)["create_stream_on_append"] is False


def test_the_short_members_of_a_basin(shared_server, basin):
    config = patch_basin(shared_server, basin, storage_class="standard", retention_policy={"age": 5})
    assert config["default_stream_config"] == layer(storage_class="standard", retention_policy={"age": 5})
    config = patch_basin(
        shared_server, basin, retention_policy={"age": 6}, default_stream_config={"retention_policy": {"age": 7}}
    )
    assert config["default_stream_config"] == layer(storage_class="standard", retention_policy={"age": 7})
    config = patch_basin(shared_server, basin, retention_policy=None)
    assert config["default_stream_config"] == layer(storage_class="standard")
    answer = shared_server.request("PUT", f"/v1/basins/{basin}", json_body={"config": {"storage_class": "glacial"}})
    assert answer.headers["s2-provision-result"] == "updated"
    config = shared_server.request("GET", f"/v1/basins/{basin}").json()
    assert config["default_stream_config"] == layer(storage_class="glacial")


def test_a_basin_decides_only_about_later_streams(shared_server, basin):
    shared_server.create_stream(basin, "before")
    patch_basin(shared_server, basin, storage_class="standard")
    shared_server.create_stream(basin, "after")
    classes = [
        shared_server.request("GET", f"/v1/streams/{name}", basin=basin).json()["storage_class"]
        for name in ("before", "after")
    ]
    assert classes == ["express", "standard"]


def test_a_stream_member_by_member(shared_server, basin):
    shared_server.create_stream(basin)
    assert patch_stream(shared_server, basin) == DEFAULTS
    set_members = {
        "storage_class": "standard",
        "retention_policy": {"infinite": {}},
        "timestamping": {"mode": "arrival", "uncapped": True},
        "delete_on_empty": {"min_age_secs": 60},
    }
    assert patch_stream(shared_server, basin, **set_members) == set_members
    assert patch_stream(shared_server, basin, delete_on_empty={}, timestamping={}) == set_members
    config = patch_stream(shared_server, basin, timestamping={"mode": None})
    assert config == {**set_members, "timestamping": {"mode": "client-prefer", "uncapped": True}}
    config = patch_stream(shared_server, basin, timestamping=None, delete_on_empty={"min_age_secs": None})
    expected = {name: set_members[name] for name in ("storage_class", "retention_policy")}
    assert config == {**DEFAULTS, **expected}
    assert patch_stream(shared_server, basin, storage_class=None, retention_policy=None) == DEFAULTS


def test_what_is_unset_the_basin_decides(shared_server, basin):
    shared_server.create_stream(basin, storage_class="glacial", timestamping={"mode": "arrival"})
    defaults = {"storage_class": "standard", "timestamping": {"uncapped": True}, "retention_policy": {"age": 9}}
    patch_basin(shared_server, basin, default_stream_config=defaults)
    config = patch_stream(shared_server, basin, storage_class=None, timestamping=None)
    assert config["storage_class"] == "standard"
    assert config["timestamping"] == {"mode": "client-prefer", "uncapped": True}
    # It was resolved when the stream was made, and nobody has unset it.
    assert config["retention_policy"] == {"age": 604800}


def test_a_stream_in_use_obeys_from_the_next_append_on(shared_server, basin):
    shared_server.create_stream(basin)
    record = {"records": [{"body": "x"}]}

    def append():
        return shared_server.request("POST", "/v1/streams/stream/records", basin=basin, json_body=record)

    assert append().status == 200
    with open_append(shared_server, basin) as session:
        session.append(b"x")
        session.ack()
        patch_stream(shared_server, basin, timestamping={"mode": "client-require"})
        assert_error(append(), 422, "invalid")
        session.send(append_input((5, [], b"x")))
        session.ack()
        patch_stream(shared_server, basin, timestamping={"mode": None})
        session.append(b"x")
        assert session.ack()[1] == 4
    assert append().json()["end"]["seq_num"] == 5


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (None, 400, "bad_json"),
        ([], 400, "bad_json"),
        ({"storage_class": 5}, 400, "bad_json"),
        ({"retention_policy": {"age": None}}, 400, "bad_json"),
        ({"retention_policy": {}}, 400, "bad_json"),
        ({"retention_policy": {"age": 0}}, 422, "invalid"),
        ({"timestamping": []}, 400, "bad_json"),
        ({"timestamping": {"mode": "x"}}, 400, "bad_json"),
        ({"timestamping": {"uncapped": "yes"}}, 400, "bad_json"),
        ({"delete_on_empty": {"min_age_secs": -1}}, 400, "bad_json"),
    ],
    ids=str,
)
def test_a_bad_patch_changes_nothing(shared_server, basin, body, status, code):
    shared_server.create_stream(basin)
    before = shared_server.request("GET", f"/v1/basins/{basin}").json()
    headers = {"content-type": "application/json"}
    paths = [("/v1/streams/stream", body), (f"/v1/basins/{basin}", body)]
    if isinstance(body, dict):
        paths.append((f"/v1/basins/{basin}", {"default_stream_config": body, "create_stream_on_read": True}))
    for path, value in paths:
        answer = shared_server.request("PATCH", path, basin=basin, body=json.dumps(value), headers=headers)
        assert_error(answer, status, code)
        # Without a body there is nothing to do, which nobody means.
        assert_error(shared_server.request("PATCH", path, basin=basin), 400, "bad_json")
    assert shared_server.request("GET", f"/v1/basins/{basin}").json() == before
    assert shared_server.request("GET", "/v1/streams/stream", basin=basin).json() == DEFAULTS
    for members in {"stream_cipher": "rot13"}, {"create_stream_on_read": 1}, {"default_stream_config": 5}:
        assert_error(shared_server.request("PATCH", f"/v1/basins/{basin}", json_body=members), 400, "bad_json")


def test_what_is_missing_or_being_deleted(shared_server, unique_basin):
    def patch(path, basin=None):
        return shared_server.request("PATCH", path, basin=basin, json_body={})

    assert_error(patch("/v1/basins/no-such-basin"), 404, "basin_not_found")
    assert_error(patch("/v1/streams/stream", "no-such-basin"), 404, "stream_not_found")
    basin = shared_server.create_basin(unique_basin())
    shared_server.create_stream(basin)
    shared_server.request("DELETE", f"/v1/basins/{basin}")
    answer = patch(f"/v1/basins/{basin}")
    assert answer.json()["code"] in ("basin_deletion_pending", "basin_not_found")
    answer = patch("/v1/streams/stream", basin)
    assert answer.json()["code"] in ("basin_deletion_pending", "stream_deletion_pending", "stream_not_found")


def test_changes_outlive_a_restart(server, unique_basin):
    basin = server.create_basin(unique_basin())
    server.create_stream(basin)
    config = patch_basin(server, basin, storage_class="standard", create_stream_on_read=True)
    stream = patch_stream(server, basin, retention_policy={"age": 5})
    server.kill()
    server.start()
    assert server.request("GET", f"/v1/basins/{basin}").json() == config
    assert server.request("GET", "/v1/streams/stream", basin=basin).json() == stream


# s2-stream-config (protocol section 17.1).

CONFIG = {"storage_class": "glacial", "retention_policy": None, "timestamping": {"mode": "arrival"}}


@pytest.fixture
def eager_basin(shared_server):
    """Makes streams on any use, and has defaults of its own."""
    defaults = {"storage_class": "standard", "retention_policy": {"age": 77}}
    return shared_server.create_basin(
        create_stream_on_append=True, create_stream_on_read=True, default_stream_config=defaults
    )


def use(server, basin, way, stream, config):
    """An append or a read of that way, with the header; its status, and its error if there is one."""
    headers = {} if config is None else {"s2-stream-config": config if isinstance(config, str) else json.dumps(config)}
    if way == "append session":
        with open_append(server, basin, stream=stream, headers=headers) as session:
            return session.status, session.body
    if way == "read session":
        with open_read(server, basin, stream=stream, headers=headers) as session:
            return session.status, session.body
    path = f"/v1/streams/{stream}/records"
    if way == "append":
        answer = server.request("POST", path, basin=basin, json_body={"records": [{"body": "x"}]}, headers=headers)
    elif way == "read":
        answer = server.request("GET", f"{path}?count=0", basin=basin, headers=headers)
    else:
        headers["accept"] = "text/event-stream"
        answer = server.request("GET", f"{path}?count=0", basin=basin, headers=headers)
    return answer.status, answer.json() if answer.status >= 400 else None


WAYS = ["append", "append session", "read", "read session", "events"]


@pytest.mark.parametrize("way", WAYS)
def test_the_config_of_a_stream_that_is_made_on_first_use(shared_server, eager_basin, way):
    assert use(shared_server, eager_basin, way, "made", CONFIG)[0] == 200
    made = shared_server.request("GET", "/v1/streams/made", basin=eager_basin).json()
    assert made == {
        "storage_class": "glacial",
        "retention_policy": {"age": 77},
        "timestamping": {"mode": "arrival", "uncapped": False},
        "delete_on_empty": {"min_age_secs": 0},
    }
    # Only if it makes the stream.
    assert use(shared_server, eager_basin, way, "made", {"storage_class": "other"})[0] == 200
    assert shared_server.request("GET", "/v1/streams/made", basin=eager_basin).json() == made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("config", ["{", "", "[]", '{"storage_class":5}', {"retention_policy": {"age": 0}}, '"\xe4"'])
def test_a_bad_config_is_refused_even_if_unused(shared_server, eager_basin, way, config):
    shared_server.create_stream(eager_basin, "present")
    for stream in "present", "missing":
        status, error = use(shared_server, eager_basin, way, stream, config)
        assert (status, error["code"]) == (400, "bad_header")
        assert error["message"].startswith("Invalid header `s2-stream-config`: ")
    assert shared_server.request("GET", "/v1/streams/missing", basin=eager_basin).status == 404


def test_it_does_not_make_streams_by_itself(shared_server, basin):
    for way in WAYS:
        status, error = use(shared_server, basin, way, "missing", CONFIG)
        assert (status, error["code"]) == (404, "stream_not_found")
