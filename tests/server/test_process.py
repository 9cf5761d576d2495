"""The life of the process: how it begins, what it refuses, and how it ends."""

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

from s2cli.cli.other_args import LiteArgs
from s2cli.commands import lite
from s2cli.errors import UsageError
from s2cli.server import process as serve


def refused(*options, code=1):
    """The message with which the server refuses to start."""
    command = [sys.executable, "-P", "-m", "s2cli.commands.lite", "--host", "127.0.0.1", *map(str, options)]
    ended = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
    assert ended.returncode == code, ended
    assert ended.stdout == b""
    assert b"Traceback" not in ended.stderr
    return ended.stderr.decode()


def test_it_prints_what_to_paste(tmp_path):
    command = [sys.executable, "-P", "-m", "s2cli.commands.lite", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen([*command, "--data", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert b"serving" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
    names = [line.split(b"=")[0] for line in lines]
    assert names == [b"export S2_ACCOUNT_ENDPOINT", b"export S2_BASIN_ENDPOINT", b"export S2_ACCESS_TOKEN"]
    assert lines[0].split(b"=")[1] == lines[1].split(b"=")[1]
    assert lines[0].split(b"=")[1].startswith(b"http://127.0.0.1:")


def test_sigterm_is_a_clean_end(server):
    assert server.request("GET", "/health").status == 200
    assert server.stop() == 0


def test_a_taken_port_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused("--data", tmp_path / "data", "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in message
    assert not (tmp_path / "data").exists()


def test_a_port_that_another_server_has_is_refused(server, tmp_path):
    assert "the port is in use" in refused("--memory", "--port", server.port)


def test_a_directory_that_another_server_has_is_refused(server):
    message = refused("--data", server.data, "--port", 0)
    assert f"the data directory {server.data} is in use by the server with process id {server.pid}" in message
    assert server.url in message
    assert server.request("GET", "/health").status == 200


def test_a_directory_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"cannot use {tmp_path}/file/data" in refused("--data", tmp_path / "file" / "data", "--port", 0, code=2)
    assert "cannot use /proc/data" in refused("--data", "/proc/data", "--port", 0, code=2)


def test_data_of_a_newer_version_is_refused(server):
    server.stop()
    with sqlite3.connect(server.data / "s2.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    assert "newer version of s2" in refused("--data", server.data, "--port", 0)


def test_other_machines_need_a_word_of_their_own():
    for host in "0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com":
        with pytest.raises(UsageError, match="--host"):
            lite.lite(LiteArgs(host=host))


def test_memory_and_a_directory_exclude_each_other():
    with pytest.raises(UsageError, match="--memory and --data"):
        lite.lite(LiteArgs(memory=True, data="somewhere"))


def test_data_outlives_the_process_however_it_ends(server):
    server.create_basin("durable-basin", create_stream_on_append=True)
    for end in server.kill, server.stop:
        body = {"records": [{"body": "one"}]}
        assert server.request("POST", "/v1/streams/s/records", basin="durable-basin", json_body=body).status == 200
        end()
        server.start()
    tail = server.request("GET", "/v1/streams/s/records/tail", basin="durable-basin").json()
    assert tail["tail"]["seq_num"] == 2


def test_data_in_memory_goes_with_the_process(make_server):
    server = make_server(data=None)
    server.create_basin("memory-basin")
    server.stop()
    server.start()
    assert server.request("GET", "/v1/basins").json()["basins"] == []


def test_a_removal_goes_on_after_a_crash(server):
    server.create_basin("doomed-basin", create_stream_on_append=True)
    body = {"records": [{"body": "x" * 200_000}] * 5}
    for number in range(8):
        for name in "one", "two":
            answer = server.request("POST", f"/v1/streams/{name}/records", basin="doomed-basin", json_body=body)
            assert answer.status == 200, number
    assert server.request("DELETE", "/v1/basins/doomed-basin").status == 202
    server.kill()
    server.start()
    until(lambda: server.request("GET", "/v1/basins/doomed-basin").status == 404)
    server.create_basin("doomed-basin")
    assert server.request("GET", "/v1/streams", basin="doomed-basin").json()["streams"] == []


POST = b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


def open_exchange(server, length):
    """A request that waits for `length` bytes of its body, and is known to run."""
    connection = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
    connection.sendall(POST % length + b"{")
    return connection


def connect(server):
    """A connection that the server has accepted."""
    connection = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
    ask(connection, "/health")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    return connection


def ask(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\ns2-basin: some-basin\r\n\r\n".encode())


def await_refusal(server):
    def refused():
        try:
            server.request("GET", "/health")
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # it waited to be accepted
        return False

    until(refused)


def test_a_draining_server_ends_what_runs_and_takes_nothing_new(server):
    body = b'{"basin":"late-basin"}'
    paths = ("/v1/basins", "/v1/streams/s/records/tail")
    with open_exchange(server, len(body)) as connection, contextlib.ExitStack() as stack:
        one, two, three = (stack.enter_context(connect(server)) for _ in range(3))
        server.process.send_signal(signal.SIGTERM)
        # At once, while running requests continue: a client that came back to us would be sent away again.
        await_refusal(server)

        def unhealthy():
            ask(one, "/health")
            answer = one.recv(65536)
            return None if answer.startswith(b"HTTP/1.1 200 ") else answer

        answer = until(unhealthy)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"draining")
        # Held until the connections are told to end: told at once, a client would come back on the same one.
        for waiting, path in zip((two, three), paths, strict=True):
            ask(waiting, path)
        for waiting in two, three:
            answer = waiting.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            assert b'"server_draining"' in answer
        connection.sendall(body[1:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server.process.wait(TIMEOUT_S) == 0
    server.start()
    assert server.request("GET", "/v1/basins/late-basin").status == 200


def test_the_end_takes_ten_seconds_at_most(make_thread_server, caplog):
    """The sum of its bounds; and the last one holds for an exchange that does not end."""
    assert serve.ADVICE_S + serve.SESSIONS_END_S + serve.EXCHANGES_END_S + serve.HOST_STOP_S < 10
    server = make_thread_server()
    with open_exchange(server, 100) as connection:
        server.request("GET", "/health")
        server.stop()
        assert connection.recv(1) == b""
    assert "1 exchanges did not end in time" in caplog.text


def test_a_second_signal_insists(server):
    with open_exchange(server, 100):
        server.request("GET", "/health")
        server.process.send_signal(signal.SIGTERM)
        await_refusal(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT_S) == 128 + signal.SIGTERM


def test_a_server_in_a_thread(make_thread_server):
    server = make_thread_server()
    server.create_basin("thread-basin")
    assert server.request("GET", "/v1/basins/thread-basin").status == 200


def test_the_server_loads_nothing_of_the_command_line():
    code = "import sys; import s2cli.commands.lite, s2cli.server.process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, timeout=TIMEOUT_S, check=True)
    modules = set(loaded.stdout.decode().split())
    assert "httptools" in modules
    # HTTP/2 is loaded for the first client that speaks it.
    assert not modules & {
        "hpack",
        "s2cli.server.http.http2_connection",
        "typer",
        "click",
        "rich",
        "httpx",
        "h2",
        "s2cli.main",
        "s2cli.cli.command_tree",
    }
