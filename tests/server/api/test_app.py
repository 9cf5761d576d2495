"""Routing, methods, errors and limits: what is the same for every operation."""

import gzip
import json
import socket

import pytest
import zstandard
from support.waiting import TIMEOUT_S

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_health(shared_server, path):
    answer = shared_server.request("GET", path)
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["content-type"].startswith("text/plain")
    head = shared_server.request("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "2")
    assert shared_server.request("POST", path).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/basins/",
        "/v1/basins/my-basin/",
        "/v1/basins/my-basin/more",
        "/v1/streams/",
        "/v1/streams//records",
        "/v1/streams/a/records/",
        "/v1/streams/a/records/head",
        "/v1/streams/a/b/records",
        "/v2/basins",
        "/health/",
        "/v1%2Fbasins",
        "/v1/access-token",
        "/v1/metric",
    ],
)
def test_an_unknown_path_is_an_empty_404(shared_server, path):
    answer = shared_server.request("GET", path, headers={"s2-basin": "some-basin"})
    assert (answer.status, answer.body, answer.headers["content-length"]) == (404, b"", "0")
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/basins", "GET, POST, HEAD"),
        ("POST", "/v1/basins/my-basin", "GET, PUT, PATCH, DELETE, HEAD"),
        ("DELETE", "/v1/streams", "GET, POST, HEAD"),
        ("POST", "/v1/streams/a", "GET, PUT, PATCH, DELETE, HEAD"),
        ("PUT", "/v1/streams/a/records", "POST, GET, HEAD"),
        ("POST", "/v1/streams/a/records/tail", "GET, HEAD"),
        ("OPTIONS", "/v1/basins", "GET, POST, HEAD"),
    ],
)
def test_a_wrong_method_is_an_empty_405(shared_server, method, path, allow):
    answer = shared_server.request(method, path)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (405, b"", "0")
    assert answer.headers["allow"] == allow


def test_head_works_where_get_does(shared_server, basin):
    shared_server.create_stream(basin, "s")
    for path in f"/v1/basins/{basin}", "/v1/basins", "/v1/streams/s", "/v1/streams", "/v1/streams/s/records/tail":
        get = shared_server.request("GET", path, basin=basin)
        head = shared_server.request("HEAD", path, basin=basin)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
    missing = shared_server.request("HEAD", "/v1/basins/no-such-basin")
    assert (missing.status, missing.body) == (404, b"")


def test_an_error_has_the_deployed_and_the_published_form(shared_server):
    answer = shared_server.request("GET", "/v1/basins/no-such-basin")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "code": "basin_not_found",
        "message": "basin `no-such-basin` not found",
        "error": "basin_not_found",
    }


def assert_refused(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert answer.json()["error"] == "validation_error"
    return answer.json()["message"]


def test_the_stream_routes_need_a_basin(shared_server):
    for method, path in (
        ("GET", "/v1/streams"),
        ("GET", "/v1/streams/a"),
        ("DELETE", "/v1/streams/a"),
        ("GET", "/v1/streams/a/records/tail"),
        ("POST", "/v1/streams/a/records"),
    ):
        assert assert_refused(shared_server.request(method, path), 400, "bad_header") == "Missing header `s2-basin`"
        message = assert_refused(shared_server.request(method, path, basin="Bad_Basin"), 400, "bad_header")
        assert message.startswith("Invalid header `s2-basin`: ")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/basins/UPPER-CASE", "lowercase"),
        ("/v1/basins/short", "between 8 and 48"),
        ("/v1/streams/" + "x" * 513, "Stream name must be between 1 and 512 bytes"),
        ("/v1/streams/" + "%C3%A4" * 257 + "/records/tail", "Stream name must be between 1 and 512 bytes"),
        ("/v1/streams/%2E%2e", '"." or ".."'),
        ("/v1/streams/a%00b", "NUL"),
        ("/v1/streams/a%00b/records", "NUL"),
        ("/v1/streams/%FF", "UTF-8"),
    ],
)
def test_a_bad_name_in_the_path(shared_server, basin, path, words):
    assert words in assert_refused(shared_server.request("GET", path, basin=basin), 400, "bad_path")


