"""What the flat verbs of the official tool take, so that scripts for it still work: its options and ours."""

from __future__ import annotations

from s2cli.cli import account_args, resource_args
from s2cli.cli.args import CommonArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    from s2cli.cli.shared_options import Basin, OptionalBasin, option
    from s2cli.values import parse_bool


class LsArgs(resource_args.StreamPagesArgs):
    """List basins, or the streams of a basin, as the official tool does.

    Examples:
      s2 ls
      s2 ls logs-prod --prefix web/
    """

    uri: OptionalBasin = ""


class ListBasinsArgs(resource_args.PagesArgs):
    """List basins as the official tool does; `s2 basins list` has more formats.

    Examples:
      s2 list-basins --prefix logs-
    """


class ListStreamsArgs(resource_args.StreamPagesArgs):
    """List streams as the official tool does; `s2 streams list` has more formats.

    Examples:
      s2 list-streams s2://logs-prod
    """

    uri: Basin


class CreateBasinArgs(resource_args.CreateBasinArgs):
    """Create a basin; the same as `s2 basins create`.

    Examples:
      s2 create-basin logs-prod --create-stream-on-append
    """


class CreateStreamArgs(resource_args.CreateStreamArgs):
    """Create a stream; the same as `s2 streams create`.

    Examples:
      s2 create-stream s2://logs-prod/web --storage-class express
    """


class DeleteBasinArgs(resource_args.DeleteBasinArgs):
    """Delete a basin without asking, as the official tool does.

    Examples:
      s2 delete-basin logs-old
    """


class DeleteStreamArgs(resource_args.DeleteStreamArgs):
    """Delete a stream without asking, as the official tool does.

    Examples:
      s2 delete-stream s2://logs-prod/web
    """


class GetBasinConfigArgs(resource_args.GetBasinArgs):
    """Show the configuration of a basin; the same as `s2 basins get`.

    Examples:
      s2 get-basin-config logs-prod
    """


class GetStreamConfigArgs(resource_args.GetStreamArgs):
    """Show the configuration of a stream; the same as `s2 streams get`.

    Examples:
      s2 get-stream-config s2://logs-prod/web
    """


class ReconfigureBasinArgs(resource_args.ReconfigureBasinArgs):
    """Change the configuration of a basin; see also `s2 basins reconfigure`.

    Examples:
      s2 reconfigure-basin logs-prod --create-stream-on-append true
    """

    # Switches of a create, and words here
    create_stream_on_append: Annotated[
        bool | None,
        option("--create-stream-on-append BOOL", "Whether appends create missing streams", parser=parse_bool),
    ] = None
    create_stream_on_read: Annotated[
        bool | None, option("--create-stream-on-read BOOL", "Whether reads create missing streams", parser=parse_bool)
    ] = None


class ReconfigureStreamArgs(resource_args.ReconfigureStreamArgs):
    """Change the configuration of a stream; see also `s2 streams reconfigure`.

    Examples:
      s2 reconfigure-stream s2://logs-prod/web --retention-policy 30d
    """


class IssueAccessTokenArgs(account_args.IssueTokenArgs):
    """Issue an access token and print it; the same as `s2 tokens issue`.

    Examples:
      s2 issue-access-token reader --basins-prefix logs- --ops list_streams,read
    """


class ListAccessTokensArgs(resource_args.PagesArgs):
    """List access tokens as the official tool does; `s2 tokens list` has more formats.

    Examples:
      s2 list-access-tokens --prefix ci-
    """


class RevokeAccessTokenArgs(account_args.RevokeTokenArgs):
    """Revoke an access token; the same as `s2 tokens revoke`.

    Examples:
      s2 revoke-access-token reader
    """


class GetAccountMetricsArgs(account_args.AccountPeriodArgs):
    """Print metrics as the official tool does; `s2 metrics account` has more formats.

    Examples:
      s2 get-account-metrics active-basins --start-ago 1d --end-ago 0s
    """


class GetBasinMetricsArgs(account_args.BasinPeriodArgs):
    """Print metrics as the official tool does; `s2 metrics basin` has more formats.

    Examples:
      s2 get-basin-metrics logs-prod append-ops --start-ago 1d --end-ago 0s
    """


class GetStreamMetricsArgs(account_args.StreamPeriodArgs):
    """Print metrics as the official tool does; `s2 metrics stream` has more formats.

    Examples:
      s2 get-stream-metrics s2://logs-prod/web storage --start-ago 1h --end-ago 0s
    """


class ListLocationsArgs(CommonArgs):
    """List locations as the official tool does; `s2 locations list` has more formats.

    Examples:
      s2 list-locations
    """


class GetDefaultLocationArgs(CommonArgs):
    """Show the default location as the official tool does.

    Examples:
      s2 get-default-location
    """


class SetDefaultLocationArgs(account_args.SetDefaultLocationArgs):
    """Choose the default location; the same as `s2 locations set-default`.

    Examples:
      s2 set-default-location aws:us-east-1
    """
