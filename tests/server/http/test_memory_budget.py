"""One budget for what waits in memory: who gets no more when it is short, who is ended, and who never notices."""

import asyncio
import contextlib
import gzip
import json
import math
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.s2s import append_input, open_append
from support.waiting import TIMEOUT_S, until

from s2cli.server import heap
from s2cli.server.api import append
from s2cli.server.heap import Heap, resident_bytes
from s2cli.server.http.exchange import MAX_UNARY_BODY_BYTES
from s2cli.server.http.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE_BYTES,
    RST_STREAM,
    RequestFrames,
    ResponseFrames,
    reset,
)
from s2cli.server.http.memory_budget import (
    AUDIT_PAUSE_S,
    HOLDER_BYTES,
    LEAST_READ_BYTES,
    LEAST_STALL_S,
    MIB,
    PACE_S,
    Memory,
    Share,
)
from s2cli.wire.frames import MAX_MESSAGE_BYTES, encode_frame


class Reader:
    """A holder that does what it is told."""

    def __init__(self, memory, unsent_bytes=0, taken_bytes=0, input_bytes=0):
        self.share = Share()
        self.is_ending = False
        self.taken_mark = 0
        self.marked_s = math.inf
        self.unsent, self.taken, self.input = unsent_bytes, taken_bytes, input_bytes
        self.ended = self.told = 0
        self._memory = memory
        memory.holders.add(self)

    def unsent_bytes(self):
        return self.unsent

    def unacked_bytes(self):
        return self.input

    def taken_bytes(self):
        return self.taken

    def end_reader(self):
        self.ended += 1
        self._memory.holders.discard(self)

    def may_read(self):
        self.told += 1


@pytest.fixture
def clock():
    return [0.0]


def with_memory(clock, test, limit_bytes=100 * MIB):
    async def run():
        await test(Memory(limit_bytes, lambda: clock[0]))

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_those_that_took_nothing_for_longest_are_ended_first(clock):
    async def test(memory):
        memory.limit_bytes = 10 * MIB
        readers = []
        for second in range(5):
            clock[0] = float(second)
            memory.audit()
            readers.append(Reader(memory, 2 * MIB))
        clock[0] = 10.0
        memory.audit()  # 10 MiB of 10: down to three quarters
        assert [reader.ended for reader in readers] == [1, 1, 0, 0, 0]
        assert (memory.ended_readers, memory.is_short) == (2, True)
        memory.audit()  # they have gone
        assert memory.ended_readers == 2
        assert not memory.is_short

    with_memory(clock, test)


def test_who_takes_something_now_and_then_is_not_ended(clock):
    async def test(memory):
        slow, stalled, idle = Reader(memory, 60 * MIB), Reader(memory, 60 * MIB), Reader(memory)
        for _ in range(20):
            clock[0] += LEAST_STALL_S / 2
            slow.taken += 1
            memory.audit()
        assert (slow.ended, stalled.ended, idle.ended) == (0, 1, 0)

    with_memory(clock, test)


def test_who_trickles_is_ended_when_others_go_on_at_their_pace(clock):
    async def test(memory):
        memory.audit()
        trickling, fair, fast = Reader(memory, 60 * MIB), Reader(memory, 20 * MIB), Reader(memory, 20 * MIB)
        memory.audit()
        for _ in range(25):
            clock[0] += LEAST_STALL_S / 10
            trickling.taken += 1
            fair.taken += MIB // 4
            fast.taken += MIB
            memory.audit()
        assert (trickling.ended, fair.ended, fast.ended) == (1, 0, 0)

    with_memory(clock, test)


def test_who_was_fast_and_takes_no_more_is_ended_after_a_while(clock):
    async def test(memory):
        reader = Reader(memory, 95 * MIB)
        memory.audit()
        reader.taken = 1000 * MIB
        while not reader.ended:
            clock[0] += LEAST_STALL_S
            memory.audit()
        assert clock[0] <= PACE_S + 2 * LEAST_STALL_S

    with_memory(clock, test)


def test_a_reader_for_which_nothing_waited_is_not_ended_as_soon_as_something_does(clock):
    async def test(memory):
        reader = Reader(memory)
        memory.audit()
        clock[0] = 1000.0
        reader.unsent = 100 * MIB
        memory.audit()
        assert (memory.is_short, reader.ended) == (True, 0)

    with_memory(clock, test)


