"""The routes, errors and curl examples of the published Introduction (protocol section 16), beside the deployed API."""

import json
import subprocess

import pytest
from support.waiting import TIMEOUT_S

from s2cli.wire.s2_pb2 import AppendAck, AppendInput, ReadBatch


def curl(*arguments, stdin=b""):
    """What curl prints, as bytes, and the status."""
    command = ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


TOKEN = ("-H", "Authorization: Bearer YOUR_ACCESS_TOKEN")
JSON = ("-H", "Content-Type: application/json")


@pytest.fixture
def stream(shared_server, basin):
    """The path of a new stream by the routes of the page."""
    status, _ = curl("-X", "POST", *TOKEN, *JSON, "-d", '{"stream":"my-stream"}', streams_of(shared_server, basin))
    assert status == 201
    return f"/v1/basins/{basin}/streams/my-stream"


def streams_of(server, basin):
    return f"{server.url}/v1/basins/{basin}/streams"


def append(server, stream, *bodies, **members):
    body = {"records": [{"body": body} for body in bodies], **members}
    return server.request("POST", f"{stream}/append", json_body=body)


def test_creating_a_basin_with_curl(shared_server, unique_basin):
    name = unique_basin()
    body = json.dumps({"basin": name, "config": {"storage_class": "standard"}})
    status, said = curl("-X", "POST", f"{shared_server.url}/v1/basins", *TOKEN, *JSON, "-d", body)
    assert status == 201
    assert json.loads(said)["name"] == name
    config = shared_server.request("GET", f"/v1/basins/{name}").json()
    assert config["default_stream_config"]["storage_class"] == "standard"
    assert "storage_class" not in config
    shared_server.create_stream(name)
    assert shared_server.request("GET", "/v1/streams/stream", basin=name).json()["storage_class"] == "standard"


def test_appending_protobuf_with_curl(shared_server, stream, tmp_path):
    message = AppendInput()
    message.records.add(body=b"\x00binary\xff").headers.add(name=b"n", value=b"v")
    path = tmp_path / "records.bin"
    path.write_bytes(message.SerializeToString())
    kinds = ("-H", "Content-Type: application/protobuf", "-H", "Accept: application/protobuf")
    append_url = f"{shared_server.url}{stream}/append"
    status, said = curl("-X", "POST", append_url, *TOKEN, *kinds, "--data-binary", f"@{path}")
    assert (status, AppendAck.FromString(said).end.seq_num) == (200, 1)
    status, said = curl(f"{shared_server.url}{stream}/read", *TOKEN, *kinds[2:])
    assert (status, ReadBatch.FromString(said).records[0].body) == (200, b"\x00binary\xff")


def test_reading_with_curl(shared_server, stream):
    url = f"{shared_server.url}{stream}/read?count=100"
    assert curl(url, *TOKEN) == (200, b'{"records":[]}')
    assert append(shared_server, stream, "one", "two").status == 200
    status, said = curl(url, *TOKEN)
    assert status == 200
    assert [record["body"] for record in json.loads(said)["records"]] == ["one", "two"]


def test_reading_events_with_curl(shared_server, stream):
    events = ("-N", "-H", "Accept: text/event-stream")
    url = f"{shared_server.url}{stream}/read?count=1"
    status, said = curl(*events, *TOKEN, url)
    assert (status, b"[DONE]" in said) == (200, True)
    append(shared_server, stream, "event")
    status, said = curl(*events, *TOKEN, url)
    assert (status, b'"body":"event"' in said, b"event: batch" in said) == (200, True, True)


def test_a_request_token_and_compression_with_curl(shared_server, stream, tmp_path):
    import gzip

    url = f"{shared_server.url}{stream}/append"
    token = ("-H", f"s2-request-token: {stream.split('/')[3][-20:]}-intro")
    once = [curl("-X", "POST", url, *TOKEN, *JSON, *token, "-d", '{"records":[{"body":"1"}]}') for _ in range(2)]
    assert once[0] == once[1]
    assert once[0][0] == 200
    path = tmp_path / "body.gz"
    path.write_bytes(gzip.compress(b'{"records":[{"body":"packed"}]}'))
    status, _ = curl("-X", "POST", url, *TOKEN, *JSON, "-H", "Content-Encoding: gzip", "--data-binary", f"@{path}")
    assert status == 200
    status, said = curl(f"{shared_server.url}{stream}/read", *TOKEN, "--compressed", "-H", "Accept-Encoding: gzip")
    assert [record["body"] for record in json.loads(said)["records"]] == ["1", "packed"]


