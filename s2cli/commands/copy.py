"""`s2 copy`: copies the records of streams to other streams, each record once."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client import api
from s2cli.client.retry import Interrupts
from s2cli.commands.copy_stream import StreamCopy
from s2cli.config.settings import Settings
from s2cli.errors import ExitCode, UsageError
from s2cli.positions import parse_position
from s2cli.values import S2Uri, StreamUri, parse_option, parse_resource
from s2cli.wire.names import check_basin_name, check_stream_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.cli.copy_args import CopyArgs
    from s2cli.commands.copy_stream import Pair
    from s2cli.positions import Position


def copy(args: CopyArgs) -> int:
    source, target = _parse(args.source), _parse(args.target)
    many = _names_many(source)
    if many != _names_many(target):
        raise UsageError(
            f"{args.source} and {args.target} are not of a kind: copy a stream to a stream, or all below a basin or a "
            "name with a slash at its end to such a place"
        )
    now_ms = time.time_ns() // 1_000_000
    start = _position("--from", args.from_, now_ms)
    end = _position("--to", args.to, now_ms)
    settings = _settings(args, args.src_profile), _settings(args, args.dst_profile)
    if settings[0].target().server == settings[1].target().server:
        _check_apart(source, target, args)
    keys = (
        settings[0].encryption_key(args.src_key_file, "--src-key-file"),
        settings[1].encryption_key(args.dst_key_file, "--dst-key-file"),
    )
    live = console.stderr_is_terminal()

    def new_copy(pair: Pair) -> StreamCopy:
        return StreamCopy(args, pair, settings, keys, is_one_of_many=many)

    with Interrupts() as interrupts:
        if many and args.follow:
            from s2cli.commands.copy_follow import follow_streams

            return follow_streams(lambda: _pairs(source, target, settings[0]), new_copy, start, interrupts)
        found = False
        for pair in _pairs(source, target, settings[0]):
            found = True
            one = new_copy(pair)
            one.run(start, end, interrupts, live=live)
            console.status("")
            code = one.show()
            if one.failure is not None:
                raise one.failure
            if code != ExitCode.OK:
                return code
    if not found:
        console.notice(f"no stream name begins with {source}")
    return ExitCode.OK


def _parse(text: str) -> S2Uri:
    uri = parse_resource(text)
    check_basin_name(uri.basin)
    if uri.stream is not None and not uri.stream.endswith("/"):
        check_stream_name(uri.stream)
    return uri


def _names_many(uri: S2Uri) -> bool:
    return uri.stream is None or uri.stream.endswith("/")


def _check_apart(source: S2Uri, target: S2Uri, args: CopyArgs) -> None:
    """Raises UsageError where the next run would copy what this one has copied."""
    if str(source) == str(target):
        raise UsageError(f"{args.source} cannot be copied to itself")
    if _names_many(source) and target.basin == source.basin and (target.stream or "").startswith(source.stream or ""):
        raise UsageError(f"{args.target} is part of {args.source}: the next run would copy the copies")


def _position(option: str, text: str | None, now_ms: int) -> Position | None:
    return None if text is None else parse_option(option, lambda text: parse_position(text, now_ms), text)


def _settings(args: CopyArgs, profile: str | None) -> Settings:
    """The settings of the source or the target. A profile of its own replaces every option that says where to
    connect."""
    if profile is None:
        return Settings(args)
    side = type(args)(args.command)
    vars(side).update(vars(args))
    side.profile, side.local = profile, False
    side.account_endpoint = side.basin_endpoint = side.access_token_file = None
    return Settings(side)


def _pairs(source: S2Uri, target: S2Uri, settings: Settings) -> Iterator[Pair]:
    """Each stream to copy, with the stream to copy it to."""
    if not _names_many(source):
        assert source.stream is not None
        assert target.stream is not None
        yield StreamUri(source.basin, source.stream), StreamUri(target.basin, target.stream)
        return
    prefix, new_prefix = source.stream or "", target.stream or ""
    client = api.ApiClient(settings.target(), settings.timeout_s, console.notice)
    try:
        pages = api.pages(lambda after, limit: api.list_streams(client, source.basin, prefix, after, limit), "", None)
        for page in pages:
            for item in page:
                name = str(item.get("name"))
                if item.get("deleted_at") is None:
                    new_name = new_prefix + name.removeprefix(prefix)
                    check_stream_name(new_name)
                    yield StreamUri(source.basin, name), StreamUri(target.basin, new_name)
    finally:
        client.close()
