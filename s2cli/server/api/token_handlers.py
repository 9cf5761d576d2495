"""The operations on access tokens (protocol section 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError
from s2cli.server.api.request import Request, json_response, string_member
from s2cli.server.api.timestamps import is_later, milliseconds_of, parse_timestamp
from s2cli.server.core.auth import ROOT_ID, root_row
from s2cli.server.core.scopes import Scope, list_within, parse_scope
from s2cli.server.store.interface import TokenRow
from s2cli.wire.names import check_token_id, check_token_prefix

if TYPE_CHECKING:
    from s2cli.server.api.request import Response


async def list_tokens(request: Request) -> Response:
    prefix, start_after, limit = request.page(check_token_prefix)
    server = request.server

    async def fetch(prefix: str) -> tuple[list[TokenRow], bool]:
        rows, has_more = await server.store.list_tokens(prefix, start_after, limit, server.clock_ms())
        if server.auth is not None and ROOT_ID.startswith(prefix) and start_after < ROOT_ID:
            # Whoever asks finds his own token too, so there is always one.
            rows.append(root_row())
            rows.sort(key=lambda row: row.id.encode())
            has_more = has_more or len(rows) > limit
            del rows[limit:]
        return rows, has_more

    allowed = None if request.grant is None else request.grant.scope.access_tokens
    rows, has_more = await list_within(allowed, prefix, fetch, lambda row: row.id)
    return json_response(200, {"access_tokens": [_info(row) for row in rows], "has_more": has_more})


async def issue_token(request: Request) -> Response:
    members = await request.members()
    token_id = string_member(members, "id", check_token_id)
    request.permit("issue-access-token", token_id)
    scope = parse_scope(members.get("scope"))
    auto_prefix = members.get("auto_prefix_streams")
    if auto_prefix is not None and not isinstance(auto_prefix, bool):
        raise ApiError("bad_json", "`auto_prefix_streams` must be a boolean")
    expires_at = members.get("expires_at")
    if expires_at is not None:
        expires_at = parse_timestamp(expires_at, "expires_at")
    if members.get("scope") is None:
        raise ApiError("bad_json", "missing field `scope`")
    if auto_prefix and not scope.streams.is_prefix:
        raise ApiError("invalid", "Auto prefixing is only allowed for streams with prefix matching")
    if not scope.operations:
        raise ApiError("invalid", "Access token permissions cannot be empty")
    server = request.server
    now_ms = server.clock_ms()
    if expires_at is not None and milliseconds_of(expires_at) <= now_ms:
        raise ApiError("invalid", "`expires_at` must be in the future")
    expires_at = _bounded(request, scope, expires_at)
    secret, selector, digest = server.secrets.new()
    row = TokenRow(
        token_id,
        selector,
        digest,
        scope.show(),
        bool(auto_prefix),
        expires_at,
        None if expires_at is None else milliseconds_of(expires_at),
    )
    request.confirm()
    if token_id == ROOT_ID or not await server.store.insert_token(row, now_ms):
        raise ApiError("resource_already_exists", f"access token `{token_id}` already exists")
    if row.expires_at_ms is not None:
        server.cleanup.token_expires(row.expires_at_ms)
    return json_response(201, {"access_token": secret})


def _bounded(request: Request, scope: Scope, expires_at: str | None) -> str | None:
    """The expiry of a token that its issuer may issue. Raises ApiError where it would be more than the issuer has."""
    issuer = request.grant
    if issuer is None:
        return expires_at
    if not issuer.scope.covers(scope):
        raise ApiError("permission_denied", "an access token cannot be given more than its issuer has")
    if issuer.expires_at is not None:
        if expires_at is None:
            return issuer.expires_at
        if is_later(expires_at, issuer.expires_at):
            raise ApiError("permission_denied", "an access token cannot outlive the one that issues it")
    return expires_at


async def revoke_token(request: Request) -> Response:
    server, token_id = request.server, request.name
    if token_id == ROOT_ID and server.auth is not None:
        raise ApiError(
            "permission_denied",
            "the id `root` is that of the root token: to change it, start the server with another one",
        )
    request.confirm()
    if not await server.store.remove_token(token_id, server.clock_ms()):
        raise ApiError("access_token_not_found", f"access token `{token_id}` not found")
    if server.auth is not None:
        server.auth.revoked(token_id)
    return 204, b"", []


def _info(row: TokenRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "expires_at": row.expires_at,
        "auto_prefix_streams": row.auto_prefix_streams,
        "scope": row.scope,
    }
