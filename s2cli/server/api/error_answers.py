"""Turns an error into a response: status, headers and body (protocol section 2.1)."""

from __future__ import annotations

from s2cli.errors import (
    ApiError,
    BadValueError,
    FencingTokenMismatchError,
    RangeNotSatisfiableError,
    S2Error,
    SeqNumMismatchError,
)
from s2cli.server.http.exchange import encode_json

# The codes that the published Introduction calls `validation_error` (protocol section 16.3).
_VALIDATION_CODES = frozenset(("bad_path", "bad_query", "bad_json", "bad_header", "bad_proto", "invalid"))


def error_response(error: S2Error) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, JSON body and extra headers for an error; also what a frame that ends a session carries."""
    # A 412 has exactly one member: the official Rust client refuses any other.
    if isinstance(error, SeqNumMismatchError):
        return 412, b'{"seq_num_mismatch":%d}' % error.expected, []
    if isinstance(error, FencingTokenMismatchError):
        return 412, encode_json({"fencing_token_mismatch": error.token}), []
    if isinstance(error, RangeNotSatisfiableError):
        tail = {"seq_num": error.tail_seq_num, "timestamp": error.tail_timestamp}
        return 416, encode_json({"tail": tail}), []
    if not isinstance(error, ApiError):
        # Checks shared with the client know no API codes.
        code = "invalid" if isinstance(error, BadValueError) else "other"
        error = ApiError(code, error.message)
    kind = "validation_error" if error.code in _VALIDATION_CODES else error.code
    fields: dict[str, object] = {"code": error.code, "message": error.message, "error": kind}
    if error.without_effect:
        fields["without_effect"] = True
    if error.damaged is not None:
        fields["damaged"] = {"first": error.damaged[0], "last": error.damaged[1]}
    body = encode_json(fields)
    headers = []
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_ms is not None:
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
        headers.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1000)))
    return error.status, body, headers
