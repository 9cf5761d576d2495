"""What an exchange promises, held against both hosts: each test runs an application of its own on ours and on granian,
which speaks HTTP/1.1 too."""

import asyncio
import socket
import struct

import pytest
from support.waiting import INTERVAL_S, TIMEOUT_S

from s2cli.server.http.client_watch import ClientWatch
from s2cli.server.http.connections import Connections
from s2cli.server.http.exchange import DisconnectedError
from s2cli.server.http.host import Host, address_of, listen_tcp
from s2cli.server.http.http2_exchange import Http2Exchange
from s2cli.server.http.http2_relay import Http2
from s2cli.server.http.memory_budget import Memory, Share

PIECE = bytes(128 * 1024)


class Ours:
    def __init__(self, application):
        listener = listen_tcp("127.0.0.1", 0)
        self._address = address_of(listener)
        self._host = Host(application, listener)
        self._host.start()

    def open(self):
        return asyncio.open_connection(*self._address, limit=1 << 16)

    async def close(self):
        self._host.stop()
        await self._host.finished(TIMEOUT_S)


class Unmarked(Http2):
    """Takes what comes straight to granian: requests that no connection of ours has marked as its own."""

    async def _answer(self, scope, receive, send):
        exchange = Http2Exchange(scope, receive, send, Share(), lambda size_bytes: None)
        await self._shared.application(exchange)
        await exchange.sent()


class Granian:
    def __init__(self, application):
        self._host = Unmarked(Connections(application, None, Memory()), 10)

    def open(self):
        return asyncio.open_unix_connection(self._host._place.address, limit=1 << 16)

    async def close(self):
        self._host.stop()
        await self._host.finished(TIMEOUT_S)


@pytest.fixture(params=[Ours, Granian])
def with_host(request):
    return lambda application, talk: run(request.param, application, talk)


def run(kind, application, talk):
    """Serves `application` while `talk(reader, writer)` goes on; gives the application's result."""

    async def main():
        result = asyncio.get_running_loop().create_future()

        async def answer(exchange):
            try:
                result.set_result(await application(exchange))
            except BaseException as error:
                result.set_exception(error)

        host = kind(answer)
        reader, writer = await host.open()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await talk(reader, writer, result)
                return await result
        finally:
            writer.close()
            await host.close()

    return asyncio.run(main())


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"


