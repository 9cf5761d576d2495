"""The flat verbs of the official tool with its options, so that scripts for it go on working."""

from typing import Annotated, Literal

import typer

from s2cli.cli.declared.shared_options import (
    Basin,
    CreateStreamOnAppend,
    CreateStreamOnRead,
    DeleteOnEmptyMinAge,
    Limit,
    Location,
    NoAutoPaginate,
    Prefix,
    RequiredUri,
    RetentionPolicy,
    StartAfter,
    StorageClass,
    StreamCipher,
    TimestampingMode,
    TimestampingUncapped,
)

# In the official tool switches of a create, and words here.
ExplicitCreateOnAppend = Annotated[
    Literal["true", "false"] | None,
    typer.Option("--create-stream-on-append", metavar="BOOL", help="Whether appends create missing streams"),
]
ExplicitCreateOnRead = Annotated[
    Literal["true", "false"] | None,
    typer.Option("--create-stream-on-read", metavar="BOOL", help="Whether reads create missing streams"),
]


def ls(
    basin: Annotated[str | None, typer.Argument(metavar="[BASIN]", help="BASIN or s2://BASIN[/PREFIX]")] = None,
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
) -> None:
    """List basins, or the streams of a basin, as the official tool does.

    Examples:
      s2 ls
      s2 ls logs-prod --prefix web/
    """


def list_basins(
    prefix: Prefix = "", start_after: StartAfter = "", limit: Limit = None, no_auto_paginate: NoAutoPaginate = False
) -> None:
    """List basins as the official tool does; `s2 basins list` has more formats.

    Examples:
      s2 list-basins --prefix logs-
    """


def list_streams(
    basin: Basin,
    prefix: Prefix = "",
    start_after: StartAfter = "",
    limit: Limit = None,
    no_auto_paginate: NoAutoPaginate = False,
) -> None:
    """List streams as the official tool does; `s2 streams list` has more formats.

    Examples:
      s2 list-streams s2://logs-prod
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
) -> None:
    """Create a basin; the same as `s2 basins create`.

    Examples:
      s2 create-basin logs-prod --create-stream-on-append
    """


def create_stream(
    uri: RequiredUri,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
) -> None:
    """Create a stream; the same as `s2 streams create`.

    Examples:
      s2 create-stream s2://logs-prod/web --storage-class express
    """


def delete_basin(basin: Basin) -> None:
    """Delete a basin without asking, as the official tool does.

    Examples:
      s2 delete-basin logs-old
    """


def delete_stream(uri: RequiredUri) -> None:
    """Delete a stream without asking, as the official tool does.

    Examples:
      s2 delete-stream s2://logs-prod/web
    """


def get_basin_config(basin: Basin) -> None:
    """Show the configuration of a basin; the same as `s2 basins get`.

    Examples:
      s2 get-basin-config logs-prod
    """


def get_stream_config(uri: RequiredUri) -> None:
    """Show the configuration of a stream; the same as `s2 streams get`.

    Examples:
      s2 get-stream-config s2://logs-prod/web
    """


def reconfigure_basin(
    basin: Basin,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    create_stream_on_append: ExplicitCreateOnAppend = None,
    create_stream_on_read: ExplicitCreateOnRead = None,
    stream_cipher: StreamCipher = None,
) -> None:
    """Change the configuration of a basin; see also `s2 basins reconfigure`.

    Examples:
      s2 reconfigure-basin logs-prod --create-stream-on-append true
    """


def reconfigure_stream(
    uri: RequiredUri,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
) -> None:
    """Change the configuration of a stream; see also `s2 streams reconfigure`.

    Examples:
      s2 reconfigure-stream s2://logs-prod/web --retention-policy 30d
    """
