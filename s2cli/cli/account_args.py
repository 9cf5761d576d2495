"""What the commands on access tokens, metrics and locations take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs
from s2cli.cli.resource_args import ListArgs, NamesArgs, OutputArgs, RequestArgs, ResourceArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import (
        AccountMetric,
        Basin,
        BasinMetric,
        RequiredUri,
        TokenId,
        operand,
        option,
        u64_option,
    )


# Access tokens


class GrantArgs(CommonArgs):
    """What a new access token may do."""

    token_id: TokenId
    basins_prefix: Annotated[
        str | None, option("--basins-prefix PREFIX", "For basins that begin with PREFIX; '' is all")
    ] = None
    basins_exact: Annotated[str | None, option("--basins-exact NAME", "For this basin")] = None
    streams_prefix: Annotated[
        str | None, option("--streams-prefix PREFIX", "For streams that begin with PREFIX; '' is all")
    ] = None
    streams_exact: Annotated[str | None, option("--streams-exact NAME", "For this stream")] = None
    access_tokens_prefix: Annotated[
        str | None, option("--access-tokens-prefix PREFIX", "For tokens whose ID begins with PREFIX; '' is all")
    ] = None
    access_tokens_exact: Annotated[str | None, option("--access-tokens-exact ID", "For this token")] = None
    op_group_perms: Annotated[
        str | None,
        option(
            "--op-group-perms PERMS",
            "Read (r) and write (w) operations on account, basin and stream: account=r,stream=rw",
        ),
    ] = None
    ops: Annotated[str | None, option("--ops OPS", "Single operations: check-tail,append")] = None
    auto_prefix_streams: Annotated[
        bool, option("--auto-prefix-streams", "Requests with the token name streams without the --streams-prefix")
    ] = False
    expires_in: Annotated[
        str | None, option("--expires-in DURATION", "The token expires this long from now: 30d, 12h")
    ] = None
    expires_at: Annotated[
        str | None, option("--expires-at TIME", "The token expires at TIME: 2026-12-31T00:00:00Z, or a date")
    ] = None


class IssueTokenArgs(GrantArgs, RequestArgs, OutputArgs):
    """Issue an access token and print it, this once.

    Examples:
      s2 tokens issue admin --basins-prefix '' --op-group-perms account=rw > token
      s2 tokens issue ci --basins-exact ci-builds --streams-prefix '' --ops append
      s2 tokens issue reader --basins-prefix '' --streams-prefix web/ \\
        --op-group-perms basin=r,stream=r --expires-in 30d

    The token allows the operations of --op-group-perms and of --ops, on the named
    basins, streams and tokens only. `s2 tokens list -o json` shows what it allows.
    """


class ListTokensArgs(ListArgs):
    """List access tokens by ID, with what they allow; never the tokens themselves.

    Examples:
      s2 tokens list
      s2 tokens list --prefix ci- -o name

    In the table, * means all, web/* a prefix, - none.
    """


class RevokeTokenArgs(RequestArgs):
    """Revoke an access token.

    Examples:
      s2 tokens revoke reader
      s2 tokens list --prefix ci- -o name | xargs -n1 s2 tokens revoke
    """

    token_id: TokenId


# Metrics


class PeriodArgs(CommonArgs):
    """Options that choose a period of time, and how finely metrics divide it."""

    metric: str | None
    interval: Annotated[
        Literal["minute", "hour", "day"] | None,
        option("--interval INTERVAL", "Time that one value stands for: minute, hour or day"),
    ] = None
    start_timestamp: Annotated[int | None, u64_option("--start-timestamp S", "From this second on")] = None
    start_ago: Annotated[str | None, option("--start-ago DURATION", "Start this long ago")] = None
    end_timestamp: Annotated[int | None, u64_option("--end-timestamp S", "Until this second")] = None
    end_ago: Annotated[str | None, option("--end-ago DURATION", "Until this long ago")] = None
    # Not with the verbs of the official tool
    from_: str | None = None
    to: str | None = None


class AccountPeriodArgs(PeriodArgs):
    metric: AccountMetric = None


class BasinPeriodArgs(PeriodArgs, ResourceArgs):
    uri: Basin
    metric: BasinMetric = None


class StreamPeriodArgs(PeriodArgs, ResourceArgs):
    uri: RequiredUri
    metric: Annotated[Literal["storage"] | None, operand("[SET]", "storage, the only set")] = None


class MetricsArgs(PeriodArgs, OutputArgs):
    """What all commands that print metrics take."""

    from_: Annotated[str | None, option("--from TIME", "From TIME on: 3h (ago), a date, a time [default: 1d ago]")] = (
        None
    )
    to: Annotated[str | None, option("--to TIME", "Until TIME [default: now]")] = None


class AccountMetricsArgs(AccountPeriodArgs, MetricsArgs):
    """Print metrics of the account.

    Examples:
      s2 metrics account active-basins --from 7d
      s2 metrics account account-ops --from 2026-01-01 --interval day

    A TIME is written as for `s2 read --from`.
    """


class BasinMetricsArgs(BasinPeriodArgs, MetricsArgs):
    """Print metrics of a basin.

    Examples:
      s2 metrics basin logs-prod storage
      s2 metrics basin logs-prod append-ops --from 6h --interval minute

    A TIME is written as for `s2 read --from`.
    """


class StreamMetricsArgs(StreamPeriodArgs, MetricsArgs):
    """Print metrics of a stream.

    Examples:
      s2 metrics stream s2://logs-prod/web
      s2 metrics stream s2://logs-prod/web storage --from 1h -o json

    A TIME is written as for `s2 read --from`.
    """


# Locations


class ListLocationsArgs(NamesArgs):
    """List the locations that a basin can be created in.

    Examples:
      s2 locations list
      s2 locations list -o name
    """


class DefaultLocationArgs(OutputArgs):
    """Show the location of basins that are created without --location.

    Examples:
      s2 locations get-default
      s2 locations get-default -o name
    """


class SetDefaultLocationArgs(RequestArgs, OutputArgs):
    """Choose the location of basins that are created without --location.

    Examples:
      s2 locations set-default aws:us-east-1
    """

    location: Annotated[str, operand("NAME", "As `s2 locations list` names it")]
