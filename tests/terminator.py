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
    ready, bound = threading.Event(), []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, upstream = await asyncio.open_connection(host, port, limit=PIECE_BYTES)
        except ConnectionError:
            writer.close()
            return
        try:
            await asyncio.gather(pump(reader, upstream), pump(onward, writer))
        except asyncio.CancelledError:
            pass  # or the loop logs it
        finally:
            for end in writer, upstream:
                end.transport.abort()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=PIECE_BYTES)
        stopped = asyncio.Event()
        bound.append((asyncio.get_running_loop(), server.sockets[0].getsockname()[1], stopped))
        ready.set()
        await stopped.wait()
        server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
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
