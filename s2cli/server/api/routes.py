"""The route table: path, operation, name and handler of everything that is served. The application routes with it, and
the OpenAPI document is generated from it.

Paths are matched before decoding, so that `%2F` can be part of a stream name. The routes of the published Introduction
(protocol section 16.2) are beside the deployed ones, and answer as that page says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from s2cli.server.api import (
    append,
    basin_handlers,
    introduction,
    metric_handlers,
    openapi,
    read,
    stream_handlers,
    token_handlers,
)
from s2cli.server.api.request import Route
from s2cli.wire.names import check_basin_name, check_stream_name, check_token_id

if TYPE_CHECKING:
    from collections.abc import Callable

# A function, since the document describes the table that contains it.
_DOCUMENT = openapi.document_handler(lambda: ROUTES)

PAGE = ("prefix", "start_after", "limit")
METRICS = ("set", "start", "end", "interval")
READ = ("seq_num", "timestamp", "tail_offset", "clamp", "count", "bytes", "until", "wait")


# Two lines for each route, so that they read as a table.
# fmt: off


def _stream_routes(prefix: str) -> tuple[Route, ...]:
    one = prefix + "/{stream}"
    return (
        Route("GET", prefix, "list-streams", "List streams",
              stream_handlers.list_streams, query=PAGE, answers={200: "StreamPage"}),
        Route("POST", prefix, "create-stream", "Create a stream",
              stream_handlers.create_stream, body="CreateStream", answers={201: "StreamInfo"}),
        Route("GET", one, "get-stream-config", "Get the configuration of a stream",
              stream_handlers.get_stream_config, answers={200: "StreamConfig"}),
        Route("PUT", one, "create-stream", "Ensure that a stream exists with a configuration",
              stream_handlers.ensure_stream, body="StreamConfig", answers={201: "StreamInfo", 200: "StreamInfo"}),
        Route("PATCH", one, "reconfigure-stream", "Change the configuration of a stream",
              stream_handlers.reconfigure_stream, body="StreamConfig", answers={200: "StreamConfig"}),
        Route("DELETE", one, "delete-stream", "Delete a stream", stream_handlers.delete_stream, answers={202: None}),
    )


def _introduction_record_routes(prefix: str) -> tuple[Route, ...]:
    one = prefix + "/{stream}"
    return (
        Route("POST", f"{one}/append", "append", "Append records",
              records=append.append, body="AppendInput", answers={200: "AppendAck"}),
        Route("GET", f"{one}/read", "read", "Read records, from the first one where no start is given",
              records=introduction.read, query=READ, answers={200: "ReadBatch"}),
        Route("GET", f"{one}/tail", "check-tail", "Check the tail of a stream",
              records=read.tail, answers={200: "Tail"}),
    )


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/basins", "list-basins", "List basins",
          basin_handlers.list_basins, query=PAGE, answers={200: "BasinPage"}),
    Route("POST", "/v1/basins", "create-basin", "Create a basin",
          basin_handlers.create_basin, body="CreateBasin", answers={201: "BasinInfo"}),
    Route("GET", "/v1/basins/{basin}", "get-basin-config", "Get the configuration of a basin",
          basin_handlers.get_basin_config, answers={200: "BasinConfig"}),
    Route("PUT", "/v1/basins/{basin}", "create-basin", "Ensure that a basin exists with a configuration",
          basin_handlers.ensure_basin, body="EnsureBasin", answers={201: "BasinInfo", 200: "BasinInfo"}),
    Route("PATCH", "/v1/basins/{basin}", "reconfigure-basin", "Change the configuration of a basin",
          basin_handlers.reconfigure_basin, body="BasinConfig", answers={200: "BasinConfig"}),
    Route("DELETE", "/v1/basins/{basin}", "delete-basin", "Delete a basin and its streams",
          basin_handlers.delete_basin, answers={202: None}),
    *_stream_routes("/v1/streams"),
    Route("POST", "/v1/streams/{stream}/records", "append", "Append records, or open an append session",
          records=append.append, body="AppendInput", answers={200: "AppendAck"}),
    Route("GET", "/v1/streams/{stream}/records", "read", "Read records, or open a read session",
          records=read.read, query=READ, answers={200: "ReadBatch"}),
    Route("GET", "/v1/streams/{stream}/records/tail", "check-tail", "Check the tail of a stream",
          records=read.tail, answers={200: "Tail"}),
    Route("GET", "/v1/access-tokens", "list-access-tokens", "List access tokens",
          token_handlers.list_tokens, query=PAGE, answers={200: "AccessTokenPage"}),
    Route("POST", "/v1/access-tokens", "issue-access-token", "Issue an access token",
          token_handlers.issue_token, body="IssueAccessToken", answers={201: "IssuedAccessToken"}),
    Route("DELETE", "/v1/access-tokens/{token}", "revoke-access-token", "Revoke an access token",
          token_handlers.revoke_token, answers={204: None}),
    Route("GET", "/v1/locations", "list-locations", "List locations",
          basin_handlers.list_locations, answers={200: "LocationList"}),
    Route("GET", "/v1/locations/default", "get-default-location", "Get the location where basins are made",
          basin_handlers.get_default_location, answers={200: "LocationInfo"}),
    Route("PUT", "/v1/locations/default", "set-default-location", "Set the location where basins are made",
          basin_handlers.set_default_location, body="LocationName", answers={200: "LocationInfo"}),
    Route("GET", "/v1/metrics", "account-metrics", "Get metrics of the account",
          metric_handlers.account_metrics, query=METRICS, answers={200: "MetricSet"}),
    Route("GET", "/v1/metrics/{basin}", "basin-metrics", "Get metrics of a basin",
          metric_handlers.basin_metrics, query=METRICS, answers={200: "MetricSet"}),
    Route("GET", "/v1/metrics/{basin}/{stream}", "stream-metrics", "Get metrics of a stream",
          metric_handlers.stream_metrics, query=METRICS, answers={200: "MetricSet"}),
    Route("GET", "/openapi.json", "", "Get this description", _DOCUMENT, answers={200: "Document"}),
    *(
        replace(route, of_introduction=True)
        for route in (
            *_introduction_record_routes("/v1/streams"),
            *_stream_routes("/v1/basins/{basin}/streams"),
            *_introduction_record_routes("/v1/basins/{basin}/streams"),
        )
    ),
)

# fmt: on

# The parameters in paths, and their rules.
PARAMETERS: dict[str, Callable[[str], None]] = {
    "basin": check_basin_name,
    "stream": check_stream_name,
    "token": check_token_id,
}


class _Node:
    """A segment of paths: what may follow it, and the methods of the path that ends here."""

    __slots__ = ("children", "methods", "parameter")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.parameter: tuple[str, _Node] | None = None
        self.methods: dict[str, Route] = {}


def _tree(routes: tuple[Route, ...]) -> _Node:
    root = _Node()
    for route in routes:
        node = root
        for segment in route.path[1:].split("/"):
            if segment[0] != "{":
                node = node.children.setdefault(segment.encode(), _Node())
                continue
            if node.parameter is None:
                node.parameter = segment[1:-1], _Node()
            node = node.parameter[1]
        node.methods[route.method] = route
    return root


_ROOT = _tree(ROUTES)

STREAMS_PREFIX = b"/v1/streams/"
# What follows the name of a stream in the deployed routes -> its methods: found without the tree, because an append
# is worth about 40 microseconds.
RECORD_ROUTES: dict[bytes, dict[str, Route]] = {}
for _route in ROUTES:
    if _route.records is not None and _route.path.startswith("/v1/streams/{stream}/"):
        RECORD_ROUTES.setdefault(_route.path.removeprefix("/v1/streams/{stream}").encode(), {})[_route.method] = _route


def find(path: bytes) -> tuple[dict[str, Route], list[tuple[str, bytes]]]:
    """The methods of a raw path (none if there is no such path), and its parameters, still encoded: name and value."""
    node = _ROOT
    found: list[tuple[str, bytes]] = []
    for segment in path[1:].split(b"/"):
        child = node.children.get(segment)
        if child is None:
            if node.parameter is None or not segment:
                return {}, []
            name, child = node.parameter
            found.append((name, segment))
        node = child
    return node.methods, found
