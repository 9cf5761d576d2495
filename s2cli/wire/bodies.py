"""Decodes what the other side sent, within limits: a `Content-Encoding` (protocol section 10.1), a compressed frame
(section 6.1), JSON of no more than an S2 server needs, and error responses as exceptions."""

from __future__ import annotations

from s2cli.errors import (
    ApiError,
    FencingTokenMismatchError,
    MissingKeyError,
    MissingTimestampError,
    ProtocolError,
    RangeNotSatisfiableError,
    S2Error,
    SeqNumMismatchError,
)
from s2cli.values import U64_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeGuard

    import zstandard

# Of an error that is read, and of what it says to a person.
MAX_ERROR_BODY_BYTES = 64 * 1024
MAX_MESSAGE_LENGTH = 2000
# Of a JSON text. Objects and lists of two bytes each take thirty times as much memory as their text; the longest batch
# there is has 349,522 headers, with four of these characters each.
MAX_JSON_VALUES = 1_500_000


class ContentError(ProtocolError):
    """A body is not in the form that its headers name, or inflates to more than it may."""


def inflate_content(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """`body` as it was before `encoding` ("gzip" or "zstd") was applied; never makes more than the limit and a little.
    Raises ContentError."""
    if not body:
        return body  # some clients name an encoding with no body at all
    inflated = _inflate_zstd(body, limit_bytes) if encoding == "zstd" else _inflate_gzip(body, limit_bytes)
    if len(inflated) > limit_bytes:
        raise ContentError(f"the body inflates to more than {limit_bytes} bytes")
    return inflated


def _inflate_gzip(body: bytes, limit_bytes: int) -> bytes:
    import zlib

    gzip = zlib.decompressobj(wbits=31)
    try:
        inflated = gzip.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise ContentError(f"the body is not in gzip form: {error}") from error
    if len(inflated) <= limit_bytes and (not gzip.eof or gzip.unused_data):
        raise ContentError("the body in gzip form is cut short or has bytes after its end")
    return inflated


def _inflate_zstd(body: bytes, limit_bytes: int) -> bytes:
    import zstandard

    try:
        # Looked at first: the one-shot call allocates what the header claims. -1 is a header that claims nothing.
        size = zstandard.frame_content_size(body)
        if size > limit_bytes:
            raise ContentError(f"the body inflates to more than {limit_bytes} bytes")
        # The window is bounded too: a header may ask for gigabytes of it before the first byte comes out.
        decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
        inflated = decompressor.decompress(body, max_output_size=limit_bytes + 1, allow_extra_data=False)
        if size == -1 and _has_extra_data(decompressor, body):
            raise ContentError("the body in zstd form has bytes after its end")
    except (zstandard.ZstdError, MemoryError) as error:
        raise ContentError(f"the body is not in zstd form, or inflates to more than it may: {error}") from error
    return inflated


def _has_extra_data(decompressor: zstandard.ZstdDecompressor, body: bytes) -> bool:
    """`allow_extra_data` ignores frames that do not name their size. Only for a body that is known to inflate
    to no more than it may."""
    stream = decompressor.decompressobj()
    stream.decompress(body)
    return bool(stream.unused_data)


def parse_json(text: bytes) -> object:
    """Any JSON value of at most MAX_JSON_VALUES parts. Raises ValueError, also for what is nested too deep."""
    if len(text) > MAX_JSON_VALUES and sum(map(text.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise ValueError("JSON of too many values")
    import json

    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error


# What Python says of a text that is no JSON, in our words.
_FLAWS = {
    "Expecting value": "a value is missing",
    "Expecting property name enclosed in double quotes": "a name in double quotes is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting ',' delimiter": "a comma is missing",
    "Unterminated string starting at": "there is no end to the string",
    "Invalid control character at": "a string must not have the control character",
    "Extra data": "something follows the end",
}


def json_flaw(error: ValueError) -> str:
    """What is wrong with a text that json.loads or parse_json refused, and where, for people."""
    import json

    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    place = f"column {error.colno}" if "\n" not in error.doc.strip() else f"line {error.lineno}, column {error.colno}"
    if error.pos >= len(error.doc.rstrip()):
        return f"it ends too early, at {place}" if error.doc.strip() else "it is empty"
    return f"{_FLAWS.get(error.msg, error.msg.lower())} at {place}"


def is_u64(value: object) -> TypeGuard[int]:
    """Whether a value of JSON is a number of the API."""
    return type(value) is int and 0 <= value <= U64_MAX


# The API has codes that many errors share: these it tells apart by the beginning of the message alone.
_BY_TEXT: tuple[type[MissingKeyError | MissingTimestampError], ...] = (MissingKeyError, MissingTimestampError)


def error_from_response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> S2Error:
    """The exception for an error response or terminal frame: a 412 or 416 body, `{code, message}`, the
    Introduction's `{error, message}`, or anything that some proxy wrote. `headers` have lower-case names."""
    import json

    try:
        parsed = parse_json(body) if len(body) <= MAX_ERROR_BODY_BYTES else None
    except ValueError:
        parsed = None
    fields = parsed if isinstance(parsed, dict) else {}
    tail = fields.get("tail")
    if status == 416 and isinstance(tail, dict) and is_u64(tail.get("seq_num")) and is_u64(tail.get("timestamp")):
        return RangeNotSatisfiableError(tail["seq_num"], tail["timestamp"])
    # 409 is what the Introduction answers for a failed condition, 412 the deployed API.
    if status in (409, 412):
        if "fencing_token_mismatch" in fields:
            token = fields["fencing_token_mismatch"]
            return FencingTokenMismatchError(_clipped(token if isinstance(token, str) else json.dumps(token)))
        if is_u64(expected := fields.get("seq_num_mismatch")):
            return SeqNumMismatchError(expected)
    code = fields.get("code") or fields.get("error") or "unknown"
    message = fields.get("message") or body[:200].decode("utf-8", "replace").strip() or f"HTTP status {status}"
    code, message = _clipped(str(code)), _clipped(str(message))
    kind = next((kind for kind in _BY_TEXT if code == kind.CODE and message.startswith(kind.TEXT)), ApiError)
    return kind(
        code,
        message,
        status=status,
        retry_after_ms=_retry_after_ms(headers or {}),
        without_effect=fields.get("without_effect") is True,
        damaged=_range_of(fields.get("damaged")),
    )


def _range_of(value: object) -> tuple[int, int] | None:
    """The first and the last sequence number of a range, if it is one."""
    if not isinstance(value, dict):
        return None
    first, last = value.get("first"), value.get("last")
    return (first, last) if is_u64(first) and is_u64(last) and first <= last else None


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[:MAX_MESSAGE_LENGTH] + "…"


def _retry_after_ms(headers: Mapping[str, str]) -> int | None:
    for name, unit_ms in (("retry-after-ms", 1), ("retry-after", 1000)):
        text = headers.get(name, "").strip()
        if text.isascii() and text.isdigit():
            return 60_000 if len(text) > 9 else min(int(text) * unit_ms, 60_000)
    return None
