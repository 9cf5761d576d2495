"""Access tokens: what each lets its bearer do, from the issue to the end of the sessions that it opened."""

import contextlib
import http.client
import os
import socket
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from s2s import Session

from s2cli.wire.operations import OP_GROUPS, OPERATIONS

TIMEOUT_S = 20
ROOT = "the-root-token"
BASIN = "tokens-basin"
OTHER_BASIN = "others-basin"
EVERYTHING = {"prefix": ""}
GROUP_OF = {op: (group, access) for group, found in OP_GROUPS.items() for access in found for op in found[access]}
NAMED = {
    "basins": (
        "create-basin",
        "delete-basin",
        "reconfigure-basin",
        "get-basin-config",
        "list-streams",
        "basin-metrics",
    ),
    "streams": ("create-stream", "delete-stream", "reconfigure-stream", "get-stream-config", "stream-metrics")
    + ("check-tail", "read", "append", "trim", "fence"),
    "access_tokens": ("issue-access-token", "revoke-access-token"),
}


@pytest.fixture(scope="module")
def root_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "token"
    path.touch(mode=0o600)
    path.write_text(f"{ROOT}\n")
    return path


@pytest.fixture(scope="module")
def guarded(lite_process, root_file):
    """A server that asks for tokens, with one basin and one stream in it."""
    server = lite_process(None, options=("--root-token-file", str(root_file))).start()
    for basin in (BASIN, OTHER_BASIN):
        assert ask(server, ROOT, "POST", "/v1/basins", {"basin": basin}).status == 201
        assert ask(server, ROOT, "POST", "/v1/streams", {"stream": "logs/a"}, basin).status == 201
    yield server
    server.stop()


def ask(server, token, method, path, body=None, basin=None, headers=()):
    headers = dict(headers)
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return server.request(method, path, json_body=body, basin=basin, headers=headers)


_made = iter(range(1_000_000))


def issue(server, *, by=ROOT, name=None, **members):
    """A new token: its id and its secret."""
    name = name or f"token-{next(_made)}"
    members.setdefault("scope", {})
    answer = ask(server, by, "POST", "/v1/access-tokens", {"id": name, **members})
    assert answer.status == 201, answer
    assert set(answer.json()) == {"access_token"}
    return name, answer.json()["access_token"]


def scope(*ops, basins=EVERYTHING, streams=EVERYTHING, access_tokens=EVERYTHING, **members):
    return {"basins": basins, "streams": streams, "access_tokens": access_tokens, "ops": list(ops), **members}


def perform(server, op, token, prefix="mine-"):
    """One request that is that operation, on a resource whose name begins with `prefix` (of a stream: in BASIN)."""
    name = f"{prefix}{next(_made):06}"
    stream = f"/v1/streams/{quote(name, safe='')}"
    now_s = int(time.time())
    window = f"start={now_s - 3600}&end={now_s}"

    def as_root(method, path, body=None, basin=None):
        answer = ask(server, ROOT, method, path, body, basin)
        assert answer.status < 300, answer

    def records(body, *headers):
        record = {"headers": [["", *headers]], "body": body} if headers else {"body": body}
        return "POST", f"{stream}/records", {"records": [record]}, BASIN

    requests = {
        "list-basins": ("GET", "/v1/basins"),
        "create-basin": ("POST", "/v1/basins", {"basin": name}),
        "delete-basin": ("DELETE", f"/v1/basins/{name}"),
        "reconfigure-basin": ("PATCH", f"/v1/basins/{name}", {"create_stream_on_append": True}),
        "get-basin-config": ("GET", f"/v1/basins/{name}"),
        "issue-access-token": ("POST", "/v1/access-tokens", {"id": name, "scope": {"ops": [op]}}),
        "revoke-access-token": ("DELETE", f"/v1/access-tokens/{name}"),
        "list-access-tokens": ("GET", "/v1/access-tokens"),
        "list-streams": ("GET", "/v1/streams", None, name),
        "create-stream": ("POST", "/v1/streams", {"stream": name}, BASIN),
        "delete-stream": ("DELETE", stream, None, BASIN),
        "get-stream-config": ("GET", stream, None, BASIN),
        "reconfigure-stream": ("PATCH", stream, {"retention_policy": {"age": 60}}, BASIN),
        "check-tail": ("GET", f"{stream}/records/tail", None, BASIN),
        "append": records("x"),
        "read": ("GET", f"{stream}/records?tail_offset=1", None, BASIN),
        "trim": records("\0" * 8, "trim"),
        "fence": records("me", "fence"),
        "account-metrics": ("GET", f"/v1/metrics?set=account-ops&{window}"),
        "basin-metrics": ("GET", f"/v1/metrics/{name}?set=storage&{window}"),
        "stream-metrics": ("GET", f"/v1/metrics/{BASIN}/{name}?set=storage&{window}"),
        "list-locations": ("GET", "/v1/locations"),
        "get-default-location": ("GET", "/v1/locations/default"),
        "set-default-location": ("PUT", "/v1/locations/default", "local"),
    }
    if op in NAMED["basins"] and op != "create-basin":
        as_root("POST", "/v1/basins", {"basin": name})
    if op in NAMED["streams"] and op != "create-stream":
        as_root("POST", "/v1/streams", {"stream": name}, BASIN)
    if op == "read":
        as_root(*records("x"))
    if op == "revoke-access-token":
        as_root("POST", "/v1/access-tokens", {"id": name, "scope": {"ops": ["read"]}})
    return ask(server, token, *requests[op])


