"""`s2 tokens issue|list|revoke`."""

from __future__ import annotations

import shlex
import time

from s2cli.amounts import format_utc
from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.connect import connect
from s2cli.commands.resource_options import request_token
from s2cli.commands.resource_output import print_list, print_one, text_of
from s2cli.errors import ExitCode, S2Error, UsageError
from s2cli.positions import parse_time_ms
from s2cli.values import parse_duration_ms, parse_option
from s2cli.wire.names import OP_GROUPS, OPERATIONS, check_token_id, check_token_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.account_args import GrantArgs, IssueTokenArgs, ListTokensArgs, RevokeTokenArgs
    from s2cli.cli.resource_args import PagesArgs
    from s2cli.client.api import Resource

HEADERS = ("ID", "EXPIRES", "BASINS", "STREAMS", "TOKENS", "GROUPS", "OPS")
_YEAR_10000_S = 253_402_300_800
_SETS = ("basins", "streams", "access_tokens")
_ACCESS = {"r": "read", "w": "write"}


def issue_token(args: IssueTokenArgs) -> int:
    if args.output == "name":
        raise UsageError("-o name would leave out the token, which is shown only once")
    check_token_id(args.token_id)
    request = token_request(args)
    scope = scope_of(request)
    if "ops" not in scope and "op_groups" not in scope:
        raise UsageError(
            "the token would allow nothing",
            hint="--ops read,append for some operations, --op-group-perms stream=rw for all of streams",
        )
    _warn_of_empty_sets(scope)
    token = api.issue_token(connect(args), request, request_token(args))
    try:
        if args.output is None:
            console.print_line(token)  # alone, for $(…) and files
        else:
            print_one(args, {"access_token": token}, ("TOKEN",), [(token,)], args.token_id)
    except (console.ClosedOutput, S2Error) as error:
        # Nobody has it now, and nobody can get it again.
        why = error.message if isinstance(error, S2Error) else "nobody reads the standard output"
        hint = f"it was issued, and is lost: s2 tokens revoke {shlex.quote(args.token_id)}"
        raise S2Error(why, hint=hint) from error
    return ExitCode.OK


def list_tokens(args: ListTokensArgs) -> int:
    print_list(args, token_pages(args), HEADERS, _row, lambda item: str(item.get("id")))
    return ExitCode.OK


def token_pages(args: PagesArgs) -> Iterator[list[Resource]]:
    """The pages of AccessTokenInfos that the options ask for."""
    check_token_prefix(args.prefix, "prefix")
    check_token_prefix(args.start_after, "start after")
    connection = connect(args)
    return api.pages(
        lambda start_after, size: api.list_tokens(connection, args.prefix, start_after, size),
        args.start_after,
        args.limit,
        only_one=args.no_auto_paginate,
        key="id",
    )


def revoke_token(args: RevokeTokenArgs, said: str = "revoked access token {}") -> int:
    """`said` tells that it was done, with the ID where its braces are."""
    check_token_id(args.token_id)
    api.revoke_token(connect(args), args.token_id, request_token(args))
    console.notice(said.format(args.token_id))
    return ExitCode.OK


# What the options ask for (protocol section 8.1)


def token_request(args: GrantArgs) -> Resource:
    request: Resource = {"id": args.token_id}
    expires_at = _expires_at(args)
    if expires_at is not None:
        request["expires_at"] = expires_at
    if args.auto_prefix_streams:
        request["auto_prefix_streams"] = True
    request["scope"] = _scope(args)
    return request