def test_names_of_streams_are_decoded_once(shared_server, basin):
    names = ["a/b/c", "a%2Fb", "spaces and ?&#", "ünïcødé/☃", "...", "a+b", "%", "\x01\x7f\n"]
    for name in names:
        shared_server.create_stream(basin, name)
    listed = [info["name"] for info in shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"]]
    assert listed == sorted(names, key=str.encode)
    for name in names:
        escaped = "".join(f"%{byte:02x}" for byte in name.encode())
        assert shared_server.request("GET", f"/v1/streams/{escaped}", basin=basin).status == 200
        assert shared_server.request("GET", f"/v1/streams/{escaped}/records/tail", basin=basin).status == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b'{"basin":"some-basin"}'),
        ({"content-type": "text/plain"}, b'{"basin":"some-basin"}'),
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b"\xff"),
        (JSON, b"[]"),
        (JSON, b"null"),
        (JSON, b"[" * 100_000),
        (JSON, b'{"basin":"some-basin","unknown":' + b"[" * 100_000),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_json_body(shared_server, headers, body):
    assert_refused(shared_server.request("POST", "/v1/basins", headers=headers, body=body), 400, "bad_json")


def test_any_json_media_type_will_do(shared_server):
    for media_type in "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.s2+json":
        answer = shared_server.request("POST", "/v1/basins", headers={"content-type": media_type}, body=b"{}")
        assert assert_refused(answer, 400, "bad_json") == "missing field `basin`"


def test_a_unary_body_ends_at_2_mib(shared_server):
    limit = 2 * 1024 * 1024
    filler = b'{"filler":"%s"}'
    fits = filler % (b"x" * (limit - len(filler) + 2))
    assert len(fits) == limit
    answer = shared_server.request("POST", "/v1/basins", headers=JSON, body=fits)
    assert assert_refused(answer, 400, "bad_json") == "missing field `basin`"
    answer = shared_server.request("POST", "/v1/basins", headers=JSON, body=fits + b" ")
    assert "exceeds 2 MiB" in assert_refused(answer, 400, "bad_json")

    # Read to its end, so that the client gets to see the answer.
    answer = shared_server.request("POST", "/v1/basins", headers=JSON, body=bytes(8 * limit))
    assert "exceeds 2 MiB" in assert_refused(answer, 400, "bad_json")

    def pieces():
        for _ in range(33):
            yield b" " * 65536

    answer = shared_server.request("POST", "/v1/basins", headers=JSON, body=pieces())
    assert "exceeds 2 MiB" in assert_refused(answer, 400, "bad_json")


def test_a_body_that_has_no_end_is_cut_off(shared_server):
    head = b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(head + b"content-length: 1000000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(piece * 64)


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("ZSTD", zstandard.compress)])
def test_a_body_may_be_compressed(shared_server, unique_basin, encoding, encode):
    headers = {**JSON, "content-encoding": encoding}
    body = json.dumps({"basin": unique_basin()}).encode()
    assert shared_server.request("POST", "/v1/basins", headers=headers, body=encode(body)).status == 201
    answer = shared_server.request("POST", "/v1/basins", headers=headers, body=body)
    assert_refused(answer, 400, "bad_json")
    bomb = encode(b" " * (2 * 1024 * 1024 + 1))
    answer = shared_server.request("POST", "/v1/basins", headers=headers, body=bomb)
    assert "inflates to more than" in assert_refused(answer, 400, "bad_json")


def test_an_unknown_compression_is_415(shared_server):
    headers = {**JSON, "content-encoding": "br"}
    assert_refused(shared_server.request("POST", "/v1/basins", headers=headers, body=b"{}"), 415, "bad_header")


def test_a_body_in_many_pieces_and_a_late_one(shared_server):
    body = json.dumps({"basin": f"in-pieces-{shared_server.port}"}).encode()
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as connection:
        head = b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body))
        for byte in body:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_expect_100_continue(shared_server):
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(
            b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(shared_server):
    for _ in range(3):
        with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(
                b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )
    assert shared_server.request("GET", "/health").status == 200


def test_a_body_that_does_not_come_is_given_up(make_thread_server, monkeypatch):
    monkeypatch.setattr("s2cli.server.http.exchange.UNARY_BODY_TIMEOUT_S", 0.1)
    server = make_thread_server()
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(
            b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer


def test_no_token_is_asked_for(shared_server):
    for headers in {}, {"authorization": "Bearer anything"}:
        assert shared_server.request("GET", "/v1/basins", headers=headers).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "limit=18446744073709551616",
        "limit=1_0",
        "prefix=%FF",
        "prefix=%00",
    ],
)
def test_a_bad_query(shared_server, basin, query):
    assert_refused(shared_server.request("GET", f"/v1/streams?{query}", basin=basin), 400, "bad_query")
