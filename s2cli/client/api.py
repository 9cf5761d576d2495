"""The endpoints for basins and streams, one plain function each (protocol section 2.2).

Resources are the dicts of the API, with its field names. An error says which call failed, and what to try next.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

from s2cli.errors import ApiError, ExitCode, ProtocolError, S2Error
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s2cli.client.unary import Connection, Response

    Resource = dict[str, object]
    Page = tuple[list[Resource], bool]

Answer = TypeVar("Answer")

MAX_PAGE = 1000


def list_basins(connection: Connection, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    return _call(connection, "list basins", _page("basins"), "GET", "/v1/basins", query=query)


def create_basin(
    connection: Connection, basin: str, config: Mapping[str, object], location: str | None, request_token: str
) -> Resource:
    body: Resource = {"basin": basin}
    if config:
        body["config"] = dict(config)
    if location is not None:
        body["location"] = location
    what = f"create basin {basin}"
    return _call(connection, what, _resource, "POST", "/v1/basins", json=body, request_token=request_token)


def find_basin(connection: Connection, basin: str) -> Resource:
    """The BasinInfo, which only lists have."""
    items, _ = list_basins(connection, basin, "", 1)
    if not items or items[0].get("name") != basin:
        raise ApiError("basin_not_found", f"cannot find basin {basin}: it does not exist any more")
    return items[0]


def get_basin(connection: Connection, basin: str) -> Resource:
    """The BasinConfig."""
    return _call(connection, f"get basin {basin}", _resource, "GET", _path("basins", basin))


def reconfigure_basin(connection: Connection, basin: str, patch: Mapping[str, object], request_token: str) -> Resource:
    """Change what `patch` names (None: unset it); the whole BasinConfig after that."""
    what, path = f"reconfigure basin {basin}", _path("basins", basin)
    return _call(connection, what, _resource, "PATCH", path, json=dict(patch), request_token=request_token)


def delete_basin(connection: Connection, basin: str, request_token: str) -> None:
    what, path = f"delete basin {basin}", _path("basins", basin)
    _call(connection, what, _nothing, "DELETE", path, request_token=request_token)


def list_streams(connection: Connection, basin: str, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    what = f"list the streams of {basin}"
    return _call(connection, what, _page("streams"), "GET", "/v1/streams", basin=basin, query=query)


def create_stream(
    connection: Connection, basin: str, stream: str, config: Mapping[str, object], request_token: str
) -> Resource:
    body: Resource = {"stream": stream}
    if config:
        body["config"] = dict(config)
    what = f"create stream s2://{basin}/{stream}"
    return _call(
        connection, what, _resource, "POST", "/v1/streams", basin=basin, json=body, request_token=request_token
    )


def get_stream(connection: Connection, basin: str, stream: str) -> Resource:
    """The StreamConfig."""
    what, path = f"get stream s2://{basin}/{stream}", _path("streams", stream)
    return _call(connection, what, _resource, "GET", path, basin=basin)


def reconfigure_stream(
    connection: Connection, basin: str, stream: str, patch: Mapping[str, object], request_token: str
) -> Resource:
    """Change what `patch` names (None: unset it); the whole StreamConfig after that."""
    what, path = f"reconfigure stream s2://{basin}/{stream}", _path("streams", stream)
    return _call(connection, what, _resource, "PATCH", path, basin=basin, json=dict(patch), request_token=request_token)


def delete_stream(connection: Connection, basin: str, stream: str, request_token: str) -> None:
    what, path = f"delete stream s2://{basin}/{stream}", _path("streams", stream)
    _call(connection, what, _nothing, "DELETE", path, basin=basin, request_token=request_token)


def list_tokens(connection: Connection, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    return _call(connection, "list access tokens", _page("access_tokens"), "GET", "/v1/access-tokens", query=query)


def issue_token(connection: Connection, request: Mapping[str, object], request_token: str) -> str:
    """The token itself, which the server says this once."""
    what = f"issue access token {request['id']}"
    path = "/v1/access-tokens"
    try:
        answer = _call(connection, what, _resource, "POST", path, json=dict(request), request_token=request_token)
    except ApiError as error:
        if error.code == "resource_already_exists":
            revoke = f"{connection.target.command} tokens revoke {shell_word(str(request['id']))}"
            error.hint = f"if its answer was lost: {revoke}, and issue it again"
        raise
    token = answer.get("access_token")
    if not isinstance(token, str):
        raise ProtocolError(f"cannot {what}: the server's answer has no token")
    return token


def revoke_token(connection: Connection, token_id: str, request_token: str) -> None:
    what, path = f"revoke access token {token_id}", _path("access-tokens", token_id)
    _call(connection, what, _nothing, "DELETE", path, request_token=request_token)


def get_metrics(connection: Connection, place: tuple[str, ...], query: Mapping[str, str | int]) -> list[Resource]:
    """The Metrics of the account, of a basin or of a stream, as `place` has nothing, a basin, or both names."""
    what = "get metrics of " + ("s2://" + "/".join(place) if place else "the account")
    return _call(connection, what, _metrics, "GET", _path("metrics", *place), query=query)


def list_locations(connection: Connection) -> list[Resource]:
    return _call(connection, "list locations", _locations, "GET", "/v1/locations")


def get_default_location(connection: Connection) -> Resource:
    return _call(connection, "get the default location", _resource, "GET", "/v1/locations/default")


def set_default_location(connection: Connection, location: str, request_token: str) -> Resource:
    what, path = f"make {location} the default location", "/v1/locations/default"
    return _call(connection, what, _resource, "PUT", path, json=location, request_token=request_token)


def pages(
    fetch: Callable[[str, int], Page],
    start_after: str,
    limit: int | None,
    *,
    only_one: bool = False,
    key: str = "name",
) -> Iterator[list[Resource]]:
    """The pages of a list as they arrive, up to `limit` items together; `fetch` takes start_after and a size, and the
    items are in order of `key`."""
    left = limit
    while left is None or left > 0:
        items, has_more = fetch(start_after, MAX_PAGE if left is None else min(left, MAX_PAGE))
        if has_more and not only_one:
            last = items[-1].get(key) if items else None
            if not isinstance(last, str) or last <= start_after:
                raise ProtocolError("the server says that its list has more, and does not go on: it would never end")
        if left is not None:
            items = items[:left]
            left -= len(items)
        yield items
        if not has_more or only_one:
            return
        start_after = str(items[-1].get(key))


def _call(
    connection: Connection,
    what: str,
    parse: Callable[[Response], Answer],
    method: str,
    path: str,
    *,
    basin: str | None = None,
    json: object = None,
    query: Mapping[str, str | int] | None = None,
    request_token: str | None = None,
) -> Answer:
    headers = None if request_token is None else {"s2-request-token": request_token}
    try:
        return parse(connection.request(method, path, basin=basin, json=json, query=query, headers=headers))
    except S2Error as error:
        error.message = f"cannot {what}: {error.message}"
        error.args = (error.message,)
        if error.hint is None:
            error.hint = _hint(error, connection, basin)
        raise


def _hint(error: S2Error, connection: Connection, basin: str | None) -> str | None:
    if error.exit_code == ExitCode.AUTH:
        target = connection.target
        if target.withheld:
            return target.withheld
        return "export S2_ACCESS_TOKEN=… or give --access-token-file FILE" if target.token is None else None
    command = connection.target.command
    if isinstance(error, ApiError) and error.code == "basin_not_found":
        return f"{command} create s2://{basin} creates it" if basin else f"{command} basins list shows the basins"
    if isinstance(error, ApiError) and error.code == "access_token_not_found":
        return f"{command} tokens list shows the access tokens"
    if isinstance(error, ApiError) and error.code == "stream_not_found":
        return f"{command} streams list {basin} shows the streams of the basin"
    return None


def _list_query(prefix: str, start_after: str, limit: int) -> dict[str, str | int]:
    query: dict[str, str | int] = {"limit": limit}
    if prefix:
        query["prefix"] = prefix
    if start_after:
        query["start_after"] = start_after
    return query


def _path(*names: str) -> str:
    return "/v1/" + "/".join(quote(name, safe="") for name in names)


def _page(member: str) -> Callable[[Response], Page]:
    def parse(response: Response) -> Page:
        answer = _resource(response)
        return _list_of(answer.get(member), member), answer.get("has_more") is True

    return parse


def _metrics(response: Response) -> list[Resource]:
    return _list_of(_resource(response).get("values"), "metrics")


def _locations(response: Response) -> list[Resource]:
    return _list_of(response.json(), "locations")


def _list_of(items: object, what: str) -> list[Resource]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ProtocolError(f"the server's answer has no list of {what}")
    return items


def _resource(response: Response) -> Resource:
    answer = response.json()
    if not isinstance(answer, dict):
        raise ProtocolError("the server's answer is no JSON object")
    return answer


def _nothing(response: Response) -> None:
    """The answer has no body."""
