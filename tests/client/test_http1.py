"""HTTP/1.1 without a socket: requests as bytes, responses in any split."""

import pytest

from s2cli.client.http1 import MAX_HEAD_BYTES, Http1
from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError


def answered(data, splits="whole", method="GET", body=b""):
    http = Http1("host:80")
    http.request(method, "/", [], body)
    pieces = [data] if splits == "whole" else [data[at : at + 1] for at in range(len(data))]
    return http, b"".join(http.receive(piece) for piece in pieces)


@pytest.fixture(params=["whole", "bytes"])
def splits(request):
    return request.param


def test_a_request_without_a_body():
    http = Http1("host:80")
    data = http.request("GET", "/v1/x?a=b", [("accept", "y")], b"")
    assert data == b"GET /v1/x?a=b HTTP/1.1\r\nhost: host:80\r\naccept: y\r\n\r\n"


def test_a_request_with_a_body():
    data = Http1("h").request("POST", "/", [], b"body")
    assert data.endswith(b"content-length: 4\r\n\r\nbody")
    assert b"content-length: 0\r\n" in Http1("h").request("POST", "/", [], b"")


def test_a_request_whose_body_follows():
    http = Http1("h")
    assert http.request("POST", "/", [], None).endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert b"".join(http.body([b"abc", b"", b"d" * 13])) == b"10\r\nabc" + b"d" * 13 + b"\r\n"
    assert http.end() == b"0\r\n\r\n"


def test_a_line_end_in_a_header_is_refused():
    with pytest.raises(ProtocolError, match="line end"):
        Http1("h").request("GET", "/", [("authorization", "Bearer x\r\nevil: y")], b"")


def test_a_body_with_a_length(splits):
    http, body = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello", splits)
    assert (http.status, body, http.ended, http.reusable) == (200, b"hello", True, True)
    assert http.headers == {"content-length": "5", "x-a": "1, 2"}


def test_a_body_in_chunks(splits):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    http, body = answered(head + b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n", splits)
    assert (body, http.ended, http.reusable) == (b"hello0123456789", True, True)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"200 OK\r\ncontent-length: 0"])
def test_no_body(status, splits):
    http, body = answered(b"HTTP/1.1 " + status + b"\r\n\r\n", splits)
    assert (body, http.ended) == (b"", True)


def test_informational_answers_are_passed_over(splits):
    informational = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n"
    http, body = answered(informational + b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", splits)
    assert (http.status, body, "link" in http.headers) == (200, b"x", False)


def test_a_body_that_ends_with_the_connection():
    http, body = answered(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert (body, http.ended) == (b"abc", False)
    assert http.receive(b"def") == b"def"
    assert http.receive(None) == b""
    assert (http.ended, http.reusable) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
def test_an_end_that_comes_too_early_is_a_loss(data):
    http, _ = answered(data)
    with pytest.raises(LostError):
        http.receive(None)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1_0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        b"x" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"0" * 2000,
    ],
)
def test_what_is_no_http_is_a_broken_protocol(data):
    with pytest.raises(ProtocolError, match=r"not (valid )?HTTP"):
        answered(data)


def test_an_answer_before_the_request_has_ended_uses_the_connection_up():
    http = Http1("h")
    http.request("POST", "/", [], None)
    assert http.receive(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}") == b"{}"
    assert (http.ended, http.reusable) == (True, False)


def test_a_connection_is_used_up_where_the_server_says_so():
    assert not answered(b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n")[0].reusable
    assert not answered(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore")[0].reusable


def test_one_exchange_follows_another():
    http, _ = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
    http.request("POST", "/", [], None)
    assert (http.status, http.ended) == (None, False)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert http.receive(head + b"3\r\nabc\r\n") == b"abc"
    http.end()
    assert http.receive(b"0\r\n\r\n") == b""
    assert (http.ended, http.reusable) == (True, True)
