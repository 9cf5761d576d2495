"""Clients that do their worst, and what broke once: the server lives, others do not notice, and the answer is right."""

import asyncio
import shutil
import socket
import sqlite3
import tracemalloc

import pytest
from support.s2s import append_input, open_append
from support.waiting import TIMEOUT_S

from s2cli.errors import BadValueError, S2Error
from s2cli.server.api import append as appending
from s2cli.server.api.append_body import parse_proto
from s2cli.server.api.error_answers import error_response
from s2cli.server.data_directory import LockedDirectory
from s2cli.server.store.interface import BasinRow, StreamRow
from s2cli.server.store.sqlite import chunks
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire.frames import MAX_PIECES, FrameReader, encode_frame


def append(server, basin, records, stream="stream", **conditions):
    return server.request(
        "POST", f"/v1/streams/{stream}/records", basin=basin, json_body={"records": records, **conditions}
    )


def exchange(server, data: bytes) -> bytes:
    """All that the server answers to these bytes."""
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
    return answer


@pytest.mark.parametrize("age", [(1 << 64) - 1, (1 << 63) - 1, (1 << 63) // 1000])
def test_no_age_of_records_is_too_large_to_store(shared_server, basin, age):
    stream = shared_server.create_stream(basin, retention_policy={"age": age})
    assert append(shared_server, basin, [{"body": "x"}], stream).status == 200
    assert shared_server.request("GET", "/health").status == 200


def bombs(count: int) -> bytes:
    """That many frames in few bytes, each a batch of a megabyte."""
    return encode_frame(append_input(bytes(1 << 20)[:-8]), "zstd") * count


def test_of_the_frames_in_one_piece_one_is_inflated_at_a_time():
    wire = bombs(200)
    assert len(wire) < 20_000
    tracemalloc.start()
    try:
        assert sum(len(frame.message) for frame in FrameReader().frames(wire)) == 200 << 20
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_comes_in_any_number_of_pieces():
    message = bytes(5 * MAX_PIECES)
    reader, got = FrameReader(), []
    for byte in encode_frame(message) + encode_frame(b"next"):
        got += reader.feed(bytes((byte,)))
    assert [frame.message for frame in got] == [message, b"next"]


def test_what_stands_before_a_bad_frame_in_the_same_piece_is_acked(shared_server, basin):
    shared_server.create_stream(basin)
    with open_append(shared_server, basin) as session:
        session.send_bytes(encode_frame(append_input(b"one")) + encode_frame(append_input(b"two")) + b"\0\0\0\0")
        assert [session.ack()[1] for _ in range(2)] == [1, 2]
        status, body = session.terminal()
    assert (status, body["code"]) == (400, "bad_frame")


def test_too_many_records_are_refused_before_any_is_looked_at(shared_server, basin):
    shared_server.create_stream(basin)
    answer = append(shared_server, basin, [{}] * 1000 + [{"body": 5}])
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    strange = (None, [(b"", b"no command")], b"")
    with pytest.raises(BadValueError, match="1001"):
        parse_proto(append_input(strange, *[b"x"] * 1000))
    with pytest.raises(BadValueError, match="1001"):
        parse_proto(append_input(b"x" * 10_000) + append_input(b"y") * 300_000)


def test_a_session_that_was_refused_holds_nothing_of_its_input(make_thread_server, monkeypatch):
    """It stays for as long as its client does not leave, and there may be many."""
    held = []

    def respond(error):
        held.extend((error.__traceback__, error.__cause__, error.__context__))
        return error_response(error)

    monkeypatch.setattr(appending, "error_response", respond)
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    for message in (append_input((None, [(b"", b"x")] * 3, b"")), b"no message"):
        with open_append(server, basin) as session:
            session.send(message)
            assert session.terminal()[0] in (400, 422)
    assert held == [None] * 6


def test_an_error_fits_in_a_frame_whatever_the_client_sent(shared_server, basin):
    shared_server.create_stream(basin)
    with open_append(shared_server, basin) as session:
        session.append((None, [(b"", bytes(1_000_000))], b""))
        status, body = session.terminal()
    assert (status, body["code"]) == (422, "invalid")


@pytest.mark.parametrize("path", ["/v1/streams/stream/records", "/v1/streams"])
def test_a_request_that_breaks_off_is_no_failure_of_the_server(shared_server, basin, path):
    head = f"POST {path} HTTP/1.1\r\nhost: test\r\ns2-basin: {basin}\r\ncontent-type: application/json\r\n"
    answer = exchange(shared_server, head.encode() + b"transfer-encoding: chunked\r\n\r\nZZ\r\n")
    assert answer.startswith(b"HTTP/1.1 499 ")
    assert b'"code":"client_hangup"' in answer


def test_a_server_whose_directory_is_removed_ends_rather_than_ack_what_is_lost(tmp_path, monkeypatch):
    from s2cli.server import process

    monkeypatch.setattr(process, "WATCH_S", 0.01)
    data = tmp_path / "data"
    directory = LockedDirectory(data)
    assert not directory.is_gone
    directory.release()

    async def run() -> None:
        await process.serve(
            process.Options(data=str(data), port=0), lambda _origin: shutil.rmtree(data), asyncio.Event()
        )

    with pytest.raises(S2Error, match="was removed"):
        asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_a_disk_too_full_to_give_pages_back_is_no_end(tmp_path, monkeypatch):
    tried = []

    def vacuum(_connection):
        tried.append(None)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    async def run() -> None:
        store = await SqliteStore.open(tmp_path)
        try:
            monkeypatch.setattr(chunks, "vacuum", vacuum)
            row = StreamRow("some-basin", "stream", {}, 1)
            await store.insert_stream(row)
            await store.remove_stream(row.id, row.uid)
            # Each change is followed by a turn of the thread's housekeeping.
            for number in range(20):
                await store.insert_basin(BasinRow(f"basin-{number}", {}, 1))
            assert "disk is full" in store.failure
            # Once for each deletion, and once for the ballast: not again and again.
            assert len(tried) < 10
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
