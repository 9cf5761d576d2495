"""`s2 create|list|get|delete URI`: of a basin or of a stream, whichever the URI names."""

from __future__ import annotations

from s2cli.commands import basins, streams
from s2cli.errors import UsageError
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.resource_args import (
        CreateByUriArgs,
        DeleteByUriArgs,
        EnsureByUriArgs,
        GetByUriArgs,
        ListByUriArgs,
        ResourceArgs,
    )

# Options that mean something for a basin alone, by attribute.
_OF_BASINS = ("create_stream_on_append", "create_stream_on_read", "stream_cipher", "location")


def create(args: CreateByUriArgs) -> int:
    if not names_stream(args):
        return basins.create_basin(args)
    refuse_basin_options(args)
    return streams.create_stream(args)


def list_below(args: ListByUriArgs) -> int:
    """Basins, or the streams of the basin that is named."""
    return streams.list_streams(args) if args.uri else basins.list_basins(args)


def get(args: GetByUriArgs) -> int:
    return streams.get_stream(args) if names_stream(args) else basins.get_basin(args)


def delete(args: DeleteByUriArgs) -> int:
    return streams.delete_stream(args) if names_stream(args) else basins.delete_basin(args)


def names_stream(args: ResourceArgs) -> bool:
    return parse_resource(args.uri).stream is not None


def refuse_basin_options(args: CreateByUriArgs | EnsureByUriArgs) -> None:
    """For a URI that names a stream."""
    for attribute in _OF_BASINS:
        if getattr(args, attribute) is not None:
            option = "--" + attribute.replace("_", "-")
            raise UsageError(f"{option} is for basins, but {args.uri} is a stream")
