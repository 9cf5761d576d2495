"""`s2 create|list|get|ensure|delete URI`: of a basin or of a stream, whichever the URI names."""

from __future__ import annotations

from s2cli.commands import basins, streams
from s2cli.commands.ensure import ensure_basin, ensure_stream
from s2cli.errors import UsageError
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli import resource_args

# Options that mean something for a basin alone, by attribute.
_OF_BASINS = ("create_stream_on_append", "create_stream_on_read", "stream_cipher", "location")


def create(args: resource_args.CreateByUriArgs) -> int:
    if not _names_stream(args):
        return basins.create_basin(args)
    _refuse_basin_options(args)
    return streams.create_stream(args)


def ensure(args: resource_args.EnsureByUriArgs) -> int:
    if not _names_stream(args):
        return ensure_basin(args)
    _refuse_basin_options(args)
    return ensure_stream(args)


def list_below(args: resource_args.ListByUriArgs) -> int:
    """Lists basins, or the streams of the basin that is named."""
    return streams.list_streams(args) if args.uri else basins.list_basins(args)


def get(args: resource_args.GetByUriArgs) -> int:
    return streams.get_stream(args) if _names_stream(args) else basins.get_basin(args)


def delete(args: resource_args.DeleteByUriArgs) -> int:
    return streams.delete_stream(args) if _names_stream(args) else basins.delete_basin(args)


def _names_stream(args: resource_args.ResourceArgs) -> bool:
    return parse_resource(args.uri).stream is not None


def _refuse_basin_options(args: resource_args.CreateByUriArgs | resource_args.EnsureByUriArgs) -> None:
    """For a URI that names a stream."""
    for attribute in _OF_BASINS:
        if getattr(args, attribute) is not None:
            option = "--" + attribute.replace("_", "-")
            raise UsageError(f"{option} is for basins, but {args.uri} is a stream")
