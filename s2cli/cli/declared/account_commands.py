"""What belongs to the account: access tokens, metrics, locations."""

from typing import Annotated, Literal

import typer

from s2cli.cli.declared.shared_options import (
    Basin,
    Limit,
    NoAutoPaginate,
    NoHeaders,
    NulNames,
    Output,
    Prefix,
    RequestToken,
    RequiredUri,
    StartAfter,
)
from s2cli.values import U64_MAX

# Access tokens
TokenId = Annotated[str, typer.Argument(metavar="ID", help="The name of the token: 1 to 96 bytes")]
ExpiresIn = Annotated[
    str | None, typer.Option("--expires-in", metavar="DURATION", help="It ends so long from now: 30d, 12h")
]
ExpiresAt = Annotated[
    str | None, typer.Option("--expires-at", metavar="TIME", help="It ends then: 2026-12-31T00:00:00Z, or a date")
]
AutoPrefixStreams = Annotated[
    bool,
    typer.Option("--auto-prefix-streams", help="Its streams are named without --streams-prefix, which is put before"),
]
BasinsPrefix = Annotated[
    str | None, typer.Option("--basins-prefix", metavar="PREFIX", help="For basins that begin so; '' is all of them")
]
BasinsExact = Annotated[str | None, typer.Option("--basins-exact", metavar="NAME", help="For this basin")]
StreamsPrefix = Annotated[
    str | None, typer.Option("--streams-prefix", metavar="PREFIX", help="For streams that begin so; '' is all of them")
]
StreamsExact = Annotated[str | None, typer.Option("--streams-exact", metavar="NAME", help="For this stream")]
AccessTokensPrefix = Annotated[
    str | None,
    typer.Option("--access-tokens-prefix", metavar="PREFIX", help="For tokens whose ID begins so; '' is all of them"),
]
AccessTokensExact = Annotated[str | None, typer.Option("--access-tokens-exact", metavar="ID", help="For this token")]
OpGroupPerms = Annotated[
    str | None,
    typer.Option(
        "--op-group-perms",
        metavar="PERMS",
        help="What it may read (r) and write (w) of account, basin and stream: account=r,stream=rw",
    ),
]
Ops = Annotated[str | None, typer.Option("--ops", metavar="OPS", help="Single operations it may do: check-tail,append")]

# Metrics
AccountSet = Literal["active-basins", "account-ops", "estimated-billable-usage"]
BasinSet = Literal["storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"]
From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="From then on: 3h, a date, a time [default: 1d ago]")
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until then [default: now]")]
StartTimestamp = Annotated[
    int | None, typer.Option("--start-timestamp", metavar="S", min=0, max=U64_MAX, help="From this second on")
]
StartAgo = Annotated[str | None, typer.Option("--start-ago", metavar="DURATION", help="From so long ago on")]
EndTimestamp = Annotated[
    int | None, typer.Option("--end-timestamp", metavar="S", min=0, max=U64_MAX, help="Until this second")
]
EndAgo = Annotated[str | None, typer.Option("--end-ago", metavar="DURATION", help="Until so long ago")]
Interval = Annotated[
    Literal["minute", "hour", "day"] | None,
    typer.Option("--interval", metavar="INTERVAL", help="Of one value: minute, hour or day"),
]


def issue_token(
    token_id: TokenId,
    basins_prefix: BasinsPrefix = None,
    basins_exact: BasinsExact = None,
    streams_prefix: StreamsPrefix = None,
    streams_exact: StreamsExact = None,
    access_tokens_prefix: AccessTokensPrefix = None,
    access_tokens_exact: AccessTokensExact = None,
    op_group_perms: OpGroupPerms = None,
    ops: Ops = None,
    auto_prefix_streams: AutoPrefixStreams = False,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Issue an access token and print it: it is shown this once.

    Examples:
      s2 tokens issue admin --basins-prefix '' --op-group-perms account=rw > token
      s2 tokens issue ci --basins-exact ci-builds --streams-prefix '' --ops append
      s2 tokens issue reader --basins-prefix '' --streams-prefix web/ \\
        --op-group-perms basin=r,stream=r --expires-in 30d

    It can do what --op-group-perms and --ops name together, with the resources
    named; what is not named it cannot touch. `s2 tokens list -o json` shows it.
    """


def list_tokens(
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
    output: Output = None,
    zero: NulNames = False,
    no_headers: NoHeaders = False,
) -> None:
    """List access tokens by ID, with what they allow; never the tokens themselves.

    Examples:
      s2 tokens list
      s2 tokens list --prefix ci- -o name

    In the table, * is all, web/* those that begin so, - none.
    """


def revoke_token(token_id: TokenId, request_token: RequestToken = None) -> None:
    """Revoke an access token: from now on it is refused.

    Examples:
      s2 tokens revoke reader
      s2 tokens list --prefix ci- -o name | xargs -n1 s2 tokens revoke
    """


def account_metrics(
    metric: Annotated[
        AccountSet | None, typer.Argument(metavar="SET", help="active-basins, account-ops or estimated-billable-usage")
    ] = None,
    from_: From = None,
    to: To = None,
    interval: Interval = None,
    output: Output = None,
    no_headers: NoHeaders = False,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
) -> None:
    """Print metrics of the account.

    Examples:
      s2 metrics account active-basins --from 7d
      s2 metrics account account-ops --from 2026-01-01 --interval day

    A TIME is what --from of `s2 read` takes, but for sequence numbers.
    """


def basin_metrics(
    basin: Basin,
    metric: Annotated[
        BasinSet | None,
        typer.Argument(
            metavar="SET", help="storage, append-ops, read-ops, append-throughput, read-throughput or basin-ops"
        ),
    ] = None,
    from_: From = None,
    to: To = None,
    interval: Interval = None,
    output: Output = None,
    no_headers: NoHeaders = False,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
) -> None:
    """Print metrics of a basin.

    Examples:
      s2 metrics basin logs-prod storage
      s2 metrics basin logs-prod append-ops --from 6h --interval minute

    A TIME is what --from of `s2 read` takes, but for sequence numbers.
    """


def stream_metrics(
    uri: RequiredUri,
    metric: Annotated[
        Literal["storage"] | None, typer.Argument(metavar="[SET]", help="storage is all there is")
    ] = None,
    from_: From = None,
    to: To = None,
    interval: Interval = None,
    output: Output = None,
    no_headers: NoHeaders = False,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
) -> None:
    """Print metrics of a stream.

    Examples:
      s2 metrics stream s2://logs-prod/web
      s2 metrics stream s2://logs-prod/web storage --from 1h -o json

    A TIME is what --from of `s2 read` takes, but for sequence numbers.
    """


def list_locations(output: Output = None, zero: NulNames = False, no_headers: NoHeaders = False) -> None:
    """List the locations that a basin can be created in.

    Examples:
      s2 locations list
      s2 locations list -o name
    """


def get_default_location(output: Output = None, no_headers: NoHeaders = False) -> None:
    """Show the location of basins that are created without --location.

    Examples:
      s2 locations get-default
      s2 locations get-default -o name
    """


def set_default_location(
    location: Annotated[str, typer.Argument(metavar="NAME", help="As `s2 locations list` names it")],
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Choose the location of basins that are created without --location.

    Examples:
      s2 locations set-default aws:us-east-1
    """
