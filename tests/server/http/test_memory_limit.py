"""`s2 lite --memory-limit` over the wire: readers, appenders and bodies that would hold more than there is."""

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from support.s2s import append_input, open_append
from support.waiting import TIMEOUT_S, until

from s2cli.server.api import append
from s2cli.server.http.exchange import MAX_UNARY_BODY_BYTES
from s2cli.server.http.memory_budget import MIB, Memory
from s2cli.wire.frames import MAX_MESSAGE_BYTES, encode_frame

LIMIT = ("--memory-limit", str(16 * MIB))
READ = "/v1/streams/stream/records"


@pytest.fixture
def small(make_server):
    """A server with little memory and a stream of 6 MB; `(server, basin)`."""
    server = make_server(data=None, options=LIMIT)
    basin = server.create_basin()
    server.create_stream(basin)
    for _ in range(6):
        body = {"records": [{"body": "x" * 1_000_000}]}
        assert server.request("POST", READ, basin=basin, json_body=body).status == 200
    return server, basin


def metric(server, name):
    return float(re.search(rf"^{name} (\S+)$", server.request("GET", "/metrics").body.decode(), re.MULTILINE)[1])


def read_all(server, basin):
    got = 0
    while got < 6:
        answer = server.request("GET", f"{READ}?seq_num={got}&count=1000", basin=basin)
        assert answer.status == 200
        got += len(answer.json()["records"])
    return got


def peak_bytes(server):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) * 1024


def test_readers_that_take_nothing_are_ended_and_another_one_reads_on(small):
    server, basin = small
    request = f"GET {READ}?seq_num=0 HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\ncontent-type: s2s/proto\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((server.host, server.port))
            reader.sendall(request.encode())
        assert read_all(server, basin) == 6
        until(lambda: metric(server, "s2_readers_ended_for_memory_total") > 0)
        assert read_all(server, basin) == 6


def test_a_stream_with_a_window_of_0_is_reset_and_others_of_its_connection_live(small):
    server, basin = small
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    client.local_settings = h2.settings.Settings(client=True, initial_values={code: 0})
    client.initiate_connection()
    reset_streams, received = {}, {}

    def get(stream, path):
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path), ("s2-basin", basin)]
        client.send_headers(stream, [*head, ("content-type", "s2s/proto")], end_stream=True)

    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:

        def step():
            connection.sendall(client.data_to_send())
            for event in client.receive_data(connection.recv(1 << 16)):
                if isinstance(event, h2.events.StreamReset):
                    reset_streams[event.stream_id] = event.error_code
                elif isinstance(event, h2.events.DataReceived) and event.data:
                    received[event.stream_id] = received.get(event.stream_id, b"") + event.data

        for number in range(100):
            get(1 + 2 * number, f"{READ}?seq_num=0")
        while not reset_streams:
            step()
        assert set(reset_streams.values()) == {h2.errors.ErrorCodes.ENHANCE_YOUR_CALM}
        get(1001, "/health")
        client.increment_flow_control_window(1000, 1001)
        while 1001 not in received:
            step()
        assert received == {1001: b"OK"}
    assert metric(server, "s2_readers_ended_for_memory_total") > 0


def test_appenders_that_do_not_go_on_hold_no_small_append_up(small):
    server, basin = small
    began_bytes = peak_bytes(server)
    frame_begin = (2 * MIB - 1).to_bytes(3, "big") + bytes(MIB)
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            session = stack.enter_context(open_append(server, basin))
            session._socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                session._socket.send(b"%x\r\n" % len(frame_begin) + frame_begin)
        for _ in range(5):
            body = {"records": [{"body": "x" * 1000}]}
            assert server.request("POST", READ, basin=basin, json_body=body).status == 200
        assert server.request("GET", f"{READ}?seq_num=0&count=1", basin=basin).status == 200
    assert peak_bytes(server) - began_bytes < 96 * MIB  # of 150 that were sent
    assert metric(server, "s2_readers_ended_for_memory_total") == 0


