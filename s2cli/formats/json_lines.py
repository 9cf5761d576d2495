"""The formats `json` and `json-base64`: a record is an object on a line of its own, exact for any bytes.

In `json` a record is text where all of it is UTF-8; where the body, a header's name or its value is not, all three are
in Base64 and `"base64":true` says so. Characters that would drive a terminal are escaped.

Written by hand with the C string encoder of `json`: json.dumps of a dict takes three times as long.
"""

from __future__ import annotations

import _json
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s2cli.wire.s2_pb2 import SequencedRecord

_quote = _json.encode_basestring  # keeps characters that are not ASCII as they are

# What JSON leaves as it is and a terminal obeys: DEL, C1, and the controls of the direction of text.
_TERMINAL_CONTROLS = "[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
# The UTF-8 of each of them begins with one of these, and few others do.
_FIRST_BYTES_OF_CONTROLS = b"\x7f\xc2\xd8"
_FIRST_BYTE_OF_PUNCTUATION = b"\xe2"  # dashes, quotes and bullets have it too: looked at more closely
_REST_OF_CONTROLS = {
    character.encode()[1:] for character in map(chr, range(0x2000, 0x2070)) if not character.isprintable()
}


def _text(data: bytes) -> str:
    """A JSON string. Raises UnicodeDecodeError for bytes that are no UTF-8."""
    return _quote(data.decode())


def _base64(data: bytes) -> str:
    return f'"{b2a_base64(data, newline=False).decode("ascii")}"'


def format_records(records: Sequence[SequencedRecord], separator: str, *, base64: bool) -> bytes:
    """The objects of any records, command records among them. No headers and an empty body are left out."""
    encode = _base64 if base64 else _text
    end = "}" + separator
    lines = []
    for record in records:
        body = record.body
        try:
            headers = _headers(record, encode) if record.headers else ""
            content = f',"body":{encode(body)}' if body else ""
        except UnicodeDecodeError:
            headers = ',"base64":true' + (_headers(record, _base64) if record.headers else "")
            content = f',"body":{_base64(body)}' if body else ""
        lines.append(f'{{"seq_num":{record.seq_num},"timestamp":{record.timestamp}{headers}{content}{end}')
    return escape_terminal_controls("".join(lines).encode())


def _headers(record: SequencedRecord, encode: Callable[[bytes], str]) -> str:
    pairs = (f"[{encode(header.name)},{encode(header.value)}]" for header in record.headers)
    return f',"headers":[{",".join(pairs)}]'


def escape_terminal_controls(data: bytes) -> bytes:
    """JSON text with every character escaped that would drive a terminal and that JSON itself leaves alone."""
    if not _may_have_controls(data):
        return data
    import re  # costs 6 ms, and most text never needs it

    return re.sub(_TERMINAL_CONTROLS, lambda found: f"\\u{ord(found[0]):04x}", data.decode()).encode()


def _may_have_controls(data: bytes) -> bool:
    """At the speed of memory, where the pattern would take a third of the time of the whole format."""
    if data.isascii():
        return 0x7F in data
    if any(first in data for first in _FIRST_BYTES_OF_CONTROLS):
        return True
    punctuation = data.split(_FIRST_BYTE_OF_PUNCTUATION)
    return not _REST_OF_CONTROLS.isdisjoint({piece[:2] for piece in punctuation})
