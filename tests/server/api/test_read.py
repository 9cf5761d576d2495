import threading
from types import SimpleNamespace

import pytest
from support.s2s import append, append_input, open_append, open_read
from support.waiting import INTERVAL_S, TIMEOUT_S

from s2cli.server.api import follow as following
from s2cli.server.core import followers
from s2cli.wire.s2_pb2 import ReadBatch

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}
MIB = 1 << 20


def test_a_unary_read_gets_a_thousand_records_and_a_mebibyte(shared_server, basin):
    shared_server.create_stream(basin)
    with open_append(shared_server, basin) as session:
        for _ in range(3):
            session.append(*[b"x"] * 700)
            session.ack()
        for _ in range(3):
            session.append(bytes(600_000))
            session.ack()
    path = "/v1/streams/stream/records"
    answer = shared_server.request("GET", f"{path}?seq_num=0&count=5000&bytes=5000000", basin=basin)
    assert [record["seq_num"] for record in answer.json()["records"]] == list(range(1000))
    answer = shared_server.request("GET", f"{path}?seq_num=2100", headers=PROTOBUF, basin=basin)
    assert [record.seq_num for record in ReadBatch.FromString(answer.body).records] == [2100]
    # Batches share a frame that has room for them.
    with open_read(shared_server, basin, "seq_num=0&count=5000") as session:
        assert [len(session.batch()[0]) for _ in range(5)] == [700, 700, 701, 1, 1]
        assert session.frame() is None


def test_small_batches_share_a_frame(shared_server, basin):
    shared_server.create_stream(basin)
    with open_append(shared_server, basin) as session:
        session.send(*[append_input(b"%d" % number) for number in range(1500)])
        for _ in range(1500):
            session.ack()
    with open_read(shared_server, basin, "seq_num=0&wait=0") as session:
        first, second = session.batch()[0], session.batch()[0]
        assert (len(first), len(second)) == (1000, 500)
        assert first + second == [(number, b"%d" % number) for number in range(1500)]
        assert session.frame() is None


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("seq_num=0&tail_offset=1", 422, "invalid"),
        ("timestamp=5&until=5", 422, "invalid"),
        ("seq_num=-1", 400, "bad_query"),
        ("seq_num=+1", 400, "bad_query"),
        ("seq_num=1_0", 400, "bad_query"),
        ("seq_num=18446744073709551616", 400, "bad_query"),
        ("seq_num=", 400, "bad_query"),
        ("count=x", 400, "bad_query"),
        ("wait=4294967296", 400, "bad_query"),
        ("clamp=1", 400, "bad_query"),
        ("seq_num=%ff", 400, "bad_query"),
    ],
)
def test_bad_queries_create_no_stream(shared_server, query, status, code):
    basin = shared_server.create_basin(create_stream_on_read=True)
    for headers in ({}, {"content-type": "s2s/proto"}):
        answer = shared_server.request("GET", f"/v1/streams/new/records?{query}", headers=headers, basin=basin)
        assert (answer.status, answer.json()["code"]) == (status, code)
    assert shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []


def test_reads_of_what_is_not_there(shared_server, basin):
    for path in ("records", "records/tail"):
        answer = shared_server.request("GET", f"/v1/streams/none/{path}", basin=basin)
        assert (answer.status, answer.json()["code"]) == (404, "stream_not_found")
        answer = shared_server.request("GET", f"/v1/streams/none/{path}", basin="no-such-basin")
        assert (answer.status, answer.json()["code"]) == (404, "basin_not_found")
    with open_read(shared_server, basin, stream="none") as session:
        assert (session.status, session.body["code"]) == (404, "stream_not_found")


def test_an_empty_stream(shared_server, basin):
    shared_server.create_stream(basin)
    path = "/v1/streams/stream/records"
    tail = {"tail": {"seq_num": 0, "timestamp": 0}}
    assert shared_server.request("GET", f"{path}/tail", basin=basin).json() == tail
    for query in ("", "seq_num=0", "timestamp=0", "tail_offset=5", "seq_num=9", "seq_num=9&clamp=true"):
        answer = shared_server.request("GET", f"{path}?{query}", basin=basin)
        assert (answer.status, answer.json()) == (416, tail), query
    for query in ("count=0", "bytes=0&wait=60", "seq_num=9&count=0"):
        answer = shared_server.request("GET", f"{path}?{query}", basin=basin)
        assert (answer.status, answer.json()) == (200, {"records": []}), query
        with open_read(shared_server, basin, query) as session:
            assert (session.status, session.frame()) == (200, None)
    for query in ("timestamp=5", "seq_num=1"):
        with open_read(shared_server, basin, query) as session:
            assert (session.status, session.body) == (416, tail)


