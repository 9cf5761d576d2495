"""Takes the timestamp of a record from a field of its body, which must be JSON."""

from __future__ import annotations

import json

from s2cli.errors import BadInputError, BadValueError
from s2cli.positions import epoch_ms, parse_time_ms
from s2cli.values import U64_MAX
from s2cli.wire.bodies import json_flaw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def timestamp_finder(field: str) -> Callable[[bytes], int]:
    """A function that returns the timestamp in a body, in milliseconds since the epoch. `field` names a member of its
    JSON object. If there is no member of that name, dots in it lead into inner objects. The value must be an RFC 3339
    time or a number: seconds, or milliseconds from 10^11 on.

    The function raises BadInputError, without a line number."""
    path = field.split(".")

    def find(body: bytes) -> int:
        try:
            value = json.loads(body.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadInputError(f"the body is not valid JSON, which has no {field}: {json_flaw(error)}") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, a nesting of thousands
            raise BadInputError(f"cannot decode the JSON of the body: {error}") from error
        if isinstance(value, dict) and field in value:
            return _milliseconds(value[field], field)
        for name in path:
            if not isinstance(value, dict) or name not in value:
                raise BadInputError(f'the body has no "{field}", which --timestamp-from names')
            value = value[name]
        return _milliseconds(value, field)

    return find


def _milliseconds(value: object, field: str) -> int:
    if isinstance(value, str):
        try:
            return parse_time_ms(value)
        except BadValueError as error:
            raise BadInputError(f'"{field}": {error.message}') from error
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= U64_MAX:
        return epoch_ms(value)
    raise BadInputError(f'"{field}" is neither a time nor a number of seconds or milliseconds')
