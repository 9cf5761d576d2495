"""Batches in JSON (protocol sections 4.1 and 4.2), decoded by a schema and in steps.

Two mebibytes of JSON may be 700,000 records or 233,000 headers, and a decoder that makes objects of them blocks the
event loop for 100 ms. So no more records are made than a batch may have; headers are skipped at first, and made later
in several steps.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.append_body import HEADERS_IN_A_ROW, check_count, of_bodies, of_records
from s2cli.server.api.json_bodies import MAX_REASON_CHARACTERS, Scalar
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go
from s2cli.wire.bodies import is_u64
from s2cli.wire.names import check_fencing_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s2cli.server.api.append_body import GivenRecord
    from s2cli.server.core.batch import Batch
    from s2cli.server.core.turnstile import Steps

# So many bytes of headers are decoded at once.
_AT_ONCE_BYTES = 16 * 1024

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_HEADER = rb"\s*+\[\s*+%b\s*+,\s*+%b\s*+\]\s*+,?+" % (_STRING, _STRING)
# Of JSON that is known to be valid.
_SOME_HEADERS = re.compile(rb"(?:%b){1,%d}+" % (_HEADER, HEADERS_IN_A_ROW))


class _Record(Struct):
    timestamp: Scalar = None
    headers: Raw | UnsetType = UNSET
    body: Scalar = ""


class _CountedRecord(_Record):
    """One that stops the decoder where there are too many."""

    # In the message that is being decoded: one at a time is.
    made: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _CountedRecord.made += 1
        check_count(_CountedRecord.made)


class _AppendInput(Struct):
    records: list[_Record] | Scalar | UnsetType = UNSET
    match_seq_num: Scalar = None
    fencing_token: Scalar = None


class _LargeAppendInput(_AppendInput):
    records: list[_CountedRecord] | Scalar | UnsetType = UNSET  # type: ignore[assignment]  # its records, counted


_decode_append = Decoder(_AppendInput).decode
_decode_large_append = Decoder(_LargeAppendInput).decode
_decode_headers = Decoder(list[tuple[str, str]] | None).decode


def parse_json(data: bytes, *, as_base64: bool) -> Batch:
    """The batch in a JSON AppendInput; `as_base64` by the `s2-format` header. Raises ApiError, or BadValueError for one
    that breaks a rule."""
    return in_one_go(json_steps(data, as_base64=as_base64))


def json_steps_base64(data: bytes) -> Steps[Batch]:
    """`parse_json` in steps, of a batch in Base64."""
    return json_steps(data, as_base64=True)


def json_steps(data: bytes, *, as_base64: bool = False) -> Steps[Batch]:
    """`parse_json` in steps."""
    try:
        # As text: of what the decoder passes over it does not check the encoding.
        text = data.decode()
        if len(data) <= LARGE_BYTES:
            message = _decode_append(text)
        else:
            _CountedRecord.made = 0
            message = _decode_large_append(text)
    except RecursionError as error:
        raise _bad_json("it is nested too deeply") from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise _bad_json(str(error)) from error
    records, fencing_token = message.records, message.fencing_token
    if not isinstance(records, list):
        raise _bad_json("missing field `records`" if records is UNSET else "`records` must be an array")
    if len(records) > 1:
        check_count(len(records))
    match_seq_num = message.match_seq_num
    if match_seq_num is not None:
        match_seq_num = _u64(match_seq_num, "match_seq_num")
    if fencing_token is not None:
        fencing_token = _text(fencing_token, "fencing_token")
        try:
            check_fencing_token(fencing_token)
        except BadValueError as error:
            raise _bad_json(error.message) from error
    decode = _decode_base64 if as_base64 else _encode_utf8
    if len(records) == 1 and records[0].headers is UNSET and records[0].timestamp is None:
        body = records[0].body
        encoded = body.encode() if type(body) is str and not as_base64 else decode(body, "body")
        return of_bodies([encoded], match_seq_num, fencing_token)
    yield

    def pair_of(header: tuple[str, str]) -> tuple[bytes, bytes]:
        return decode(header[0], "header"), decode(header[1], "header")

    given = (_given(record, decode) for record in records)
    return (yield from of_records(given, pair_of, match_seq_num, fencing_token))


def _given(record: _Record, decode: Callable[[Any, str], bytes]) -> GivenRecord | Iterator[GivenRecord]:
    timestamp, body = _u64(record.timestamp, "timestamp"), decode(record.body, "body")
    if isinstance(record.headers, UnsetType):
        return timestamp, (), body
    headers = bytes(record.headers)
    if len(headers) <= _AT_ONCE_BYTES:
        return timestamp, _headers(headers), body
    return _in_parts(timestamp, headers, body)


def _in_parts(timestamp: int | None, headers: bytes, body: bytes) -> Iterator[GivenRecord]:
    at = headers.find(b"[") + 1
    while some := _SOME_HEADERS.match(headers, at):
        yield None, _headers(b"[%b]" % some[0].removesuffix(b",")), b""
        at = some.end()
    # What is left is the end of the list, or something that is not a header.
    yield timestamp, _headers(b"[" + headers[at:]), body


def _headers(data: bytes) -> list[tuple[str, str]]:
    try:
        return _decode_headers(data) or []
    except DecodeError as error:
        raise _bad_json(f"`headers` must be an array of pairs of a name and a value: {error}") from error


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _bad_json(f"`{name}` must be a string")
    return value


def _encode_utf8(value: object, name: str) -> bytes:
    return _text(value, name).encode()


def _decode_base64(value: object, name: str) -> bytes:
    try:
        return base64.b64decode(_text(value, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("invalid", "invalid Base64 encoding") from error


def _u64(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not is_u64(value):
        raise _bad_json(f"`{name}` must be an integer from 0 to 2^64 - 1")
    return value


def _bad_json(why: str) -> ApiError:
    return ApiError("bad_json", f"the body is not a valid append: {why[:MAX_REASON_CHARACTERS]}")
