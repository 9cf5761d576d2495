"""`s2 create|list|get|delete URI`: of a basin or of a stream, whichever the URI names."""

from __future__ import annotations

from s2cli.commands import basins, streams
from s2cli.errors import UsageError
from s2cli.values import parse_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args
    from s2cli.values import S2Uri

# Options that mean something for a basin alone, by attribute.
_OF_BASINS = ("create_stream_on_append", "create_stream_on_read", "stream_cipher", "location")


def run(args: Args) -> int:
    return VERBS[args.command](args)


def create(args: Args) -> int:
    uri = parse_resource(args.uri or "")
    if uri.stream is None:
        args.basin = uri.basin
        return basins.create_basin(args)
    refuse_basin_options(args, uri)
    return streams.create_stream(args)


def list_below(args: Args) -> int:
    """Basins, or the streams of the basin that is named."""
    return streams.list_streams(args) if args.basin else basins.list_basins(args)


def get(args: Args) -> int:
    uri = parse_resource(args.uri or "")
    if uri.stream is None:
        args.basin = uri.basin
        return basins.get_basin(args)
    return streams.get_stream(args)


def delete(args: Args) -> int:
    uri = parse_resource(args.uri or "")
    if uri.stream is None:
        args.basin = uri.basin
        return basins.delete_basin(args)
    return streams.delete_stream(args)


def refuse_basin_options(args: Args, uri: S2Uri) -> None:
    """For a URI that names a stream."""
    for attribute in _OF_BASINS:
        if getattr(args, attribute) is not None:
            option = "--" + attribute.replace("_", "-")
            raise UsageError(f"{option} is for basins, and {uri} is a stream")


VERBS = {"create": create, "list": list_below, "get": get, "delete": delete}
