"""Appends and reads over TLS, through a terminator: HTTP/2 and HTTP/1.1 by ALPN, and who is trusted."""

import pytest
from support.terminator import tls_terminator
from support.waiting import TIMEOUT_S

from s2cli.client.tls import client_context
from s2cli.errors import UsageError

DATA = b"".join(b"line %d\n" % number for number in range(50_000))


@pytest.fixture(params=["h2", "http/1.1"])
def terminated(request, shared_server, tmp_path):
    """The environment that leads to the server over TLS, and the file with the authority to trust."""
    with tls_terminator(shared_server.host, shared_server.port, tmp_path, (request.param,)) as (url, ca_file):
        yield {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}, ca_file


def test_bytes_go_in_and_come_out_the_same(run_s2, terminated, uri):
    env, ca_file = terminated
    result = run_s2("append", uri, "--ca-file", ca_file, stdin=DATA, env=env)
    assert result.returncode == 0, result.stderr
    result = run_s2("read", uri, env={**env, "SSL_CERT_FILE": str(ca_file)})
    assert (result.returncode, result.stdout) == (0, DATA), result.stderr


def test_a_certificate_that_nobody_vouches_for_ends_at_once(run_s2, terminated, uri):
    env, _ = terminated
    result = run_s2("append", uri, stdin=b"x\n", env=env, timeout=TIMEOUT_S)
    assert result.returncode == 6
    assert b"is not trusted" in result.stderr
    assert b"--ca-file" in result.stderr
    assert b"trying again" not in result.stderr


def test_http2_is_not_forced_on_a_server_that_lacks_it(run_s2, shared_server, tmp_path, uri):
    with tls_terminator(shared_server.host, shared_server.port, tmp_path, ("http/1.1",)) as (url, ca_file):
        env = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
        result = run_s2("append", uri, "--http2", "--max-outage", "3s", "--ca-file", ca_file, stdin=b"x\n", env=env)
    assert result.returncode == 6
    assert b"does not speak HTTP/2" in result.stderr


def test_a_server_without_tls_is_a_loss(run_s2, shared_server, uri):
    url = shared_server.url.replace("http://127.0.0.1", "https://localhost")
    env = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
    result = run_s2("append", uri, "--max-outage", "3s", stdin=b"x\n", env=env)
    assert result.returncode == 6
    assert b"no TLS connection to localhost" in result.stderr


@pytest.mark.parametrize("by", ["option", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_cannot_be_read_are_a_usage_error(tmp_path, monkeypatch, by):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    if by != "option":
        monkeypatch.setenv(by, str(bad))
    if by == "SSL_CERT_DIR":
        client_context(None, ["h2"])  # OpenSSL looks into directories only when it needs one
        return
    with pytest.raises(UsageError, match=r"bad\.pem"):
        client_context(str(bad) if by == "option" else None, ["h2"])
    with pytest.raises(UsageError, match="no such file"):
        client_context(str(tmp_path / "missing.pem"), ["h2"])