def assert_allowed(answer):
    assert answer.status in (200, 201, 202, 204), answer


def assert_refused(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["message"]


def needed(op):
    """The operations that the request of `perform` needs: commands are appended."""
    return ("append", op) if op in ("trim", "fence") else (op,)


def needed_groups(*ops):
    groups = {}
    for op in ops:
        group, access = GROUP_OF[op]
        groups.setdefault(group, {})[access] = True
    return groups


def test_the_matrix_has_all_operations():
    assert len(OPERATIONS) == len(set(OPERATIONS)) == 24


@pytest.mark.parametrize("op", OPERATIONS)
class TestOperation:
    def test_is_allowed_by_its_name(self, guarded, op):
        _, token = issue(guarded, scope=scope(*needed(op)))
        assert_allowed(perform(guarded, op, token))

    def test_is_allowed_by_its_group(self, guarded, op):
        _, token = issue(guarded, scope=scope(op_groups=needed_groups(op)))
        assert_allowed(perform(guarded, op, token))

    def test_is_refused_by_the_other_groups(self, guarded, op):
        group, access = GROUP_OF[op]
        groups = {name: {"read": True, "write": True} for name in OP_GROUPS}
        groups[group][access] = False
        _, token = issue(guarded, scope=scope(op_groups=groups))
        assert_refused(perform(guarded, op, token), 403, "permission_denied")

    def test_is_refused_without_it(self, guarded, op):
        _, token = issue(guarded, scope=scope(*(other for other in OPERATIONS if other != op)))
        message = assert_refused(perform(guarded, op, token), 403, "permission_denied")
        assert op in message

    def test_is_refused_on_what_is_outside(self, guarded, op):
        outside = {kind: {"prefix": "other-"} for kind in NAMED}
        _, token = issue(guarded, scope=scope(*needed(op), **outside))
        answer = perform(guarded, op, token)
        if any(op in ops for ops in NAMED.values()):
            assert_refused(answer, 403, "permission_denied")
        else:
            # It is about the account. What a list shows is within the token's reach.
            assert_allowed(answer)
            if op.startswith(("list-basins", "list-access-tokens")):
                assert [members for members in answer.json().values() if isinstance(members, list)] == [[]]

    def test_is_refused_where_nothing_is_named(self, guarded, op):
        _, token = issue(guarded, scope={"ops": list(needed(op))})
        answer = perform(guarded, op, token)
        if any(op in ops for ops in NAMED.values()):
            assert_refused(answer, 403, "permission_denied")
        else:
            assert_allowed(answer)

    def test_is_allowed_under_a_prefix(self, guarded, op):
        within = {"basins": {"prefix": "mine-"}, "streams": {"prefix": "mine-"}, "access_tokens": {"prefix": "mine-"}}
        if op in NAMED["streams"]:
            within["basins"] = {"exact": BASIN}
        _, token = issue(guarded, scope=scope(*needed(op), **within))
        assert_allowed(perform(guarded, op, token))
        if any(op in ops for ops in NAMED.values()):
            assert_refused(perform(guarded, op, token, "else-"), 403, "permission_denied")

    def test_is_refused_with_an_expired_token(self, guarded, op, expired):
        assert_refused(perform(guarded, op, expired), 401, "authn")

    def test_is_refused_with_a_revoked_token(self, guarded, op, revoked):
        assert_refused(perform(guarded, op, revoked), 401, "authn")

    def test_is_refused_without_a_token(self, guarded, op):
        answer = perform(guarded, op, None)
        assert_refused(answer, 401, "authn")
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_is_refused_with_what_is_no_token(self, guarded, op, mangled):
        for token in mangled:
            assert_refused(perform(guarded, op, token), 401, "authn")


@pytest.fixture(scope="module")
def expired(guarded):
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    _, token = issue(guarded, scope=scope(*OPERATIONS), expires_at=at.isoformat())
    assert_allowed(ask(guarded, token, "GET", "/v1/basins"))
    await_refusal(lambda: ask(guarded, token, "GET", "/v1/basins").status)
    return token


@pytest.fixture(scope="module")
def revoked(guarded):
    name, token = issue(guarded, scope=scope(*OPERATIONS))
    assert_allowed(ask(guarded, token, "GET", "/v1/basins"))
    assert ask(guarded, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    return token


@pytest.fixture(scope="module")
def mangled(guarded):
    """Beside what was never a token: a good one that is cut, longer, of another case, or without its selector."""
    _, token = issue(guarded, scope=scope(*OPERATIONS))
    _, selector, verifier = token.split("_", 2)
    swapped = token.swapcase()
    return ["", "nonsense", "s2_", "s2__", token[:-1], token + "A", swapped, f"s2_{selector}_", verifier, "\xff\xfe"]


def await_refusal(status):
    deadline = time.monotonic() + TIMEOUT_S
    while status() != 401:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("value", [f"Basic {ROOT}", ROOT, "Bearer", "Bearer ", f"bearer{ROOT}"])
def test_other_forms_of_the_header_are_refused(guarded, value):
    answer = guarded.request("GET", "/v1/basins", headers={"authorization": value})
    assert_refused(answer, 401, "authn")


def test_the_scheme_may_be_written_in_any_case(guarded):
    assert guarded.request("GET", "/v1/basins", headers={"authorization": f"bearer {ROOT}"}).status == 200


def test_health_needs_no_token_and_unknown_paths_tell_nothing(guarded):
    assert guarded.request("GET", "/health").status == 200
    assert_refused(guarded.request("GET", "/v1/nothing"), 401, "authn")
    assert_refused(guarded.request("GET", "/metrics"), 401, "authn")
    assert ask(guarded, ROOT, "GET", "/metrics").status == 200
    _, token = issue(guarded, scope=scope("list-basins"))
    assert_refused(ask(guarded, token, "GET", "/metrics"), 403, "permission_denied")


def test_the_published_routes_ask_the_same(guarded):
    _, token = issue(guarded, scope=scope("read"))
    path = f"/v1/basins/{BASIN}/streams/logs%2Fa"
    assert_refused(guarded.request("GET", f"{path}/tail"), 401, "authn")
    assert_refused(ask(guarded, token, "GET", f"{path}/tail"), 403, "permission_denied")
    assert_allowed(ask(guarded, token, "GET", f"{path}/read"))
    assert_refused(
        ask(guarded, token, "POST", f"{path}/append", {"records": [{"body": "x"}]}), 403, "permission_denied"
    )
    _, token = issue(guarded, scope=scope("read", basins={"exact": OTHER_BASIN}))
    assert_refused(ask(guarded, token, "GET", f"{path}/read"), 403, "permission_denied")


def test_ensure_needs_the_right_to_create_and_to_change_only_where_it_changes(guarded):
    _, token = issue(guarded, scope=scope("create-basin", "create-stream"))
    name = f"named-basin-{next(_made)}"
    config = {"config": {"create_stream_on_read": True}}
    assert ask(guarded, token, "PUT", f"/v1/basins/{name}").status == 201
    assert ask(guarded, token, "PUT", f"/v1/basins/{name}").status == 200
    assert "reconfigure-basin" in assert_refused(
        ask(guarded, token, "PUT", f"/v1/basins/{name}", config), 403, "permission_denied"
    )
    assert ask(guarded, token, "PUT", "/v1/streams/s", basin=name).status == 201
    assert ask(guarded, token, "PUT", "/v1/streams/s", basin=name).status == 200
    assert "reconfigure-stream" in assert_refused(
        ask(guarded, token, "PUT", "/v1/streams/s", {"retention_policy": {"age": 5}}, name), 403, "permission_denied"
    )
    assert ask(guarded, ROOT, "GET", "/v1/streams/s", basin=name).json()["retention_policy"] == {"age": 604800}


def test_an_exact_set_has_one_name(guarded):
    _, token = issue(guarded, scope=scope("read", "list-basins", basins={"exact": BASIN}, streams={"exact": "logs/a"}))
    assert_allowed(
        ask(guarded, token, "GET", "/v1/streams/logs%2Fa/records?tail_offset=0&wait=0&clamp=true&count=0", basin=BASIN)
    )
    for basin, stream in ((OTHER_BASIN, "logs%2Fa"), (BASIN, "logs"), (BASIN, "logs%2Fab")):
        answer = ask(guarded, token, "GET", f"/v1/streams/{stream}/records", basin=basin)
        assert_refused(answer, 403, "permission_denied")
    answer = ask(guarded, token, "GET", "/v1/basins")
    assert ([basin["name"] for basin in answer.json()["basins"]], answer.json()["has_more"]) == ([BASIN], False)
    assert ask(guarded, token, "GET", "/v1/basins?prefix=zzz").json()["basins"] == []


def test_lists_show_what_is_covered_page_by_page(guarded):
    names = [f"lists-{letter}-basin" for letter in "abcde"]
    for name in ("lisa-basin", *names, "listz-basin"):
        ask(guarded, ROOT, "POST", "/v1/basins", {"basin": name})
    _, token = issue(guarded, scope=scope("list-basins", basins={"prefix": "lists-"}))
    seen, after = [], ""
    while True:
        page = ask(guarded, token, "GET", f"/v1/basins?limit=2&start_after={after}").json()
        seen += [basin["name"] for basin in page["basins"]]
        if not page["has_more"]:
            break
        after = seen[-1]
    assert seen == names


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
    stream = f"commands-{next(_made)}"
    ask(guarded, ROOT, "POST", "/v1/streams", {"stream": stream}, BASIN)
    path = f"/v1/streams/{stream}/records"
    trim = {"headers": [["", "trim"]], "body": "\0" * 8}
    answer = ask(guarded, token, "POST", path, {"records": [{"body": "x"}, trim]}, BASIN)
    assert "trim" in assert_refused(answer, 403, "permission_denied")
    assert ask(guarded, ROOT, "GET", f"{path}/tail", basin=BASIN).json()["tail"]["seq_num"] == 0
    fence = {"headers": [["", "fence"]], "body": "mine"}
    assert ask(guarded, token, "POST", path, {"records": [fence]}, BASIN).status == 200


# Where the secrets are.


def test_the_disk_has_keyed_hashes_only(make_server, root_file, tmp_path):
    server = make_server(options=("--root-token-file", str(root_file)))
    _, token = issue(server, scope=scope("list-basins"))
    verifier = token.rpartition("_")[2] if token.count("_") == 2 else token.split("_", 2)[2]
    server.kill()
    data = tmp_path / "data"
    for path in data.iterdir():
        content = path.read_bytes()
        assert verifier.encode() not in content
        assert ROOT.encode() not in content
    key = data / "token.key"
    assert (key.stat().st_mode & 0o777, key.stat().st_size) == (0o600, 32)
    server.start()
    assert ask(server, token, "GET", "/v1/basins").status == 200
    server.stop()
    # Another key: a copy of the database gives nobody access.
    key.write_bytes(os.urandom(32))
    server.start()
    assert ask(server, token, "GET", "/v1/basins").status == 401


def test_a_damaged_key_is_said(make_server, root_file, tmp_path, run_s2):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token.key").write_bytes(b"short")
    result = run_s2("lite", "--data", tmp_path / "data", "--port", 0, "--root-token-file", root_file)
    assert (result.returncode, b"token.key is damaged" in result.stderr) == (1, True), result


# Starting.


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_root_token_that_others_may_read_is_refused(run_s2, tmp_path, mode):
    path = tmp_path / "token"
    path.write_text(ROOT)
    path.chmod(mode)
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", path)
    assert result.returncode == 2
    assert f"chmod 600 {path}".encode() in result.stderr
    assert ROOT.encode() not in result.stdout + result.stderr


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "tök\n", "x" * 5000])
def test_a_root_token_that_is_none_is_refused(run_s2, tmp_path, content):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content)
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", path)
    assert (result.returncode, b"holds no token" in result.stderr) == (2, True), result