def test_reads_create_streams_where_the_basin_says_so(shared_server):
    basin = shared_server.create_basin(create_stream_on_read=True)
    tail = {"tail": {"seq_num": 0, "timestamp": 0}}
    assert shared_server.request("GET", "/v1/streams/a/records/tail", basin=basin).json() == tail
    assert shared_server.request("GET", "/v1/streams/b/records", basin=basin).status == 416
    with open_read(shared_server, basin, stream="c") as session:
        assert session.batch() == ([], 0)
    names = [stream["name"] for stream in shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"]]
    assert names == ["a", "b", "c"]


def test_a_head_request(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, b"a")
    answer = shared_server.request("HEAD", "/v1/streams/stream/records?seq_num=0", basin=basin)
    assert (answer.status, answer.body) == (200, b"")
    answer = shared_server.request("HEAD", "/v1/streams/stream/records/tail", basin=basin)
    assert (answer.status, answer.body) == (200, b"")


def test_a_follower_beats_at_the_tail_and_gets_what_comes(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, b"a", b"b")
    with open_read(shared_server, basin, "seq_num=1") as session, open_append(shared_server, basin) as writer:
        assert session.headers["content-type"] == "s2s/proto"
        assert session.batch() == ([(1, b"b")], 2)
        assert session.batch() == ([], 2)
        for number in range(2, 20):
            writer.append(b"%d" % number)
            writer.ack()
            assert session.batch() == ([(number, b"%d" % number)], number + 1)


def test_only_the_batch_that_ends_at_the_tail_carries_it(shared_server, basin):
    shared_server.create_stream(basin)
    # Three batches: they do not fit in one message.
    for _ in range(3):
        append(shared_server, basin, *[b"x"] * 600)
    for query in ("seq_num=0", "seq_num=0&count=9999"):
        with open_read(shared_server, basin, query) as session:
            assert [session.batch()[1] for _ in range(3)] == [None, None, 1800], query
    # Cut by a limit, it does not end there.
    for query in ("seq_num=1790&count=9", "seq_num=1790&bytes=89"):
        with open_read(shared_server, basin, query) as session:
            records, tail = session.batch()
            assert (records[-1][0], tail) == (1798, None), query


def test_a_follower_that_starts_at_the_tail(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, b"a")
    for query in ("", "seq_num=1", "seq_num=9&clamp=true", "timestamp=9999999999999&clamp=true"):
        with open_read(shared_server, basin, query) as session:
            assert session.batch() == ([], 1), query


def test_limits_end_a_follower(shared_server, basin):
    shared_server.create_stream(basin, timestamping={"uncapped": True})
    sessions = [
        open_read(shared_server, basin, f"seq_num=0&wait=60&{limit}") for limit in ("count=3", "bytes=30", "until=99")
    ]
    opened = [session.__enter__() for session in sessions]
    for session in opened:
        assert session.batch() == ([], 0)
    with open_append(shared_server, basin) as writer:
        writer.append((5, [], b"a"), (6, [], b"b"))
        writer.ack()
        for session in opened:
            assert session.batch() == ([(0, b"a"), (1, b"b")], 2)
        writer.append((7, [], b"c"), (99, [], b"d"), (100, [], b"e"))
        writer.ack()
    for session in opened:
        assert session.batch() == ([(2, b"c")], 5)
        assert session.frame() is None
        session.close()


@pytest.fixture
def frozen(make_thread_server, monkeypatch):
    """A server whose time stands still, and its basin with a stream."""
    monkeypatch.setattr(followers, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no broadcast takes long
    # What an engine waits for by itself does not stand still.
    monkeypatch.setattr("s2cli.server.store.bucket.open_basin.GATHERING_SHARE", 0)
    monkeypatch.setattr("s2cli.server.store.bucket.database.UNREACHABLE_S", 1e6)
    server = make_thread_server(frozen=True)
    basin = server.create_basin()
    server.create_stream(basin)
    return server, basin


def test_a_long_poll_waits_as_long_as_it_says(frozen):
    server, basin = frozen
    answers = []

    def poll():
        answers.append(server.request("GET", "/v1/streams/stream/records?wait=30", basin=basin))

    polling = threading.Thread(target=poll)
    polling.start()
    waited_s = 0
    while polling.is_alive():
        server.clock.advance(1)
        waited_s += 1
        polling.join(INTERVAL_S)
    assert (answers[0].status, answers[0].json()) == (200, {"records": []})
    assert waited_s >= 30


def test_a_session_waits_as_long_as_it_says(frozen):
    server, basin = frozen
    append(server, basin, b"a")
    with open_read(server, basin, "seq_num=0&count=9&wait=4") as session, open_append(server, basin) as writer:
        assert session.batch() == ([(0, b"a")], 1)
        assert session.batch() == ([], 1)
        # Each batch starts the wait anew.
        for number in 1, 2:
            server.clock.advance(3.9)
            writer.append(b"b")
            assert session.batch() == ([(number, b"b")], number + 1)
        server.clock.advance(4)
        assert session.frame() is None


def test_a_bounded_session_ends_at_the_tail_that_it_found(shared_server, basin):
    shared_server.create_stream(basin)
    append(shared_server, basin, b"a", b"b")
    with open_read(shared_server, basin, "seq_num=0&count=100") as session:
        assert session.records() == [(0, b"a"), (1, b"b")]


def test_a_long_poll_gets_the_first_new_batch(shared_server, basin):
    shared_server.create_stream(basin)
    path = "/v1/streams/stream/records"
    answers = []

    def poll():
        answers.append(shared_server.request("GET", f"{path}?wait=60", basin=basin))

    polling = threading.Thread(target=poll)
    polling.start()
    # Whatever is written before it waits, it does not see.
    while polling.is_alive():
        append(shared_server, basin, b"new")
        polling.join(0.02)
    body = answers[0].json()
    assert [record["body"] for record in body["records"]] == ["new"]
    assert body["tail"]["seq_num"] == body["records"][0]["seq_num"] + 1
    # What is there already comes at once, without a tail.
    assert "tail" not in shared_server.request("GET", f"{path}?seq_num=0&wait=10", basin=basin).json()


@pytest.mark.parametrize(
    ("accept", "flag"), [("gzip, zstd", 0x20), ("gzip", 0x40), ("zstd;q=0, gzip;q=0.1", 0x40), ("br", 0)]
)
def test_frames_to_the_client_are_compressed_as_it_accepts(shared_server, basin, accept, flag):
    shared_server.create_stream(basin)
    append(shared_server, basin, b"a" * 5000)
    with open_read(shared_server, basin, "seq_num=0", headers={"accept-encoding": accept}) as session:
        assert "content-encoding" not in session.headers
        first = session.frame()
        assert ReadBatch.FromString(first.message).records[0].body == b"a" * 5000
        # Small ones are not worth it.
        assert ReadBatch.FromString(session.frame().message).tail.seq_num == 1
    import socket

    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as raw:
        raw.sendall(
            f"GET /v1/streams/stream/records?seq_num=0&wait=0 HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\n"
            f"content-type: s2s/proto\r\naccept-encoding: {accept}\r\n\r\n".encode()
        )
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += raw.recv(65536)
    frame = data.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2]
    assert frame[3] == flag


def test_a_deleted_stream_ends_its_followers(shared_server, basin):
    shared_server.create_stream(basin)
    with open_read(shared_server, basin) as session:
        assert session.batch() == ([], 0)
        assert shared_server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
        status, body = session.terminal()
        assert (status, body["code"]) == (409, "stream_deletion_pending")


def test_slow_and_gone_readers_cost_nobody_and_lose_nothing(server):
    basin = server.create_basin()
    server.create_stream(basin)

    def rss_mib():
        with open(f"/proc/{server.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    slow = [open_read(server, basin, "seq_num=0").__enter__() for _ in range(10)]
    gone = [open_read(server, basin, "seq_num=0").__enter__() for _ in range(10)]
    quick = open_read(server, basin, "seq_num=0").__enter__()
    assert quick.batch() == ([], 0)
    before_mib = rss_mib()
    got = []

    def follow():
        while len(got) < 10_000:
            got.extend(seq_num for seq_num, _ in quick.batch()[0])

    following = threading.Thread(target=follow)
    following.start()
    with open_append(server, basin) as writer:
        for number in range(100):
            writer.append(*[b"%d " % at + bytes(5000) for at in range(number * 100, number * 100 + 100)])
            if number == 50:
                for session in gone:
                    session.close()
            if number >= 5:
                assert writer.ack()[1] == (number - 4) * 100
        for _ in range(5):
            writer.ack()
    following.join(TIMEOUT_S)
    assert got == list(range(10_000))
    # 50 MB went by for each; what is held for a reader does not grow with them.
    assert rss_mib() - before_mib < 180
    for session in slow[:3]:
        found = []
        while len(found) < 10_000:
            found += session.batch()[0]
        assert [seq_num for seq_num, _ in found] == list(range(10_000))
        assert all(body.startswith(b"%d " % seq_num) for seq_num, body in found)
    for session in (*slow, quick):
        session.close()
    assert server.stop() == 0


def test_a_server_that_stops_does_not_wait_for_a_reader_that_does_not_read(make_thread_server, caplog):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    with open_append(server, basin) as writer:
        for _ in range(30):
            writer.append(bytes(1_000_000))
            writer.ack()
    with open_read(server, basin, "seq_num=0"):
        server.stop()
    assert "did not end in time" not in caplog.text


def test_heartbeats_go_on_and_do_not_delay_the_end_of_a_wait(frozen):
    server, basin = frozen
    with open_read(server, basin, "seq_num=0&wait=50") as session:
        assert session.batch() == ([], 0)
        for _ in range(3):
            server.clock.advance(following.HEARTBEAT_S[1])
            assert session.batch() == ([], 0)
        server.clock.advance(50 - 3 * following.HEARTBEAT_S[1])
        assert session.frame() is None


def test_a_busy_follower_gets_no_heartbeats(frozen):
    server, basin = frozen
    with open_read(server, basin, "seq_num=0") as session, open_append(server, basin) as writer:
        assert session.batch() == ([], 0)
        for number in range(8):
            server.clock.advance(following.HEARTBEAT_S[0] - 0.1)
            writer.append(b"a")
            assert session.batch() == ([(number, b"a")], number + 1)
        server.clock.advance(following.HEARTBEAT_S[1])
        assert session.batch() == ([], 8)
