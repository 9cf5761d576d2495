"""How many pages read sessions hold, and that one which lets go of its page still sends what is in it."""

import asyncio
import contextlib
import socket

import pytest
from support.h2_raw import PSEUDO, RawH2
from support.s2s import append_input, open_read
from support.waiting import TIMEOUT_S, until

from s2cli.server.api import pages
from s2cli.server.api.pages import Pages
from s2cli.server.http.http2_frames import DATA, END_STREAM, INITIAL_WINDOW_SIZE, MAX_WINDOW, WINDOW_UPDATE
from s2cli.server.http.memory_budget import MIB
from s2cli.wire.frames import FrameReader
from s2cli.wire.s2_pb2 import ReadBatch

PATH = "/v1/streams/stream/records"
PROTOBUF = {"content-type": "application/protobuf"}
BODIES = [bytes((letter,)) * 1_000_000 for letter in b"abc"]


@pytest.fixture
def at_once(monkeypatch):
    """One page for all, and whoever does not take it lets go of it at once."""
    monkeypatch.setattr(pages, "MAX_PAGES", 1)
    monkeypatch.setattr(pages, "LEAST_STALL_S", 0.0)


def test_whoever_stalled_first_is_asked_for_its_page(at_once):
    async def main():
        room, asked = Pages(), []
        first, second = (lambda: asked.append(1)), (lambda: asked.append(2))
        await room.acquire()
        room.stall(first)
        room.stall(second)
        waiting = [asyncio.ensure_future(room.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        assert asked == [1, 2]
        room.release()
        await waiting[0]
        assert not waiting[1].done()
        waiting[1].cancel()
        room.release()
        await waiting[2]
        room.release()
        await room.acquire()

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_whoever_goes_on_is_not_asked(at_once):
    async def main():
        room, asked = Pages(), []
        await room.acquire()
        let_go = lambda: asked.append(1)  # noqa: E731
        room.stall(let_go)
        room.proceed(let_go)
        waiting = asyncio.ensure_future(room.acquire())
        await asyncio.sleep(0)
        assert not asked
        room.release()
        await waiting

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_who_has_waited_for_less_than_the_least_time_is_asked_after_it(monkeypatch):
    monkeypatch.setattr(pages, "MAX_PAGES", 1)

    async def main():
        room, asked = Pages(), asyncio.Event()
        await room.acquire()
        room.stall(asked.set)
        waiting = asyncio.ensure_future(room.acquire())
        await asyncio.sleep(0)
        assert not asked.is_set()
        await asked.wait()
        room.release()
        await waiting

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_who_leaves_with_room_gives_it_back(at_once):
    async def main():
        room = Pages()
        await room.acquire()
        waiting = asyncio.ensure_future(room.acquire())
        await asyncio.sleep(0)
        room.release()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await room.acquire()

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def with_large_records(server):
    """The server, and the basin in which it has a stream of them."""
    basin = server.create_basin()
    server.create_stream(basin)
    for body in BODIES:
        assert server.request("POST", PATH, basin=basin, body=append_input(body), headers=PROTOBUF).status == 200
    return server, basin


@pytest.fixture
def large(at_once, make_thread_server):
    return with_large_records(make_thread_server())


def h2_reader(stack, server, basin, window):
    """A read session over HTTP/2 that takes so much."""
    client = RawH2(
        stack.enter_context(socket.create_connection((server.host, server.port), TIMEOUT_S)),
        {INITIAL_WINDOW_SIZE: window},
    )
    pseudo = [*PSEUDO[:3], (":path", f"{PATH}?seq_num=0&count=3")]
    client.ask(1, ("s2-basin", basin), ("content-type", "s2s/proto"), pseudo=pseudo)
    return client


def enlarge(client, size_bytes):
    for stream in (0, 1):
        client.send(WINDOW_UPDATE, 0, stream, size_bytes.to_bytes(4, "big"))


def bodies_in(data):
    frames = FrameReader().feed(data)
    return [record.body for frame in frames for record in ReadBatch.FromString(frame.message).records]


@pytest.mark.parametrize("window", [0, 1000, 200_000])
def test_a_session_that_let_go_of_its_page_sends_what_is_in_it(large, window):
    server, basin = large
    with contextlib.ExitStack() as stack:
        stalled = [h2_reader(stack, server, basin, window) for _ in range(3)]
        # It gets its page where the others have let go of theirs.
        with open_read(server, basin, query="seq_num=0&count=3") as reader:
            assert [reader.batch()[0] for _ in BODIES] == [[(number, body)] for number, body in enumerate(BODIES)]
        for client in stalled:
            enlarge(client, MAX_WINDOW - 200_000)
            _, data = client.answer(1)
            assert bodies_in(data) == BODIES


def test_a_message_whose_rest_was_trimmed_meanwhile_is_broken_off(large):
    server, basin = large
    with contextlib.ExitStack() as stack:
        stalled = h2_reader(stack, server, basin, 200_000)
        stalled.until(DATA, 1)
        with open_read(server, basin, query="seq_num=0&count=3") as reader:
            assert reader.batch()[0][0][0] == 0
        trim = append_input((None, [(b"", b"trim")], (3).to_bytes(8, "big")))
        assert server.request("POST", PATH, basin=basin, body=trim, headers=PROTOBUF).status == 200
        path = f"{PATH}?seq_num=0&count=1"
        until(lambda: server.request("GET", path, basin=basin).json()["records"][0]["seq_num"] == 3)
        enlarge(stalled, MAX_WINDOW - 200_000)
        stalled.reset_of(1)


def test_of_clients_that_take_nothing_none_is_ended_for_memory(at_once, make_thread_server):
    """Forty of them, whose records of a megabyte there is no room for: each holds one piece."""
    server, basin = with_large_records(make_thread_server(memory_limit_bytes=24 * MIB))
    with contextlib.ExitStack() as stack:
        clients = [h2_reader(stack, server, basin, 1000) for _ in range(40)]
        for client in clients:
            client.until(DATA, 1)
        said = server.request("GET", "/metrics").body.decode()
        assert "s2_readers_ended_for_memory_total 0.0" in said
        for client in clients[:2]:
            enlarge(client, MAX_WINDOW - 200_000)
            client.until(DATA, 1, END_STREAM)
