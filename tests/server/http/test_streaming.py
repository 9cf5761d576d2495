"""What streaming.py relies on, held against the hosts themselves: each test runs an application of its own on ours and
on granian, which speaks HTTP/1.1 too."""

import asyncio
import socket
import struct

import pytest
from support.waiting import INTERVAL_S, TIMEOUT_S

from s2cli.server.http.connections import Connections
from s2cli.server.http.exchange import DisconnectedError
from s2cli.server.http.host import Host, address_of, listen_tcp
from s2cli.server.http.http2_relay import Http2
from s2cli.server.http.memory_budget import Memory
from s2cli.server.http.streaming import ClientWatch, Inbox, Outlet

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
        await self._shared.application(scope, receive, send)


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

        async def answer(scope, receive, send):
            try:
                result.set_result(await application(receive, send))
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
    async def application(receive, send):
        outlet = Outlet(send)
        await outlet.start(200, [])
        queued = held = 0
        # The client does not read yet: everything that can be full is full soon.
        while not outlet.blocked:
            outlet.write(PIECE)
            queued += 1
        full.set()
        for _ in range(3):
            outlet.write(b"held")
            held += 1
        await outlet.drained()
        assert not outlet.blocked
        await outlet.end(b"end")
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
    async def application(receive, send):
        outlet = Outlet(send)
        await outlet.start(200, [])
        sent = asyncio.get_running_loop().create_future()

        def call_back():
            for number in range(3):
                outlet.write(b"number %d" % number)
            sent.set_result(outlet.blocked)

        asyncio.get_running_loop().call_soon(call_back)
        assert not await sent
        await Inbox(receive).read()
        await outlet.end()

    async def talk(reader, writer, result):
        writer.write(HEAD)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"number 2")
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")

    with_host(application, talk)


def test_an_ordinary_coroutine_function_is_sent_through_too(with_host):
    sent = []

    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)

    async def main():
        outlet = Outlet(send)
        await outlet.start(200, [(b"a", b"b")])
        for piece in (b"1", b"2", b"3"):
            outlet.write(piece)
        await outlet.end(b"4")

    asyncio.run(main())
    assert sent[0] == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
    assert b"".join(message["body"] for message in sent[1:]) == b"1234"
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_the_inbox_gives_every_byte_through_interruptions(with_host):
    interrupted = asyncio.Event()

    async def application(receive, send):
        inbox = Inbox(receive)
        loop = asyncio.get_running_loop()
        got = b""
        while not inbox.ended:
            # Interrupted again and again, it still loses nothing: receive() is never cancelled.
            loop.call_soon(inbox.interrupt)
            got += await inbox.read()
            inbox._interrupted = False
            interrupted.set()
        assert not inbox.disconnected
        await Outlet(send).start(200, [])
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
    async def application(receive, send):
        inbox = Inbox(receive)
        got = await inbox.read()
        read.set()
        assert await inbox.read() == b""
        return got, inbox.ended, inbox.disconnected

    async def talk(reader, writer, result):
        writer.write(HEAD + chunk(b"half"))
        await read.wait()
        writer.close()

    read = asyncio.Event()
    assert with_host(application, talk) == (b"half", False, True)


def test_a_client_that_goes_away_is_noticed_while_it_does_not_read(with_host):
    async def application(receive, send):
        outlet = Outlet(send)
        await outlet.start(200, [])
        try:
            with ClientWatch(receive):
                while not outlet.blocked:
                    outlet.write(PIECE)
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
    async def application(receive, send):
        watch = ClientWatch(receive)
        with watch:
            pass
        await Outlet(send).start(200, [])
        await watched.wait()
        await asyncio.sleep(0)
        with pytest.raises(DisconnectedError), watch:
            await asyncio.get_running_loop().create_future()
        with pytest.raises(DisconnectedError), watch:
            pass
        with ClientWatch(receive, TIMEOUT_S):
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
    async def application(receive, send):
        inbox, outlet = Inbox(receive), Outlet(send)
        await outlet.start(200, [])
        await inbox.read()
        outlet.write(b"enough")
        await inbox.discard(1, TIMEOUT_S)
        await outlet.end(b"end")

    async def talk(reader, writer, result):
        writer.write(HEAD + chunk(b"a"))
        await reader.readuntil(b"enough")
        for _ in range(50):
            writer.write(chunk(PIECE))
            await writer.drain()
        await reader.readuntil(b"end\r\n0\r\n\r\n")

    with_host(application, talk)


def test_what_is_thrown_away_is_bounded_in_time(with_host):
    async def application(receive, send):
        inbox, outlet = Inbox(receive), Outlet(send)
        await outlet.start(200, [])
        await inbox.discard(TIMEOUT_S, 0.2)
        await outlet.end(b"end")

    async def talk(reader, writer, result):
        writer.write(HEAD)
        while not result.done():
            writer.write(chunk(b"a"))
            await asyncio.wait([result], timeout=INTERVAL_S)
        await reader.readuntil(b"end\r\n0\r\n\r\n")

    with_host(application, talk)
