"""Ensure and reconfigure: only the members that are given change."""

from s2cli.cli.declared.shared_options import (
    Basin,
    CreateStreamOnAppend,
    CreateStreamOnRead,
    DeleteOnEmptyMinAge,
    Location,
    NoHeaders,
    Output,
    RequestToken,
    RequiredUri,
    Resource,
    RetentionPolicy,
    StorageClass,
    StreamCipher,
    TimestampingMode,
    TimestampingUncapped,
    UnsetOfBasin,
    UnsetOfStream,
)


def ensure(
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
    unset: UnsetOfBasin = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a basin or a stream where it is missing, or change what is there.

    Examples:
      s2 ensure s2://logs-prod --create-stream-on-append
      s2 ensure s2://logs-prod/web --retention-policy 30d
      s2 ensure s2://logs-prod/web --unset retention-policy -o json

    A missing basin of a stream is created too. Of what is there, only the
    members that are given change; where none is given, nothing does.
    """


def ensure_basin(
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
    unset: UnsetOfBasin = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a basin where it is missing, or change the members that are given.

    Examples:
      s2 basins ensure logs-prod
      s2 basins ensure logs-prod --create-stream-on-append --retention-policy 30d

    What changes holds for streams that are created from then on.
    """


def reconfigure_basin(
    basin: Basin,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    create_stream_on_append: CreateStreamOnAppend = None,
    create_stream_on_read: CreateStreamOnRead = None,
    stream_cipher: StreamCipher = None,
    unset: UnsetOfBasin = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Change members of the configuration of a basin; the others stay.

    Examples:
      s2 basins reconfigure logs-prod --retention-policy 30d
      s2 basins reconfigure logs-prod --no-create-stream-on-read -o json
      s2 basins reconfigure logs-prod --unset stream-cipher --unset storage-class

    What changes holds for streams that are created from then on.
    """


def ensure_stream(
    uri: RequiredUri,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    unset: UnsetOfStream = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Create a stream where it is missing, or change the members that are given.

    Examples:
      s2 streams ensure s2://logs-prod/web
      s2 streams ensure s2://logs-prod/web --retention-policy 30d -o json

    A missing basin is created too.
    """


def reconfigure_stream(
    uri: RequiredUri,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    unset: UnsetOfStream = None,
    request_token: RequestToken = None,
    output: Output = None,
    no_headers: NoHeaders = False,
) -> None:
    """Change members of the configuration of a stream; the others stay.

    Examples:
      s2 streams reconfigure s2://logs-prod/web --retention-policy infinite
      s2 streams reconfigure s2://logs-prod/web --unset timestamping-mode -o json

    A member that is unset is again as the basin says.
    """
