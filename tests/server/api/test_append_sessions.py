"""Append sessions: their acknowledgements, and all the ways in which they end."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest
from support.h2_raw import RawH2
from support.s2s import append_input, open_append, open_read
from support.waiting import TIMEOUT_S, until

from s2cli.server.api.append import INPUTS_IN_A_ROW
from s2cli.server.core.stream import Stream
from s2cli.server.http.http2_frames import DATA, END_STREAM, HEADERS, frame
from s2cli.wire.frames import encode_frame, encode_terminal


def test_a_session_acks_in_order_and_ends_cleanly(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        assert session.status == 200
        assert session.headers["content-type"] == "s2s/proto"
        assert session.headers["cache-control"] == "no-cache, no-transform"
        session.append(b"one")
        assert session.ack() == (0, 1, 1)
        session.send(*[append_input(b"x" * n, b"y") for n in range(50)])
        ends = [session.ack() for _ in range(50)]
        assert [(start, end) for start, end, _ in ends] == [(1 + 2 * n, 3 + 2 * n) for n in range(50)]
        assert all(tail >= end for _, end, tail in ends)
        session.send(append_input(b"z"), append_input(b"z"))
        session.half_close()
        assert [session.ack()[1] for _ in range(2)] == [102, 103]
        assert session.frame() is None


def test_a_session_without_inputs_ends_without_frames(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.half_close()
        assert session.frame() is None


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_inputs_may_be_compressed(shared_server, basin, stream, compression, get):
    with open_append(shared_server, basin) as session:
        session.send(append_input(b"a" * 5000), append_input(b"b"), compression=compression)
        assert session.ack()[1] == 1
        assert session.ack()[1] == 2
    assert get("seq_num=0").json()["records"][0]["body"] == "a" * 5000


@pytest.mark.parametrize(
    ("bad", "status", "answer"),
    [
        (encode_frame(append_input(b"x", match_seq_num=7)), 412, {"seq_num_mismatch": 2}),
        (encode_frame(append_input(b"x", fencing_token="t")), 412, {"fencing_token_mismatch": ""}),
        (encode_frame(append_input()), 422, "invalid"),
        (encode_frame(append_input(b"x", fencing_token="t" * 37)), 422, "invalid"),
        (encode_frame(b"\xff\xff"), 400, "bad_frame"),
        (b"\x00\x00\x00\x00", 400, "bad_frame"),
        (b"\xff\xff\xff\x00", 400, "bad_frame"),
        (b"\x00\x00\x05\x60abcd", 400, "bad_frame"),
        (encode_terminal(500, b"{}"), 400, "bad_frame"),
    ],
)
@pytest.mark.parametrize("behind", [encode_frame(append_input(b"poisoned")), b""], ids=["followed", "alone"])
def test_the_first_error_comes_after_all_acks_and_ends_the_session(
    shared_server, basin, stream, get, bad, status, answer, behind
):
    with open_append(shared_server, basin) as session:
        session.append(b"a")
        assert session.ack() == (0, 1, 1)
        session.append(b"b")
        session.send_bytes(bad + behind)
        assert session.ack() == (1, 2, 2)
        found_status, found = session.terminal()
        assert found_status == status
        assert (found if isinstance(answer, dict) else found["code"]) == answer
    assert [record["body"] for record in get("seq_num=0").json()["records"]] == ["a", "b"]


def test_inputs_that_come_alone_keep_their_order_with_those_that_come_in_pieces(shared_server, basin, stream, get):
    """What is alone in its piece is admitted without waking the session's task, which has all others."""
    with open_append(shared_server, basin) as session:
        for number in range(0, 60, 3):
            session.append(b"%d" % number)
            two = encode_frame(append_input(b"%d" % (number + 1))) + encode_frame(append_input(b"%d" % (number + 2)))
            session.send_bytes(two[:7])
            session.send_bytes(two[7:])
        assert [session.ack()[0] for _ in range(60)] == [*range(60)]
        session.send(append_input(b"", match_seq_num=60, fencing_token=""))
        assert session.ack() == (60, 61, 61)
        session.half_close()
        assert session.frame() is None
    records = get("seq_num=0&count=100").json()["records"]
    assert [record.get("body", "") for record in records] == [*map(str, range(60)), ""]


def test_inputs_in_many_frames_of_http2_leave_others_their_turns(make_thread_server, monkeypatch):
    """Each of them is alone in its frame, and one piece of what comes has thousands of these."""
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    admitted, running = [], []
    admit = Stream.admit

    def spy(self, *arguments, **options):
        if not running:
            running.append(True)
            admitted.append(0)
            asyncio.get_running_loop().call_soon(running.clear)
        admitted[-1] += 1
        admit(self, *arguments, **options)

    monkeypatch.setattr(Stream, "admit", spy)
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as connection:
        client = RawH2(connection)
        path = (":path", "/v1/streams/stream/records")
        pseudo = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), path)
        client.ask(1, ("s2-basin", basin), ("content-type", "s2s/proto"), pseudo=pseudo, ends=False)
        client.until(HEADERS, 1)
        inputs = [frame(DATA, 0, 1, encode_frame(append_input(b"%d" % number))) for number in range(1000)]
        client.send_bytes(b"".join(inputs) + frame(DATA, END_STREAM, 1, b""))
        client.until(DATA, 1, END_STREAM)
    assert sum(admitted) == 1000
    assert max(admitted) <= INPUTS_IN_A_ROW


