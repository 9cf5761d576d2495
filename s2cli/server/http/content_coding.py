"""Compression of responses with a coding that the client accepts (protocol section 10.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s2cli.wire.frames import compress

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Exchange

# Smaller bodies hardly shrink.
THRESHOLD_BYTES = 1024
# How much of an `Accept-Encoding` is read: browsers send 30 bytes.
MAX_HEADER_BYTES = 1024
# From here on compressing takes longer than going to another thread and back (a mebibyte: 3 to 15 ms).
THREAD_BYTES = 64 * 1024


def accepted_coding(accept_encoding: bytes) -> str | None:
    """The best of what an `Accept-Encoding` lists: "zstd", "gzip" or nothing. Weights other than 0 are ignored."""
    codings = set()
    for item in accept_encoding[:MAX_HEADER_BYTES].lower().split(b","):
        coding, *parameters = (part.strip() for part in item.split(b";"))
        if not any(_is_zero_weight(parameter) for parameter in parameters):
            codings.add(coding)
    if b"zstd" in codings:
        return "zstd"
    return "gzip" if b"gzip" in codings else None


def _is_zero_weight(parameter: bytes) -> bool:
    name, _, value = parameter.partition(b"=")
    try:
        return name.strip() == b"q" and float(value) == 0
    except ValueError:
        return False


async def encode_payload(exchange: Exchange, payload: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The payload as the client wants it, and the headers that say so."""
    (payload,), headers = await encode_pieces(exchange, [payload])
    return payload, headers


async def encode_pieces(exchange: Exchange, pieces: list[bytes]) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """The payload in `pieces` as the client wants it, and the headers that say so. The pieces stay as they are where
    the client takes no coding."""
    size_bytes = sum(map(len, pieces))
    if size_bytes <= THRESHOLD_BYTES:
        return pieces, []
    coding = accepted_coding(exchange.fields.get(b"accept-encoding", b""))
    headers = [(b"vary", b"accept-encoding")]
    if coding is None:
        return pieces, headers
    payload = b"".join(pieces)
    if size_bytes < THREAD_BYTES:
        encoded = compress(payload, coding)
    else:
        encoded = await asyncio.to_thread(compress, payload, coding)
    return [encoded], [*headers, (b"content-encoding", coding.encode())]
