"""What a command says once it has ended: near names for one that is not there, a storage class that nobody knows."""

import http.server
import json
import threading

import pytest


@pytest.fixture
def logs(shared_server, basin):
    for name in ("web", "web/eu 1", "worker", "other"):
        shared_server.create_stream(basin, name)
    return basin


@pytest.mark.parametrize(
    "line",
    ["read URI", "tail URI", "read -f URI", "check-tail URI", "append URI", "streams get URI", "get URI",
     "delete -y URI", "fence URI t", "streams reconfigure URI --retention-policy 1d", "read --stream URI"],
)  # fmt: skip
def test_a_stream_that_is_not_there_has_near_ones_named(s2, logs, line):
    done = s2(*line.replace("URI", f"s2://{logs}/wbe").split(), stdin=b"x\n", code=3)
    assert f"hint: did you mean s2://{logs}/web?" in done.stderr.decode().splitlines()[-1]


def test_a_hint_can_be_pasted(s2, logs):
    hint = s2("read", f"s2://{logs}/web/eu1", code=3).stderr.decode().splitlines()[-1]
    assert hint.startswith(f"hint: did you mean 's2://{logs}/web/eu 1'? ")


def test_names_that_are_not_near_are_not_named(s2, logs):
    assert b"did you mean" not in s2("read", f"s2://{logs}/zzzzzz", code=3).stderr


def test_a_basin_that_is_not_there_has_near_ones_named(s2, shared_server, unique_basin):
    name = unique_basin() + "-shop"
    shared_server.create_basin(name)
    for line in ("get", "list", "ls", "streams list", "basins get", "delete -y"):
        for prefix in ("", "s2://"):  # as it was typed
            done = s2(*line.split(), f"{prefix}{name}s", code=3)
            assert f"hint: did you mean {prefix}{name}?" in done.stderr.decode(), line
    assert f"did you mean s2://{name}/a?" in s2("read", f"s2://{name}s/a", code=3).stderr.decode()


def test_an_access_token_that_is_not_there_has_near_ones_named(s2, shared_server):
    shared_server.request("POST", "/v1/access-tokens", json_body={"id": "nightly-ci", "scope": {"ops": ["append"]}})
    assert b"did you mean nightly-ci?" in s2("tokens", "revoke", "nightly-cl", code=3).stderr


class Counting(http.server.BaseHTTPRequestHandler):
    """A server that has no stream, refuses lists, and creates anything."""

    def do_GET(self):
        self.server.paths.append(self.path.partition("?")[0])
        code, status = ("permission_denied", 403) if self.path.startswith("/v1/streams?") else (self.server.code, 404)
        if self.path == "/v1/locations" and self.server.locations is not None:
            return self.answer(200, self.server.locations)
        if self.path.startswith("/v1/access-tokens?") and self.server.tokens is not None:
            return self.answer(200, {"access_tokens": self.server.tokens, "has_more": False})
        return self.answer(status, {"code": code, "message": "no"})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(201, {"name": "s", "created_at": "2026-01-01T00:00:00Z"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def counting():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        server.paths = []
        server.locations = [{"name": "x"}]
        server.tokens = None
        server.code = "stream_not_found"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        server.env = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
        yield server
        server.shutdown()


def test_who_may_not_list_is_told_what_was_told_before_after_one_call(run_s2, counting):
    done = run_s2("streams", "get", "s2://some-basin/wbe", env=counting.env)
    assert done.returncode == 3
    assert b"did you mean" not in done.stderr
    assert counting.paths == ["/v1/streams/wbe", "/v1/streams"]


@pytest.mark.parametrize("code", ["stream_not_found", "basin_not_found", "access_token_not_found", "place_not_found"])
@pytest.mark.parametrize(
    "line", ["locations list", "locations get-default", "tokens list", "basins list", "streams get s2://a-basin-x/y"]
)
def test_any_404_ends_with_3_and_what_the_server_said(run_s2, counting, line, code):
    counting.code, counting.locations = code, None
    done = run_s2(*line.split(), env=counting.env)
    assert (done.returncode, b": no\n" in done.stderr) == (3, True), done.stderr


CREATES = ["create s2://BASIN/c --storage-class fast", "streams create s2://BASIN/c --storage-class fast",
           "ensure s2://BASIN/c --storage-class fast", "append --create s2://BASIN/c --storage-class fast",
           "create-stream s2://BASIN/c --storage-class fast"]  # fmt: skip


@pytest.mark.parametrize("line", CREATES)
def test_a_storage_class_that_no_location_has_is_created_with_a_warning(s2, basin, line):
    done = s2(*line.replace("BASIN", basin).split(), "-q", stdin=b"x\n")
    assert done.stderr.decode().startswith('warning: no location has the storage class "fast": there are ')
    assert json.loads(s2("get", f"s2://{basin}/c", "-o", "json").stdout)["storage_class"] == "fast"


def test_known_classes_and_none_cost_no_call(run_s2, counting):
    for options in ([], ["--storage-class", "express"], ["--storage-class", "standard"]):
        assert run_s2("streams", "create", "s2://some-basin/s", *options, env=counting.env).returncode == 0
    assert counting.paths == []


@pytest.mark.parametrize(
    ("locations", "warned"),
    [
        ([{"name": "x"}], False),
        ([{"name": "x", "storage_classes": ["cold"]}, {"name": "y"}], False),
        ([{"name": "x", "storage_classes": ["cold"]}, {"name": "y", "storage_classes": ["fast"]}], False),
        ([{"name": "x", "storage_classes": ["cold"]}], True),
        ([{"name": "x", "storage_classes": []}], True),
        ({"no": "list"}, False),
    ],
)
def test_only_a_server_that_tells_its_classes_is_believed(run_s2, counting, locations, warned):
    counting.locations = locations
    done = run_s2("create", "s2://some-basin/s", "--storage-class", "fast", env=counting.env)
    assert (done.returncode, b"warning" in done.stderr) == (0, warned)
    assert counting.paths == ["/v1/locations"]


@pytest.mark.parametrize("command", [("tokens", "list"), ("list-access-tokens",)])
@pytest.mark.parametrize("value", [None, 5, "x", [], [1], {"a": 1}, {"prefix": 5}, {"read": 5}])
def test_what_a_server_says_of_tokens_may_be_anything(run_s2, counting, command, value):
    scopes = [value, *({part: value} for part in ("basins", "streams", "access_tokens", "ops", "op_groups"))]
    counting.tokens = [{"id": "x", "scope": scope} for scope in scopes] + [{}]
    done = run_s2(*command, env=counting.env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"x") >= len(scopes)
