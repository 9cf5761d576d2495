"""A route, and a control-plane request as its handler sees it: names, query and JSON body, each checked, with the API's
error if invalid."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.addressing import basin_of
from s2cli.server.api.json_bodies import JsonError, decode_json
from s2cli.server.api.read_query import MAX_U64, parse_query, whole_number
from s2cli.server.api.request_body import decode_body, identify
from s2cli.server.core.auth import ON_STREAM
from s2cli.server.core.idempotency import bearer_prefix, checked_token
from s2cli.server.http.exchange import encode_json
from s2cli.wire.configs import ConfigShapeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from s2cli.server.api.server import Server
    from s2cli.server.core.auth import Grant
    from s2cli.server.core.idempotency import Draft
    from s2cli.server.core.turnstile import Steps
    from s2cli.server.http.exchange import Exchange
    from s2cli.server.http.memory_budget import Share
    from s2cli.server.store.interface import Reply

    # Status, body, extra headers. An empty body goes without a content type.
    Response = tuple[int, bytes, list[tuple[bytes, bytes]]]
    Handler = Callable[["Request"], Awaitable[Response]]
    # Whether it was a session.
    RecordHandler = Callable[[Server, Exchange, str, str], Awaitable[None]]

# The methods whose requests are executed once per request token. POST creates, and has another rule.
_REPEATABLE = frozenset(("PUT", "PATCH", "DELETE"))

MAX_LIST_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `operation` is the name that access tokens know (protocol section 8.2) where there is
    one. Either `handler` answers, or `records`, for what must be fast or may be long. With `of_introduction` it
    answers as the published Introduction says (protocol section 16). `query`, `body` and `answers` are for the OpenAPI
    document: names of parameters, of the schema of the body, and status -> schema or None."""

    method: str
    path: str
    operation: str
    summary: str
    handler: Handler | None = None
    records: RecordHandler | None = None
    of_introduction: bool = False
    query: tuple[str, ...] = ()
    body: str | None = None
    answers: Mapping[int, str | None] = field(default_factory=dict)