def test_a_body_that_ends_within_a_frame(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.send_bytes(encode_frame(append_input(b"a"))[:-1])
        session.half_close()
        assert session.terminal()[0] == 400


def test_what_was_accepted_before_a_disconnect_is_kept(shared_server, basin, stream, get):
    with open_append(shared_server, basin) as session:
        session.send(*[append_input(b"%d" % n) for n in range(100)])
        session.ack()
    until(lambda: get("tail_offset=0").json()["tail"]["seq_num"] == 100)


def test_an_open_that_fails_is_an_ordinary_response(shared_server, basin):
    with open_append(shared_server, basin, "none") as session:
        assert (session.status, session.body["code"]) == (404, "stream_not_found")


def test_a_session_of_a_deleted_stream_ends(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.append(b"a")
        session.ack()
        assert shared_server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
        session.append(b"b")
        status, body = session.terminal()
        assert (status, body["code"]) == (409, "stream_deletion_pending")


def test_a_client_that_keeps_sending_gets_the_terminal_frame(shared_server, basin, stream):
    with open_append(shared_server, basin) as session:
        session.append(b"x", match_seq_num=9)
        stop = threading.Event()

        def send():
            frame = append_input(bytes(100_000))
            while not stop.is_set():
                try:
                    session.send(frame)
                except OSError:
                    return

        thread = threading.Thread(target=send)
        thread.start()
        try:
            assert session.terminal()[0] == 412
        finally:
            stop.set()
            thread.join()


def test_a_draining_server_acks_what_it_accepted_and_says_so(server):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as append, open_read(server, basin, "seq_num=0") as read:
        append.append(b"a")
        assert append.ack() == (0, 1, 1)
        assert read.batch()[1] is not None
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        for session in (append, read):
            advised = False
            while (frame := session.frame()).status is None:
                advised = frame.reconnect_advised
            assert frame.status == 503
            assert json.loads(frame.message)["code"] == "server_draining"
            assert advised or session is append  # whose last ack went before
        stopping.join()


def test_acks_of_a_draining_server_advise_to_reconnect(server):
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        stopping = threading.Timer(0.05, server.stop)
        stopping.start()
        # So much that some of it is accepted and not acked when the drain begins.
        sent = 0
        with contextlib.suppress(OSError):
            while stopping.is_alive() and sent < 4000:
                session.append(b"x" * 10_000)
                sent += 1
        advised = acked = 0
        while (frame := session.frame()).status is None:
            acked += 1
            advised += frame.reconnect_advised
        assert json.loads(frame.message)["code"] == "server_draining"
        assert 0 < acked <= sent
        stopping.join()
    server.start()
    answer = server.request("GET", "/v1/streams/stream/records/tail", basin=basin)
    assert answer.json()["tail"]["seq_num"] == acked  # all that was accepted, and nothing else


def test_a_client_that_heeds_the_advice_of_a_draining_server_ends_its_session_itself(
    make_thread_server, tmp_path, monkeypatch
):
    # So that it is the client's end that is waited for, and not a time in which it may not have had its turn.
    monkeypatch.setattr("s2cli.server.process.ADVICE_S", TIMEOUT_S)
    server = make_thread_server(data=tmp_path / "data")
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as session:
        session.append(b"0")
        assert session.ack() == (0, 1, 1)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        sent, advised = 1, False
        while not advised:
            session.append(b"%d" % sent)
            sent += 1
            frame = session.frame()
            assert frame.status is None
            advised = frame.reconnect_advised
        # All that comes after the advice is still taken, until the client is done; and nobody says 503.
        session.send(*[append_input(b"late")] * 100)
        session.half_close()
        for _ in range(100):
            frame = session.frame()
            assert (frame.status, frame.reconnect_advised) == (None, True)
        assert session.frame() is None
    stopping.join()
    server = make_thread_server(data=tmp_path / "data")
    answer = server.request("GET", "/v1/streams/stream/records/tail", basin=basin)
    assert answer.json()["tail"]["seq_num"] == sent + 100


def test_bulk_through_many_streams_at_once_is_exact(shared_server, basin):
    def load(name):
        shared_server.create_stream(basin, name)
        with open_append(shared_server, basin, name) as session:
            for number in range(60):
                session.append(*[b"%s %d %d" % (name.encode(), number, at) + bytes(900) for at in range(100)])
            for number in range(60):
                assert session.ack()[:2] == (number * 100, number * 100 + 100)
        with open_read(shared_server, basin, "seq_num=0&count=1000000", name) as session:
            records = session.records()
        assert [seq_num for seq_num, _ in records] == list(range(6000))
        expected = [b"%s %d %d" % (name.encode(), at // 100, at % 100) + bytes(900) for at in range(6000)]
        assert [body for _, body in records] == expected
        done.append(name)

    done = []
    threads = [threading.Thread(target=load, args=(f"bulk-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