def test_nobody_is_ended_at_once_or_without_need(clock):
    async def test(memory):
        reader = Reader(memory, 200 * MIB)
        clock[0] = LEAST_STALL_S / 2
        memory.audit()
        assert (memory.is_short, reader.ended) == (True, 0)
        reader.unsent = 50 * MIB
        clock[0] = 1000.0
        memory.audit()
        assert (memory.is_short, reader.ended) == (False, 0)

    with_memory(clock, test)


def test_readers_wait_for_room_in_their_order(clock):
    async def test(memory):
        holder = Reader(memory, 70 * MIB)
        memory.audit()
        await memory.reserve(Share(), 20 * MIB)
        clock[0] += AUDIT_PAUSE_S
        waiting = [asyncio.ensure_future(memory.reserve(Share(), 15 * MIB)) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        # The audit that the first of them brought found that the 20 MiB are held by nobody.
        assert [one.done() for one in waiting] == [True, False, False]
        holder.unsent = 0
        clock[0] += AUDIT_PAUSE_S
        await asyncio.gather(*waiting)

    with_memory(clock, test)


def test_those_that_wait_get_no_more_together_than_there_is(clock):
    async def test(memory):
        readers = [Reader(memory) for _ in range(9)]
        waiting = [asyncio.ensure_future(memory.reserve(reader.share, 30 * MIB)) for reader in readers]
        done = 0
        while done < len(readers):
            await asyncio.sleep(0)
            clock[0] += AUDIT_PAUSE_S
            memory.audit()
            await asyncio.sleep(0)
            assert sum(reader.share.reserved_bytes for reader in readers) <= 90 * MIB
            # Two have what they needed; less than a half is in use then.
            for reader in readers[done : done + 2]:
                reader.share.clear()
            done += 2
        await asyncio.gather(*waiting)

    with_memory(clock, test)


def test_who_waits_no_more_keeps_nobody_behind_him_waiting(clock):
    async def test(memory):
        holder = Reader(memory, 70 * MIB)
        memory.audit()
        gone, next_one = Share(), Share()
        first = asyncio.ensure_future(memory.reserve(gone, 90 * MIB))
        second = asyncio.ensure_future(memory.reserve(next_one, MIB))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        memory.audit()
        await second
        assert (gone.reserved_bytes, next_one.reserved_bytes) == (0, MIB)
        # One that has got room in the same turn of the loop gives it back.
        first = asyncio.ensure_future(memory.reserve(gone, 90 * MIB))
        await asyncio.sleep(0)
        holder.unsent = 0
        memory.audit()
        assert gone.reserved_bytes == 90 * MIB
        first.cancel()
        await asyncio.wait([first])
        assert gone.reserved_bytes == 0

    with_memory(clock, test)


def test_one_that_needs_more_than_there_is_goes_when_it_is_alone(clock):
    async def test(memory):
        await memory.reserve(Share(), 1000 * MIB)

    with_memory(clock, test)


def test_appenders_hold_a_half_at_most_and_are_told_when_there_is_room(clock):
    async def test(memory):
        appender = Reader(memory, input_bytes=51 * MIB)
        memory.spend_input(51 * MIB)
        assert (memory.is_full_of_input, memory.is_short, appender.told) == (True, False, 0)
        await memory.reserve(Share(), 20 * MIB)
        appender.input = 0
        clock[0] += AUDIT_PAUSE_S
        memory.audit()
        assert (memory.is_full_of_input, appender.told, appender.ended) == (False, 1, 0)

    with_memory(clock, test)


def test_that_there_is_no_room_is_known_before_the_next_audit(clock):
    async def test(memory):
        memory.spend(101 * MIB)  # brings one, and another one later
        memory.spend(101 * MIB)
        assert (memory.is_short, memory.is_full_of_input) == (True, False)
        memory.spend_input(60 * MIB)
        assert memory.is_full_of_input

    with_memory(clock, test)


def test_what_each_may_always_send_has_a_sum(clock):
    async def test(memory):
        Reader(memory)
        assert memory.least_read_bytes == LEAST_READ_BYTES
        for _ in range(999):
            Reader(memory)
        assert 1000 * memory.least_read_bytes <= memory.limit_bytes // 8 < 1001 * (memory.least_read_bytes + 1)

    with_memory(clock, test)


def test_what_the_process_has_beside_counts_up_to_a_quarter(clock):
    async def test(memory):
        Reader(memory, 60 * MIB)
        for added_bytes, used_bytes in ((0, 60), (50, 60), (75, 75), (1000, 85)):
            memory.added_bytes = lambda added_bytes=added_bytes: added_bytes * MIB
            memory.audit()
            assert memory.used_bytes // MIB == used_bytes
        await memory.reserve(Share(), 10 * MIB)

    with_memory(clock, test)


def test_audits_are_few_however_much_comes(clock):
    async def test(memory):
        audits = []
        memory.elsewhere_bytes = lambda: audits.append(None) or 0
        for _ in range(10_000):
            memory.spend(MIB)
        assert len(audits) == 1
        for _ in range(HOLDER_BYTES):
            memory.spend(1)
        assert len(audits) == 1

    with_memory(clock, test)


def test_what_is_free_is_given_back_once_the_process_is_too_large(monkeypatch):
    size_bytes, given_back = [100 * MIB], []

    def trim(kept_bytes):
        given_back.append(kept_bytes)
        size_bytes[0] -= 30 * MIB

    monkeypatch.setattr(heap, "resident_bytes", lambda: size_bytes[0])
    monkeypatch.setattr(heap, "PAUSE_FACTOR", 0)
    own = Heap(trim, 80 * MIB)
    size_bytes[0] += 70 * MIB
    assert (own.added_bytes(), given_back) == (70 * MIB, [])
    size_bytes[0] += MIB
    assert (own.added_bytes(), given_back) == (41 * MIB, [0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of a process in /proc/self/statm")
def test_the_size_of_this_process():
    assert MIB < resident_bytes() < 4096 * MIB
    own = heap.bounded(MIB)
    assert own is None or own.added_bytes() <= 64 * MIB


# The frames of HTTP/2.


class Seen:
    def __init__(self):
        self.seen = []

    def on_request(self, stream):
        self.seen.append(("request", stream))

    def on_request_data(self, stream, size_bytes):
        self.seen.append(("in", stream, size_bytes))

    def on_response_data(self, stream, size_bytes):
        self.seen.append(("out", stream, size_bytes))

    def on_closed(self, stream):
        self.seen.append(("closed", stream))


def frame(kind, flags, stream, contents):
    return len(contents).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + contents


FRAMES = st.lists(
    st.tuples(st.sampled_from([DATA, HEADERS, RST_STREAM, CONTINUATION, 4, 8]), st.integers(0, 255), st.integers(0, 9))
    .flatmap(lambda head: st.tuples(st.just(head), st.integers(0, 60)))
    .map(lambda one: frame(*one[0], bytes(one[1])))
)
CUTS = st.lists(st.integers(0, 500), max_size=20)


def pieces_of(wire, cuts):
    ends = [*sorted(end for end in cuts if end < len(wire)), len(wire)]
    return [wire[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


@given(FRAMES, CUTS)
def test_what_the_server_sends_passes_unchanged_in_any_pieces(frames, cuts):
    wire = b"".join(frames)
    whole, cut = Seen(), Seen()
    assert ResponseFrames(whole).observe(wire) == wire
    passing = ResponseFrames(cut)
    assert b"".join(passing.observe(piece) for piece in pieces_of(wire, cuts)) == wire
    assert cut.seen == whole.seen
    sizes = [len(one) - 9 for one in frames if one[3] == DATA]
    assert [event[2] for event in whole.seen if event[0] == "out"] == sizes


@given(FRAMES, CUTS)
def test_what_the_client_sends_passes_in_any_pieces(frames, cuts):
    wire = bytes(PREFACE_BYTES) + b"".join(frames)
    whole, cut = Seen(), Seen()
    expected = RequestFrames(b"7", whole).passed(wire)
    passing = RequestFrames(b"7", cut)
    assert b"".join(passing.passed(piece) for piece in pieces_of(wire, cuts)) == expected
    assert cut.seen == whole.seen


def test_each_new_stream_gets_its_header_in_a_frame_of_its_own():
    passing = RequestFrames(b"12", Seen())
    head = frame(HEADERS, END_STREAM, 5, b"abc")
    out = passing.passed(bytes(PREFACE_BYTES) + head + frame(CONTINUATION, END_HEADERS, 5, b"de"))
    value = b"12.5"
    header = b"\0\x0cs2-h2-stream" + bytes((len(value),)) + value
    continued = frame(CONTINUATION, 0, 5, b"de") + frame(CONTINUATION, END_HEADERS, 5, header)
    assert out == bytes(PREFACE_BYTES) + head + continued
    assert passing.at_boundary
    # Trailers of a stream that is open, and what is neither.
    for other in frame(HEADERS, END_HEADERS, 5, b"x"), frame(DATA, 0, 5, b"x"), reset(5):
        assert passing.passed(other) == other


# Over the wire.

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
