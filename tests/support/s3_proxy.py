"""A proxy in front of an S3 server that delays requests, fails them by rules, and counts them.

As a program, `python tests/support/s3_proxy.py URL`, it prints its own URL and runs until its input ends. Both ways it
takes `GET /-/counts`, which answers with what was counted since the last such request, and `PUT /-/rules` with
`{"latency_ms": 10, "rules": [{"fault": "slow-down", "share": 0.1}]}`.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.s3_faults import (
    AFTER,
    ANSWERS,
    LIE,
    LOST_REPLY,
    SILENT,
    UNREACHABLE,
    Counts,
    Faults,
    Request,
    Rule,
    parse_request,
)
from support.waiting import TIMEOUT_S

HEAD_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024
END_OF_HEAD = b"\r\n\r\n"


class ResetError(Exception):
    """The client's connection is to be reset."""


class S3Proxy:
    """Listens at `url`, in a thread of its own. A request waits `latency_ms` once, however large it is."""

    def __init__(self, upstream_url: str, latency_ms: float = 0.0, seed: int = 0) -> None:
        self.latency_ms = latency_ms
        self.faults = Faults(seed)
        self.counts = Counts()
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname, parts.port)
        self._clients: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(TIMEOUT_S)

    def fail(self, *rules: Rule) -> None:
        """These rules, and no others from now on. If nothing is reachable by them, open connections are reset too."""
        self.faults.set(*rules)
        if any(rule.fault == UNREACHABLE and rule.share == 1 and not rule.kinds and not rule.part for rule in rules):
            self._loop.call_soon_threadsafe(self._reset_all)

    def take_counts(self) -> Counts:
        """What was counted since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stopped.wait()
        server.close()
        self._reset_all()

    def _reset_all(self) -> None:
        for client in self._clients:
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection of a client, with one of its own to the server."""
        self._clients.add(client)
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head = await reader.readuntil(END_OF_HEAD)
                request = parse_request(head)
                body = await reader.readexactly(request.body_bytes)
                if request.path.startswith("/-/"):
                    self._control(request, body, client)
                    continue
                fault = self.faults.choose(request)
                counts = self.counts
                counts.began(request, fault)
                try:
                    await asyncio.sleep(self.latency_ms / 1000)
                    if fault is None or fault in AFTER:
                        if server is None or server[0].at_eof():
                            server = await asyncio.open_connection(*self._upstream, limit=HEAD_BYTES)
                        server[1].writelines((head, body))
                        received = await _relay(request, server[0], client if fault is None else None)
                        counts.received_bytes[request.kind] += received
                    if fault is not None:
                        await _fail(fault, request, reader, client)
                    await client.drain()
                finally:
                    counts.under_way -= 1
        except (OSError, asyncio.IncompleteReadError, ResetError, asyncio.CancelledError):
            # Cancelled is what is left when the proxy is closed.
            client.transport.abort()
        finally:
            self._clients.discard(client)
            client.close()
            if server is not None:
                server[1].close()

    def _control(self, request: Request, body: bytes, client: asyncio.StreamWriter) -> None:
        if request.path == "/-/rules":
            wanted = json.loads(body)
            self.latency_ms = wanted.get("latency_ms", self.latency_ms)
            self.fail(*(Rule(**rule) for rule in wanted.get("rules", ())))
        counts = self.take_counts().as_json() if request.path == "/-/counts" else {}
        client.write(_answer(200, "application/json", json.dumps(counts).encode()))


async def _relay(request: Request, server: asyncio.StreamReader, client: asyncio.StreamWriter | None) -> int:
    """Passes the server's answer on to the client, if there is one. Returns the size of its body."""
    head = await server.readuntil(END_OF_HEAD)
    status = int(head.split(b" ", 2)[1])
    headers = parse_request(b"- - -" + head[head.index(b"\r\n") :]).headers

    def write(data: bytes) -> None:
        if client is not None:
            if client.is_closing():
                raise ResetError
            client.write(data)

    write(head)
    if request.method == "HEAD" or status in (204, 304):
        return 0
    if headers.get("transfer-encoding") == "chunked":
        received = 0
        size = -1
        while size:
            line = await server.readuntil(b"\r\n")
            size = int(line, 16)
            write(line + await server.readexactly(size + 2))
            received += size
        return received
    left = received = int(headers["content-length"])
    while left:
        piece = await server.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(piece, left)
        write(piece)
        left -= len(piece)
        if client is not None:
            await client.drain()
    return received


async def _fail(fault: str, request: Request, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    if fault == SILENT:
        await reader.read(1)
    if fault in (SILENT, UNREACHABLE, LOST_REPLY):
        raise ResetError
    if fault == LIE:
        client.write(b'HTTP/1.1 200 -\r\netag: "lie"\r\ncontent-length: 0\r\n\r\n')
        return
    status, code, message = ANSWERS[fault]
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    client.write(_answer(status, "application/xml", b"" if request.method == "HEAD" else text.encode()))


def _answer(status: int, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the S3 server")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    proxy = S3Proxy(args.url, args.latency_ms, args.seed)
    print(proxy.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    proxy.close()


if __name__ == "__main__":
    main()
