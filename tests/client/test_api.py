"""Unary calls against a server that answers with chosen bytes: attempts, errors, and what stands on the wire."""

import contextlib
import itertools
import json
import socket
import threading

import pytest
from support.terminator import tls_terminator
from support.waiting import TIMEOUT_S

from s2cli.client import api, connection
from s2cli.client.api import ApiClient
from s2cli.client.retry import Waiter
from s2cli.endpoints import Target
from s2cli.errors import ApiError, ExitCode, ProtocolError, UnreachableError, UsageError

PAGE = b'{"basins":[],"has_more":false}'


def answer(status, body=b"", headers=""):
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


class Answers:
    """One connection for each request; an answer of None closes it without a word."""

    def __init__(self, answers, family=socket.AF_INET, address=("127.0.0.1", 0)) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._listener = socket.socket(family)
        self._listener.settimeout(TIMEOUT_S)
        self._listener.bind(address)
        self._listener.listen()
        self.port = self._listener.getsockname()[1] if family == socket.AF_INET else 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for data in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(TIMEOUT_S)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                head, _, body = request.partition(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                while len(body) < length:
                    body += connection.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                if data is not None:
                    connection.sendall(data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))

    def close(self) -> None:
        self._listener.close()
        self._thread.join(TIMEOUT_S)


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(*answers, **where):
            server = Answers(answers, **where)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The pauses between attempts, kept instead of slept."""
    pauses = []
    monkeypatch.setattr(Waiter, "sleep", lambda waiter, seconds: pauses.append(seconds))
    return pauses


opened = []


@pytest.fixture(autouse=True)
def close_connections():
    yield
    while opened:
        opened.pop().close()


def connect(server=None, *, told=None, timeout_s=30, **fields) -> ApiClient:
    url = f"http://127.0.0.1:{server.port}" if server is not None else ""
    target = Target(**{"account_url": url, "basin_url": url, **fields})
    opened.append(ApiClient(target, timeout_s, (told if told is not None else []).append))
    return opened[-1]


def test_a_call_names_itself_and_carries_the_token(serve):
    server = serve(answer(200, PAGE))
    api.list_basins(connect(server, token="secret"), "pre", "after", 7)
    head = server.requests[0].decode().lower()
    assert head.startswith("get /v1/basins?limit=7&prefix=pre&start_after=after http/1.1\r\n")
    assert "authorization: bearer secret\r\n" in head
    assert "user-agent: s2cli/" in head
    assert "s2-basin" not in head


def test_without_a_token_no_authorization_is_sent(serve):
    server = serve(answer(200, PAGE))
    api.list_basins(connect(server), "", "", 1000)
    assert b"authorization" not in server.requests[0].lower()


def test_streams_are_named_in_path_and_header(serve):
    server = serve(answer(200, b"{}"))
    api.get_stream(connect(server), "my-basin", "a/ü ?%2F..")
    head = server.requests[0].decode()
    assert head.startswith("GET /v1/streams/a%2F%C3%BC%20%3F%252F.. HTTP/1.1\r\n")
    assert "s2-basin: my-basin\r\n" in head


def test_a_basin_in_the_host_is_not_in_a_header():
    target = Target(account_url="https://a.example", basin_url="https://{basin}.b.example")
    peer, headers = connection.basin_peer(target, "my-basin")
    assert str(peer) == "my-basin.b.example"
    assert "s2-basin" not in dict(headers)


def test_a_unix_socket(serve, tmp_path):
    path = str(tmp_path / "s")
    server = serve(answer(200, PAGE), family=socket.AF_UNIX, address=path)
    connection = connect(account_url="http://localhost", basin_url="http://localhost", socket_path=path)
    assert api.list_basins(connection, "", "", 1000) == ([], False)
    assert b"host: localhost\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_three_times(serve, no_waiting, status):
    body = b'{"code":"unavailable","message":"later"}'
    server = serve(answer(status, body), answer(status, body), answer(200, PAGE))
    told = []
    api.list_basins(connect(server, told=told), "", "", 1000)
    assert len(server.requests) == 3
    assert 0.1 <= no_waiting[0] <= 0.2 <= no_waiting[1] <= 0.4
    assert told[0] == "later; trying again for up to 30 s (--timeout)"
    assert told[1].startswith("resumed after ")
    assert len(told) == 2  # the same reason is told once


def test_three_failures_are_enough(serve):
    server = serve(*[answer(503, b'{"code":"unavailable","message":"later"}')] * 3)
    with pytest.raises(UnreachableError, match="cannot list basins: gave up after 3 attempts: later") as caught:
        api.list_basins(connect(server), "", "", 1000)
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert len(server.requests) == 3


def test_retry_after_is_the_least_wait(serve, no_waiting):
    body = b'{"code":"rate_limited","message":"slow down"}'
    server = serve(answer(429, body, "Retry-After-Ms: 1500\r\n"), answer(200, PAGE))
    api.list_basins(connect(server), "", "", 1000)
    assert no_waiting == [1.5]


def test_a_wait_beyond_the_deadline_is_not_begun(serve, no_waiting):
    body = b'{"code":"rate_limited","message":"slow down"}'
    server = serve(answer(429, body, "Retry-After-Ms: 5000\r\n"))
    told = []
    with pytest.raises(UnreachableError, match="gave up, for the server asks to wait 5 s: slow down"):
        api.list_basins(connect(server, told=told, timeout_s=2), "", "", 1000)
    assert (no_waiting, told) == ([], [])


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"code":"bad_json","message":"m"}', ExitCode.BAD_DATA),
        (401, b'{"code":"authn","message":"m"}', ExitCode.AUTH),
        (403, b'{"error":"permission_denied","message":"m"}', ExitCode.AUTH),
        (404, b'{"code":"basin_not_found","message":"m"}', ExitCode.NOT_FOUND),
        (409, b'{"code":"resource_already_exists","message":"m"}', ExitCode.PRECONDITION),
        (422, b'{"code":"invalid","message":"m"}', ExitCode.BAD_DATA),
        (405, b"", ExitCode.FAILURE),
        (302, b"m", ExitCode.FAILURE),
        (418, b"<html>m</html>", ExitCode.FAILURE),
    ],
)
def test_what_will_not_pass_is_tried_once(serve, status, body, code):
    server = serve(answer(status, body))
    with pytest.raises(ApiError) as caught:
        api.list_basins(connect(server), "", "", 1000)
    assert caught.value.exit_code == code
    assert len(server.requests) == 1


def test_a_conflict_of_transactions_is_tried_again(serve):
    server = serve(answer(409, b'{"code":"transaction_conflict","message":"m"}'), answer(200, b"{}"))
    assert api.get_basin(connect(server), "my-basin") == {}
    assert len(server.requests) == 2


def test_a_create_repeats_its_token(serve):
    server = serve(None, answer(201, b'{"name":"my-basin"}'))
    api.create_basin(connect(server), "my-basin", {"create_stream_on_append": True}, "aws:x", "the-token")
    for request in server.requests:
        assert b"s2-request-token: the-token\r\n" in request
        body = json.loads(request.partition(b"\r\n\r\n")[2])
        assert body == {"basin": "my-basin", "config": {"create_stream_on_append": True}, "location": "aws:x"}


def test_a_create_without_options_sends_no_config(serve):
    server = serve(answer(201, b'{"name":"s"}'))
    api.create_stream(connect(server), "my-basin", "s", {}, "t")
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == {"stream": "s"}


def test_a_lost_connection_is_tried_again(serve):
    server = serve(None, b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\nhalf", answer(200, PAGE))
    told = []
    api.list_basins(connect(server, told=told), "", "", 1000)
    assert "the connection to 127.0.0.1" in told[0]
    assert told[1].startswith("connected again after ")


def test_a_connection_is_kept_for_the_next_call_and_not_used_once_it_has_ended(no_waiting):
    calls = []  # the number of the connection of each
    ended = threading.Event()

    def serve(listener):
        for number, count in enumerate((2, 1)):
            with listener.accept()[0] as connection:
                connection.settimeout(TIMEOUT_S)
                for _ in range(count):
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        request += connection.recv(65536)
                    calls.append(number)
                    connection.sendall(answer(200, PAGE))
            ended.set()  # as a server ends idle connections

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = connect(account_url=url, basin_url=url)
        api.list_basins(client, "", "", 1)
        api.list_basins(client, "", "", 1)
        assert ended.wait(TIMEOUT_S)
        api.list_basins(client, "", "", 1)
        thread.join()
    assert calls == [0, 0, 1]
    assert no_waiting == []


def test_nobody_listens(no_waiting):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            UnreachableError, match=r"gave up after 3 attempts: cannot connect to 127\.0\.0\.1:\d+: connection refused"
        ) as caught:
            api.list_basins(connect(account_url=url, basin_url=url), "", "", 1000)
    assert "s2 lite" in caught.value.hint
    assert len(no_waiting) == 2


def test_a_silent_server_is_given_up_on():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(
            UnreachableError, match=r"gave up after 0\.\d s without progress: the connection to 127.* no answer"
        ):
            api.list_basins(connect(account_url=url, basin_url=url, timeout_s=0.2), "", "", 1000)


@pytest.mark.parametrize(
    ("head", "drop"),
    [(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b" "), (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")],
    ids=["body", "head"],
)
def test_an_answer_that_drips_is_given_up_on(head, drop):
    """Each piece comes in time; the whole does not."""

    def answer_for_ever(listener):
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(head)
            while not over.wait(0.02):
                connection.sendall(drop)

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_for_ever, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with pytest.raises(
                UnreachableError,
                match=r"gave up after 0\.\d s without progress: the (connection to 127.* no|server does not) answer",
            ):
                api.list_basins(connect(account_url=url, basin_url=url, timeout_s=0.3), "", "", 1000)
        finally:
            over.set()
            thread.join()


def test_a_name_server_that_hangs_is_given_up_on(monkeypatch):
    def hang(host, port, family, kind, protocol, flags):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    over = threading.Event()
    monkeypatch.setattr("_socket.getaddrinfo", hang)
    try:
        url = "http://slow.example"
        with pytest.raises(UnreachableError, match=r"cannot list basins: .*slow\.example"):
            api.list_basins(connect(account_url=url, basin_url=url, timeout_s=0.3), "", "", 1000)
    finally:
        over.set()


def test_a_name_that_does_not_resolve():
    url = "http://nothing.invalid"
    with pytest.raises(UnreachableError, match=r"cannot look up the address of nothing\.invalid"):
        api.list_basins(connect(account_url=url, basin_url=url), "", "", 1000)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"basins":5}', b'{"basins":[1]}', b"[" * 100_000, b"\xff"],
    ids=lambda body: repr(body[:12]),
)
def test_an_answer_that_is_none_of_the_api(serve, body):
    server = serve(answer(200, body))
    with pytest.raises(ProtocolError, match="cannot list basins: "):
        api.list_basins(connect(server), "", "", 1000)


def test_an_answer_without_end_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(connection, "MAX_RESPONSE_BYTES", 1000)
    server = serve(answer(200, b"x" * 5000))
    with pytest.raises(ProtocolError, match="longer than"):
        api.list_basins(connect(server), "", "", 1000)


def test_a_refused_credential_says_what_to_give(serve):
    server = serve(*[answer(401, b'{"code":"authn","message":"no"}')] * 2)
    with pytest.raises(ApiError) as caught:
        api.list_basins(connect(server), "", "", 1000)
    assert "S2_ACCESS_TOKEN" in caught.value.hint
    with pytest.raises(ApiError) as caught:
        api.list_basins(connect(server, withheld="it was not sent"), "", "", 1000)
    assert caught.value.hint == "it was not sent"


def test_a_proxy_is_refused_and_not_bypassed(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    url = "https://nothing.invalid"
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        api.list_basins(connect(account_url=url, basin_url=url), "", "", 1000)


def test_tls_trusts_the_given_certificates_alone(shared_server, tmp_path, monkeypatch, no_waiting):
    with tls_terminator(shared_server.host, shared_server.port, tmp_path, ("http/1.1",)) as (url, ca_file):
        connection = connect(account_url=url, basin_url=url, ca_file=str(ca_file), token="t")
        assert isinstance(api.list_basins(connection, "", "", 1)[0], list)
        with pytest.raises(UnreachableError, match=r"certificate of (localhost|127).* is not trusted") as caught:
            api.list_basins(connect(account_url=url, basin_url=url), "", "", 1)
        assert "--ca-file" in caught.value.hint
        assert no_waiting == []
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        api.list_basins(connect(account_url=url, basin_url=url), "", "", 1)
        with pytest.raises(UsageError, match="cannot read the certificates"):
            api.list_basins(connect(account_url=url, basin_url=url, ca_file="/nowhere.pem"), "", "", 1)


def test_http2_by_prior_knowledge(shared_server):
    url = shared_server.url
    assert isinstance(api.list_basins(connect(account_url=url, basin_url=url, http2=True), "", "", 1)[0], list)


def test_pages_go_on_after_the_last_name():
    calls = []

    def fetch(start_after, size):
        calls.append((start_after, size))
        names = [n for n in ("a", "b", "c", "d", "e") if n > start_after][: min(size, 2)]
        return [{"name": name} for name in names], names[-1:] != ["e"]

    def names(*arguments, **options):
        calls.clear()
        return [[item["name"] for item in items] for items in api.pages(fetch, *arguments, **options)]

    assert names("", None) == [["a", "b"], ["c", "d"], ["e"]]
    assert calls == [("", 1000), ("b", 1000), ("d", 1000)]
    assert names("", 3) == [["a", "b"], ["c"]]
    assert calls == [("", 3), ("b", 1)]
    assert names("b", None, only_one=True) == [["c", "d"]]
    assert calls == [("b", 1000)]


@pytest.mark.parametrize("page", [[], [{"name": "a"}, {"name": "b"}], [{"name": 5}], [{}]])
def test_a_list_that_would_never_end_is_an_error(page):
    pages = api.pages(lambda *_: (page, True), "", None)
    with pytest.raises(ProtocolError, match="does not advance"):
        list(itertools.islice(pages, 3))
