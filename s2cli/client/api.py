"""The endpoints for basins and streams, one plain function each (protocol section 2.2).

Resources are the dicts of the API, with its field names. An error says which call failed, and what to try next.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

from s2cli.errors import ApiError, ExitCode, ProtocolError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s2cli.client.http import Connection, Response

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
    headers = {"s2-request-token": request_token}
    return _call(connection, f"create basin {basin}", _resource, "POST", "/v1/basins", json=body, headers=headers)


def get_basin(connection: Connection, basin: str) -> Resource:
    """The BasinConfig."""
    return _call(connection, f"get basin {basin}", _resource, "GET", f"/v1/basins/{quote(basin, safe='')}")


def delete_basin(connection: Connection, basin: str) -> None:
    _call(connection, f"delete basin {basin}", _nothing, "DELETE", f"/v1/basins/{quote(basin, safe='')}")


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
    headers = {"s2-request-token": request_token}
    what = f"create stream s2://{basin}/{stream}"
    return _call(connection, what, _resource, "POST", "/v1/streams", basin=basin, json=body, headers=headers)


def get_stream(connection: Connection, basin: str, stream: str) -> Resource:
    """The StreamConfig."""
    return _call(connection, f"get stream s2://{basin}/{stream}", _resource, "GET", _stream_path(stream), basin=basin)


def delete_stream(connection: Connection, basin: str, stream: str) -> None:
    _call(connection, f"delete stream s2://{basin}/{stream}", _nothing, "DELETE", _stream_path(stream), basin=basin)


def pages(
    fetch: Callable[[str, int], Page], start_after: str, limit: int | None, *, only_one: bool = False
) -> Iterator[list[Resource]]:
    """The pages of a list as they arrive, up to `limit` items together; `fetch` takes start_after and a size."""
    left = limit
    while left is None or left > 0:
        items, has_more = fetch(start_after, MAX_PAGE if left is None else min(left, MAX_PAGE))
        if left is not None:
            items = items[:left]
            left -= len(items)
        yield items
        if not has_more or not items or only_one:
            return
        start_after = str(items[-1].get("name"))


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
    headers: Mapping[str, str] | None = None,
) -> Answer:
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


def _stream_path(stream: str) -> str:
    return f"/v1/streams/{quote(stream, safe='')}"


def _page(member: str) -> Callable[[Response], Page]:
    def parse(response: Response) -> Page:
        answer = _resource(response)
        items = answer.get(member)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ProtocolError(f"the server's answer has no list of {member}")
        return items, answer.get("has_more") is True

    return parse


def _resource(response: Response) -> Resource:
    answer = response.json()
    if not isinstance(answer, dict):
        raise ProtocolError("the server's answer is no JSON object")
    return answer


def _nothing(response: Response) -> None:
    """The answer has no body."""
