"""Access tokens from the issue to the end of the sessions that they opened, and through crashes."""

import asyncio
import contextlib
import http.client
import os
import sqlite3
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from support.bearers import BASIN, ROOT, ask, assert_refused, issue, made, scope
from support.s2s import Session
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError, S2Error
from s2cli.server.core import auth
from s2cli.server.core.auth import EXPIRY_CHECK_S, KEY_BYTES, KEY_NAME, Auth, Grant, Secrets, root_row
from s2cli.server.store.interface import TokenRow

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


# Sessions.


@pytest.mark.parametrize("why", ["revoked", "expired"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_running_session_ends_with_its_token(guarded_and_frozen, method, why):
    server = guarded_and_frozen
    stream = new_stream(server)
    members, end = token_that_ends(why, server)
    name, token = issue(server, scope=scope("read", "append"), **members)
    query = "?seq_num=0" if method == "GET" else ""
    headers = {"authorization": f"Bearer {token}"}
    with contextlib.closing(Session(server, method, stream, BASIN, query, headers)) as session:
        assert session.status == 200
        if method == "GET":
            assert session.batch() == ([], 0)
        else:
            session.append(b"x")
            assert session.ack() == (0, 1, 1)
        end(name)
        if method == "POST":
            session.half_close()  # else it waits for a client that may be sending
        status, body = session.terminal()
        assert (status, body["code"]) == (401, "authn")


@pytest.mark.parametrize("why", ["revoked", "expired"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_so_do_events_and_a_read_that_waits(guarded_and_frozen, accept, why):
    server = guarded_and_frozen
    stream = new_stream(server)
    members, end = token_that_ends(why, server)
    name, token = issue(server, scope=scope("read"), **members)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        headers = {"authorization": f"Bearer {token}", "s2-basin": BASIN, "accept": accept}
        query = "seq_num=0" if accept == "text/event-stream" else "seq_num=0&count=1&wait=3600"
        connection.request("GET", f"/v1/streams/{stream}/records?{query}", headers=headers)
        if accept == "text/event-stream":
            response = connection.getresponse()
            end(name)
        else:
            end(name)
            response = connection.getresponse()
        said = response.read()
        assert b'"authn"' in said
        assert response.status == (200 if accept == "text/event-stream" else 401)


def new_stream(server):
    stream = f"sessions-{next(made)}"
    assert ask(server, ROOT, "POST", "/v1/streams", {"stream": stream}, BASIN).status == 201
    return stream


def token_that_ends(why, server):
    """What to issue it with, and how to have it end."""
    if why == "revoked":

        def revoke(name):
            assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204

        return {}, revoke
    at = datetime.fromtimestamp(server.clock() / 1000 + 60, UTC)
    return {"expires_at": at.isoformat()}, lambda name: server.clock.advance(60)


# Crashes.


def test_expiry_goes_on_after_a_crash_in_the_middle_of_it(make_server, root_file, tmp_path):
    server = make_server(options=("--root-token-file", str(root_file)))
    _, kept = issue(server, name="kept", scope=scope("list-basins"))
    server.stop()
    # Many more than one slice, expired for long.
    database = sqlite3.connect(tmp_path / "data" / "s2.db")
    with database:
        rows = ((b"expired-%05d" % at, str(at), b"", "{}", at + 1) for at in range(30_000))
        columns = "id, selector, hash, scope, auto_prefix, expires, expires_ms"
        values = "?, ?, ?, ?, 0, '1970-01-01T00:00:00Z', ?"
        database.executemany(f"INSERT INTO token({columns}) VALUES({values})", rows)
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
    until(lambda: not expired_rows())
    assert ask(server, kept, "GET", "/v1/basins").status == 200


def test_a_revoked_token_stays_revoked_after_a_crash(make_server, root_file):
    server = make_server(options=("--root-token-file", str(root_file)))
    tokens = [issue(server, scope=scope("list-basins")) for _ in range(10)]
    for name, _ in tokens[::2]:
        assert ask(server, ROOT, "DELETE", f"/v1/access-tokens/{name}").status == 204
    server.kill()
    server.start()
    assert [ask(server, token, "GET", "/v1/basins").status for _, token in tokens] == [401, 200] * 5


# Without a server.


class Tokens:
    """A store of tokens by selector; `asked` are those that it was asked for."""

    def __init__(self):
        self.rows = {}
        self.asked = []

    async def get_token(self, selector):
        self.asked.append(selector)
        return self.rows.get(selector)

    def issue(self, selector, verifier, secrets, token_id="token"):
        self.rows[selector] = TokenRow(token_id, selector, secrets.hash(verifier), root_row().scope)
        return b"Bearer s2_%b_%b" % (selector.encode(), verifier.encode())


def test_the_store_is_asked_for_selectors_alone():
    async def run():
        store, secrets = Tokens(), Secrets(None)
        auth = Auth(store, lambda: 0, secrets, "root-token")
        assert (await auth.authenticate(b"bearer  root-token ")).id == "root"
        for value in (
            b"Bearer s2_short_x",
            b"Bearer s2_%b_x" % (b"l" * 17),
            b"Bearer x",
            b"Bearer ",
            b"Basic s2_x",
            None,
        ):
            with pytest.raises(ApiError) as refused:
                await auth.authenticate(value)
            assert refused.value.code == "authn"
        assert store.asked == []
        secret = store.issue("s" * 16, "verifier", secrets)
        for _ in range(2):
            assert (await auth.authenticate(secret)).id == "token"
        assert store.asked == ["s" * 16]
        with pytest.raises(ApiError):
            await auth.authenticate(secret + b"x")

    asyncio.run(run())


def test_a_token_that_is_revoked_ends_and_the_others_stay_known():
    async def run():
        store, secrets = Tokens(), Secrets(None)
        auth = Auth(store, lambda: 0, secrets, "root-token")
        gone = store.issue("a" * 16, "one", secrets, "gone")
        stays = store.issue("b" * 16, "two", secrets, "stays")
        grant = await auth.authenticate(gone)
        assert (await auth.authenticate(stays)).id == "stays"
        told = []
        grant.watch(told.append, lambda: 0)
        del store.rows["a" * 16]
        auth.revoked("gone")
        assert [error.code for error in told] == ["authn"]
        with pytest.raises(ApiError):
            await auth.authenticate(gone)
        assert (await auth.authenticate(stays)).id == "stays"
        assert store.asked == ["a" * 16, "b" * 16, "a" * 16]

    asyncio.run(run())


@pytest.mark.parametrize(("before", "after"), ["ab", "ba"])
def test_an_id_that_is_issued_anew_is_another_token_whatever_its_selector(before, after):
    async def run():
        store, secrets = Tokens(), Secrets(None)
        auth = Auth(store, lambda: 0, secrets, "root-token")
        first = await auth.authenticate(store.issue(before * 16, "one", secrets))
        second = await auth.authenticate(store.issue(after * 16, "two", secrets))
        assert second is not first
        assert second.selector == after * 16

    asyncio.run(run())


def test_a_session_is_told_when_its_token_expires_and_not_before(monkeypatch):
    now_ms, timers, told = 0, [], []
    loop = SimpleNamespace(call_later=lambda wait_s, *call: timers.append((wait_s, call)))
    monkeypatch.setattr(auth, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    row = root_row()
    row.expires_at_ms = 40_000
    grant = Grant(row)
    grant.watch(told.append, lambda: now_ms)
    # Clocks are set: it looks at the time in between.
    for wait_s, at_ms in (EXPIRY_CHECK_S, 30_000), (10, 39_999), (0.001, 40_000):
        assert told == []
        assert timers[-1][0] == wait_s
        now_ms = at_ms
        _, (function, *arguments) = timers[-1]
        function(*arguments)
    assert [error.code for error in told] == ["authn"]
    assert len(timers) == 3
    grant.watch(told.append, lambda: now_ms)
    assert len(told) == 2


@pytest.mark.parametrize("size", [0, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_key_of_another_size_is_damaged(tmp_path, size):
    assert Secrets(tmp_path).hash("verifier") == Secrets(tmp_path).hash("verifier")
    (tmp_path / KEY_NAME).write_bytes(bytes(size))
    with pytest.raises(S2Error, match="is damaged: it must have 32 bytes"):
        Secrets(tmp_path).hash("verifier")
