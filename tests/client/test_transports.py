"""The ways records travel: the same output and the same account by each of them, and what `auto` makes of a proxy."""

import json
import os
import select
import socket
import subprocess
import sys
import threading

import pytest
from support.ports import stop_accepting
from support.waiting import TIMEOUT_S

READS = ("s2s", "sse", "unary")
APPENDS = ("s2s", "unary")
BYTES = b"one\r\n\n\xff\xfe\n\0nul\n" + b"x" * 300_000 + b"\nlast\n" + b"".join(b"%d\n" % n for n in range(2500))


@pytest.fixture
def uri(shared_server, basin):
    shared_server.create_stream(basin, timestamping={"uncapped": True})
    return f"s2://{basin}/stream"


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "auto"])
@pytest.mark.parametrize("transport", APPENDS)
def test_appends_of_every_kind_are_the_same(s2, uri, transport, compression):
    result = s2("append", uri, "--transport", transport, "--compression", compression, "-o", "json", stdin=BYTES)
    account = json.loads(result.stdout)
    assert (account["read"], account["durable"], account["last_seq_num"], account["outcome"]) == (
        2506,
        2506,
        2505,
        "ok",
    )
    assert s2("read", uri).stdout == BYTES


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "auto"])
@pytest.mark.parametrize("transport", READS)
def test_reads_of_every_kind_are_the_same(s2, uri, transport, compression):
    s2("append", uri, "-H", "k=v", stdin=BYTES)
    s2("fence", uri, "token")

    def same(*options):
        plain = s2("read", uri, *options, code=None)
        chosen = ["--transport", transport, "--compression", compression]
        other = s2("read", uri, *options, *chosen, code=plain.returncode)
        assert (other.stdout, other.stderr) == (plain.stdout, plain.stderr), options

    same()
    same("-o", "json-base64", "--from", "100")
    same("--count", "1500", "--from", "7")
    same("--bytes", "400000")
    same("--bytes", "10", "--from", "4")
    same("--to", "2000", "--from", "-600")
    same("--until", "1")
    same("--from", "end")
    same("--from", "9999")
    same("--from", "9999", "--clamp")
    same("--from", "@1")
    same("--count", "0")
    result = s2("read", "s2://no-such-basin/x", "--transport", transport, code=3)
    assert (result.returncode, result.stdout) == (3, b"")


@pytest.mark.parametrize("transport", READS)
def test_a_follower_ends_at_its_limits(s2, uri, transport):
    s2("append", uri, "--format", "json", stdin=b'{"body":"a","timestamp":10}\n{"body":"b","timestamp":20}\n')
    options = ("--follow", "--transport", transport)
    assert s2("read", uri, *options, "--count", "2").stdout == b"a\nb\n"
    assert s2("read", uri, *options, "--until", "15").stdout == b"a\n"
    assert s2("read", uri, *options, "--bytes", "12").stdout == b"a\n"


class Follower:
    def __init__(self, uri, env, *options):
        command = [sys.executable, "-m", "s2cli", "read", "--follow", uri, *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}
        )
        self._timer = threading.Timer(TIMEOUT_S, self.process.kill)
        self._timer.start()

    def line(self):
        return self.process.stdout.readline()

    def has_line(self, within_s):
        return bool(select.select([self.process.stdout], [], [], within_s)[0])

    def close(self):
        self._timer.cancel()
        self.process.kill()
        said = self.process.stderr.read()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return said


@pytest.mark.parametrize("start", ["0", "end", "@1", "-0"])
@pytest.mark.parametrize("transport", READS)
def test_a_follower_goes_on_through_a_restart(make_server, run_s2, transport, start):
    server = make_server()
    uri = f"s2://{server.create_basin()}/stream"
    run_s2("append", "--create", uri, stdin=b"first\n", env=server.env())
    follower = Follower(uri, server.env(), "--transport", transport, "--from", start, "-o", "json")
    try:
        if start in ("0", "@1"):
            assert json.loads(follower.line())["body"] == "first"
        tail = 1
        if start in ("end", "-0"):
            # What comes before it has begun it does not see.
            while not follower.has_line(0.3):
                run_s2("append", uri, stdin=b"more\n", env=server.env(), check=True)
                tail += 1
            while json.loads(follower.line())["seq_num"] < tail - 1:
                pass
        for number in range(1, 4):
            run_s2("append", uri, stdin=b"%d\n" % number, env=server.env())
            got = json.loads(follower.line())
            assert (got["seq_num"], got["body"]) == (tail + number - 1, str(number))
            if number == 1:
                server.stop()
                server.start()
            elif number == 2:
                server.kill()
                server.start()
    finally:
        said = follower.close()
    assert b"Traceback" not in said


@pytest.mark.parametrize("transport", READS)
def test_a_closed_output_ends_a_read(s2, uri, env, transport):
    s2("append", uri, stdin=b"".join(b"%d\n" % number for number in range(5000)))
    follower = Follower(uri, env, "--transport", transport)
    assert follower.line() == b"0\n"
    follower.process.stdout.close()
    s2("append", uri, stdin=b"more\n")
    try:
        assert follower.process.wait(TIMEOUT_S) == 0
    finally:
        follower.close()


# What stands in between


