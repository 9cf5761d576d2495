"""Lines of `json` and `json-base64` into records: `body`, `headers` and `timestamp`, each optional, and `base64`, which
says for the one line whether they are in Base64; unknown members, such as the `seq_num` that a read wrote, are passed
over."""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64

from s2cli.errors import BadInputError, BadValueError
from s2cli.wire.append_input import encode_headers, encode_record
from s2cli.wire.bodies import is_u64, json_flaw
from s2cli.wire.protobuf import RECORD_OVERHEAD_BYTES
from s2cli.wire.record_rules import check_record, metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Headers = list[tuple[bytes, bytes]]


def record_parser(
    extra_headers: Headers, base64: bool, skip_commands: bool, timestamp_of: Callable[[bytes], int] | None
) -> Callable[[bytes], tuple[bytes, int] | None]:
    """What makes of one line an encoded AppendRecord, and its metered size without RECORD_OVERHEAD_BYTES. The texts are
    in Base64 where the member `base64` or, without one, the argument says so. A command record gets none of the
    `extra_headers`; with `skip_commands` it is None, whatever it commands. `timestamp_of` finds the time of all other
    records in their bodies.

    It raises BadInputError without a line number.
    """
    return lambda line: _parse_record(line, extra_headers, base64, skip_commands, timestamp_of)


def _parse_record(
    line: bytes,
    extra_headers: Headers,
    base64: bool,
    skip_commands: bool,
    timestamp_of: Callable[[bytes], int] | None,
) -> tuple[bytes, int] | None:
    try:
        fields = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInputError(f"not valid JSON: {json_flaw(error)}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a nesting of thousands
        raise BadInputError(f"cannot decode the JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInputError('a record is an object, as in {"body":"text"}')
    if fields and fields.keys().isdisjoint(("body", "headers", "timestamp")):
        # An empty record would be made of it, and a misspelled member be lost in silence.
        raise BadInputError('the object has no "body", "headers" or "timestamp"')
    encoded = fields.get("base64", base64)
    if not isinstance(encoded, bool):
        raise BadInputError('"base64" must be true or false')
    decode = _from_base64 if encoded else _from_text
    headers = _parse_headers(fields.get("headers"), decode)
    is_command = len(headers) == 1 and not headers[0][0]
    if is_command and skip_commands:
        return None
    if not is_command:
        headers += extra_headers
    body = b"" if fields.get("body") is None else decode(fields["body"], "body")
    timestamp = fields.get("timestamp")
    if timestamp_of is not None and not is_command:
        timestamp = timestamp_of(body)
    if timestamp is not None and not is_u64(timestamp):
        raise BadInputError('"timestamp" must be a whole number of milliseconds')
    try:
        check_record(body, headers)
    except BadValueError as error:
        raise BadInputError(error.message) from error
    return encode_record(body, encode_headers(headers), timestamp), metered_bytes(body, headers) - RECORD_OVERHEAD_BYTES


def _parse_headers(value: object, decode: Callable[[object, str], bytes]) -> Headers:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInputError('"headers" must be an array of pairs, as in [["name","value"]]')
    headers = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadInputError('"headers" must be an array of pairs, as in [["name","value"]]')
        headers.append((decode(pair[0], "a header's name"), decode(pair[1], "a header's value")))
    return headers


def _from_text(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise BadInputError(f"{what} must be a string")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{what} has half of a surrogate pair, which is not valid Unicode") from error


def _from_base64(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise BadInputError(f"{what} must be a string")
    try:
        return a2b_base64(value.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError) as error:
        raise BadInputError(f"{what} is not valid Base64") from error
