"""Each member of each JSON body, as `/openapi.json` describes it: what it may be is accepted, what it may not be is
refused and not ignored, and members that nobody knows are ignored (protocol section 2.1)."""

import itertools

import pytest

from s2cli.server.api.openapi import document
from s2cli.server.api.routes import ROUTES

DOCUMENT = document(ROUTES)
SCHEMAS = DOCUMENT["components"]["schemas"]
TAKES_JSON = [
    (method, path, operation["requestBody"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
]
# What the API's own description has in its requests, and what this server takes beside it.
OF_A_STREAM = "storage_class retention_policy retention_policy.age retention_policy.infinite timestamping"
OF_A_STREAM += " timestamping.mode timestamping.uncapped delete_on_empty delete_on_empty.min_age_secs"
OF_A_BASIN = "default_stream_config stream_cipher create_stream_on_append create_stream_on_read"
OF_A_BASIN = {*OF_A_BASIN.split(), *OF_A_STREAM.split()}
OF_A_BASIN |= {f"default_stream_config.{member}" for member in OF_A_STREAM.split()}
RESOURCES = [f"{kind}{end}" for kind in ("basins", "streams", "access_tokens") for end in ("", ".exact", ".prefix")]
GROUPS = [f"op_groups.{kind}{end}" for kind in ("account", "basin", "stream") for end in ("", ".read", ".write")]
MEMBERS = {
    "CreateBasin": {"basin", "location", "config", *(f"config.{member}" for member in OF_A_BASIN)},
    "EnsureBasin": {"location", "config", *(f"config.{member}" for member in OF_A_BASIN)},
    "BasinConfig": OF_A_BASIN,
    "CreateStream": {"stream", "config", *(f"config.{member}" for member in OF_A_STREAM.split())},
    "StreamConfig": set(OF_A_STREAM.split()),
    "AppendInput": {"records", "match_seq_num", "fencing_token"}
    | {"records.timestamp", "records.headers", "records.body"},
    "IssueAccessToken": {"id", "expires_at", "auto_prefix_streams", "scope"}
    | {f"scope.{member}" for member in ("ops", "op_groups", *RESOURCES, *GROUPS)},
    "LocationName": set(),
}
NAMES = {"location": "local", "prefix": "a"}
WRONG = {
    "string": [5, True, [], {}],
    "integer": ["5", True, -1, 1.5, 1 << 64, [], {}],
    "boolean": [0, "true", [], {}],
    "enum": ["other", 5, [], {}],
    "array": ["x", 5, {}],
    "object": ["x", 5, []],
}

numbers = itertools.count()


def variants(schema):
    """The types that a value may have."""
    if "$ref" in schema:
        return variants(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    choices = schema.get("anyOf") or schema.get("oneOf")
    return [schema] if choices is None else [one for choice in choices for one in variants(choice)]


def kind(schema):
    return "enum" if "enum" in schema else schema["type"]


def good(schema, name):
    """A value with every member that it may have."""
    one = [variant for variant in variants(schema) if kind(variant) != "null"][-1]
    match kind(one):
        case "enum":
            return one["enum"][0]
        case "object":
            return {member: good(inner, member) for member, inner in one["properties"].items()}
        case "array":
            return [good(one["items"], name)] * one.get("minItems", 1)
        case "string":
            return "2100-01-01T00:00:00Z" if one.get("format") == "date-time" else NAMES.get(name, "x")
        case "integer":
            return one["minimum"]
        case "boolean":
            return name != "auto_prefix_streams"  # which not every scope may have


def changed(schema, name):
    """What to put in the place of a value: where it differs, the value, and whether it may be so."""
    found = variants(schema)
    yield ": null", None, any(kind(variant) == "null" for variant in found)
    objects = [variant for variant in found if kind(variant) == "object"]
    for variant in found:
        for wrong in WRONG.get(kind(variant), ()):
            yield f": {wrong!r}", wrong, False
        if kind(variant) == "string" and "maxLength" in variant:
            yield ": too long", "x" * (variant["maxLength"] + 1), False
        if kind(variant) == "string" and variant.get("minLength"):
            yield ": too short", "x" * (variant["minLength"] - 1), False
        if kind(variant) == "integer" and variant["minimum"]:
            yield ": too small", variant["minimum"] - 1, False
        if kind(variant) == "array":
            exact = "maxItems" in variant and variant["maxItems"] == variant.get("minItems")
            count = variant.get("minItems", 1)
            item = good(variant["items"], name)
            for where, value, allowed in changed(variant["items"], name):
                yield f"[]{where}", [*[item] * (count - 1), value], allowed
            if exact:
                yield ": one more", [item] * (count + 1), False
            if variant.get("minItems"):
                yield ": one less", [item] * (count - 1), False
    for variant in objects:
        whole = good(variant, name)
        yield ".unknown", {**whole, "unknown": [{"a": {}}]}, True
        for member in variant.get("required", ()):
            yield f": no {member}", {key: value for key, value in whole.items() if key != member}, False
        for member, inner in variant["properties"].items():
            for where, value, allowed in changed(inner, member):
                yield f".{member}{where}", {**whole, member: value}, allowed
    if len(objects) > 1:
        both = {key: value for variant in objects for key, value in good(variant, name).items()}
        yield ": all of them", both, False


def named(value):
    """With names of its own, and of nothing that there is."""
    if not isinstance(value, dict):
        return value
    own = {name: f"{name}-{next(numbers):06}" for name in ("basin", "stream", "id") if value.get(name) == "x"}
    return {**value, **own}


def members(schema, prefix=""):
    """The members of a value, and those of what is in it."""
    for variant in variants(schema):
        for name, inner in variant.get("properties", {}).items():
            yield prefix + name
            yield from members(inner, f"{prefix}{name}.")
        if "items" in variant:
            yield from members(variant["items"], prefix)


def test_bodies_have_the_members_of_the_api():
    taken = {route.body for route in ROUTES if route.body is not None}
    assert {name: set(members(SCHEMAS[name])) for name in taken} == MEMBERS


@pytest.mark.parametrize(("method", "path", "body"), TAKES_JSON)
def test_members_are_what_they_are_described_to_be(make_server, method, path, body):
    server = make_server(data=None)
    basin = server.create_basin()
    server.create_stream(basin)
    target = path.replace("{basin}", basin).replace("{stream}", "stream")
    header = basin if path.startswith("/v1/streams") else None
    wrong = []
    for where, value, allowed in changed(body["content"]["application/json"]["schema"], "location"):
        if value is None and not body["required"]:
            allowed = True  # the same as none
        answer = server.request(method.upper(), target, json_body=named(value), basin=header)
        # A condition that does not hold, or a name that is taken, is no matter of the body.
        if (answer.status in (200, 201, 409, 412)) != allowed or answer.status not in (200, 201, 400, 409, 412, 422):
            wrong.append((where, value, answer))
    assert wrong == []
