"""Who sent a request, and which other request would be the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2cli.server.core.idempotency import Identity

if TYPE_CHECKING:
    from s2cli.server.core.auth import Grant
    from s2cli.server.http.asgi import Scope

# Where an exchange carries its Grant.
_GRANT = "s2.grant"

# What of a request makes it the same one, beside method, path, query, basin and body. Compression does not, and the way
# to the server does not.
_HEADERS = frozenset((b"content-type", b"s2-format", b"authorization"))


def put_grant(scope: Scope, grant: Grant) -> None:
    """Notes who sent the request, once that is known."""
    scope[_GRANT] = grant


def grant_of(scope: Scope) -> Grant | None:
    """Who sent the request; None where everybody may do everything."""
    grant: Any = scope.get(_GRANT)
    return grant  # type: ignore[no-any-return]  # a scope is a mapping to Any


def identify(scope: Scope, basin: str, body: bytes) -> Identity:
    """The identity of a request. `basin` is "" where the path says all."""
    parts = [scope["method"].encode(), scope["raw_path"], scope["query_string"], basin.encode(), body]
    key = None
    for name, value in sorted(scope["headers"]):
        if name in _HEADERS:
            parts += name, value
        elif name == b"s2-encryption-key":
            key = value
    return Identity(parts, key)
