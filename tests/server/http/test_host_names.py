"""Which hosts and origins an open server answers, and that nothing else may be ambiguous about a request."""

import asyncio
import itertools
import socket

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.bearers import ROOT

from s2cli.errors import ApiError
from s2cli.server.http.authority import is_same_host, split_authority, split_origin
from s2cli.server.http.cors import Cors
from s2cli.server.http.host_names import HostNames
from s2cli.server.process import Options, serve

TIMEOUT_S = 20

ACCEPTED = (
    *("localhost", "LOCALHOST", "localhost.", "localhost:8080", "a.localhost", "A.b.LocalHost.:1"),
    *("127.0.0.1", "127.0.0.1:8080", "10.1.2.3", "8.8.8.8:99", "0.0.0.0"),
    *("[::1]", "[::1]:8080", "[fe80::1]:1", "[2001:DB8::1]", "[::ffff:1.2.3.4]"),
    *("s2", "s2:8080", "my_service", "S2.", "host.docker.internal", "host.docker.internal.:8080"),
    *("own.lan", "OWN.lan:1", "s2.test", "basin.s2.test:8080", "a.b.s2.test."),
    *("named.example", "Named.Example.:80", "under.example", "a.under.example", "b.a.under.example:1"),
    *("", "s2:", "a" * 253 + ":80"),
)
REFUSED = (
    *("evil.example", "evil.example:8080", "EVIL.example", "evil.example."),
    *("localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1.nip.io", "notlocalhost.com", "xlocalhost.evil"),
    *("[::1].evil.com", "[::1]evil.com", "[::1", "::1", "[fe80::1%25eth0]", "[evil.com]", "[]", "[127.0.0.1]"),
    *(
        "127.0.0.1:8080.evil.com",
        "localhost:8080:1",
        "localhost:x",
        "localhost:-1",
        "localhost:65536",
        "localhost:999999",
    ),
    *("localhost@evil.com", "evil.com@localhost", "user:1@evil.com", "evil.com/localhost", "evil.com#.localhost"),
    *(
        "evil.com?.localhost",
        "evil.com\\.localhost",
        "evil.com .localhost",
        "localhost, evil.com",
        "localhost evil.com",
    ),
    *("a" * 254, "a" * 60_000),
    *(".localhost", "..", ".", "localhost..", "a..localhost", "1.2.3", "1.2.3.4.5", "0x7f.0.0.1", "127.0.0.256"),
    *("xs2.test", "s2.test.evil.com", "a.named.example", "xnamed.example", "xunder.example", "under.example.evil.com"),
    *("l\xf6calhost.example", "localhost\0.example", "evil.docker.internal", "host.docker.internal.evil.com"),
)
NAMES = HostNames(["own.LAN"], ["s2.test"], ["named.example", ".under.example"])


def accepts(names, host):
    try:
        names.check(None if host is None else host.encode("latin-1"))
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("host", ACCEPTED)
def test_its_own_names_are_accepted(host):
    assert accepts(NAMES, host)
    assert accepts(NAMES, host)  # as one that is known already


@pytest.mark.parametrize("host", REFUSED)
def test_other_names_are_refused(host):
    with pytest.raises(ApiError, match="--allow-host") as refused:
        NAMES.check(host.encode("latin-1"))
    assert (refused.value.code, refused.value.status) == ("permission_denied", 403)
    assert accepts(HostNames(allowed=["*"]), host)


def test_without_a_host_a_request_is_of_no_browser():
    assert accepts(NAMES, None)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=5), st.sampled_from(["", "."]), st.sampled_from(["", ":1", ":65535"]))
