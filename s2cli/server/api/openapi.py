"""Generates the OpenAPI document, `GET /openapi.json`, from the route table."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from s2cli import __version__
from s2cli.server.api.openapi_schemas import HEADERS, PARAMETERS, SCHEMAS, ref
from s2cli.server.http.exchange import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.api.request import Handler, Request, Response, Route

JSON = "application/json"
PROTOBUF = "application/protobuf"
# Paths that are not routes of the API -> summary and media type.
PLAIN = {
    "/health": ("Whether the server is well", "text/plain"),
    "/ping": ("Whether the server is well", "text/plain"),
    "/metrics": ("Metrics of the server, for Prometheus", "text/plain"),
}

_WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))


def document_handler(routes: Callable[[], tuple[Route, ...]]) -> Handler:
    """The handler that answers with the description of these routes. They are asked for with the first request, since
    the handler is among them."""

    @cache
    def encoded() -> bytes:
        return encode_json(document(routes()))

    async def get_document(request: Request) -> Response:
        return 200, encoded(), []

    return get_document


def document(routes: tuple[Route, ...]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for path, (summary, media_type) in PLAIN.items():
        operation = {
            "operationId": path[1:],
            "summary": summary,
            "security": [],
            "responses": {"200": {"description": "OK", "content": {media_type: {"schema": {"type": "string"}}}}},
        }
        paths[path] = {"get": operation}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "s2 lite",
            "version": __version__,
            "description": "Durable streams of records, in basins. An error has a `code` that says which it is.",
        },
        "servers": [{"url": "/"}],
        "security": [{"access_token": []}, {}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"access_token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body is not None:
        # What a PUT wants may be what it is by itself.
        is_required = route.method != "PUT" or SCHEMAS[route.body].get("type") != "object"
        operation["requestBody"] = {"required": is_required, "content": _content(route, route.body)}
    return operation


def _operation_id(route: Route) -> str:
    function = route.handler or route.records
    assert function is not None
    place = ""
    if route.of_introduction:
        place = "_in_basin" if route.path.startswith("/v1/basins/") else "_short"
    return function.__name__ + place


def _tag(route: Route) -> str:
    if route.records is not None:
        return "records"
    return "streams" if "/streams" in route.path else route.path.split("/")[min(2, route.path.count("/"))]


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [segment[1:-1] for segment in route.path.split("/") if segment[:1] == "{"]
    found = [_parameter(name, "path", *PARAMETERS[name], required=True) for name in in_path]
    found += [_parameter(name, "query", *PARAMETERS[name]) for name in route.query]
    headers = []
    if route.path.startswith("/v1/streams"):
        headers.append("s2-basin")
    if route.method in _WRITES:
        headers.append("s2-request-token")
    if route.operation in ("append", "read"):
        headers += ["s2-format", "s2-encryption-key", "s2-stream-config"]
    return found + [_parameter(name, "header", *HEADERS[name]) for name in headers]


def _parameter(
    name: str, place: str, description: str, schema: dict[str, Any], *, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "required": required, "schema": schema}


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, schema in route.answers.items():
        response: dict[str, Any] = {"description": _DESCRIPTIONS.get(status, "Done.")}
        if schema is not None:
            response["content"] = _content(route, schema)
        responses[str(status)] = response
    if route.operation == "append":
        failed = "409" if route.of_introduction else "412"
        responses[failed] = _said("A condition of the append failed.", "AppendConditionFailed")
    if route.operation == "read":
        responses["416"] = _said("The read starts at or beyond the tail, and may not wait.", "Tail")
    responses["default"] = _said("An error.", "Error")
    return responses


_DESCRIPTIONS = {201: "Created.", 202: "Accepted: the rest is done in the background.", 204: "Done."}


def _said(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": ref(schema)}}}


def _content(route: Route, schema: str) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": ref(schema)}}
    if route.operation in ("append", "read") and route.records is not None:
        content[PROTOBUF] = {}
        # A session, of frames: protocol section 6.
        content["s2s/proto"] = {}
        if route.operation == "read":
            content["text/event-stream"] = {}
    return content