def test_streams_as_resources(shared_server, basin):
    def send(method, path="", body=None):
        return shared_server.request(method, f"/v1/basins/{basin}/streams{path}", json_body=body)

    assert send("POST", body={"stream": "a/b"}).status == 201
    assert send("PUT", "/c", {"storage_class": "standard"}).status == 201
    assert [info["name"] for info in send("GET").json()["streams"]] == ["a/b", "c"]
    page = send("GET", "?prefix=a&limit=1").json()
    assert ([info["name"] for info in page["streams"]], page["has_more"]) == (["a/b"], False)
    assert send("GET", "/a%2Fb").json()["storage_class"] == "express"
    assert send("GET", "/a/b").status == 404
    assert send("PATCH", "/c", {"retention_policy": {"age": 5}}).json()["retention_policy"] == {"age": 5}
    assert shared_server.request("GET", "/v1/streams/c", basin=basin).json()["retention_policy"] == {"age": 5}
    assert (send("DELETE", "/c").status, send("DELETE", "/none").status) == (202, 404)
    assert send("HEAD", "/a%2Fb").status == 200
    answer = send("DELETE", "")
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET, POST, HEAD", b"")
    assert send("GET", "/a%2Fb/append").status == 405
    # The names of the deployed routes are not doubled here.
    assert send("GET", "/a%2Fb/records").status == 404


def test_the_tail_and_the_deployed_prefix(shared_server, stream, basin):
    assert append(shared_server, stream, "one").status == 200
    assert shared_server.request("GET", f"{stream}/tail").json()["tail"]["seq_num"] == 1
    short = "/v1/streams/my-stream"
    body = {"records": [{"body": "two"}]}
    assert shared_server.request("POST", f"{short}/append", basin=basin, json_body=body).status == 200
    read = shared_server.request("GET", f"{short}/read", basin=basin).json()["records"]
    assert [record["body"] for record in read] == ["one", "two"]
    assert shared_server.request("GET", f"{short}/tail", basin=basin).json()["tail"]["seq_num"] == 2
    assert shared_server.request("GET", f"{short}/read").status == 400


def test_where_a_read_begins(shared_server, stream, basin):
    for _ in range(3):
        append(shared_server, stream, "record")

    def read(query):
        return shared_server.request("GET", f"{stream}/read{query}")

    assert [record["seq_num"] for record in read("").json()["records"]] == [0, 1, 2]
    assert [record["seq_num"] for record in read("?tail_offset=1").json()["records"]] == [2]
    assert [record["seq_num"] for record in read("?seq_num=1&count=1").json()["records"]] == [1]
    # A start that is given is taken at its word, as on the deployed route, which without one begins at the tail.
    assert read("?seq_num=3").status == 416
    assert read("?seq_num=9").json()["tail"]["seq_num"] == 3
    assert shared_server.request("GET", "/v1/streams/my-stream/records", basin=basin).status == 416
    assert read("?count=x").status == 400
    assert read("?%FF").status == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "", {"stream": "x" * 513}, 400, "bad_json"),
        ("GET", "/" + "x" * 513, None, 400, "bad_path"),
        ("PUT", "/s", {"retention_policy": {"age": 0}}, 400, "invalid"),
        ("POST", "/my-stream/append", {"records": []}, 400, "invalid"),
        ("POST", "/my-stream/append", {"records": 5}, 400, "bad_json"),
        ("GET", "/my-stream/read?seq_num=1&tail_offset=1", None, 400, "invalid"),
        ("GET", "/none", None, 404, "stream_not_found"),
        ("GET", "/none/read", None, 404, "stream_not_found"),
        ("POST", "", {"stream": "my-stream"}, 409, "resource_already_exists"),
    ],
)
def test_errors(shared_server, stream, basin, method, path, body, status, code):
    answer = shared_server.request(method, f"/v1/basins/{basin}/streams{path}", json_body=body)
    assert (answer.status, answer.json()["code"]) == (status, code)
    is_validation = code in ("bad_json", "bad_path", "bad_query", "bad_header", "bad_proto", "invalid")
    assert answer.json()["error"] == ("validation_error" if is_validation else code)
    if "x" * 513 in path or (body and body.get("stream", "") == "x" * 513):
        assert answer.json()["message"] == "Stream name must be between 1 and 512 bytes"


