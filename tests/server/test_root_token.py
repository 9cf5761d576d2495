"""The root token, and the servers that have one."""

import socket

import pytest
from support.bearers import ROOT, ask, issue, made, scope
from support.waiting import TIMEOUT_S


def test_a_damaged_key_is_said(make_server, root_file, tmp_path, run_s2):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token.key").write_bytes(b"short")
    result = run_s2("lite", "--data", tmp_path / "data", "--port", 0, "--root-token-file", root_file)
    assert (result.returncode, b"token.key is damaged" in result.stderr) == (1, True), result


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_root_token_that_others_may_read_is_refused(run_s2, tmp_path, mode):
    path = tmp_path / "token"
    path.write_text(ROOT)
    path.chmod(mode)
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", path)
    assert result.returncode == 2
    assert f"chmod 600 {path}".encode() in result.stderr
    assert ROOT.encode() not in result.stdout + result.stderr


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "tök\n", "x" * 5000])
def test_a_root_token_that_is_none_is_refused(run_s2, tmp_path, content):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content)
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", path)
    assert (result.returncode, b"has no token" in result.stderr) == (2, True), result


def test_a_missing_file_is_said(run_s2, tmp_path):
    result = run_s2("lite", "--memory", "--port", 0, "--root-token-file", tmp_path / "none")
    assert (result.returncode, b"cannot read the root token" in result.stderr) == (2, True), result


def test_the_root_token_may_come_from_the_environment(monkeypatch, make_server):
    monkeypatch.setenv("S2_ROOT_TOKEN", "another-root-token")
    server = make_server(data=None)
    assert server.request("GET", "/v1/basins").status == 401
    assert ask(server, "another-root-token", "GET", "/v1/basins").status == 200
    assert ask(server, ROOT, "GET", "/v1/basins").status == 401


def test_other_machines_are_let_in_with_a_root_token_or_on_purpose(run_s2, root_file):
    result = run_s2("lite", "--memory", "--port", 0, "--host", "0.0.0.0")
    assert (result.returncode, b"--root-token-file" in result.stderr) == (2, True), result
    result = run_s2("lite", "--memory", "--no-auth", "--root-token-file", root_file)
    assert (result.returncode, b"exclude each other" in result.stderr) == (2, True), result


def test_with_a_root_token_the_server_may_be_reached_from_elsewhere(lite_process, root_file):
    class Wide(lite_process):
        host = "0.0.0.0"

    server = Wide(None, options=("--root-token-file", str(root_file))).start()
    try:
        assert server.request("GET", "/v1/basins").status == 401
    finally:
        server.close()


def test_the_socket_of_ones_own_needs_no_token(make_server, root_file, tmp_path):
    place = str(tmp_path / "socket")
    make_server(options=("--root-token-file", str(root_file), "--socket", place))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(place)
        connection.sendall(b"GET /v1/basins HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_without_a_root_token_tokens_are_kept_and_not_asked_for(make_server, root_file):
    server = make_server()
    assert server.request("GET", "/v1/access-tokens").json() == {"access_tokens": [], "has_more": False}
    name, token = issue(server, by=None, scope=scope("list-basins"))
    for bearer in (None, "nonsense", token):
        assert ask(server, bearer, "POST", "/v1/basins", {"basin": f"named-basin-{next(made)}"}).status == 201
    server.stop()
    guarded = make_server(options=("--root-token-file", str(root_file)))
    assert ask(guarded, token, "GET", "/v1/basins").status == 200
    assert ask(guarded, token, "POST", "/v1/basins", {"basin": f"named-basin-{next(made)}"}).status == 403
    guarded.stop()
    server.start()
    assert server.request("DELETE", f"/v1/access-tokens/{name}").status == 204
    assert server.request("DELETE", f"/v1/access-tokens/{name}").status == 404