class Proxy:
    """Passes single calls on, and treats sessions as `on_session` says: it gets the client's socket."""

    def __init__(self, server, is_session, on_session):
        self._server = server
        self._is_session = is_session
        self._on_session = on_session
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sessions = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def env(self):
        url = f"http://127.0.0.1:{self.port}"
        return {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "t"}

    def close(self):
        stop_accepting(self._listener, self._thread)

    def _run(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        client.settimeout(TIMEOUT_S)
        with client, socket.create_connection(("127.0.0.1", self._server.port), timeout=TIMEOUT_S) as upstream:
            threading.Thread(target=self._back, args=(upstream, client), daemon=True).start()
            try:
                while data := client.recv(1 << 16):
                    if self._is_session(data.lower()):
                        self.sessions += 1
                        self._on_session(client)
                        return
                    upstream.sendall(data)
            except OSError:
                return

    @staticmethod
    def _back(upstream, client):
        try:
            while data := upstream.recv(1 << 16):
                client.sendall(data)
        except OSError:
            return


def frames(data):
    return b"content-type: s2s/proto" in data


def frames_and_events(data):
    return frames(data) or b"accept: text/event-stream" in data


def cut(client):
    return


def answer_page(client):
    client.sendall(b"HTTP/1.1 411 Length Required\r\ncontent-length: 13\r\n\r\n<html></html>")


def answer_gateway(client):
    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 13\r\n\r\n<html></html>")


def answer_other(client):
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n<html><body>Please sign in</body></html>")


def stay_silent(client):
    client.recv(1)


@pytest.fixture
def make_proxy(shared_server):
    proxies = []

    def make(*arguments):
        proxies.append(Proxy(shared_server, *arguments))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


BREAKERS = [cut, answer_page, answer_gateway, answer_other, stay_silent]


@pytest.mark.parametrize("breaker", BREAKERS)
def test_an_append_falls_back_where_sessions_break(s2, uri, make_proxy, breaker):
    proxy = make_proxy(frames, breaker)
    lines = b"".join(b"%d\n" % number for number in range(3000))
    result = s2("append", uri, "-o", "json", stdin=lines, env=proxy.env())
    assert b"s2s sessions do not (" in result.stderr
    assert b"continuing with --transport unary" in result.stderr
    account = json.loads(result.stdout)
    assert (account["durable"], account["repeated_lines"], account["outcome"]) == (3000, [], "ok")
    assert s2("read", uri).stdout == lines
    assert proxy.sessions in (1, 2)


@pytest.mark.parametrize("breaker", BREAKERS)
@pytest.mark.parametrize(("broken", "way"), [(frames, "sse"), (frames_and_events, "unary")])
def test_a_read_falls_back_where_sessions_break(s2, uri, make_proxy, breaker, broken, way):
    if breaker is stay_silent and way == "unary":
        broken = frames  # the other silence takes 20 s twice
        way = "sse"
    lines = b"".join(b"%d\n" % number for number in range(3000))
    s2("append", uri, stdin=lines)
    proxy = make_proxy(broken, breaker)
    result = s2("read", uri, env=proxy.env())
    assert (result.returncode, result.stdout) == (0, lines), result.stderr
    assert f"continuing with --transport {way}".encode() in result.stderr


def test_a_transport_that_is_asked_for_is_kept(s2, uri, make_proxy):
    proxy = make_proxy(frames, answer_gateway)
    result = s2("append", uri, "--transport", "s2s", "--max-outage", "1s", stdin=b"x\n", env=proxy.env(), code=6)
    assert b"continuing with" not in result.stderr


# Compression


def test_compression_comes_from_option_environment_and_file(s2, uri, home):
    s2("append", uri, stdin=b"x\n", env={"S2_COMPRESSION": "zstd"})
    result = s2("append", uri, stdin=b"x\n", env={"S2_COMPRESSION": "brotli"}, code=2)
    assert (result.returncode, b"S2_COMPRESSION" in result.stderr) == (2, True)
    s2("append", uri, "--compression", "gzip", stdin=b"x\n", env={"S2_COMPRESSION": "brotli"})
    (home / ".config/s2").mkdir(parents=True)
    (home / ".config/s2/config.toml").write_text('compression = "lz4"\n')
    result = s2("append", uri, stdin=b"x\n", code=2)
    assert (result.returncode, b"config.toml" in result.stderr) == (2, True)
    s2("append", uri, stdin=b"x\n", env={"S2_COMPRESSION": "none"})


@pytest.mark.parametrize(("chosen", "flag", "accepts"), [("zstd", 0x20, b"zstd"), ("gzip", 0x40, b"gzip")])
def test_what_is_asked_for_is_what_travels(s2, uri, make_proxy, chosen, flag, accepts):
    seen = []

    def look(data):
        seen.append(data)
        return False

    proxy = make_proxy(look, cut)
    s2("append", uri, "--compression", chosen, stdin=b"x" * 5000 + b"\n", env=proxy.env())
    sent = b"".join(seen)
    at = sent.index(b"\r\n\r\n", sent.index(b"s2s/proto")) + 4
    chunk = sent[sent.index(b"\r\n", at) + 2 :]
    assert chunk[3] == flag
    assert len(sent) < 2000
    seen.clear()
    assert s2("read", uri, "--compression", chosen, env=proxy.env()).stdout == b"x" * 5000 + b"\n"
    assert b"accept-encoding: " + accepts in b"".join(seen)
    seen.clear()
    s2("read", uri, env=proxy.env())
    assert b"accept-encoding: zstd" not in b"".join(seen)


def test_elsewhere_compression_is_on_by_itself():
    from s2cli.cli.args import CommonArgs
    from s2cli.config.settings import Settings

    def codings(url, compression=None):
        environ = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "t", "HOME": "/nowhere"}
        return Settings(CommonArgs(), environ).codings(compression)

    assert codings("https://s2.example.com") == ("zstd", "gzip")
    assert codings("https://s2.example.com", compression="none") == ()
    assert codings("https://s2.example.com", compression="gzip") == ("gzip",)
    assert codings("http://127.0.0.1:8080") == ()
    assert codings("http://localhost:8080", compression="zstd") == ("zstd",)
