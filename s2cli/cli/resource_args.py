"""What the commands on basins and streams take."""

from __future__ import annotations

from s2cli.cli.args import BASIN_MEMBERS, STREAM_MEMBERS, CommonArgs, StreamConfigArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import Basin, NulNames, OptionalBasin, RequiredUri, Resource, Yes, option


class ResourceArgs(CommonArgs):
    """What names a basin or a stream."""

    uri: str


class OutputArgs(CommonArgs):
    """What prints resources."""

    output: Annotated[
        Literal["table", "json", "jsonl", "name"] | None,
        option("-o, --output FORMAT", "table, json, jsonl or name [default: table]"),
    ] = None
    no_headers: Annotated[bool, option("--no-headers", "No header line above a table")] = False


class NamesArgs(OutputArgs):
    """What prints many."""

    zero: NulNames = False


class PagesArgs(CommonArgs):
    """What lists by name, page by page."""

    prefix: Annotated[str, option("-p, --prefix PREFIX", "Only names that begin with PREFIX")] = ""
    start_after: Annotated[str, option("-s, --start-after NAME", "Only names after NAME")] = ""
    limit: Annotated[int | None, option("-n, --limit N", "At most N [default: all]", least=1)] = None
    no_auto_paginate: Annotated[
        bool, option("--no-auto-paginate", "One page only; --limit is then its size", hidden=True)
    ] = False


class StreamPagesArgs(PagesArgs, ResourceArgs):
    """What lists streams of a basin."""


class ListArgs(PagesArgs, NamesArgs):
    """What lists resources."""


class RequestArgs(CommonArgs):
    """What changes something."""

    request_token: Annotated[
        str | None,
        option(
            "--request-token TOKEN", "A request sent again with the same TOKEN is not executed again [default: random]"
        ),
    ] = None


class BasinConfigArgs(StreamConfigArgs):
    """What a basin is to be like; the options for streams are the defaults of the streams in it."""

    create_stream_on_append: Annotated[
        bool | None, option("--create-stream-on-append/--no-create-stream-on-append", "Appends create missing streams")
    ] = None
    create_stream_on_read: Annotated[
        bool | None, option("--create-stream-on-read/--no-create-stream-on-read", "Reads create missing streams")
    ] = None
    stream_cipher: Annotated[
        Literal["aegis-256", "aes-256-gcm"] | None,
        option("--stream-cipher CIPHER", "Encrypt new streams: aegis-256 or aes-256-gcm, with a key that clients send"),
    ] = None


class LocatedBasinArgs(BasinConfigArgs):
    """What a new basin is to be like."""

    location: Annotated[str | None, option("--location NAME", "Where the basin is stored")] = None


class NewStreamArgs(ResourceArgs, StreamConfigArgs, RequestArgs, OutputArgs):
    """What creates a stream."""


class NewBasinArgs(LocatedBasinArgs, NewStreamArgs):
    """What creates a basin."""


class GetArgs(ResourceArgs, OutputArgs):
    """What shows a configuration."""


class DeleteArgs(ResourceArgs, RequestArgs):
    """What deletes."""

    yes: Yes = False


class StreamChangeArgs(ResourceArgs, StreamConfigArgs):
    """What changes a stream."""

    unset: Annotated[
        tuple[str, ...], option("--unset MEMBER", f"Back to the default; repeatable: {', '.join(STREAM_MEMBERS)}")
    ] = ()


class BasinChangeArgs(BasinConfigArgs, StreamChangeArgs):
    """What changes a basin."""

    unset: Annotated[
        tuple[str, ...], option("--unset MEMBER", f"Back to the default; repeatable: {', '.join(BASIN_MEMBERS)}")
    ] = ()


# By URI


class CreateByUriArgs(NewBasinArgs):
    """Create a basin or a stream, whichever the URI names.

    Examples:
      s2 create s2://logs-prod --create-stream-on-append
      s2 create s2://logs-prod/web --retention-policy 30d
      s2 create s2://logs-prod/web -o json

    It exits with 5 if the basin or stream exists. For a basin, the options for
    streams are the defaults of the streams in it.
    """

    uri: Resource


class ListByUriArgs(ListArgs, StreamPagesArgs):
    """List basins, or the streams of BASIN.

    Examples:
      s2 list
      s2 list s2://logs-prod
      s2 list s2://logs-prod/web/ -o name

    The same as `s2 basins list` and `s2 streams list`.
    """

    uri: OptionalBasin = ""


class GetByUriArgs(GetArgs):
    """Show the configuration of a basin or a stream, whichever the URI names.

    Examples:
      s2 get s2://logs-prod
      s2 get s2://logs-prod/web -o json

    To print the records of a stream: `s2 read`.
    """

    uri: Resource


