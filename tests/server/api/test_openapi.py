"""`GET /openapi.json` says exactly what is served."""

import re

import pytest

from s2cli.server.api.openapi import PLAIN
from s2cli.server.api.openapi_schemas import SCHEMAS
from s2cli.server.api.routes import ROUTES

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def document(shared_server):
    answer = shared_server.request("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def fill(path):
    return path.replace("{basin}", "some-basin").replace("{stream}", "some-stream").replace("{token}", "some-id")


def references(value):
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref":
                yield member
            else:
                yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_each_route_is_described_and_nothing_else(document):
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {(route.method, route.path) for route in ROUTES}
    assert described - served == {("GET", path) for path in PLAIN}
    assert served <= described


def test_each_described_path_is_served_with_exactly_these_methods(shared_server, document):
    for path, methods in document["paths"].items():
        allowed = {name.upper() for name in methods}
        answer = shared_server.request("TRACE", fill(path))
        assert answer.status == 405, path
        assert set(answer.headers["allow"].split(", ")) == allowed | {"HEAD"} - (
            set() if "GET" in allowed else {"HEAD"}
        )
        for method in set(METHODS) - allowed:
            assert shared_server.request(method, fill(path)).status == 405, (method, path)


def test_it_holds_together(document):
    names = set(document["components"]["schemas"])
    used = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert used <= names
    assert names - used == set()
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            in_path = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
            assert in_path == re.findall(r"\{(\w+)\}", path)
            assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")
            assert operation["summary"]
            assert "default" in operation["responses"] or operation["security"] == [], (method, path)


def test_answers_are_as_described(shared_server, basin, document):
    """Every member of an answer is in its schema, and every required one is in the answer."""
    shared_server.create_stream(basin, "some-stream")
    body = {"records": [{"body": "x", "headers": [["a", "b"]]}]}
    shared_server.request("POST", "/v1/streams/some-stream/records", basin=basin, json_body=body)
    checked = 0
    for path, methods in document["paths"].items():
        if "get" not in methods or not path.startswith("/v1/") or "metrics" in path or "{token}" in path:
            continue
        url = fill(path).replace("some-basin", basin)
        if path.endswith(("/records", "/read")):
            url += "?seq_num=0"
        answer = shared_server.request("GET", url, basin=None if "{basin}" in path else basin)
        assert answer.status == 200, (url, answer)
        check(answer.json(), methods["get"]["responses"]["200"]["content"]["application/json"]["schema"], url)
        checked += 1
    assert checked >= 12
    error = shared_server.request("GET", "/v1/basins/no-such-basin")
    check(error.json(), {"$ref": "#/components/schemas/Error"}, "error")


def check(value, schema, where):
    """A validator of what the schemas use."""
    if "$ref" in schema:
        check(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
    elif "anyOf" in schema or "oneOf" in schema:
        failures = []
        for choice in schema.get("anyOf") or schema["oneOf"]:
            try:
                check(value, choice, where)
                return
            except AssertionError as error:
                failures.append(error)
        raise AssertionError(f"{where}: none fits: {failures}")
    elif "enum" in schema:
        assert value in schema["enum"], where
    elif schema.get("type") == "object":
        assert isinstance(value, dict), where
        assert set(value) <= set(schema["properties"]), (where, value)
        assert set(schema.get("required", ())) <= set(value), (where, value)
        for name, member in value.items():
            check(member, schema["properties"][name], f"{where}.{name}")
    elif schema.get("type") == "array":
        assert isinstance(value, list), where
        for item in value:
            check(item, schema["items"], f"{where}[]")
    else:
        kinds = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}
        assert isinstance(value, kinds[schema["type"]]), (where, value)
