"""Appends that wait: for their bodies, for the disk, for room, and for who takes the acknowledgements."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest
from support.s2s import append_input, open_append, open_read
from support.waiting import TIMEOUT_S, until

from s2cli.server.http.http1_connection import Connection as Http1Connection
from s2cli.server.http.http1_exchange import Http1Exchange
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.s2_pb2 import ReadBatch

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}


def test_a_body_that_never_comes_does_not_hold_the_others(shared_server, basin, stream, post):
    with socket.create_connection((shared_server.host, shared_server.port), timeout=TIMEOUT_S) as silent:
        silent.sendall(
            f"POST {stream} HTTP/1.1\r\nhost: x\r\ns2-basin: {basin}\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode()
        )
        assert post({"records": [{}]}).status == 200


def test_a_refusal_waits_for_what_it_observed(held):
    server, basin, store = held
    answers = []

    def post(value):
        answer = server.request("POST", "/v1/streams/stream/records", json_body=value, basin=basin)
        answers.append(answer.json())

    waiting = [threading.Thread(target=post, args=({"records": [{}, {}]},))]
    waiting[0].start()
    until(lambda: store.held)
    waiting.append(threading.Thread(target=post, args=({"records": [{}], "match_seq_num": 0},)))
    waiting[1].start()
    with open_append(server, basin) as session:
        session.append(b"x", fencing_token="t")
        # Neither the tail nor a reader knows of what is not durable.
        tail = server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()
        assert tail == {"tail": {"seq_num": 0, "timestamp": 0}}
        assert answers == []
        server.loop.call_soon_threadsafe(store.release)
        assert session.terminal() == (412, {"fencing_token_mismatch": ""})
    for thread in waiting:
        thread.join()
    assert {"seq_num_mismatch": 2} in answers
    assert [answer["end"]["seq_num"] for answer in answers if "end" in answer] == [2]


def test_a_session_is_not_read_beyond_what_may_be_pending(held, monkeypatch):
    server, basin, store = held
    hold_reading = Http1Connection.hold_reading
    holding = []

    def noted(connection):
        hold_reading(connection)
        holding.append(connection)

    monkeypatch.setattr(Http1Connection, "hold_reading", noted)
    done = threading.Event()
    with open_append(server, basin) as session:

        def send():
            for _ in range(40):
                session.append(bytes(1_000_000))
            done.set()

        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: sum(len(append.chunk.data) for append in store.held) >= 2 << 20)
        # Then nothing is read of what the client would send.
        until(lambda: any(connection.holds_reading for connection in holding))
        assert not done.is_set()
        assert len(store.held) <= 3
        # Others continue: the bound is the stream's.
        server.create_stream(basin, "other")
        server.loop.call_soon_threadsafe(store.release)
        assert [session.ack()[1] for _ in range(40)] == list(range(1, 41))
        sending.join()


def test_a_full_disk_is_said_and_survived(make_thread_server, tmp_path):
    stores = []

    async def open_store(path):
        stores.append(await SqliteStore.open(path))
        return stores[0]

    server = make_thread_server(data=tmp_path / "data", open_store=open_store)
    basin = server.create_basin()
    server.create_stream(basin)

    def limit_pages(spare):
        def run(connection):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + spare}").fetchall()

        asyncio.run_coroutine_threadsafe(stores[0].change(run), server.loop).result(TIMEOUT_S)

    with open_append(server, basin) as session, open_read(server, basin, "seq_num=0") as follower:
        found = []
        for number in range(1, 6):
            session.append(bytes(1_000_000))
            session.ack()
            while len(found) < number:
                found += ReadBatch.FromString(follower.frame().message).records
        limit_pages(10)
        session.append(bytes(1_000_000))
        session.append(b"behind it")
        status, body = session.terminal()
        assert (status, body["code"]) == (500, "storage")
        assert "disk is full" in body["message"]
        while (frame := follower.frame()).status is None:
            found += ReadBatch.FromString(frame.message).records
        assert len(found) == 5
        assert (frame.status, json.loads(frame.message)["code"]) == (503, "unavailable")
    assert server.request("GET", "/health").status == 503
    path = "/v1/streams/stream/records"
    answer = server.request("POST", path, json_body={"records": [{"body": "small"}]}, basin=basin)
    assert answer.json()["start"]["seq_num"] == 5
    assert server.request("GET", "/health").status == 200
    trim = (None, [(b"", b"trim")], (5).to_bytes(8, "big"))
    assert server.request("POST", path, body=append_input(trim), headers=PROTOBUF, basin=basin).status == 200
    with open_append(server, basin) as session:
        for number in range(3):
            session.append(bytes(1_000_000))
            assert session.ack()[:2] == (7 + number, 8 + number)


def test_a_session_whose_client_takes_no_acks_ends_when_it_is_told_to(make_thread_server, caplog):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    full = threading.Event()
    is_blocked = Http1Exchange.is_blocked

    def noted(exchange):
        blocked = is_blocked.fget(exchange)
        if blocked:
            full.set()
        return blocked

    inputs = [append_input(b"")] * 1000

    def flood(session):
        with contextlib.suppress(OSError):
            while True:
                session.send(*inputs)

    with pytest.MonkeyPatch.context() as patch, open_append(server, basin) as session:
        patch.setattr(Http1Exchange, "is_blocked", property(noted))
        flooding = threading.Thread(target=flood, args=(session,), daemon=True)
        flooding.start()
        assert full.wait(TIMEOUT_S)
        server.stop()
    flooding.join(TIMEOUT_S)
    assert "did not end in time" not in caplog.text