def test_a_missing_file_is_said(run_s2, tmp_path):
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", tmp_path / "none")
    assert (result.returncode, b"cannot read the root token" in result.stderr) == (1, True), result


def test_the_root_token_may_come_from_the_environment(monkeypatch, make_server):
    monkeypatch.setenv("S2_ROOT_TOKEN", "another-root-token")
    server = make_server(data=None)
    assert server.request("GET", "/v1/basins").status == 401
    assert ask(server, "another-root-token", "GET", "/v1/basins").status == 200
    assert ask(server, ROOT, "GET", "/v1/basins").status == 401


def test_other_machines_are_let_in_with_a_root_token_or_on_purpose(run_s2, root_file):
    result = run_s2("lite", "--memory", "--port", 0, "--host", "0.0.0.0")
    assert (result.returncode, b"--root-token-file" in result.stderr) == (2, True), result
    result = run_s2("lite", "--memory", "--no-auth", "--root-token-file", root_file)
    assert (result.returncode, b"exclude each other" in result.stderr) == (2, True), result


def test_with_a_root_token_the_server_may_be_reached_from_elsewhere(lite_process, root_file):
    class Wide(lite_process):
        host = "0.0.0.0"

    server = Wide(None, options=("--root-token-file", str(root_file))).start()
    try:
        assert server.request("GET", "/v1/basins").status == 401
    finally:
        server.stop()


