"""Access tokens as they are issued and listed, and the streams and commands that they open."""

import pytest
from support.bearers import BASIN, ROOT, ask, assert_refused, issue, made, scope

# Issuing.


def test_what_is_issued_is_listed_without_its_secret(guarded):
    at = "2034-05-06T07:08:09.123456789+02:00"
    members = scope("read", "append", basins={"exact": ""}, op_groups={"account": {"read": True}, "basin": None})
    name, token = issue(guarded, name="listed-token/ü", scope=members, expires_at=at)
    answer = ask(guarded, ROOT, "GET", "/v1/access-tokens?prefix=listed-")
    assert token.encode() not in answer.body
    nothing = {"read": False, "write": False}
    assert answer.json() == {
        "access_tokens": [
            {
                "id": name,
                "expires_at": "2034-05-06T05:08:09.123456789Z",
                "auto_prefix_streams": False,
                "scope": {
                    "basins": None,
                    "streams": {"prefix": ""},
                    "access_tokens": {"prefix": ""},
                    "op_groups": {"account": {"read": True, "write": False}, "basin": nothing, "stream": nothing},
                    "ops": ["read", "append"],
                },
            }
        ],
        "has_more": False,
    }


def test_whoever_lists_finds_his_own_token(guarded):
    page = ask(guarded, ROOT, "GET", "/v1/access-tokens?limit=1").json()
    assert len(page["access_tokens"]) == 1
    (root,) = ask(guarded, ROOT, "GET", "/v1/access-tokens?prefix=root").json()["access_tokens"]
    assert (root["id"], root["expires_at"], root["scope"]["basins"]) == ("root", None, {"prefix": ""})
    assert_refused(ask(guarded, ROOT, "DELETE", "/v1/access-tokens/root"), 403, "permission_denied")
    answer = ask(guarded, ROOT, "POST", "/v1/access-tokens", {"id": "root", "scope": scope("read")})
    assert_refused(answer, 409, "resource_already_exists")


def test_tokens_are_listed_in_order_and_pages_with_the_root_among_them(make_server, root_file):
    server = make_server(data=None, options=("--root-token-file", str(root_file)))
    names = ["a", "b", "rooa", "root", "root2", "z"]
    for name in names:
        if name != "root":
            issue(server, name=name, scope=scope("read"))
    for limit in range(1, 8):
        seen, after, has_more = [], "", True
        while has_more:
            page = ask(server, ROOT, "GET", f"/v1/access-tokens?limit={limit}&start_after={after}").json()
            assert len(page["access_tokens"]) <= limit
            seen += [token["id"] for token in page["access_tokens"]]
            after, has_more = seen[-1], page["has_more"]
        assert seen == names


@pytest.mark.parametrize(
    ("members", "status", "code", "message"),
    [
        (
            {"scope": scope("read", streams={"exact": "x"}), "auto_prefix_streams": True},
            422,
            "invalid",
            "Auto prefixing is only allowed for streams with prefix matching",
        ),
        (
            {"scope": {"ops": ["read"]}, "auto_prefix_streams": True},
            422,
            "invalid",
            "Auto prefixing is only allowed for streams with prefix matching",
        ),
        ({"scope": scope()}, 422, "invalid", "Access token permissions cannot be empty"),
        (
            {"scope": {"op_groups": {"account": {"read": False}}}},
            422,
            "invalid",
            "Access token permissions cannot be empty",
        ),
        ({"scope": scope("read"), "expires_at": "2001-01-01T00:00:00Z"}, 422, "invalid", None),
        ({"scope": scope("read"), "expires_at": "tomorrow"}, 400, "bad_json", None),
        ({"scope": scope("read"), "expires_at": 5}, 400, "bad_json", None),
        ({"scope": scope("reed")}, 400, "bad_json", None),
        ({"scope": scope("read", basins={"suffix": "x"})}, 400, "bad_json", None),
        ({"scope": scope("read", basins={"exact": "a", "prefix": "b"})}, 400, "bad_json", None),
        ({"scope": scope("read", basins={"prefix": "UPPER"})}, 400, "bad_json", None),
        ({"scope": scope("read", op_groups={"account": {"read": "yes"}})}, 400, "bad_json", None),
        ({"scope": scope("read", op_groups=[])}, 400, "bad_json", None),
        ({"scope": []}, 400, "bad_json", None),
        ({}, 400, "bad_json", "missing field `scope`"),
        ({"scope": scope("read"), "auto_prefix_streams": 1}, 400, "bad_json", None),
    ],
)
def test_what_cannot_be_issued(guarded, members, status, code, message):
    answer = ask(guarded, ROOT, "POST", "/v1/access-tokens", {"id": "never-issued", **members})
    said = assert_refused(answer, status, code)
    assert message in (None, said)
    assert ask(guarded, ROOT, "GET", "/v1/access-tokens?prefix=never-").json()["access_tokens"] == []


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 97, "a\0b", 5, None])
def test_ids_that_are_none(guarded, name):
    answer = ask(guarded, ROOT, "POST", "/v1/access-tokens", {"id": name, "scope": scope("read")})
    assert_refused(answer, 400, "bad_json")


