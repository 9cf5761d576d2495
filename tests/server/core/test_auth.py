"""Access tokens: where their secrets are, how they end, with their sessions too, and what crashes leave of them."""

import asyncio
import contextlib
import http.client
import os
import sqlite3
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from support.bearers import BASIN, ROOT, ask, issue, made, scope
from support.s2s import Session
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError, S2Error
from s2cli.server.core import auth
from s2cli.server.core.auth import EXPIRY_CHECK_S, KEY_BYTES, KEY_NAME, Auth, Grant, Secrets, root_row
from s2cli.server.store.interface import TokenRow
from s2cli.server.store.sqlite.checksums import insert_sealed

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
        for at in range(30_000):
            row = (b"expired-%05d" % at, str(at), b"", "{}", 0, "1970-01-01T00:00:00Z", at + 1)
            insert_sealed(database, "token", [row])
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

    confirm = None  # nobody else uses it

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
    # Clocks are set: it checks the time in between.
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
