"""Applications of the tests' own on the real host, and plain sockets to talk to it."""

import asyncio
import socket
import threading

from support.waiting import TIMEOUT_S

from s2cli.server.http.host import Host, address_of

GET = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class HostThread:
    """Hosts that serve `app` on the given listeners, in a loop of their own."""

    def __init__(self, new_loop, app, *listeners):
        self._app, self._listeners = app, listeners
        self._ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(new_loop,), daemon=True)
        self.thread.start()
        assert self._ready.wait(TIMEOUT_S)

    def _run(self, new_loop):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(self._main())

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self.hosts = [Host(self._app, listener) for listener in self._listeners]
        for host in self.hosts:
            host.start()
        self.loop.call_later(0, self._ready.set)
        await self._stopped.wait()
        for host in self.hosts:
            host.stop()
        for host in self.hosts:
            await host.finished(TIMEOUT_S)

    def call(self, function):
        async def called():
            function()

        asyncio.run_coroutine_threadsafe(called(), self.loop).result(TIMEOUT_S)

    def begin_stop(self):
        self.loop.call_soon_threadsafe(self._stopped.set)

    def stop(self):
        if self.thread.is_alive():
            self.begin_stop()
            self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()


async def echo(exchange):
    """Answers each piece of the body at once, and its end with `END`."""
    exchange.start(200, [])
    exchange.write(b"")
    while piece := await exchange.read():
        exchange.write(b"<%s>" % piece)
    if not exchange.is_disconnected:
        await exchange.finish(b"END")


async def whole_body(exchange, broken_off=b"BROKEN OFF"):
    """The body, and `broken_off` where it was."""
    body = b""
    while piece := await exchange.read():
        body += piece
    return body + broken_off if exchange.is_disconnected else body


async def flood(exchange, pieces, last=b"", written=None):
    """Answers with so many pieces of 100,000 bytes, as there is room; puts something into `written` for each."""
    exchange.start(200, [])
    for _ in range(pieces):
        if not exchange.write(bytes(100_000)):
            await exchange.drained()
        if written is not None:
            written.append(1)
    await exchange.finish(last)


def connect(listener_or_address) -> socket.socket:
    address = listener_or_address
    if isinstance(address, socket.socket):
        address = address_of(address)
    connection = socket.create_connection(address, timeout=TIMEOUT_S)
    connection.settimeout(TIMEOUT_S)
    return connection


def read_until(connection, end):
    data = b""
    while end not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data


async def mirror(exchange):
    """Answers with what it was asked, its body included."""
    body = await whole_body(exchange)
    host = exchange.fields.get(b"host", b"")
    answer = b"|".join((exchange.method.encode(), exchange.raw_path, exchange.query, host, body)) + b"$"
    exchange.answer(200, None, answer)


async def refuse(exchange):
    """Answers before it has read the body."""
    exchange.answer(413, None, b"no")


def mirror_after(go_on):
    """`mirror`, once that is set."""

    async def wait(exchange):
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await mirror(exchange)

    return wait


def everything(connection):
    """What comes until the other side closes."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data
