"""Basins and streams: create, list, get, delete."""

from typing import Annotated

import typer

from s2cli.cli.declared.shared_options import (
    Basin,
    CreateStreamOnAppend,
    CreateStreamOnRead,
    DeleteOnEmptyMinAge,
    Limit,
    Location,
    NoAutoPaginate,
    NoHeaders,
    NulNames,
    Output,
    Prefix,
    RequestToken,
    RequiredUri,
    Resource,
    RetentionPolicy,
    StartAfter,
    StorageClass,
    StreamCipher,
    TimestampingMode,
    TimestampingUncapped,
    Yes,
)


def create(
    uri: Resource,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    create_stream_on_append: CreateStreamOnAppend = None,
    create_stream_on_read: CreateStreamOnRead = None,
    stream_cipher: StreamCipher = None,
    location: Location = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a basin or a stream, whichever the URI names.

    Examples:
      s2 create s2://logs-prod --create-stream-on-append
      s2 create s2://logs-prod/web --retention-policy 30d
      s2 create s2://logs-prod/web -o json

    It fails with 5 where the resource is already there. For a basin, the options
    for streams are the defaults of the streams in it.
    """


def list_below(
    basin: Annotated[str | None, typer.Argument(metavar="[BASIN]", help="BASIN or s2://BASIN[/PREFIX]")] = None,
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
    output: Output = None,
    zero: NulNames = False,
    no_headers: NoHeaders = False,
) -> None:
    """List basins, or the streams of the basin that is named.

    Examples:
      s2 list
      s2 list s2://logs-prod
      s2 list s2://logs-prod/web/ -o name

    The same as `s2 basins list` and `s2 streams list`.
    """


def get(uri: Resource, output: Output = None, no_headers: NoHeaders = False) -> None:
    """Show the configuration of a basin or a stream, whichever the URI names.

    Examples:
      s2 get s2://logs-prod
      s2 get s2://logs-prod/web -o json

    The records of a stream are what `s2 read` prints.
    """


def delete(uri: Resource, yes: Yes = False, request_token: RequestToken = None) -> None:
    """Delete a basin with all its streams, or a stream with all its records.

    Examples:
      s2 delete s2://logs-prod/web
      s2 delete s2://logs-old --yes

    On a terminal it asks first; elsewhere it wants --yes.
    """


def list_basins(
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
    output: Output = None,
    zero: NulNames = False,
    no_headers: NoHeaders = False,
) -> None:
    """List basins by name, those being deleted too.

    Examples:
      s2 basins list
      s2 basins list --prefix logs- -o name
      s2 basins list -o jsonl | jq -r .created_at

    Rows are printed as the pages arrive; on a pipe, cells are separated by tabs.
    """


def create_basin(
    basin: Basin,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    create_stream_on_append: CreateStreamOnAppend = None,
    create_stream_on_read: CreateStreamOnRead = None,
    stream_cipher: StreamCipher = None,
    location: Location = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a basin.

    Examples:
      s2 basins create logs-prod --create-stream-on-append
      s2 basins create logs-prod --retention-policy 30d -o json

    A name has 8 to 48 lowercase letters, digits and hyphens. The options for
    streams are the defaults of the streams in the basin.
    """


def get_basin(basin: Basin, output: Output = None, no_headers: NoHeaders = False) -> None:
    """Show the configuration of a basin.

    Examples:
      s2 basins get logs-prod
      s2 basins get logs-prod -o json
    """


def delete_basin(basin: Basin, yes: Yes = False, request_token: RequestToken = None) -> None:
    """Delete a basin with all its streams and records.

    Examples:
      s2 basins delete logs-old
      s2 basins list -p tmp- -o name -0 | xargs -0 -n1 s2 basins delete --yes

    On a terminal it asks first; elsewhere it wants --yes. The server removes the
    data in its own time: until then the basin is listed as being deleted.
    """


def list_streams(
    basin: Basin,
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
    output: Output = None,
    zero: NulNames = False,
    no_headers: NoHeaders = False,
) -> None:
    """List the streams of a basin by name, those being deleted too.

    Examples:
      s2 streams list logs-prod
      s2 streams list s2://logs-prod/web/
      s2 streams list logs-prod --prefix web/ -o name

    What follows the basin in a URI is a prefix. -o name prints whole URIs; those
    with control characters only with -0, and without it ends with 8.
    """


def create_stream(
    uri: RequiredUri,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a stream; what no option says comes from the defaults of its basin.

    Examples:
      s2 streams create s2://logs-prod/web
      s2 streams create s2://logs-prod/web --retention-policy infinite
    """


def get_stream(uri: RequiredUri, output: Output = None, no_headers: NoHeaders = False) -> None:
    """Show the configuration of a stream.

    Examples:
      s2 streams get s2://logs-prod/web
      s2 streams get s2://logs-prod/web -o json
    """


def delete_stream(uri: RequiredUri, yes: Yes = False, request_token: RequestToken = None) -> None:
    """Delete a stream with all its records.

    Examples:
      s2 streams delete s2://logs-prod/web
      s2 streams list tmp-jobs -o name -0 | xargs -0 -n1 s2 streams delete --yes

    On a terminal it asks first; elsewhere it wants --yes.
    """
