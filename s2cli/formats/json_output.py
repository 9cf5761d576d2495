"""The formats `json` and `json-base64`: a record is an object on a line of its own, exact for any bytes.

In `json` a record is text where all of it is UTF-8; where the body, a header's name or its value is not, all three are
in Base64 and `"base64":true` says so. Characters that would drive a terminal are escaped.

Written by hand with the C string encoder of `json`: json.dumps of a dict takes three times as long.
"""

from __future__ import annotations

import _json
from binascii import b2a_base64

from s2cli.escapes import encode_json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.wire.s2_pb2 import SequencedRecord

_quote = _json.encode_basestring  # keeps characters that are not ASCII as they are


def _text(data: bytes) -> str:
    """A JSON string. Raises UnicodeDecodeError for bytes that are no UTF-8."""
    return _quote(data.decode())


def _base64(data: bytes) -> str:
    return f'"{b2a_base64(data, newline=False).decode("ascii")}"'


def quote_bytes(data: bytes) -> str:
    """Any bytes as one JSON value: a string, or `{"base64":"…"}` where they are not UTF-8."""
    try:
        return _text(data)
    except UnicodeDecodeError:
        return f'{{"base64":{_base64(data)}}}'


def format_records(
    records: Iterable[SequencedRecord],
    separator: str,
    *,
    base64: bool,
    stream: str | None = None,
    encode_body: Callable[[bytes], str] | None = None,
) -> bytes:
    """The objects of any records, command records among them. No headers and an empty body are left out. `stream` is a
    member of each where it is given. `encode_body` makes JSON of a body that is UTF-8, where that is not a string."""
    encode = _base64 if base64 else _text
    encode_body = encode_body or encode
    start = "{" if stream is None else f'{{"stream":{_quote(stream)},'
    end = "}" + separator
    lines = []
    for record in records:
        body = record.body
        try:
            headers = _headers(record, encode) if record.headers else ""
            content = f',"body":{encode_body(body)}' if body else ""
        except UnicodeDecodeError:
            headers = ',"base64":true' + (_headers(record, _base64) if record.headers else "")
            content = f',"body":{_base64(body)}' if body else ""
        lines.append(f'{start}"seq_num":{record.seq_num},"timestamp":{record.timestamp}{headers}{content}{end}')
    return encode_json_text("".join(lines))


def _headers(record: SequencedRecord, encode: Callable[[bytes], str]) -> str:
    pairs = (f"[{encode(header.name)},{encode(header.value)}]" for header in record.headers)
    return f',"headers":[{",".join(pairs)}]'


def encode_json_body(data: bytes) -> str:
    """A body that is a JSON object or array as that, on one line and otherwise as it was written; any other as a
    string: a line of text that happens to be a number stays one. Raises UnicodeDecodeError for bytes that are no
    UTF-8."""
    text = data.decode()
    if not is_container(text):
        return _quote(text)
    # In valid JSON these are only between values: strings have them escaped.
    return text.replace("\n", " ").replace("\r", " ")


def is_container(text: str) -> bool:
    """Whether a body is a JSON object or array."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return False
    import msgspec  # checks without making objects: a twelfth of the time of json.loads

    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
