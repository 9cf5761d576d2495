"""A TLS terminator: takes TLS connections with the ALPN names it is given, and passes their bytes on in clear."""

import asyncio
import contextlib
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
    loop = asyncio.new_event_loop()
    ready, bound = threading.Event(), []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(ConnectionError, OSError, RuntimeError):
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection(host, port, limit=PIECE_BYTES)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=PIECE_BYTES)
        bound.append((server.sockets[0].getsockname()[1], asyncio.Event()))
        ready.set()
        await bound[0][1].wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT_S)
    try:
        yield f"https://localhost:{bound[0][0]}", ca_file
    finally:
        loop.call_soon_threadsafe(bound[0][1].set)
        thread.join(TIMEOUT_S)
