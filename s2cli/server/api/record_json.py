"""Batches as JSON (protocol sections 4.1 and 4.2), made in steps: a megabyte of control characters takes 20 ms, a
megabyte of headers 200. The text stays in pieces, because a copy of several megabytes takes milliseconds too."""

from __future__ import annotations

import base64
import codecs
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, NamedTuple

from s2cli.wire.messages import records_in_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s2cli.server.core.turnstile import Steps

# Of a record, in one step, some 2 ms. Base64 takes three bytes together.
HEADERS_IN_A_ROW = 2048
TEXT_IN_A_ROW = 128 * 1024
BYTES_IN_A_ROW = 3 * 64 * 1024
# Of records together, where each header counts as so many: it takes as long.
STEP_CHARACTERS = 256 * 1024
HEADER_CHARACTERS = STEP_CHARACTERS // HEADERS_IN_A_ROW

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class Rendered(NamedTuple):
    """A batch as JSON, in pieces. There is no line end in it."""

    pieces: list[bytes]
    record_count: int
    last_seq_num: int


def expansion(*, as_base64: bool) -> int:
    """How many times the size of a batch its JSON text has at most: a control character takes six."""
    return 2 if as_base64 else 6


def render_batch(messages: Iterable[bytes], tail: tuple[int, int] | None, *, as_base64: bool) -> Steps[Rendered]:
    """The records of these ReadBatch messages as one batch in JSON. Without `as_base64`, bytes that are not valid UTF-8
    become U+FFFD."""
    text, long_text = (_as_base64, _long_base64) if as_base64 else (_as_text, _long_text)
    pieces: list[bytes] = []
    waiting = ['{"records":[']  # the beginning of the next piece
    characters = count = last_seq_num = 0
    many: list[bytes] = []  # the first headers of a record that has many
    comma = ""
    for message in messages:
        yield
        for headers, record in records_in_runs(message, HEADERS_IN_A_ROW):
            # By hand: json.dumps over dictionaries takes 2.6 times as long.
            some = ",".join([f"[{text(header.name)},{text(header.value)}]" for header in headers]) if headers else ""
            if record is None:
                many.append(f"{',' if many else ''}{some}".encode())
                yield
                continue
            count += 1
            last_seq_num = record.seq_num
            body = record.body
            item = f'{comma}{{"seq_num":{last_seq_num},"timestamp":{record.timestamp}'
            comma = ","
            if many:
                pieces += (_joined(waiting, f'{item},"headers":['), *many)
                many, item = [], f",{some}]" if some else "]"
            elif some:
                item = f'{item},"headers":[{some}]'
            if len(body) > TEXT_IN_A_ROW:
                pieces.append(_joined(waiting, f'{item},"body":"'))
                yield from long_text(body, pieces)
                item = '"}'
            else:
                item = f'{item},"body":{text(body)}}}' if body else item + "}"
            waiting.append(item)
            characters += len(item) + HEADER_CHARACTERS * len(headers)
            if characters > STEP_CHARACTERS:
                pieces.append(_joined(waiting))
                characters = 0
                yield
    pieces.append(_joined(waiting, "]}" if tail is None else f'],"tail":{render_tail(tail)}}}'))
    return Rendered(pieces, count, last_seq_num)


def _joined(waiting: list[str], last: str = "") -> bytes:
    """What waits, with what comes last, as a piece."""
    waiting.append(last)
    piece = "".join(waiting).encode()
    waiting.clear()
    return piece


def render_tail(tail: tuple[int, int]) -> str:
    return f'{{"seq_num":{tail[0]},"timestamp":{tail[1]}}}'


def _long_text(data: bytes, pieces: list[bytes]) -> Steps[None]:
    decoder = _Utf8Decoder("replace")  # in one piece a megabyte that is none takes 11 ms
    for at in range(0, len(data), TEXT_IN_A_ROW):
        some = decoder.decode(data[at : at + TEXT_IN_A_ROW], at + TEXT_IN_A_ROW >= len(data))
        pieces.append(encode_basestring(some)[1:-1].encode())
        yield


def _long_base64(data: bytes, pieces: list[bytes]) -> Steps[None]:
    for at in range(0, len(data), BYTES_IN_A_ROW):
        pieces.append(base64.b64encode(data[at : at + BYTES_IN_A_ROW]))
        yield


def _as_text(data: bytes) -> str:
    return encode_basestring(data.decode("utf-8", "replace"))


def _as_base64(data: bytes) -> str:
    return f'"{base64.b64encode(data).decode("ascii")}"'