class Request:
    """One request for an operation (protocol section 8.2). `schema` is that of its body; `name` is the decoded last
    segment of the path of one resource, "" for a collection; `basin_in_path` what the path says before that."""

    __slots__ = (
        "_content",
        "_draft",
        "_exchange",
        "_reply",
        "_schema",
        "_value",
        "basin_in_path",
        "grant",
        "name",
        "operation",
        "permitted",
        "server",
    )

    def __init__(
        self,
        server: Server,
        exchange: Exchange,
        operation: str,
        schema: str | None,
        name: str,
        basin_in_path: str | None,
    ) -> None:
        self.server = server
        self.operation = operation
        self._schema = schema
        self.name = name
        self.basin_in_path = basin_in_path
        self.grant: Grant | None = exchange.grant
        self.permitted = self.grant is None
        self._exchange = exchange
        self._content: bytes | None = None
        self._value: Any = None  # what the content is decoded to
        self._draft: Draft | None = None
        self._reply: Reply | None = None

    @property
    def share(self) -> Share:
        return self._exchange.share

    def permit(self, operation: str, name: str) -> None:
        """Raises ApiError unless the token of the request allows `operation` on the resource `name`. For a name in the
        path, that is checked before the handler is called; this is for names in the body, and for an operation that
        only the handler finds out."""
        self.operation = operation
        if self.grant is not None:
            self.grant.require(operation, self.basin() if operation in ON_STREAM else None, name)
            self.permitted = True

    def confirm(self) -> None:
        """Raises ApiError `authn` if the token has ended since the request came. To be called right before a change,
        with no await between: a request may have waited for its body, and for others."""
        if self.grant is not None:
            self.grant.check_valid(self.server.clock_ms())

    def counted_as(self) -> tuple[str, str]:
        """The operation, and the basin whose it is; "" for those of the account."""
        operation = self.operation
        if operation in ON_STREAM or operation == "list-streams":
            return operation, self.basin()
        return operation, self.name if operation in ("get-basin-config", "basin-metrics") else ""

    def stream_name(self, said: str) -> str:
        """The name of the stream that the bearer calls so: some tokens have a prefix that he neither says nor hears."""
        return said if self.grant is None else self.grant.stream_name(said)

    def shown_name(self, stream: str) -> str:
        return stream if self.grant is None else stream.removeprefix(self.grant.stream_prefix)

    def basin(self) -> str:
        """The basin whose streams the request is about."""
        return basin_of(self._exchange, self.server.base_domain, self.basin_in_path)

    def page(self, check: Callable[[str, str], None]) -> tuple[str, str, int]:
        """`prefix`, `start_after` and `limit` of a list; `check(value, kind)` knows the rules for the first two."""
        query = self.query()
        prefix, start_after = query.get("prefix", ""), query.get("start_after", "")
        try:
            check(prefix, "prefix")
            check(start_after, "start-after")
        except BadValueError as error:
            raise ApiError("bad_query", error.message) from error
        limit = whole_number(query, "limit", MAX_U64)
        # 0 and everything above the maximum mean the maximum (protocol section 2.1).
        return prefix, start_after, min(limit or MAX_LIST_LIMIT, MAX_LIST_LIMIT)

    def query(self) -> dict[str, str]:
        return parse_query(self._exchange.query)

    async def members(self) -> dict[str, Any]:
        """The JSON object in the body."""
        value = await self.json()
        if not isinstance(value, dict):
            raise ApiError("bad_json", "the body must be a JSON object")
        return value

    async def optional_json(self) -> Any:
        """The JSON body of a PUT; None where there is none, or it is `null` (protocol section 2.1)."""
        content_type = self._exchange.fields.get(b"content-type")
        if content_type is not None and not is_json(content_type):
            raise _unexpected_type()
        if not await self._body():
            return None
        if content_type is None:
            raise _unexpected_type()
        return self._json()

    async def json(self) -> Any:
        """The JSON value in the body: of objects what the description of the route names."""
        content_type = self._exchange.fields.get(b"content-type")
        if content_type is None or not is_json(content_type):
            raise _unexpected_type()
        await self._body()
        return self._json()

    async def _body(self) -> bytes:
        if self._content is None:
            self._content, self._value = await decode_body(self.server, self._exchange, "bad_json", self._decode)
        return self._content

    def _decode(self, body: bytes) -> Steps[Any]:
        """The value in the body, or the JsonError that says why there is none: not every handler needs the body."""
        if self._schema is not None:
            try:
                return decode_json(body, self._schema)
            except JsonError as error:
                # Without its traceback, which would keep the body and this request in a cycle, until the next garbage
                # collection: many bodies come before that.
                return JsonError(str(error))
        return None
        yield  # it takes one step

    def _json(self) -> Any:
        if isinstance(self._value, JsonError):
            raise ApiError("bad_json", f"the body is invalid: {self._value}")
        return self._value

    async def answer(self, handler: Handler) -> Response:
        """What `handler` answers; to a repeated write with a request token, what it answered the first time."""
        token = self._exchange.fields.get(b"s2-request-token")
        if token is None or self._exchange.method not in _REPEATABLE:
            return await handler(self)

        async def execute(draft: Draft) -> Reply:
            self._draft = draft
            response = await handler(self)
            if self._reply is not None and self._reply.saved:
                return self._reply
            return draft.reply(*response, None)

        basin = self.basin() if self._exchange.raw_path.startswith(b"/v1/streams") else ""
        body = await self._body()
        identity = identify(self._exchange, basin, body)
        reply = await self.server.replies.once(self.grant, basin, token, identity, execute)
        return reply.status, reply.body, reply.headers

    def reply(self, response: Response) -> Reply | None:
        """`response` as the store is to keep it together with the change that the request makes; None where nobody
        could ask for it again. A handler hands it over with the row that it writes."""
        self._reply = None if self._draft is None else self._draft.reply(*response, None)
        return self._reply

    def create_key(self, config: object) -> CreateKey | None:
        """What identifies a create that may be repeated; None without a request token."""
        token = self._exchange.fields.get(b"s2-request-token")
        if token is None:
            return None
        return CreateKey(self.grant, checked_token(token), config)


class CreateKey:
    """What identifies a create that may be repeated: a hash of the bearer, the `s2-request-token` and the requested
    config (protocol section 9.1)."""

    __slots__ = ("_of_anybody", "stored")

    def __init__(self, grant: Grant | None, token: bytes, config: object) -> None:
        canonical = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
        # So it was, whoever the bearer: what was stored then is found again.
        self._of_anybody = hashlib.sha256(token + b"\0" + canonical).digest()
        self.stored = self._of_anybody
        if grant is not None:
            self.stored = hashlib.sha256(bearer_prefix(grant) + token + b"\0" + canonical).digest()

    def made(self, stored: bytes | None) -> bool:
        """Whether the resource with that stored key was made by this request."""
        return stored is not None and stored in (self.stored, self._of_anybody)


def is_json(content_type: bytes) -> bool:
    if content_type == b"application/json":
        return True
    media_type = content_type.split(b";", 1)[0].strip().lower()
    return media_type == b"application/json" or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )


def _unexpected_type() -> ApiError:
    return ApiError("bad_json", "Expected request with `Content-Type: application/json`")


def string_member(members: dict[str, Any], name: str, check: Callable[[str], None]) -> str:
    """A required member of a JSON body that is a name."""
    value = members.get(name)
    if not isinstance(value, str):
        raise ApiError("bad_json", f"missing field `{name}`" if value is None else f"`{name}` must be a string")
    try:
        check(value)
    except BadValueError as error:
        raise ApiError("bad_json", error.message) from error
    return value


def checked_config(parse: Callable[[object], dict[str, Any]], value: object) -> dict[str, Any]:
    """A configuration out of a JSON body: its wrong types are `bad_json`, its wrong values `invalid`."""
    try:
        return parse({} if value is None else value)
    except ConfigShapeError as error:
        raise ApiError("bad_json", error.message) from error
    except BadValueError as error:
        raise ApiError("invalid", error.message) from error


def json_response(status: int, value: object) -> Response:
    return status, encode_json(value), []
