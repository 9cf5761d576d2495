"""The flat verbs of the official tool for access tokens, metrics and locations, with its options."""

from typing import Annotated, Literal

import typer

from s2cli.cli.declared.account_commands import (
    AccessTokensExact,
    AccessTokensPrefix,
    AccountSet,
    AutoPrefixStreams,
    BasinSet,
    BasinsExact,
    BasinsPrefix,
    EndAgo,
    EndTimestamp,
    ExpiresAt,
    ExpiresIn,
    Interval,
    OpGroupPerms,
    Ops,
    StartAgo,
    StartTimestamp,
    StreamsExact,
    StreamsPrefix,
    TokenId,
)
from s2cli.cli.declared.shared_options import Basin, Limit, NoAutoPaginate, Prefix, RequiredUri, StartAfter


def issue_access_token(
    token_id: TokenId,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    auto_prefix_streams: AutoPrefixStreams = False,
    basins_prefix: BasinsPrefix = None,
    basins_exact: BasinsExact = None,
    streams_prefix: StreamsPrefix = None,
    streams_exact: StreamsExact = None,
    access_tokens_prefix: AccessTokensPrefix = None,
    access_tokens_exact: AccessTokensExact = None,
    op_group_perms: OpGroupPerms = None,
    ops: Ops = None,
) -> None:
    """Issue an access token and print it; the same as `s2 tokens issue`.

    Examples:
      s2 issue-access-token reader --basins-prefix logs- --ops list_streams,read
    """


def list_access_tokens(
    prefix: Prefix = "", start_after: StartAfter = "", limit: Limit = None, no_auto_paginate: NoAutoPaginate = False
) -> None:
    """List access tokens as the official tool does; `s2 tokens list` has more formats.

    Examples:
      s2 list-access-tokens --prefix ci-
    """


def revoke_access_token(token_id: TokenId) -> None:
    """Revoke an access token; the same as `s2 tokens revoke`.

    Examples:
      s2 revoke-access-token reader
    """


def get_account_metrics(
    metric: Annotated[AccountSet | None, typer.Argument(metavar="SET", help="Which metric")] = None,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
    interval: Interval = None,
) -> None:
    """Print metrics as the official tool does; `s2 metrics account` has more formats.

    Examples:
      s2 get-account-metrics active-basins --start-ago 1d --end-ago 0s
    """


def get_basin_metrics(
    basin: Basin,
    metric: Annotated[BasinSet | None, typer.Argument(metavar="SET", help="Which metric")] = None,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
    interval: Interval = None,
) -> None:
    """Print metrics as the official tool does; `s2 metrics basin` has more formats.

    Examples:
      s2 get-basin-metrics logs-prod append-ops --start-ago 1d --end-ago 0s
    """


def get_stream_metrics(
    uri: RequiredUri,
    metric: Annotated[Literal["storage"] | None, typer.Argument(metavar="SET", help="Which metric")] = None,
    start_timestamp: StartTimestamp = None,
    start_ago: StartAgo = None,
    end_timestamp: EndTimestamp = None,
    end_ago: EndAgo = None,
    interval: Interval = None,
) -> None:
    """Print metrics as the official tool does; `s2 metrics stream` has more formats.

    Examples:
      s2 get-stream-metrics s2://logs-prod/web storage --start-ago 1h --end-ago 0s
    """


def list_locations() -> None:
    """List locations as the official tool does; `s2 locations list` has more formats.

    Examples:
      s2 list-locations
    """


def get_default_location() -> None:
    """Show the default location as the official tool does.

    Examples:
      s2 get-default-location
    """


def set_default_location(
    location: Annotated[str, typer.Argument(metavar="NAME", help="The location")],
) -> None:
    """Choose the default location; the same as `s2 locations set-default`.

    Examples:
      s2 set-default-location aws:us-east-1
    """