def test_a_condition_that_failed(shared_server, stream, basin):
    answer = append(shared_server, stream, "x", match_seq_num=5)
    assert (answer.status, answer.headers["content-type"]) == (409, "application/json")
    said = answer.json()
    assert (said.pop("error"), said.pop("code"), said.pop("seq_num_mismatch")) == ("condition_failed",) * 2 + (0,)
    assert list(said) == ["message"]
    answer = append(shared_server, stream, "x", fencing_token="other")
    assert (answer.status, answer.json()["fencing_token_mismatch"]) == (409, "")
    # The deployed route answers in its own way.
    body = {"records": [{"body": "x"}], "match_seq_num": 5}
    answer = shared_server.request("POST", "/v1/streams/my-stream/records", basin=basin, json_body=body)
    assert (answer.status, answer.json()) == (412, {"seq_num_mismatch": 0})


def test_a_bad_basin_in_the_path(shared_server):
    for path in "/v1/basins/UPPER/streams", "/v1/basins/UPPER/streams/s/read", "/v1/basins/UPPER/streams/s":
        answer = shared_server.request("GET", path)
        assert (answer.status, answer.json()["code"]) == (400, "bad_path")
    answer = shared_server.request("GET", "/v1/basins/no-such-basin/streams")
    assert (answer.status, answer.json()["code"]) == (404, "basin_not_found")


def test_names_of_basins_that_disagree(shared_server, stream, basin):
    for path in f"/v1/basins/{basin}/streams", stream, f"{stream}/tail":
        assert shared_server.request("GET", path, basin=basin).status == 200
        answer = shared_server.request("GET", path, basin="another-basin")
        assert (answer.status, answer.json()["code"]) == (400, "bad_header")
        assert basin in answer.json()["message"]


def test_basins_by_host(make_server):
    server = make_server(data=None, options=("--base-domain", "s2.example.com"))
    server.create_basin("first-basin")
    server.create_basin("other-basin")
    server.create_stream("first-basin")

    def get(path, host, basin=None):
        return server.request("GET", path, basin=basin, headers={"host": host})

    for host in "first-basin.s2.example.com", "First-Basin.S2.example.com:8080", "first-basin.s2.example.com.":
        assert get("/v1/streams/stream/records/tail", host).status == 200
        assert get("/v1/streams", host).json()["streams"][0]["name"] == "stream"
        assert get("/v1/streams/stream", host, basin="first-basin").status == 200
        assert get("/v1/basins/first-basin/streams/stream/tail", host).status == 200
        for path, basin in (("/v1/streams/stream", "other-basin"), ("/v1/basins/other-basin/streams", None)):
            answer = get(path, host, basin)
            assert (answer.status, answer.json()["code"]) == (400, "bad_header")
    # Other hosts name nothing, and neither does what cannot be a basin.
    for host in "first-basin.localhost", "account.s2.example.com", "s2.example.com", "a.first-basin.s2.example.com":
        assert get("/v1/streams/stream", host).json()["message"] == "Missing header `s2-basin`"
        assert get("/v1/streams/stream", host, basin="first-basin").status == 200
    assert get("/v1/basins", "account.s2.example.com").status == 200
    status, said = curl(
        "--http2-prior-knowledge",
        "-H",
        "Host: first-basin.s2.example.com",
        f"{server.url}/v1/streams/stream/tail",
    )
    assert (status, json.loads(said)["tail"]["seq_num"]) == (200, 0)


def test_the_host_names_no_basin_unless_told(shared_server, basin):
    answer = shared_server.request("GET", "/v1/streams", headers={"host": f"{basin}.localhost"})
    assert answer.json()["message"] == "Missing header `s2-basin`"