def test_the_socket_of_ones_own_needs_no_token(make_server, root_file, tmp_path):
    place = str(tmp_path / "socket")
    make_server(options=("--root-token-file", str(root_file), "--socket", place))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(place)
        connection.sendall(b"GET /v1/basins HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_without_a_root_token_tokens_are_kept_and_not_asked_for(make_server, root_file):
    server = make_server()
    assert server.request("GET", "/v1/access-tokens").json() == {"access_tokens": [], "has_more": False}
    name, token = issue(server, by=None, scope=scope("list-basins"))
    for bearer in (None, "nonsense", token):
        assert ask(server, bearer, "POST", "/v1/basins", {"basin": f"named-basin-{next(_made)}"}).status == 201
    server.stop()
    guarded = make_server(options=("--root-token-file", str(root_file)))
    assert ask(guarded, token, "GET", "/v1/basins").status == 200
    assert ask(guarded, token, "POST", "/v1/basins", {"basin": f"named-basin-{next(_made)}"}).status == 403
    guarded.stop()
    server.start()
    assert server.request("DELETE", f"/v1/access-tokens/{name}").status == 204
    assert server.request("DELETE", f"/v1/access-tokens/{name}").status == 404


# Sessions.


@pytest.mark.parametrize("why", ["revoked", "expired"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_running_session_ends_with_its_token(guarded, method, why):
    stream = new_stream(guarded)
    members, end = token_that_ends(why)
    name, token = issue(guarded, scope=scope("read", "append"), **members)
    query = "?seq_num=0" if method == "GET" else ""
    headers = {"authorization": f"Bearer {token}"}
    with contextlib.closing(Session(guarded, method, stream, BASIN, query, headers)) as session:
        assert session.status == 200
        if method == "GET":
            assert session.batch() == ([], 0)
        else:
            session.append(b"x")
            assert session.ack() == (0, 1, 1)
        ended_s = end(guarded, name)
        status, body = session.terminal()
        assert -0.1 < time.time() - ended_s < 1
        assert (status, body["code"]) == (401, "authn")


@pytest.mark.parametrize("why", ["revoked", "expired"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_so_do_events_and_a_read_that_waits(guarded, accept, why):
    stream = new_stream(guarded)
    members, end = token_that_ends(why)
    name, token = issue(guarded, scope=scope("read"), **members)
    connection = http.client.HTTPConnection(guarded.host, guarded.port, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        headers = {"authorization": f"Bearer {token}", "s2-basin": BASIN, "accept": accept}
        query = "seq_num=0" if accept == "text/event-stream" else "seq_num=0&count=1&wait=60"
        connection.request("GET", f"/v1/streams/{stream}/records?{query}", headers=headers)
        if accept == "text/event-stream":
            response = connection.getresponse()
            ended_s = end(guarded, name)
        else:
            ended_s = end(guarded, name)
            response = connection.getresponse()
        said = response.read()
        assert -0.1 < time.time() - ended_s < 1
        assert b'"authn"' in said
        assert response.status == (200 if accept == "text/event-stream" else 401)


def new_stream(server):
    stream = f"sessions-{next(_made)}"
    assert ask(server, ROOT, "POST", "/v1/streams", {"stream": stream}, BASIN).status == 201
    return stream


def token_that_ends(why):
    """What to issue it with, and how to wait for its end: when that was."""
    if why == "revoked":

        def revoke(server, name):
            assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
            return time.time()

        return {}, revoke
    at = datetime.now(UTC) + timedelta(seconds=1)
    return {"expires_at": at.isoformat()}, lambda server, name: at.timestamp()


# Crashes.


def test_expiry_goes_on_after_a_crash_in_the_middle_of_it(make_server, root_file, tmp_path):
    server = make_server(options=("--root-token-file", str(root_file)))
    _, kept = issue(server, name="kept", scope=scope("list-basins"))
    server.stop()
    # Many more than one slice, expired for long.
    database = sqlite3.connect(tmp_path / "data" / "s2.db")
    with database:
        rows = ((b"expired-%05d" % at, str(at), b"", "{}", at + 1) for at in range(30_000))
        database.executemany("INSERT INTO token VALUES(?,?,?,?,0,'1970-01-01T00:00:00Z',?)", rows)
    database.close()

    def expired_rows():
        with sqlite3.connect(f"file:{tmp_path / 'data' / 's2.db'}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM token WHERE id <> CAST('kept' AS BLOB)").fetchone()[0]

    for _ in range(3):
        server.start()
        listed = ask(server, ROOT, "GET", "/v1/access-tokens").json()["access_tokens"]
        assert [one["id"] for one in listed] == ["kept", "root"]
        server.kill()
    server.start()
    deadline = time.monotonic() + TIMEOUT_S
    while expired_rows():
        assert time.monotonic() < deadline
    assert ask(server, kept, "GET", "/v1/basins").status == 200


def test_a_revoked_token_stays_revoked_after_a_crash(make_server, root_file):
    server = make_server(options=("--root-token-file", str(root_file)))
    tokens = [issue(server, scope=scope("list-basins")) for _ in range(10)]
    for name, _ in tokens[::2]:
        assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    server.kill()
    server.start()
    assert [ask(server, token, "GET", "/v1/basins").status for _, token in tokens] == [401, 200] * 5
