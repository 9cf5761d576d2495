"""Access tokens: what each lets its bearer do, operation by operation."""

import time
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from support.bearers import BASIN, OTHER_BASIN, ROOT, ask, assert_allowed, assert_refused, issue, made, scope

from s2cli.wire.names import OP_GROUPS, OPERATIONS

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


def perform(server, op, token, prefix="mine-"):
    """One request that is that operation, on a resource whose name begins with `prefix` (of a stream: in BASIN)."""
    name = f"{prefix}{next(made):06}"
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

    def test_is_refused_with_an_expired_token(self, guarded_and_frozen, op, expired):
        assert_refused(perform(guarded_and_frozen, op, expired), 401, "authn")

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
def expired(guarded_and_frozen):
    """The token of a server whose time stands still just behind it."""
    server = guarded_and_frozen
    at = datetime.fromtimestamp(server.clock() / 1000 + 60, UTC)
    _, token = issue(server, scope=scope(*OPERATIONS), expires_at=at.isoformat())
    server.clock.advance(59.999)
    assert_allowed(ask(server, token, "GET", "/v1/basins"))
    server.clock.advance(0.001)
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
    name = f"named-basin-{next(made)}"
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