class EnsureByUriArgs(LocatedBasinArgs, BasinChangeArgs, OutputArgs):
    """Create a basin or a stream if it is missing, else change its configuration.

    Examples:
      s2 ensure s2://logs-prod --create-stream-on-append
      s2 ensure s2://logs-prod/web --retention-policy 30d
      s2 ensure s2://logs-prod/web --unset retention-policy -o json

    For a stream, its basin is created too if it is missing. Of an existing basin
    or stream only the given settings change.
    """

    uri: Resource


class DeleteByUriArgs(DeleteArgs):
    """Delete a basin with all its streams, or a stream with all its records.

    Examples:
      s2 delete s2://logs-prod/web
      s2 delete s2://logs-old --yes

    On a terminal it asks first; elsewhere it needs --yes.
    """

    uri: Resource


# Basins


class ListBasinsArgs(ListArgs):
    """List basins by name, including those being deleted.

    Examples:
      s2 basins list
      s2 basins list --prefix logs- -o name
      s2 basins list -o jsonl | jq -r .created_at

    Rows are printed as they arrive; in a pipe, tabs separate the cells.
    """


class CreateBasinArgs(NewBasinArgs):
    """Create a basin.

    Examples:
      s2 basins create logs-prod --create-stream-on-append
      s2 basins create logs-prod --retention-policy 30d -o json

    A name has 8 to 48 lowercase letters, digits and hyphens. The options for
    streams are the defaults of the streams in the basin.
    """

    uri: Basin


class GetBasinArgs(GetArgs):
    """Show the configuration of a basin.

    Examples:
      s2 basins get logs-prod
      s2 basins get logs-prod -o json
    """

    uri: Basin


class EnsureBasinArgs(LocatedBasinArgs, BasinChangeArgs, OutputArgs):
    """Create a basin if it is missing, else change the given settings.

    Examples:
      s2 basins ensure logs-prod
      s2 basins ensure logs-prod --create-stream-on-append --retention-policy 30d

    Changes apply only to streams that are created later.
    """

    uri: Basin


class ReconfigureBasinArgs(BasinChangeArgs, RequestArgs, OutputArgs):
    """Change the given settings of a basin; the others stay.

    Examples:
      s2 basins reconfigure logs-prod --retention-policy 30d
      s2 basins reconfigure logs-prod --no-create-stream-on-read -o json
      s2 basins reconfigure logs-prod --unset stream-cipher --unset storage-class

    Changes apply only to streams that are created later.
    """

    uri: Basin


class DeleteBasinArgs(DeleteArgs):
    """Delete a basin with all its streams and records.

    Examples:
      s2 basins delete logs-old
      s2 basins list -p tmp- -o name -0 | xargs -0 -n1 s2 basins delete --yes

    On a terminal it asks first; elsewhere it needs --yes. The server removes the
    data in the background: until then the basin is listed as being deleted.
    """

    uri: Basin


# Streams


class ListStreamsArgs(ListArgs, StreamPagesArgs):
    """List the streams of a basin by name, including those being deleted.

    Examples:
      s2 streams list logs-prod
      s2 streams list s2://logs-prod/web/
      s2 streams list logs-prod --prefix web/ -o name

    What follows the basin in a URI is a prefix. -o name prints whole URIs; it
    leaves out those with control characters and exits with 8, unless -0 is given.
    """

    uri: Basin


class CreateStreamArgs(NewStreamArgs):
    """Create a stream; settings not given are the defaults of its basin.

    Examples:
      s2 streams create s2://logs-prod/web
      s2 streams create s2://logs-prod/web --retention-policy infinite
    """

    uri: RequiredUri


class GetStreamArgs(GetArgs):
    """Show the configuration of a stream.

    Examples:
      s2 streams get s2://logs-prod/web
      s2 streams get s2://logs-prod/web -o json
    """

    uri: RequiredUri


class EnsureStreamArgs(StreamChangeArgs, OutputArgs):
    """Create a stream if it is missing, else change the given settings.

    Examples:
      s2 streams ensure s2://logs-prod/web
      s2 streams ensure s2://logs-prod/web --retention-policy 30d -o json

    A missing basin is created too.
    """

    uri: RequiredUri


class ReconfigureStreamArgs(StreamChangeArgs, RequestArgs, OutputArgs):
    """Change the given settings of a stream; the others stay.

    Examples:
      s2 streams reconfigure s2://logs-prod/web --retention-policy infinite
      s2 streams reconfigure s2://logs-prod/web --unset timestamping-mode -o json

    --unset returns a setting to the basin's default.
    """

    uri: RequiredUri


class DeleteStreamArgs(DeleteArgs):
    """Delete a stream with all its records.

    Examples:
      s2 streams delete s2://logs-prod/web
      s2 streams list tmp-jobs -o name -0 | xargs -0 -n1 s2 streams delete --yes

    On a terminal it asks first; elsewhere it needs --yes.
    """

    uri: RequiredUri