def _expires_at(args: GrantArgs) -> str | None:
    if args.expires_in is not None and args.expires_at is not None:
        raise UsageError("--expires-in and --expires-at name two times: give one of them")
    if args.expires_in is not None:
        return _rfc3339(time.time_ns() // 1_000_000 + parse_option("--expires-in", parse_duration_ms, args.expires_in))
    if args.expires_at is None:
        return None
    milliseconds = parse_option("--expires-at", parse_time_ms, args.expires_at)
    if "T" in args.expires_at and not args.expires_at[-1].isdigit():
        return args.expires_at  # in full, and finer than milliseconds perhaps
    return _rfc3339(milliseconds)


def _rfc3339(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    if seconds >= _YEAR_10000_S:
        raise UsageError("a token must expire before the year 10000; without a time it does not expire")
    return format_utc(seconds, rest)


def _scope(args: GrantArgs) -> Resource:
    scope: Resource = {}
    for name in _SETS:
        option = "--" + name.replace("_", "-")
        prefix, exact = getattr(args, f"{name}_prefix"), getattr(args, f"{name}_exact")
        if prefix is not None and exact is not None:
            raise UsageError(f"{option}-prefix and {option}-exact name two sets: give one of them")
        if prefix is not None:
            scope[name] = {"prefix": prefix}
        elif exact is not None:
            scope[name] = {"exact": exact}
    groups = _op_groups(args.op_group_perms or "")
    if groups:
        scope["op_groups"] = groups
    ops = [_operation(text) for text in _words(args.ops or "")]
    if ops:
        scope["ops"] = ops
    return scope


# What an operation is about: without resources of that kind a token that allows it does nothing with it.
_TOKEN_OPS = frozenset(op for op in OPERATIONS if "access-token" in op)
_ACCOUNT_OPS = frozenset({"account-metrics", "list-locations", "get-default-location", "set-default-location"})
_BASIN_OPS = frozenset(OPERATIONS) - _TOKEN_OPS - _ACCOUNT_OPS
_STREAM_OPS = frozenset(op for ops in OP_GROUPS["stream"].values() for op in ops)
_STREAM_OPS |= {"list-streams", *OP_GROUPS["basin"]["write"]}
_NEEDED = (
    ("basins", "basin", _BASIN_OPS),
    ("streams", "stream", _STREAM_OPS),
    ("access_tokens", "access token", _TOKEN_OPS),
)


def _warn_of_empty_sets(scope: Resource) -> None:
    allowed = {
        op for group, letters in groups_of(scope) for letter in letters for op in OP_GROUPS[group][_ACCESS[letter]]
    }
    allowed.update(operations_of(scope))
    for name, what, operations in _NEEDED:
        idle = [op for op in OPERATIONS if op in allowed & operations]
        if idle and shown_set(scope.get(name), none="") == "":
            option = f"--{name.replace('_', '-')}-prefix ''"
            console.warn(f"the token covers no {what}, so that it allows no {', '.join(idle)}; {option} covers all")


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _op_groups(text: str) -> dict[str, dict[str, bool]]:
    groups: dict[str, dict[str, bool]] = {}
    for word in _words(text):
        group, equals, letters = word.partition("=")
        if group not in OP_GROUPS or not equals or not letters or set(letters) - {"r", "w"} or group in groups:
            raise UsageError(f'--op-group-perms: "{word}" is not account=…, basin=… or stream=… with r, w or rw')
        groups[group] = {"read": "r" in letters, "write": "w" in letters}
    return groups


def _operation(text: str) -> str:
    """The operation as the API names it; the official tool writes list_basins and get_account_metrics."""
    name = text.replace("_", "-")
    if name.startswith("get-") and name.endswith("-metrics"):
        name = name.removeprefix("get-")
    if name not in OPERATIONS:
        raise UsageError(f'--ops: "{text}" is not an operation: {", ".join(OPERATIONS)}')
    return name


# Tokens in a table


def _row(item: Resource) -> tuple[str, ...]:
    scope = scope_of(item)
    sets = [shown_set(scope.get(name), none="-") for name in _SETS]
    operations = ",".join(operations_of(scope)) or "-"
    groups = ",".join(f"{group}={letters}" for group, letters in groups_of(scope)) or "-"
    return text_of(item.get("id")), text_of(item.get("expires_at") or "never"), *sets, groups, operations


def scope_of(item: Resource) -> Resource:
    """What a token may do; nothing where the server says nothing that can be understood."""
    scope = item.get("scope")
    return scope if isinstance(scope, dict) else {}


def operations_of(scope: Resource) -> list[str]:
    operations = scope.get("ops")
    return list(map(text_of, operations)) if isinstance(operations, list) else []


def shown_set(resources: object, *, none: str) -> str:
    """A resource set: `abc*` for a prefix, so `*` for all, and `none`."""
    if isinstance(resources, dict) and isinstance(resources.get("prefix"), str):
        return str(resources["prefix"]) + "*"
    if isinstance(resources, dict) and resources.get("exact"):
        return str(resources["exact"])
    return none


def groups_of(scope: Resource) -> list[tuple[str, str]]:
    """The groups of operations that are allowed, each with r, w or rw."""
    groups = scope.get("op_groups")
    found: list[tuple[str, str]] = []
    for group in OP_GROUPS:
        permissions = groups.get(group) if isinstance(groups, dict) else None
        if isinstance(permissions, dict):
            letters = "".join(name[0] for name in ("read", "write") if permissions.get(name))
            if letters:
                found.append((group, letters))
    return found
