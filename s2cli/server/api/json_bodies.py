"""JSON from clients, decoded by a schema: only the members that the API describes become objects.

Two mebibytes of JSON may be a million empty arrays. A decoder with a schema skips unknown members and stops at the
first value of a wrong type, so a body costs no more than the members that it may have. Strings must be valid Unicode:
half of a surrogate pair, which JSON can express and UTF-8 cannot, is refused everywhere.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import getitem, or_
from typing import TYPE_CHECKING, Any, TypedDict

from s2cli.server.api.openapi_schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s2cli.server.api.openapi_schemas import Schema

# As much of what the decoder says as is of use.
MAX_REASON_CHARACTERS = 200

# What a member may be by its shape. Whether it has the right one of these types its handler says, and better.
Scalar = str | int | float | bool | None

# Types that are made, which no type checker can follow.
_typed_dict: Any = TypedDict
_subscripted: Any = getitem


class JsonError(ValueError):
    """The text is not valid JSON, or does not match the schema; the message says why."""


def decode_json(data: bytes, schema: str) -> Any:
    """The value in `data`: objects have only the members that the schema of that name knows, and what must be a single
    value is one. Raises JsonError."""
    from msgspec import DecodeError

    try:
        # As text: of what the decoder passes over it does not check the encoding.
        return _decoder(schema)(data.decode())
    except RecursionError as error:
        raise JsonError("it is nested too deeply") from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise JsonError(str(error)[:MAX_REASON_CHARACTERS]) from error


@cache
def _decoder(schema: str) -> Callable[[str], Any]:
    from msgspec.json import Decoder

    return Decoder(_member(SCHEMAS[schema])).decode


def _member(schema: Schema) -> Any:
    """The type of a member: a single value, or what the schema has of objects and arrays."""
    members: dict[str, Schema] | None = None
    types: list[Any] = [Scalar]
    for variant in _variants(schema):
        if variant.get("type") == "object":
            members = {**(members or {}), **variant["properties"]}
        elif variant.get("type") == "array":
            types.append(_element(variant))
    if members is not None:
        types.append(_object(members))
    return reduce(or_, types)


def _element(schema: Schema) -> Any:
    """The type of an element of an array: there may be many, so it is exact."""
    (variant,) = _variants(schema)
    if variant["type"] == "array":
        items = _element(variant["items"])
        if "maxItems" in variant and variant["maxItems"] == variant.get("minItems"):
            return _subscripted(tuple, (items,) * variant["maxItems"])
        return _subscripted(list, items)
    return _object(variant["properties"]) if variant["type"] == "object" else str


def _object(members: dict[str, Schema]) -> Any:
    return _typed_dict("Object", {name: _member(member) for name, member in members.items()}, total=False)


def _variants(schema: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _variants(SCHEMAS[schema["$ref"].rpartition("/")[2]])
        return
    variants = schema.get("anyOf") or schema.get("oneOf")
    if variants is None:
        yield schema
    else:
        for variant in variants:
            yield from _variants(variant)
