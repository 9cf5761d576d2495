"""A TLS terminator: takes TLS connections with the ALPN names it is given, and passes their bytes on in clear."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import trustme
from support.waiting import TIMEOUT_S

PIECE_BYTES = 256 * 1024


@contextlib.contextmanager
def tls_terminator(
    host: str, port: int, directory: Path, alpn: tuple[str, ...] = ("h2",)
) -> Iterator[tuple[str, Path]]:
    """The `https://` URL that leads to `host:port`, and the file with the authority to trust for it."""
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    ready, bound = threading.Event(), []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(accepted: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=PIECE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        ends: list[asyncio.BaseTransport] = []
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=context)
            ends.append(transport)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            onward, upstream = await asyncio.open_connection(host, port, limit=PIECE_BYTES)
            ends.append(upstream.transport)
            await asyncio.gather(pump(reader, upstream), pump(onward, writer))
        except (OSError, asyncio.CancelledError):
            pass  # a client that does not trust us, or the end
        finally:
            for end in ends:
                end.abort()
            accepted.close()  # also where there was no handshake

    async def main() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        serving: set[asyncio.Task[None]] = set()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            loop.add_reader(listener, lambda: serving.add(loop.create_task(serve(listener.accept()[0]))))
            bound.append((loop, listener.getsockname()[1], stopped))
            ready.set()
            await stopped.wait()
            loop.remove_reader(listener)
        await asyncio.sleep(0)  # one that was just accepted begins, and closes what it has
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT_S)
    loop, bound_port, stopped = bound[0]
    try:
        yield f"https://localhost:{bound_port}", ca_file
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(TIMEOUT_S)
