"""Batches as JSON text (protocol sections 4.1 and 4.2), in steps: a megabyte of control characters takes 20 ms, and one
of headers 200."""

from __future__ import annotations

import base64
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from s2cli.wire.messages import decode_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.server.core.turnstile import Steps
    from s2cli.server.store.interface import Chunk
    from s2cli.wire.s2_pb2 import Header, SequencedRecord

    Text = Callable[[bytes], str]

# Of a record, in one step, some 2 ms; and of the text of records together.
HEADERS_IN_A_ROW = 2048
TEXT_IN_A_ROW = 128 * 1024
STEP_CHARACTERS = 256 * 1024


def expansion(*, as_base64: bool) -> int:
    """How many times the size of a batch its JSON text has at most: a control character takes six."""
    return 2 if as_base64 else 6


def render_batch(chunks: Iterable[Chunk], tail: tuple[int, int] | None, *, as_base64: bool) -> Steps[bytes]:
    """A ReadBatch as JSON. Without `as_base64` bytes that are no UTF-8 become U+FFFD."""
    records: list[SequencedRecord] = []
    for chunk in chunks:
        yield
        records += decode_read(chunk.data).records
    yield
    return (yield from render_records(records, tail, as_base64=as_base64))


def render_records(
    records: Iterable[SequencedRecord], tail: tuple[int, int] | None, *, as_base64: bool
) -> Steps[bytes]:
    """The same of records. There is no line end in it."""
    text = _as_base64 if as_base64 else _as_text
    items = []
    characters = 0
    for record in records:
        if len(record.headers) > HEADERS_IN_A_ROW:
            headers = yield from _many_headers(record, text)
        else:
            headers = _headers(record.headers, text) if record.headers else ""
        # By hand: json.dumps over dictionaries takes 2.6 times as long.
        if headers:
            headers = f',"headers":[{headers}]'
        if len(record.body) > TEXT_IN_A_ROW and not as_base64:
            body = f',"body":{(yield from _long_text(record.body))}'
        else:
            body = f',"body":{text(record.body)}' if record.body else ""
        item = f'{{"seq_num":{record.seq_num},"timestamp":{record.timestamp}{headers}{body}}}'
        items.append(item)
        characters += len(item)
        if characters > STEP_CHARACTERS:
            characters = 0
            yield
    end = "" if tail is None else f',"tail":{render_tail(tail)}'
    return f'{{"records":[{",".join(items)}]{end}}}'.encode()


def render_tail(tail: tuple[int, int]) -> str:
    return f'{{"seq_num":{tail[0]},"timestamp":{tail[1]}}}'


def _many_headers(record: SequencedRecord, text: Text) -> Steps[str]:
    parts = []
    for at in range(0, len(record.headers), HEADERS_IN_A_ROW):
        parts.append(_headers(record.headers[at : at + HEADERS_IN_A_ROW], text))
        yield
    return ",".join(parts)


def _headers(headers: Iterable[Header], text: Text) -> str:
    return ",".join([f"[{text(header.name)},{text(header.value)}]" for header in headers])


def _long_text(data: bytes) -> Steps[str]:
    whole = data.decode("utf-8", "replace")
    parts = []
    for at in range(0, len(whole), TEXT_IN_A_ROW):
        parts.append(encode_basestring(whole[at : at + TEXT_IN_A_ROW])[1:-1])
        yield
    return f'"{"".join(parts)}"'


def _as_text(data: bytes) -> str:
    return encode_basestring(data.decode("utf-8", "replace"))


def _as_base64(data: bytes) -> str:
    return f'"{base64.b64encode(data).decode("ascii")}"'
