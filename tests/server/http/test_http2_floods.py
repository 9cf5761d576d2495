"""Many frames in few bytes over HTTP/2: what a client may send for nothing has a bound that honest ones never see."""

import asyncio
import contextlib
import itertools

import pytest
from support.h2_raw import PSEUDO, RawH2
from support.hosting import connect, echo, mirror

from s2cli.server.http.host import listen_tcp
from s2cli.server.http.http2_floods import MAX_IDLE_FRAMES, MAX_RESETS, Budget
from s2cli.server.http.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFaultError,
    ErrorCode,
    frame,
)
from s2cli.server.http.http2_head import MAX_BLOCK_BYTES

POST = ((":method", "POST"), *PSEUDO[1:])
CALM = ErrorCode.ENHANCE_YOUR_CALM


@pytest.fixture
def served(serve):
    """What connects to a host: `served(application)` gives a client, and another one beside it."""
    with contextlib.ExitStack() as stack:

        def clients(application):
            listener = listen_tcp("127.0.0.1", 0)
            host = serve(application, listener).hosts[0]
            clients = [RawH2(stack.enter_context(connect(listener))) for _ in range(2)]
            for client in clients:
                client.host = host
            return clients

        yield clients


def flood(client, wire, times):
    """Sends it again and again, until the server has enough."""
    with contextlib.suppress(ConnectionError):
        for _ in range(times):
            client.send_bytes(wire)


def is_of(client, connection):
    return connection.transport.get_extra_info("peername") == client.connection.getsockname()


def is_well(client):
    client.ask(1)
    return client.answer(1)[0] == 200