def test_bodies_that_come_at_once_are_read_as_far_as_there_is_room(small):
    server, basin = small
    began_bytes = peak_bytes(server)
    body = b'{"records":[{"body":"' + b"x" * 200_000 + b'"}]}'
    request = (
        f"POST {READ} HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(socket.socket()) for _ in range(600)]
        for sender in senders:
            sender.connect((server.host, server.port))
            sender.setblocking(False)
        # The kernel has as much of it as it takes before the server looks.
        os.kill(server.pid, signal.SIGSTOP)
        for sender in senders:
            with contextlib.suppress(BlockingIOError):
                sender.send(request)
        os.kill(server.pid, signal.SIGCONT)
        for _ in range(5):
            small_body = {"records": [{"body": "x" * 1000}]}
            assert server.request("POST", READ, basin=basin, json_body=small_body).status == 200
    assert peak_bytes(server) - began_bytes < 64 * MIB  # of 120 that were sent


def test_a_session_holds_nothing_of_what_it_has_appended(small):
    server, basin = small
    began_bytes = peak_bytes(server)
    with contextlib.ExitStack() as stack:
        for number in range(60):
            session = stack.enter_context(open_append(server, basin))
            session.send_bytes(encode_frame(append_input(bytes(1_000_000), b"x")))
            assert session.ack()[1] == 6 + 2 * (number + 1)
    assert peak_bytes(server) - began_bytes < 48 * MIB  # of 60 that were sent


def test_what_frames_inflate_to_is_reserved_first(make_thread_server, monkeypatch):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    reserved, kept = [], []
    reserve, keep = Memory.reserve, Memory.keep
    monkeypatch.setattr(
        Memory, "reserve", lambda self, share, size: (reserved.append(size), reserve(self, share, size))[1]
    )
    monkeypatch.setattr(Memory, "keep", lambda self, share, size: (kept.append(size), keep(self, share, size))[1])
    with open_append(server, basin) as session:
        session.send_bytes(encode_frame(append_input(b"one")))
        assert session.ack()[1] == 1
        assert reserved == []
        session.send_bytes(encode_frame(append_input(bytes(1_000_000)), "zstd"))
        assert session.ack()[1] == 2
        assert reserved == [2 * MAX_MESSAGE_BYTES]
        assert [size for size in kept if size > 2_000_000]  # until it was admitted
        assert kept[-1] == 0
    body = gzip.compress(b'{"records":[{"body":"x"}]}' + b" " * MIB)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert server.request("POST", READ, basin=basin, body=body, headers=headers).status == 200
    assert reserved[1:] == [2 * MAX_UNARY_BODY_BYTES]


def test_a_frame_that_is_not_finished_in_time_is_a_408(make_thread_server, monkeypatch):
    monkeypatch.setattr(append, "FRAME_TIMEOUT_S", 0.2)
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        whole = encode_frame(append_input(b"one"))
        session.send_bytes(whole + whole[:5])
        assert session.ack()[1] == 1
        status, body = session.terminal()
    assert (status, body["code"]) == (408, "request_timeout")


def test_a_session_whose_frames_are_whole_may_be_silent(make_thread_server, monkeypatch):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    begun, sessions = threading.Event(), []
    expect = append._Session._expect_frame
    monkeypatch.setattr(
        append._Session, "_expect_frame", lambda self: (expect(self), sessions.append(self), begun.set())
    )
    with open_append(server, basin) as session:
        whole = encode_frame(append_input(b"one"))
        session.send_bytes(whole[:5])
        assert begun.wait(TIMEOUT_S)
        session.send_bytes(whole[5:])
        assert session.ack()[1] == 1
        # The timer of the frame that was begun fires at last.
        monkeypatch.setattr(append, "FRAME_TIMEOUT_S", 0)
        sessions[0]._check_for_frame()
        session.send_bytes(whole)
        assert session.ack()[1] == 2


@pytest.mark.parametrize("size", ["1MiB", "x", "-1", ""])
def test_what_is_no_limit_is_refused(run_s2, size):
    refused = run_s2("lite", "--memory", "--port", "0", "--memory-limit", size)
    assert refused.returncode == 2
    assert b"--memory-limit" in refused.stderr


def test_the_metrics_say_what_waits(shared_server):
    assert metric(shared_server, "s2_queued_bytes") >= 0
    assert json.loads(shared_server.request("GET", "/v1/basins").body)


def test_bodies_that_are_refused_are_let_go_at_once(make_server):
    """Nobody is left with them until the next garbage collection."""
    server = make_server(data=None)
    body = gzip.compress(b'{"basin":[' + b"{}," * (2 * MIB // 3 - 10) + b"{}]}")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    for _ in range(3):
        assert server.request("POST", "/v1/basins", body=body, headers=headers).status == 400
    began_bytes = peak_bytes(server)
    for _ in range(60):
        assert server.request("POST", "/v1/basins", body=body, headers=headers).status == 400
    assert peak_bytes(server) - began_bytes < 48 * MIB  # of 120 that came
