"""The calls for basins, streams, tokens, metrics and locations, one plain function each (protocol section 2.2), and the
client that sends them.

Resources are the dicts of the API, with its field names. An error says which call failed, and what to try next.
"""

from __future__ import annotations

import select
import time

from s2cli.client.connection import account_peer, basin_peer, call, connect, explain, quote
from s2cli.client.retry import Interrupts, Waiter, call_policy
from s2cli.client.sockets import LostError
from s2cli.endpoints import is_loopback
from s2cli.errors import ApiError, ProtocolError, S2Error
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    from s2cli.client.connection import Connection, Response
    from s2cli.client.sockets import Peer
    from s2cli.endpoints import Target

    Answer = TypeVar("Answer")
    Resource = dict[str, object]
    Page = tuple[list[Resource], bool]

MAX_PAGE = 1000


class ApiClient:
    """Calls to one target. `tell` hears of failed attempts; `timeout_s` is for a call with all its attempts."""

    __slots__ = ("_spare", "_tell", "_timeout_s", "target")

    def __init__(self, target: Target, timeout_s: float, tell: Callable[[str], None]) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._tell = tell
        self._spare: dict[str, Connection] = {}  # by the peer's name

    def close(self) -> None:
        """Closes the connections that are kept for a next call."""
        while self._spare:
            self._spare.popitem()[1].close()

    def request(
        self,
        method: str,
        path: str,
        *,
        basin: str | None = None,
        json: object = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Makes a call with retries, so it must be one that may be repeated: a GET, or a write with a request token."""
        waiter = Waiter(Interrupts())  # never entered: a signal ends the command as it is
        waiter.deadline = time.monotonic() + self._timeout_s  # so that the error says what was waited for
        uncertain = False

        def attempt() -> Response:
            nonlocal uncertain
            try:
                return self.call(waiter, method, path, basin=basin, json=json, query=query, headers=headers)
            except S2Error as error:
                was_uncertain = uncertain
                uncertain = uncertain or not error.no_side_effect
                if not was_uncertain or error.retryable or method == "GET":
                    raise
                note = "(an earlier attempt, whose answer was lost, may have taken effect)"
                raise error.reworded(f"{error.message} {note}") from error

        return call_policy(self._timeout_s, self._tell).keep_trying(attempt, waiter)

    def call(
        self,
        waiter: Waiter,
        method: str,
        path: str,
        *,
        basin: str | None = None,
        json: object = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One attempt of a call to the account endpoint, or to the endpoint of `basin`: a response of success. Raises
        what the server answers instead, LostError and more."""
        peer, all_headers = account_peer(self.target) if basin is None else basin_peer(self.target, basin)
        all_headers += [("accept", "application/json"), *(headers or {}).items()]
        if peer.socket_path is None and not is_loopback(peer.host):
            all_headers.append(("accept-encoding", "zstd, gzip"))
        if query:
            path += "?" + "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        body = b""
        if json is not None:
            from json import dumps

            body = dumps(json, separators=(",", ":")).encode()
            all_headers.append(("content-type", "application/json"))
        connection = self._connect(peer, waiter)
        try:
            response = call(connection, waiter, method, path, all_headers, body, self._timeout_s)
        except LostError as error:
            connection.close()
            place = "the local server" if self.target.local else str(peer)
            raise error.reworded(f"the connection to {place} failed: {error.message}") from error
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._spare[str(peer)] = connection
        else:
            connection.close()
        if not 200 <= response.status < 300:
            from s2cli.wire.bodies import error_from_response

            raise error_from_response(response.status, response.body, response.headers)
        return response

    def _connect(self, peer: Peer, waiter: Waiter) -> Connection:
        spare = self._spare.pop(str(peer), None)
        if spare is not None:
            poll = select.poll()
            poll.register(spare.fd, select.POLLIN)
            if not poll.poll(0):
                return spare
            spare.close()  # nothing is asked for: this is its end
        try:
            return connect(peer, waiter)
        except LostError as error:
            error.no_side_effect = True
            raise


def list_basins(client: ApiClient, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    return _call(client, "list basins", _page("basins"), "GET", "/v1/basins", query=query)


def create_basin(
    client: ApiClient, basin: str, config: Mapping[str, object], location: str | None, request_token: str
) -> Resource:
    body: Resource = {"basin": basin}
    if config:
        body["config"] = dict(config)
    if location is not None:
        body["location"] = location
    what = f"create basin {basin}"
    return _call(client, what, _resource, "POST", "/v1/basins", json=body, request_token=request_token)


def find_basin(client: ApiClient, basin: str) -> Resource:
    """The BasinInfo, which only lists have."""
    items, _ = list_basins(client, basin, "", 1)
    if not items or items[0].get("name") != basin:
        raise ApiError("basin_not_found", f"cannot find basin {basin}: it no longer exists")
    return items[0]


def get_basin(client: ApiClient, basin: str) -> Resource:
    """The BasinConfig."""
    return _call(client, f"get basin {basin}", _resource, "GET", _path("basins", basin))


def reconfigure_basin(client: ApiClient, basin: str, patch: Mapping[str, object], request_token: str) -> Resource:
    """Change what `patch` names (None: unset it); the whole BasinConfig after that."""
    what, path = f"reconfigure basin {basin}", _path("basins", basin)
    return _call(client, what, _resource, "PATCH", path, json=dict(patch), request_token=request_token)


def delete_basin(client: ApiClient, basin: str, request_token: str) -> None:
    what, path = f"delete basin {basin}", _path("basins", basin)
    _call(client, what, _nothing, "DELETE", path, request_token=request_token)


def list_streams(client: ApiClient, basin: str, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    what = f"list the streams of {basin}"
    return _call(client, what, _page("streams"), "GET", "/v1/streams", basin=basin, query=query)


def create_stream(
    client: ApiClient, basin: str, stream: str, config: Mapping[str, object], request_token: str
) -> Resource:
    body: Resource = {"stream": stream}
    if config:
        body["config"] = dict(config)
    what = f"create stream s2://{basin}/{stream}"
    return _call(client, what, _resource, "POST", "/v1/streams", basin=basin, json=body, request_token=request_token)


def get_stream(client: ApiClient, basin: str, stream: str) -> Resource:
    """The StreamConfig."""
    what, path = f"get stream s2://{basin}/{stream}", _path("streams", stream)
    return _call(client, what, _resource, "GET", path, basin=basin)


def reconfigure_stream(
    client: ApiClient, basin: str, stream: str, patch: Mapping[str, object], request_token: str
) -> Resource:
    """Change what `patch` names (None: unset it); the whole StreamConfig after that."""
    what, path = f"reconfigure stream s2://{basin}/{stream}", _path("streams", stream)
    return _call(client, what, _resource, "PATCH", path, basin=basin, json=dict(patch), request_token=request_token)


def delete_stream(client: ApiClient, basin: str, stream: str, request_token: str) -> None:
    what, path = f"delete stream s2://{basin}/{stream}", _path("streams", stream)
    _call(client, what, _nothing, "DELETE", path, basin=basin, request_token=request_token)


def list_tokens(client: ApiClient, prefix: str, start_after: str, limit: int) -> Page:
    """One page, and whether there is more."""
    query = _list_query(prefix, start_after, limit)
    return _call(client, "list access tokens", _page("access_tokens"), "GET", "/v1/access-tokens", query=query)


def issue_token(client: ApiClient, request: Mapping[str, object], request_token: str) -> str:
    """The token itself, which the server says this once."""
    what = f"issue access token {request['id']}"
    path = "/v1/access-tokens"
    try:
        answer = _call(client, what, _resource, "POST", path, json=dict(request), request_token=request_token)
    except ApiError as error:
        if error.code == "resource_already_exists":
            revoke = f"{client.target.command} tokens revoke {shell_word(str(request['id']))}"
            raise error.reworded(hint=f"if its answer was lost: {revoke}, and issue it again") from error
        raise
    token = answer.get("access_token")
    if not isinstance(token, str):
        raise ProtocolError(f"cannot {what}: the server's answer has no token")
    return token


def revoke_token(client: ApiClient, token_id: str, request_token: str) -> None:
    what, path = f"revoke access token {token_id}", _path("access-tokens", token_id)
    _call(client, what, _nothing, "DELETE", path, request_token=request_token)


def get_metrics(client: ApiClient, place: tuple[str, ...], query: Mapping[str, str | int]) -> list[Resource]:
    """The Metrics of the account, of a basin or of a stream, as `place` has nothing, a basin, or both names."""
    what = "get metrics of " + ("s2://" + "/".join(place) if place else "the account")
    return _call(client, what, _metrics, "GET", _path("metrics", *place), query=query)


def list_locations(client: ApiClient) -> list[Resource]:
    return _call(client, "list locations", _locations, "GET", "/v1/locations")


def get_default_location(client: ApiClient) -> Resource:
    return _call(client, "get the default location", _resource, "GET", "/v1/locations/default")


def set_default_location(client: ApiClient, location: str, request_token: str) -> Resource:
    what, path = f"make {location} the default location", "/v1/locations/default"
    return _call(client, what, _resource, "PUT", path, json=location, request_token=request_token)


def begin_copy(client: ApiClient, path: str) -> Resource:
    """Have the server copy its database to the new file `path` (protocol section 2.7). Returns how far it is."""
    return _resource(client.call(Waiter(Interrupts()), "POST", "/lite/copy", query={"path": path}))


def get_copy(client: ApiClient) -> Resource:
    """How far the server's copy of its database is."""
    return _resource(client.call(Waiter(Interrupts()), "GET", "/lite/copy"))


def cancel_copy(client: ApiClient) -> None:
    """Have the server give up the copy of its database."""
    client.call(Waiter(Interrupts()), "DELETE", "/lite/copy")


def trust_clock(client: ApiClient) -> Resource:
    """Has a server trust a clock that was set forward by more than a day (protocol section 2.7)."""
    return _resource(client.call(Waiter(Interrupts()), "POST", "/lite/clock"))


def pages(
    fetch: Callable[[str, int], Page], start_after: str, limit: int | None, *, only_one: bool = False, key: str = "name"
) -> Iterator[list[Resource]]:
    """The pages of a list as they arrive, up to `limit` items together; `fetch` takes start_after and a size, and the
    items are in order of `key`."""
    left = limit
    while left is None or left > 0:
        items, has_more = fetch(start_after, MAX_PAGE if left is None else min(left, MAX_PAGE))
        if has_more and not only_one:
            last = items[-1].get(key) if items else None
            if not isinstance(last, str) or last <= start_after:
                raise ProtocolError("the server's list says that it has more, but does not advance")
        if left is not None:
            items = items[:left]
            left -= len(items)
        yield items
        if not has_more or only_one:
            return
        start_after = str(items[-1].get(key))


def _call(
    client: ApiClient,
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
        return parse(client.request(method, path, basin=basin, json=json, query=query, headers=headers))
    except S2Error as error:
        raise explain(error.reworded(f"cannot {what}: {error.message}"), client.target, basin) from error


def _list_query(prefix: str, start_after: str, limit: int) -> dict[str, str | int]:
    query: dict[str, str | int] = {"limit": limit}
    if prefix:
        query["prefix"] = prefix
    if start_after:
        query["start_after"] = start_after
    return query


def _path(*names: str) -> str:
    return "/v1/" + "/".join(map(quote, names))


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
        raise ProtocolError("the server's answer is not a JSON object")
    return answer


def _nothing(response: Response) -> None:
    """The answer has no body."""