@example(["localhost", "com"], "", "")
def test_a_name_with_a_dot_is_accepted_only_where_it_is_named(labels, dot, port):
    name = ".".join(labels)
    is_address = len(labels) == 4 and all(
        part.isdigit() and str(int(part)) == part and int(part) < 256 for part in labels
    )
    local = labels[-1] == "localhost" or name == "host.docker.internal"
    host = name + dot + port
    assert accepts(HostNames(), host) == (is_address or local)
    assert accepts(HostNames(allowed=[name.upper()]), host)
    assert accepts(HostNames(domains=[name]), host)
    assert accepts(HostNames(domains=[name]), "basin." + host)
    assert accepts(HostNames(allowed=["." + name]), "a.b." + host)
    assert is_address or local or not accepts(HostNames(allowed=[name]), "a." + host)
    assert not accepts(HostNames(domains=[name]), f"{name}.evil.example")
    assert not accepts(HostNames(allowed=["." + name]), f"x{name}.evil.example")


@given(st.text(max_size=30))
def test_no_text_of_a_host_or_an_origin_breaks_it(text):
    encoded = text.encode("utf-8", "surrogatepass")
    accepts(NAMES, encoded.decode("latin-1"))
    Cors().lets_in(encoded)
    is_same_host(encoded, encoded)
    parts = split_authority(text)
    if parts is not None:
        assert not set("/@\\?# ,%") & set(parts[0])


@pytest.mark.parametrize(
    ("origin", "parts"),
    [
        ("http://a.example", ("http", "a.example", None)),
        ("HTTP://A.example:80", ("http", "a.example", None)),
        ("https://a.example:443", ("https", "a.example", None)),
        ("https://a.example:80", ("https", "a.example", 80)),
        ("http://[::1]:8080", ("http", "[::1]", 8080)),
        *((origin, None) for origin in ("null", "", "a.example", "http://", "ftp://a", "http://a/b", "http://u@a")),
    ],
)
def test_origins_are_taken_apart(origin, parts):
    assert split_origin(origin) == parts


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://s2:8080", "s2:8080", True),
        ("http://s2:8080", "S2.:8080", True),
        ("https://s2", "s2", True),
        ("https://s2", "s2:443", True),
        ("https://s2", "s2:80", True),
        ("http://s2:3000", "s2:8080", False),
        ("http://s2", "s2:8080", False),
        ("http://s2.evil.com:8080", "s2:8080", False),
        ("null", "null", False),
        ("http://s2", None, False),
        ("http://s2@evil.com", "s2@evil.com", False),
    ],
)
def test_a_page_of_the_server_itself(origin, host, same):
    assert is_same_host(origin.encode(), None if host is None else host.encode()) == same


# Over the wire.


def exchange(server, data: bytes) -> tuple[int, bytes]:
    """The status of the answer to these bytes, and all of it."""
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer


def ask(server, path="/v1/basins", headers=(), version="1.1", method="GET"):
    lines = [f"{method} {path} HTTP/{version}", *headers, "connection: close", "", ""]
    return exchange(server, "\r\n".join(lines).encode("latin-1"))


def ask_h2(server, headers, path="/v1/basins"):
    """The same over HTTP/2, with `headers` as pairs."""
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    client = h2.connection.H2Connection(config)
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", path), *headers], end_stream=True)
    status, body = 0, b""
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(client.data_to_send())
        while data := connection.recv(1 << 16):
            for event in client.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.StreamEnded):
                    return status, body
            connection.sendall(client.data_to_send())
    raise ConnectionError("the connection ended before the response")