def test_the_host_says_when_its_queue_is_full_and_loses_nothing(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        queued = held = 0
        # The client does not read yet: everything that can be full is full soon.
        while not exchange.is_blocked:
            has_room = exchange.write(PIECE)
            assert has_room is not exchange.is_blocked
            queued += 1
        full.set()
        for _ in range(3):
            exchange.write(b"held")
            held += 1
        await exchange.drained()
        assert not exchange.is_blocked
        await exchange.finish(b"end")
        return queued

    async def talk(reader, writer, result):
        writer.write(HEAD)
        await full.wait()
        while b"end\r\n0\r\n\r\n" not in (got[-1] if got else b""):
            got.append(await reader.read(1 << 20))
            if len(got) > 1:
                got[-2:] = [got[-2] + got[-1]]

    full = asyncio.Event()
    got = []
    queued = with_host(application, talk)
    body = b"".join(got)
    # Kernel buffers, and some pieces more: never megabytes without end.
    assert 4 <= queued < 200
    assert body.count(b"held") == 3
    assert body.count(b"\0") == queued * len(PIECE)


def test_a_callback_sends_without_a_task(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        sent = asyncio.get_running_loop().create_future()

        def call_back():
            for number in range(3):
                exchange.write(b"number %d" % number)
            sent.set_result(exchange.is_blocked)

        asyncio.get_running_loop().call_soon(call_back)
        assert not await sent
        await exchange.read()
        await exchange.finish()

    async def talk(reader, writer, result):
        writer.write(HEAD)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"number 2")
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")

    with_host(application, talk)


def test_every_byte_is_read_through_interruptions(with_host):
    interrupted = asyncio.Event()

    async def application(exchange):
        loop = asyncio.get_running_loop()
        got = b""
        while not exchange.is_complete:
            # Interrupted again and again, it still loses nothing.
            loop.call_soon(exchange.stop_reading)
            got += await exchange.read()
            exchange.go_on_reading()
            interrupted.set()
        assert not exchange.is_disconnected
        exchange.answer(200, None, b"")
        return got

    async def talk(reader, writer, result):
        writer.write(HEAD)
        for number in range(300):
            writer.write(chunk(b"%d," % number))
            interrupted.clear()
            await interrupted.wait()
        writer.write(b"0\r\n\r\n")

    assert with_host(application, talk) == b"".join(b"%d," % number for number in range(300))


def test_a_disconnect_is_no_end(with_host):
    async def application(exchange):
        got = await exchange.read()
        read.set()
        assert await exchange.read() == b""
        return got, exchange.is_complete, exchange.is_disconnected

    async def talk(reader, writer, result):
        writer.write(HEAD + chunk(b"half"))
        await read.wait()
        writer.close()

    read = asyncio.Event()
    assert with_host(application, talk) == (b"half", False, True)


def test_a_client_that_goes_away_is_noticed_while_it_does_not_read(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        try:
            with ClientWatch(exchange):
                while not exchange.is_blocked:
                    exchange.write(PIECE)
                full.set()
                await asyncio.get_running_loop().create_future()
        except DisconnectedError:
            return asyncio.current_task().cancelling() == 0

    async def talk(reader, writer, result):
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        await full.wait()
        writer.transport.abort()

    full = asyncio.Event()
    assert with_host(application, talk)


def test_who_is_done_before_the_client_goes_is_not_told(with_host):
    async def application(exchange):
        watch = ClientWatch(exchange)
        with watch:
            pass
        exchange.start(200, [])
        exchange.write(b"")
        await watched.wait()
        await asyncio.sleep(0)
        with pytest.raises(DisconnectedError), watch:
            await asyncio.get_running_loop().create_future()
        with pytest.raises(DisconnectedError), watch:
            pass
        with ClientWatch(exchange, TIMEOUT_S):
            await asyncio.sleep(0)
        return True

    async def talk(reader, writer, result):
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        # Reset: a client that only sends no more may still wait for its answer.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        watched.set()

    watched = asyncio.Event()
    assert with_host(application, talk)


def test_a_client_that_still_sends_sees_the_error(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        await exchange.read()
        exchange.write(b"enough")
        await exchange.discard(1, TIMEOUT_S)
        await exchange.finish(b"end")

    async def talk(reader, writer, result):
        writer.write(HEAD + chunk(b"a"))
        await reader.readuntil(b"enough")
        for _ in range(50):
            writer.write(chunk(PIECE))
            await writer.drain()
        await reader.readuntil(b"end\r\n0\r\n\r\n")

    with_host(application, talk)


def test_what_is_thrown_away_is_bounded_in_time(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        await exchange.discard(TIMEOUT_S, 0.2)
        await exchange.finish(b"end")

    async def talk(reader, writer, result):
        writer.write(HEAD)
        while not result.done():
            writer.write(chunk(b"a"))
            await asyncio.wait([result], timeout=INTERVAL_S)
        await reader.readuntil(b"end\r\n0\r\n\r\n")

    with_host(application, talk)


def test_a_reader_may_be_cancelled(with_host):
    async def application(exchange):
        try:
            await asyncio.wait_for(exchange.read(), 0)
        except TimeoutError:
            waited.set()
        got = await exchange.read()
        exchange.answer(200, None, b"")
        return got

    async def talk(reader, writer, result):
        writer.write(HEAD)
        await waited.wait()
        writer.write(chunk(b"not lost"))

    waited = asyncio.Event()
    assert with_host(application, talk) == b"not lost"


def test_to_head_goes_the_head_alone_and_then_its_client_counts_as_gone(with_host):
    async def application(exchange):
        exchange.start(200, [(b"content-length", b"5")])
        exchange.write(b"")
        gone = asyncio.Event()
        exchange.on_disconnect(gone.set)
        await gone.wait()
        exchange.write(b"12345")
        await exchange.finish()
        return exchange.written_bytes

    async def talk(reader, writer, result):
        writer.write(b"HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 5" in head
        await result
        writer.write(b"HEAD / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        assert (await reader.read(12)) == b"HTTP/1.1 200"

    assert with_host(application, talk) == 0


def test_headers_of_one_name_are_joined_and_those_that_mean_one_thing_are_told(with_host):
    async def application(exchange):
        exchange.answer(200, None, b"")
        return exchange.fields[b"accept-encoding"], exchange.repeated

    async def talk(reader, writer, result):
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n" + headers + b"\r\n")

    headers = b"Accept-Encoding: gzip\r\naccept-encoding: zstd\r\n"
    assert with_host(application, talk) == (b"gzip,zstd", None)
    headers = b"accept-encoding: gzip\r\ns2-basin: a\r\nS2-Basin: a\r\n"
    assert with_host(application, talk) == (b"gzip", b"s2-basin")
