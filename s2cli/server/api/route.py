"""What is said of one method of one path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from s2cli.server.api.request import Handler
    from s2cli.server.api.server import Server
    from s2cli.server.http.exchange import Exchange

    RecordHandler = Callable[[Server, Exchange, str, str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `operation` is the name that access tokens know (protocol section 8.2) where there is
    one. Either `handler` answers, or `records`, for what must be fast or may be long. `query`, `body` and `answers`
    are for the OpenAPI document: names of parameters, of the schema of the body, and status -> schema or None."""

    method: str
    path: str
    operation: str
    summary: str
    handler: Handler | None = None
    records: RecordHandler | None = None
    published: bool = False
    query: tuple[str, ...] = ()
    body: str | None = None
    answers: Mapping[int, str | None] = field(default_factory=dict)
