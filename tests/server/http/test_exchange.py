"""What an exchange promises, held against both hosts: each test runs an application of its own, and talks to it over
HTTP/1.1 and over HTTP/2."""

import asyncio
import socket
import struct

import h2.config
import h2.connection
import h2.events
import pytest
from support.waiting import INTERVAL_S, TIMEOUT_S

from s2cli.server.http.client_watch import ClientWatch
from s2cli.server.http.exchange import DisconnectedError
from s2cli.server.http.host import Host, address_of, listen_tcp

PIECE = bytes(128 * 1024)


class Http1Talk:
    """A client with one request at a time: its response as it comes, and `END` behind it."""

    END = b"\r\n0\r\n\r\n"

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.body = b""

    def ask(self, method="POST", headers=()):
        lines = [f"{method} / HTTP/1.1", "host: test", *(f"{name}: {value}" for name, value in headers)]
        if method == "POST":
            lines.append("transfer-encoding: chunked")
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    def send(self, data):
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self):
        self.writer.write(b"0\r\n\r\n")

    async def drain(self):
        await self.writer.drain()

    async def head(self):
        """The status of the response."""
        return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])

    async def until(self, end):
        while end not in self.body:
            data = await self.reader.read(1 << 20)
            assert data, "the server has closed the connection"
            self.body += data


class Http2Talk:
    """The same over HTTP/2, whose windows take everything."""

    END = b"the end of the stream"

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.body, self.status = b"", 0
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
        self.state.initiate_connection()
        self.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        self.state.increment_flow_control_window(2**31 - 1 - 65535)
        self.stream = 0
        self._flush()

    def _flush(self):
        self.writer.write(self.state.data_to_send())

    def ask(self, method="POST", headers=()):
        self.stream, self.status = self.state.get_next_available_stream_id(), 0
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", "/")]
        self.state.send_headers(self.stream, [*pseudo, *headers], end_stream=method != "POST")
        self._flush()

    def send(self, data):
        for at in range(0, len(data), 16_384):
            self.state.send_data(self.stream, data[at : at + 16_384])
        self._flush()

    def finish(self):
        self.state.end_stream(self.stream)
        self._flush()

    async def drain(self):
        """Also what the server says of its windows."""
        await self.writer.drain()
        while self.state.local_flow_control_window(self.stream) < len(PIECE):
            await self._take()

    async def head(self):
        while not self.status:
            await self._take()
        return self.status

    async def until(self, end):
        while end not in self.body:
            await self._take()

    async def _take(self):
        data = await self.reader.read(1 << 20)
        assert data, "the server has closed the connection"
        for event in self.state.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self.body += self.END
        self._flush()


@pytest.fixture(params=[Http1Talk, Http2Talk])
def with_host(request):
    return lambda application, talk: run(request.param, application, talk)


def run(kind, application, talk):
    """Serves `application` while `talk(client, result)` runs; gives the application's result."""

    async def main():
        result = asyncio.get_running_loop().create_future()

        async def answer(exchange):
            try:
                result.set_result(await application(exchange))
            except BaseException as error:
                result.set_exception(error)

        listener = listen_tcp("127.0.0.1", 0)
        address = address_of(listener)
        host = Host(answer, listener)
        host.start()
        client = kind(*await asyncio.open_connection(*address, limit=1 << 16))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await talk(client, result)
                return await result
        finally:
            client.writer.close()
            host.stop()
            await host.finished(TIMEOUT_S)

    return asyncio.run(main())


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

    async def talk(client, result):
        client.ask()
        await full.wait()
        await client.until(b"end" + client.END)
        got.append(client.body)

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

    async def talk(client, result):
        client.ask()
        assert await client.head() == 200
        await client.until(b"number 2")
        client.finish()
        await client.until(client.END)

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

    async def talk(client, result):
        client.ask()
        for number in range(300):
            client.send(b"%d," % number)
            interrupted.clear()
            await interrupted.wait()
        client.finish()

    assert with_host(application, talk) == b"".join(b"%d," % number for number in range(300))


def test_a_piece_may_be_taken_without_waking_who_reads(with_host):
    """Pieces that come while nobody waits, and those that are not wanted, are read as ever."""

    async def application(exchange):
        taken, read = [], []

        def take(data):
            if not data.startswith(b"short"):
                return False
            taken.append(data)
            exchange.write(b"taken %b" % data)
            return True

        exchange.take_at_once = take
        exchange.start(200, [])
        exchange.write(b"begun")
        while data := await exchange.read():
            read.append(data)
            exchange.write(b"read %b" % data)
        await exchange.finish()
        return taken, read

    async def talk(client, result):
        client.ask()
        assert await client.head() == 200
        await client.until(b"begun")
        for data, how in (b"short 1", b"taken"), (b"long 2", b"read"), (b"short 3", b"taken"), (b"short 4", b"taken"):
            client.send(data)
            await client.drain()
            await client.until(b"%b %b" % (how, data))
        client.finish()
        await client.until(client.END)

    assert with_host(application, talk) == ([b"short 1", b"short 3", b"short 4"], [b"long 2"])


def test_a_disconnect_is_no_end(with_host):
    async def application(exchange):
        got = await exchange.read()
        read.set()
        assert await exchange.read() == b""
        return got, exchange.is_complete, exchange.is_disconnected

    async def talk(client, result):
        client.ask()
        client.send(b"half")
        await read.wait()
        client.writer.close()

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

    async def talk(client, result):
        client.ask("GET")
        await full.wait()
        client.writer.transport.abort()

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

    async def talk(client, result):
        client.ask("GET")
        await client.head()
        # Reset: a client that only sends no more may still wait for its answer.
        ours = client.writer.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
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

    async def talk(client, result):
        client.ask()
        client.send(b"a")
        await client.until(b"enough")
        for _ in range(50):
            client.send(PIECE)
            await client.drain()
        await client.until(b"end" + client.END)

    with_host(application, talk)


def test_what_is_thrown_away_is_bounded_in_time(with_host):
    async def application(exchange):
        exchange.start(200, [])
        exchange.write(b"")
        await exchange.discard(TIMEOUT_S, 0.2)
        await exchange.finish(b"end")

    async def talk(client, result):
        client.ask()
        while not result.done():
            client.send(b"a")
            await asyncio.wait([result], timeout=INTERVAL_S)
        await client.until(b"end" + client.END)

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

    async def talk(client, result):
        client.ask()
        await waited.wait()
        client.send(b"not lost")

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

    async def talk(client, result):
        client.ask("HEAD")
        assert await client.head() == 200
        await result
        # Nothing of the body has come: the next response follows the head.
        client.ask("HEAD")
        assert await client.head() == 200
        assert client.body.replace(client.END, b"") == b""

    assert with_host(application, talk) == 0


def test_headers_of_one_name_are_joined_and_those_that_mean_one_thing_are_told(with_host):
    async def application(exchange):
        exchange.answer(200, None, b"")
        return exchange.fields[b"accept-encoding"], exchange.repeated

    async def talk(client, result):
        client.ask("GET", headers)
        await client.head()

    headers = [("accept-encoding", "gzip"), ("accept-encoding", "zstd")]
    assert with_host(application, talk) == (b"gzip,zstd", None)
    headers = [("accept-encoding", "gzip"), ("s2-basin", "a"), ("s2-basin", "a")]
    assert with_host(application, talk) == (b"gzip", b"s2-basin")