def test_an_id_is_used_once_and_again_after_it_is_revoked(guarded):
    name, first = issue(guarded, scope=scope("list-basins"))
    again = {"id": name, "scope": scope("list-basins")}
    assert_refused(ask(guarded, ROOT, "POST", "/v1/access-tokens", again), 409, "resource_already_exists")
    path = f"/v1/access-tokens/{name}"
    answer = ask(guarded, ROOT, "DELETE", path)
    assert (answer.status, answer.body, "content-type" in answer.headers) == (204, b"", False)
    assert_refused(ask(guarded, ROOT, "DELETE", path), 404, "access_token_not_found")
    _, second = issue(guarded, name=name, scope=scope("list-basins"))
    assert ask(guarded, second, "GET", "/v1/basins").status == 200
    assert_refused(ask(guarded, first, "GET", "/v1/basins"), 401, "authn")


def test_a_token_cannot_give_more_than_it_has(guarded):
    mine = {"basins": {"prefix": "mine-"}, "streams": {"exact": "s"}, "access_tokens": {"prefix": "child-"}}
    far = "2050-01-01T00:00:00.5Z"
    _, token = issue(guarded, scope=scope("issue-access-token", "read", **mine), expires_at=far)

    def give(name="child-x", **members):
        return ask(guarded, token, "POST", "/v1/access-tokens", {"id": name, **members})

    too_much = [
        {"scope": scope("read", "append", **mine)},
        {"scope": scope("read", **mine, op_groups={"stream": {"read": True}})},
        {"scope": scope("read", **{**mine, "basins": {"prefix": "mine"}})},
        {"scope": scope("read", **{**mine, "basins": {"prefix": ""}})},
        {"scope": scope("read", **{**mine, "streams": {"prefix": "s"}})},
        {"scope": scope("read", **{**mine, "streams": {"exact": "t"}})},
        {"scope": scope("read", **{**mine, "access_tokens": {"exact": "chil"}})},
        {"scope": scope("read", **mine), "expires_at": "2050-01-01T00:00:00.500000001Z"},
        {"scope": scope("read", **mine), "name": "other"},
    ]
    for members in too_much:
        assert_refused(give(**members), 403, "permission_denied")
    narrower = {"basins": {"exact": "mine-a-basin"}, "streams": {"exact": "s"}, "access_tokens": None}
    assert give("child-1", scope=scope("read", **narrower)).status == 201
    assert give("child-2", scope={"ops": ["read"]}, expires_at="2049-01-01T00:00:00Z").status == 201
    listed = ask(guarded, ROOT, "GET", "/v1/access-tokens?prefix=child-").json()["access_tokens"]
    assert [(one["id"], one["expires_at"]) for one in listed] == [
        ("child-1", far),
        ("child-2", "2049-01-01T00:00:00Z"),
    ]


# Prefixes of streams.


def test_names_of_streams_are_prefixed_and_stripped(guarded):
    ops = ("create-stream", "list-streams", "get-stream-config", "delete-stream", "append", "read", "check-tail")
    members = scope(*ops, "reconfigure-stream", streams={"prefix": "tenant/"}, basins={"exact": BASIN})
    _, token = issue(guarded, scope=members, auto_prefix_streams=True)

    def mine(method, path, body=None):
        return ask(guarded, token, method, path, body, BASIN)

    assert mine("POST", "/v1/streams", {"stream": "a"}).json()["name"] == "a"
    assert mine("PUT", "/v1/streams/b").json()["name"] == "b"
    assert mine("PUT", "/v1/streams/tenant%2Fc").json()["name"] == "tenant/c"
    assert mine("PATCH", "/v1/streams/b", {"retention_policy": {"age": 9}}).json()["retention_policy"] == {"age": 9}
    assert mine("GET", "/v1/streams/b").json()["retention_policy"] == {"age": 9}
    assert mine("POST", "/v1/streams/a/records", {"records": [{"body": "x"}]}).status == 200
    assert mine("GET", "/v1/streams/a/records?seq_num=0").json()["records"][0]["body"] == "x"
    assert mine("GET", "/v1/streams/a/records/tail").json()["tail"]["seq_num"] == 1

    def listed(query=""):
        page = mine("GET", f"/v1/streams{query}").json()
        return [stream["name"] for stream in page["streams"]], page["has_more"]

    assert listed() == (["a", "b", "tenant/c"], False)
    assert listed("?prefix=ten") == (["tenant/c"], False)
    assert listed("?start_after=a&limit=1") == (["b"], True)
    seen = ask(guarded, ROOT, "GET", "/v1/streams?prefix=tenant/", basin=BASIN).json()["streams"]
    assert [stream["name"] for stream in seen] == ["tenant/a", "tenant/b", "tenant/tenant/c"]
    assert mine("DELETE", "/v1/streams/a").status == 202
    assert_refused(mine("POST", "/v1/streams", {"stream": "x" * 510}), 422, "invalid")


# Commands in a batch.


def test_commands_need_their_own_operation_and_nothing_of_a_refused_batch_is_appended(guarded):
    _, token = issue(guarded, scope=scope("append", "fence"))
    stream = f"commands-{next(made)}"
    ask(guarded, ROOT, "POST", "/v1/streams", {"stream": stream}, BASIN)
    path = f"/v1/streams/{stream}/records"
    trim = {"headers": [["", "trim"]], "body": "\0" * 8}
    answer = ask(guarded, token, "POST", path, {"records": [{"body": "x"}, trim]}, BASIN)
    assert "trim" in assert_refused(answer, 403, "permission_denied")
    assert ask(guarded, ROOT, "GET", f"{path}/tail", basin=BASIN).json()["tail"]["seq_num"] == 0
    fence = {"headers": [["", "fence"]], "body": "mine"}
    assert ask(guarded, token, "POST", path, {"records": [fence]}, BASIN).status == 200