@pytest.mark.parametrize("host", ["localhost", "[::1]:1", "s2"])
def test_over_both_protocols_names_of_the_server_are_answered(shared_server, host):
    assert ask(shared_server, headers=[f"Host: {host}"])[0] == 200
    assert ask_h2(shared_server, [(":authority", host)])[0] == 200
    assert ask_h2(shared_server, [("host", host)])[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost@evil.example", "[::1].evil.com"])
@pytest.mark.parametrize("path", ["/v1/basins", "/v1/streams/x/records", "/metrics", "/openapi.json", "/", "/nothing"])
def test_over_both_protocols_other_names_are_refused(shared_server, host, path):
    forwarded = "x-forwarded-host: localhost"
    for status, body in (
        ask(shared_server, path, [f"Host: {host}", forwarded]),
        ask(shared_server, path, [f"Host: {host}"], "1.0"),
        ask_h2(shared_server, [(":authority", host)], path),
        ask_h2(shared_server, [("host", host)], path),
    ):
        assert (status, b'"permission_denied"' in body, b"--allow-host" in body) == (403, True, True)
    assert ask(shared_server, f"http://{host}{path}".replace("localhost@", ""), [f"Host: {host}"])[0] in (400, 403)


def test_health_is_answered_to_every_name_and_a_request_without_one(shared_server):
    for path in "/health", "/ping":
        assert ask(shared_server, path, ["Host: evil.example", "Origin: http://evil.example"])[0] == 200
        assert ask_h2(shared_server, [(":authority", "evil.example")], path)[0] == 200
    assert ask(shared_server, version="1.0")[0] == 200
    assert ask(shared_server, headers=["Host:"])[0] == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://s2:8080", "s2:8080", 200),
        ("https://s2", "s2", 200),
        ("http://localhost:3000", "127.0.0.1:8080", 200),
        ("http://[::1]:5173", "s2", 200),
        ("http://127.9.9.9", "s2", 200),
        ("null", "localhost", 403),
        ("http://evil.example", "localhost", 403),
        ("http://10.0.0.5:3000", "10.0.0.5:8080", 403),
        ("http://[::1].evil.com", "localhost", 403),
        ("http://127.0.0.1:8080.evil.com", "localhost", 403),
        ("http://localhost@evil.com", "localhost", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_from_elsewhere_are_refused(shared_server, origin, host, status, method):
    code, answer = ask(shared_server, "/v1/basins", [f"Host: {host}", f"Origin: {origin}"], method=method)
    if status == 403:
        assert (code, b"--cors" in answer) == (403, True)
        assert b"access-control-allow-origin" not in answer
    else:
        assert code == {"GET": 200, "POST": 400, "OPTIONS": 405}[method]


def test_a_page_from_elsewhere_creates_nothing(shared_server, unique_basin):
    name = unique_basin()
    assert shared_server.create_basin(name, create_stream_on_read=True)
    path = "/v1/streams/new/records?seq_num=0"
    evil = ["Host: localhost", "Origin: http://evil.example", f"s2-basin: {name}"]
    assert ask(shared_server, path, evil)[0] == 403
    assert shared_server.request("GET", "/v1/streams", basin=name).json()["streams"] == []


def test_what_the_server_was_told_to_accept(make_server):
    server = make_server(
        data=None,
        options=("--allow-host", "a.example,.b.example", "--base-domain", "s2.test", "--cors", "http://c.example"),
    )
    for host in "a.example:1", "b.example", "x.b.example", "s2.test", "basin.s2.test":
        assert ask(server, headers=[f"Host: {host}"])[0] == 200
    for host in "x.a.example", "c.example":
        assert ask(server, headers=[f"Host: {host}"])[0] == 403
    assert ask(server, headers=["Host: a.example", "Origin: http://c.example"])[0] == 200
    assert ask(server, headers=["Host: a.example", "Origin: http://x.b.example"])[0] == 403
    # An origin that may use the server does not lend it a name.
    assert ask(server, headers=["Host: c.example", "Origin: http://c.example"])[0] == 403


def test_where_no_page_may_those_of_this_machine_may_not(make_server):
    server = make_server(data=None, options=("--no-cors",))
    assert ask(server, headers=["Host: localhost:1", "Origin: http://localhost:2"])[0] == 403
    assert ask(server, headers=["Host: localhost:1", "Origin: http://localhost:1"])[0] == 200


def test_with_a_token_any_name_is_answered(guarded):
    evil = ["Host: evil.example", "Origin: http://evil.example"]
    assert ask(guarded, headers=[*evil, f"Authorization: Bearer {ROOT}"])[0] == 200
    assert ask(guarded, headers=evil)[0] == 401
    assert ask(guarded, "/", evil)[0] == 200


def test_through_a_socket_file_any_name_is_answered(tmp_path):
    async def run() -> bytes:
        path = str(tmp_path / "socket")
        stopped, ready = asyncio.Event(), asyncio.Event()
        options = Options(data=str(tmp_path / "data"), port=None, socket_path=path)
        server = asyncio.create_task(serve(options, lambda _: ready.set(), stopped))
        await ready.wait()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/basins HTTP/1.1\r\nhost: evil.example\r\norigin: null\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        stopped.set()
        await server
        return answer

    assert asyncio.run(asyncio.wait_for(run(), TIMEOUT_S)).startswith(b"HTTP/1.1 200 ")


SINGLE = {
    "authorization": "Bearer x",
    "content-encoding": "identity",
    "content-type": "application/json",
    "last-event-id": "1,1,1",
    "origin": "http://localhost",
    "s2-basin": "some-basin",
    "s2-encryption-key": "x",
    "s2-format": "raw",
    "s2-request-token": "x",
    "s2-stream-config": "{}",
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_header_that_means_one_thing_comes_once(shared_server, name):
    one, other = f"{name}: {SINGLE[name]}", f"{name.upper()}: {SINGLE[name]}x"
    for pair in itertools.permutations((one, other)):
        status, answer = ask(shared_server, "/v1/streams/x/records", ["Host: s2", *pair])
        assert (status, b'"bad_header"' in answer, name.encode() in answer) == (400, True, True)
    twice = [(name, SINGLE[name])] * 2
    status, body = ask_h2(shared_server, [(":authority", "s2"), *twice], "/v1/streams/x/records")
    assert (status, b'"bad_header"' in body) == (400, True)


def test_no_second_token_is_looked_at(guarded):
    tokens = [f"Authorization: Bearer {token}" for token in (ROOT, "other")]
    for pair in itertools.permutations(tokens):
        assert ask(guarded, headers=["Host: s2", *pair])[0] == 400


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://s2/v1/basins", "s2", 200),
        ("http://S2:80/v1/basins", "s2", 200),
        ("http://[::1]:8080/v1/basins", "[::1]:8080", 200),
        ("http://s2/v1/basins", "other", 400),
        ("http://s2:8080/v1/basins", "s2", 400),
        ("http://evil.example/v1/basins", "localhost", 400),
        ("http://evil.example/v1/basins", "evil.example", 403),
    ],
)
def test_a_whole_url_agrees_with_the_host(shared_server, target, host, status):
    assert ask(shared_server, target, [f"Host: {host}"])[0] == status


def test_two_hosts_are_no_host(shared_server):
    assert ask(shared_server, headers=["Host: s2", "Host: s2"])[0] == 400
    assert ask_h2(shared_server, [(":authority", "s2"), ("host", "s2"), ("host", "other")])[0] == 400


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_says_what_it_is(guarded, shared_server, method):
    for server in guarded, shared_server:
        status, answer = ask(server, "/", ["Host: s2"], method=method)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (status, b"content-type: text/plain" in head) == (200, True)
        if method == "HEAD":
            assert not body
            continue
        assert b"s2 lite" in body
        token = "ignored" if server is shared_server else "…"
        lines = ["export S2_ACCOUNT_ENDPOINT=http://s2", "export S2_BASIN_ENDPOINT=http://s2"]
        assert body.decode().splitlines()[-4:] == [*lines, f"export S2_ACCESS_TOKEN={token}", "s2 list"]
    # A server that asks for tokens answers to any name, and repeats none that a shell would take apart.
    for host in "[::1]:80", "$(x)", "a;b", "":
        body = ask(guarded, "/", [f"Host: {host}"])[1].decode()
        assert f"ENDPOINT=http://{host if host == '[::1]:80' else 'HOST:PORT'}\n" in body
    assert ask(shared_server, "/", ["Host: s2"], method="POST")[0] == 405