WORD = (1).to_bytes(4, "big")
FLOODS = {
    "ping": frame(PING, 0, 0, bytes(8)),
    "ping-ack": frame(PING, ACK, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0),
    "settings-ack": frame(SETTINGS, ACK, 0),
    "priority": frame(PRIORITY, 0, 7, bytes(5)),
    "empty-data": frame(DATA, 0, 1),
    "padded-data": frame(DATA, PADDED, 1, b"\x03" + bytes(3)),
    "one-byte-data": frame(DATA, 0, 1, b"x"),
    "window-of-connection": frame(WINDOW_UPDATE, 0, 0, WORD),
    "window-of-stream": frame(WINDOW_UPDATE, 0, 1, WORD),
    "goaway": frame(GOAWAY, 0, 0, bytes(8)),
    "unknown": frame(0x77, 0, 0),
}


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_carry_nothing_are_taken_up_to_a_bound(served, name):
    client, other = served(echo)
    client.ask(1, pseudo=POST, ends=False)
    client.until(HEADERS, 1)
    flood(client, FLOODS[name] * 1000, 2 * MAX_IDLE_FRAMES // 1000)
    assert client.failure() is CALM
    assert is_well(other)


def test_settings_are_counted_one_by_one(served):
    client, other = served(mirror)
    flood(client, frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0" * 1500), 1)
    assert client.failure() is CALM
    assert is_well(other)


def test_frames_of_use_make_up_for_some_that_carry_nothing(served):
    client, _ = served(mirror)
    for stream in range(1, 60, 2):
        client.send_bytes(FLOODS["priority"] * (MAX_IDLE_FRAMES // 40) + FLOODS["ping"])
        client.until(PING, flags=ACK)
        # An honest client with small pieces: each with two updates of its windows.
        client.ask(stream, pseudo=POST, ends=False)
        for _ in range(20):
            client.send_bytes(frame(DATA, 0, stream, bytes(100)) + FLOODS["window-of-connection"])
        client.send(DATA, END_STREAM, stream)
        if stream < 20:
            assert client.answer(stream)[0] == 200


def test_an_answer_that_is_let_through_byte_by_byte_has_a_bound(served):
    async def answer(exchange):
        exchange.answer(200, None, bytes(1_000_000))

    client, other = served(answer)
    client.send(SETTINGS, 0, 0, b"\0\4" + bytes(4))
    client.ask(1)
    client.until(HEADERS, 1)
    flood(client, FLOODS["window-of-stream"] * 1000, 2 * MAX_IDLE_FRAMES // 1000)
    assert client.failure() is CALM
    other.ask(1)
    other.until(HEADERS, 1)


def test_a_follower_may_enlarge_two_windows_for_each_small_piece(served):
    async def trickle(exchange):
        exchange.start(200, [])
        while piece := await exchange.read():
            exchange.write(piece)
        exchange.end()

    client, _ = served(trickle)
    client.ask(1, pseudo=POST, ends=False)
    update = (20).to_bytes(4, "big")
    updates = frame(WINDOW_UPDATE, 0, 0, update) + frame(WINDOW_UPDATE, 0, 1, update)
    for _ in range(MAX_IDLE_FRAMES):
        client.send(DATA, 0, 1, b"a piece of data")
        assert client.until(DATA, 1)[3] == b"a piece of data"
        client.send_bytes(updates)
    client.send(DATA, END_STREAM, 1)
    client.until(DATA, 1, END_STREAM)


def test_rapid_resets_have_a_bound_and_those_that_come_with_their_head_are_not_begun(served):
    begun = []

    async def count(exchange):
        begun.append(exchange)
        await echo(exchange)

    client, other = served(count)
    client.ask(1)
    block = client.block()  # from the table
    wire = b"".join(
        frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, WORD) for stream in range(3, 1003, 2)
    )
    flood(client, wire, 1)
    assert client.failure() is CALM
    assert len(begun) < 20
    assert is_well(other)


def test_streams_that_are_reset_later_have_the_same_bound(served):
    client, other = served(echo)
    with contextlib.suppress(ConnectionError, AssertionError):
        for stream in range(1, 1001, 2):
            client.ask(stream, pseudo=POST, ends=False)
            client.until(HEADERS, stream)
            client.send(RST_STREAM, 0, stream, WORD)
    assert MAX_RESETS <= stream // 2 < 2 * MAX_RESETS
    assert is_well(other)


def test_malformed_and_refused_requests_count_as_resets(served):
    client, other = served(mirror)
    with contextlib.suppress(ConnectionError):
        for stream in itertools.count(1, 2):
            client.ask(stream, ("Upper", "case"))
            if stream > 1500:
                break
    assert client.failure() is CALM
    assert is_well(other)


@pytest.mark.parametrize("who", ["client", "server"])
def test_requests_behind_a_goaway_have_the_bound_of_resets(served, who):
    """They are refused while the last one is under way; other clients go on."""
    client, other = served(echo)
    client.ask(1, pseudo=POST, ends=False)
    client.until(HEADERS, 1)
    if who == "client":
        client.send(GOAWAY, 0, 0, bytes(8))
    else:
        (connection,) = (one for one in client.host.connections.open if is_of(client, one))
        client.host.loop.call_soon_threadsafe(connection.end_soon)
    client.until(GOAWAY)
    client.ask(3)
    assert client.reset_of(3) is ErrorCode.REFUSED_STREAM
    block = client.block()  # from the table
    wire = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, block) for stream in range(5, 2005, 2))
    flood(client, wire, 1)
    assert client.failure() is CALM
    assert is_well(other)


def test_answers_make_up_for_resets(served):
    client, _ = served(mirror)
    for stream in range(1, 8 * MAX_RESETS, 4):
        client.ask(stream, pseudo=POST, ends=False)
        client.send(RST_STREAM, 0, stream, WORD)
        client.ask(stream + 2)
        assert client.answer(stream + 2)[0] == 200


@pytest.mark.parametrize("part", [b"", bytes(100)])
def test_a_block_of_many_frames_has_a_bound(served, part):
    client, other = served(mirror)
    client.send(HEADERS, 0, 1, client.block())
    flood(client, frame(CONTINUATION, 0, 1, part) * 100, 10)
    assert client.failure() is CALM
    assert is_well(other)


def test_a_block_of_many_bytes_has_a_bound(served):
    client, other = served(mirror)
    client.send(HEADERS, 0, 1, client.block())
    flood(client, frame(CONTINUATION, 0, 1, bytes(MAX_BLOCK_BYTES // 4)), 5)
    assert client.failure() is CALM
    assert is_well(other)


def test_a_list_that_a_table_makes_long_ends_the_connection(served):
    client, other = served(mirror)
    client.ask(1, *[("x-a", "y" * 3000)] * 30)
    assert client.failure() in (CALM, ErrorCode.COMPRESSION_ERROR)
    assert is_well(other)


def test_heads_that_are_refused_have_a_bound(served):
    client, other = served(mirror)
    with contextlib.suppress(ConnectionError):
        for stream in range(1, 1001, 2):
            client.ask(stream, *[("x-a", "y" * 3000)] * 10)
    assert client.failure() is CALM
    assert is_well(other)


def test_of_many_small_parts_few_are_kept(served):
    taken = []

    async def wait(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        while exchange.untaken_bytes < 4000:
            await asyncio.sleep(0.01)
        taken.append(exchange)
        exchange.end(await exchange.read())

    client, _ = served(wait)
    client.ask(1, pseudo=POST, ends=False)
    flood(client, FLOODS["one-byte-data"] * 4000, 1)
    assert client.answer(1) == (200, b"x" * 4000)


def test_those_who_ask_and_take_no_answer_are_not_read_any_more(served):
    async def answer(exchange):
        exchange.answer(204, None, b"", [(b"x-a", b"y" * 1000)])

    client, other = served(answer)
    client.ask(1)
    assert client.answer(1)[0] == 204
    (connection,) = (one for one in client.host.connections.open if is_of(client, one))
    asked = 1
    while not connection.holds_reading:
        for _ in range(100):
            client.ask(1 + 2 * asked)
            asked += 1
        other.ask(2 * asked + 1)
        assert other.answer(2 * asked + 1)[0] == 204
    assert connection.unsent_bytes() < 2 * 1024 * 1024
    for number in range(1, asked):
        assert client.answer(1 + 2 * number)[0] == 204


def test_a_budget_is_refilled_with_time_and_never_beyond_what_it_was():
    budget = Budget(10, 2, 0)
    budget.spend(10, 0)
    with pytest.raises(ConnectionFaultError):
        budget.spend(1, 0)
    budget.earn(1)
    budget.spend(8, 4)
    budget.earn(100)
    budget.spend(10, 4)
    with pytest.raises(ConnectionFaultError):
        budget.spend(1, 4)
